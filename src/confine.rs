//! What the process denies itself, so that whoever takes it over gets little: other processes of its
//! user do not see its memory, it leaves no core file, gains no rights, reads only the folders that
//! its configuration names and connects only to the ports that it needs.
//!
//! [`harden`] comes before any secret is read, [`enforce`] when the configuration is known and before
//! any thread starts: Landlock holds the thread that asks for it and those that it starts later.
//! What it takes away never comes back, so that a reload which needs more is refused by [`allows`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

mod landlock;

use landlock::Held;

/// What the operator says about it, and what the rest of the configuration needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Whether Landlock is used.
    pub landlock: Landlock,
    /// Whether the process may be debugged and leaves core files: for debugging.
    pub dumpable: bool,
    /// Whether secrets come from programs. Those need what programs need, so nothing is taken away.
    pub runs_programs: bool,
    /// What is needed beside.
    pub needs: Needs,
}

/// Whether Landlock is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Landlock {
    /// As far as the kernel has it.
    #[default]
    Auto,
    /// Not at all.
    Off,
    /// All of it, or the process does not start.
    Required,
}

/// What the process needs of the system once it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Folders and files that are read.
    pub read: BTreeSet<PathBuf>,
    /// Folders that sockets are made and removed in.
    pub write: BTreeSet<PathBuf>,
    /// Folders that files are kept in.
    pub keep: BTreeSet<PathBuf>,
    /// TCP ports that are connected to.
    pub connect: BTreeSet<u16>,
    /// TCP ports that are listened on; `None` for any, where the system picks one.
    pub bind: Option<BTreeSet<u16>>,
    /// Where the configuration says what needs it, as far as it says so: file, line and column.
    pub places: BTreeMap<Need, String>,
}

/// One thing that a configuration needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// What `[confine]` itself says.
    Settings,
    /// A program is run.
    Program,
    /// A file is read below this folder.
    Read(PathBuf),
    /// A socket is made in this folder.
    Write(PathBuf),
    /// Files are kept in this folder.
    Keep(PathBuf),
    /// This port is connected to.
    Connect(u16),
    /// This port is listened on; `None` for one that the system picks.
    Bind(Option<u16>),
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings => f.write_str("other settings in [confine]"),
            Self::Program => f.write_str("a secret comes from a `command`"),
            Self::Read(folder) => write!(f, "a file is read below {}", folder.display()),
            Self::Write(folder) => write!(f, "a socket is made in {}", folder.display()),
            Self::Keep(folder) => write!(f, "files are kept in {}", folder.display()),
            Self::Connect(port) => write!(f, "port {port} is connected to"),
            Self::Bind(Some(port)) => write!(f, "port {port} is listened on"),
            Self::Bind(None) => f.write_str("a port that the system picks is listened on"),
        }
    }
}

impl Need {
    /// The key that would have left room for it.
    fn room(&self) -> Option<&'static str> {
        match self {
            Self::Read(_) => Some("read"),
            Self::Connect(_) => Some("ports"),
            _ => None,
        }
    }
}

impl Needs {
    /// Adds the folder of a file, and that of the file that it is a link to: files are replaced by
    /// renaming, and links by pointing them elsewhere.
    pub fn read_beside(&mut self, file: &Path) {
        self.read.extend(beside(file));
    }

    /// Notes the place of what is needed. The first one stays.
    pub fn note(&mut self, need: Need, place: &dyn fmt::Display) {
        self.places.entry(need).or_insert_with(|| place.to_string());
    }
}

/// The folder of a file, and that of the file that it is a link to.
pub fn beside(file: &Path) -> impl Iterator<Item = PathBuf> {
    let folder = |path: &Path| match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let real = file.canonicalize().ok();
    [Some(folder(file)), real.map(|file| folder(&file))]
        .into_iter()
        .flatten()
}

/// Why the process does not start: what was required cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// The kernel has no Landlock, or not all of it.
    #[error("`landlock = \"required\"` in [confine], and {0}")]
    Kernel(String),
    /// Programs for secrets cannot be run by a process that may run nothing.
    #[error("`landlock = \"required\"` in [confine], and a secret comes from a `command`")]
    Programs,
    /// The system refused.
    #[error("the system does not let the process confine itself: {0}")]
    System(String),
}

/// Why another configuration cannot be taken while the process runs: all that it lacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Beyond(pub Vec<Lack>);

/// One thing that is needed and was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    need: Need,
    place: Option<String>,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        let need = &self.need;
        write!(
            f,
            "{need}, which the process denied itself at its start: restart needed"
        )?;
        match need.room() {
            Some(key) => write!(f, "; `{key}` in [confine] leaves room for more"),
            None => Ok(()),
        }
    }
}

