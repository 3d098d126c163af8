//! What the process denies itself, so that whoever takes it over gets little: other processes of its
//! user do not see its memory, it leaves no core file, gains no rights, reads only the folders that
//! its configuration names and connects only to the ports that it needs.
//!
//! [`harden`] comes before any secret is read, [`enforce`] when the configuration is known and before
//! any thread starts: Landlock holds the thread that asks for it and those that it starts later.
//! What it takes away never comes back, so that a reload which needs more is refused by [`allows`].

use std::collections::BTreeSet;
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
}

impl Needs {
    /// Adds the folder of a file, and that of the file that it is a link to: files are replaced by
    /// renaming, and links by pointing them elsewhere.
    pub fn read_beside(&mut self, file: &Path) {
        let folder = |path: &Path| match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        self.read.insert(folder(file));
        if let Ok(file) = file.canonicalize() {
            self.read.insert(folder(&file));
        }
    }
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

/// Why another configuration cannot be taken while the process runs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}, which the process denied itself at its start: restart it{}", .room.map(|key| format!("; `{key}` in [confine] leaves room for more")).unwrap_or_default())]
pub struct Beyond {
    what: String,
    /// The key that would have left room for it.
    room: Option<&'static str>,
}

impl Beyond {
    fn new(what: impl Into<String>, room: Option<&'static str>) -> Self {
        Self {
            what: what.into(),
            room,
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
    let system = |error: &dyn std::fmt::Display| ConfineError::System(error.to_string());
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
/// [`Beyond`] with the first thing that is missing.
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
        if settings(&self.config) != settings(config) {
            return Err(Beyond::new("other settings in [confine]", None));
        }
        if self.held.files && config.runs_programs {
            return Err(Beyond::new("a secret comes from a `command`", None));
        }
        if self.held.files
            && let Some(path) = asked.read.iter().find(|it| !is_beneath(it, &now.read))
        {
            let what = format!("a file is read below {}", path.display());
            return Err(Beyond::new(what, Some("read")));
        }
        if self.held.files
            && let Some(path) = asked.write.iter().find(|it| !is_beneath(it, &now.write))
        {
            return Err(Beyond::new(
                format!("a socket is made in {}", path.display()),
                None,
            ));
        }
        if self.held.files
            && let Some(path) = asked.keep.iter().find(|it| !is_beneath(it, &now.keep))
        {
            return Err(Beyond::new(
                format!("files are kept in {}", path.display()),
                None,
            ));
        }
        if self.held.ports {
            if let Some(port) = asked.connect.difference(&now.connect).next() {
                let what = format!("port {port} is connected to");
                return Err(Beyond::new(what, Some("ports")));
            }
            if let Some(port) = beyond_bound(now.bind.as_ref(), asked.bind.as_ref()) {
                return Err(Beyond::new(format!("{port} is listened on"), None));
            }
        }
        Ok(())
    }
}

fn beyond_bound(now: Option<&BTreeSet<u16>>, asked: Option<&BTreeSet<u16>>) -> Option<String> {
    match (now, asked) {
        (None, _) => None,
        (Some(_), None) => Some("a port that the system picks".into()),
        (Some(now), Some(asked)) => asked.difference(now).next().map(|it| format!("port {it}")),
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