/// What is in force in this process, which cannot be undone.
static IN_FORCE: OnceLock<InForce> = OnceLock::new();

struct InForce {
    config: Config,
    held: Held,
}

/// Denies core files, and debuggers and other processes of the same user the process's memory.
/// Gives what could not be done.
#[must_use]
pub fn harden() -> Vec<String> {
    let mut undone = Vec::new();
    let limits = getrlimit(Resource::Core);
    let none = Rlimit {
        current: Some(0),
        ..limits
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        undone.push(format!("cannot turn core files off: {error}"));
    }
    // Programs that are started later begin anew, so this harms none of them.
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        undone.push(format!("cannot hide the process's memory: {error}"));
    }
    undone
}

/// Confines the calling thread, and with it all that it starts. Gives a sentence on what is in force.
///
/// # Errors
///
/// [`ConfineError`] where less can be had than is required.
pub fn enforce(config: &Config) -> Result<String, ConfineError> {
    if config.dumpable {
        let limits = getrlimit(Resource::Core);
        let _ = setrlimit(
            Resource::Core,
            Rlimit {
                current: limits.maximum,
                ..limits
            },
        );
        let _ = set_dumpable_behavior(DumpableBehavior::Dumpable);
    }
    let required = config.landlock == Landlock::Required;
    if config.runs_programs {
        if required {
            return Err(ConfineError::Programs);
        }
        return Ok("not confined: a secret comes from a `command`, which may need anything".into());
    }
    let system = |error: &dyn fmt::Display| ConfineError::System(error.to_string());
    rustix::thread::set_no_new_privs(true).map_err(|error| system(&error))?;
    if config.landlock == Landlock::Off {
        return Ok("not confined by Landlock: switched off in [confine]".into());
    }
    let held = landlock::restrict(&config.needs).map_err(|error| system(&error))?;
    match held.missing() {
        Some(missing) if required => return Err(ConfineError::Kernel(missing)),
        _ => {}
    }
    let said = held.describe(&config.needs);
    let config = config.clone();
    let _ = IN_FORCE.set(InForce { config, held });
    Ok(said)
}

/// Whether a configuration asks for no more than what the process has left itself. Everything may be
/// asked for by a process that is not confined.
///
/// # Errors
///
/// [`Beyond`] with everything that is missing.
pub fn allows(config: &Config) -> Result<(), Beyond> {
    match IN_FORCE.get() {
        Some(in_force) => in_force.allows(config),
        None => Ok(()),
    }
}

/// Whether the process may still read a file.
#[must_use]
pub fn may_read(file: &Path) -> bool {
    let Some(InForce { config, held }) = IN_FORCE.get() else {
        return true;
    };
    let mut asked = Needs::default();
    asked.read_beside(file);
    !held.files
        || asked
            .read
            .iter()
            .all(|it| is_beneath(it, &config.needs.read))
}

impl InForce {
    fn allows(&self, config: &Config) -> Result<(), Beyond> {
        let (now, asked) = (&self.config.needs, &config.needs);
        let settings = |it: &Config| (it.landlock, it.dumpable);
        let mut needs = Vec::new();
        if settings(&self.config) != settings(config) {
            needs.push(Need::Settings);
        }
        if self.held.files {
            needs.extend(config.runs_programs.then_some(Need::Program));
            let mut beyond = |asked: &BTreeSet<PathBuf>, now, need: fn(PathBuf) -> Need| {
                let beyond = asked.iter().filter(|it| !is_beneath(it, now));
                needs.extend(beyond.cloned().map(need));
            };
            beyond(&asked.read, &now.read, Need::Read);
            beyond(&asked.write, &now.write, Need::Write);
            beyond(&asked.keep, &now.keep, Need::Keep);
        }
        if self.held.ports {
            let beyond = asked.connect.difference(&now.connect);
            needs.extend(beyond.copied().map(Need::Connect));
            match (&now.bind, &asked.bind) {
                (None, _) => {}
                (Some(_), None) => needs.push(Need::Bind(None)),
                (Some(now), Some(asked)) => {
                    let beyond = asked.difference(now).copied();
                    needs.extend(beyond.map(|port| Need::Bind(Some(port))));
                }
            }
        }
        let lack = |need| Lack {
            place: asked.places.get(&need).cloned(),
            need,
        };
        match needs.is_empty() {
            true => Ok(()),
            false => Err(Beyond(needs.into_iter().map(lack).collect())),
        }
    }
}

/// Whether a path is one of the folders or lies below one, links followed as the kernel does.
fn is_beneath(path: &Path, folders: &BTreeSet<PathBuf>) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let path = real(path);
    folders.iter().any(|folder| path.starts_with(real(folder)))
}

#[cfg(test)]
mod tests;
