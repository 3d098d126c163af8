//! Where the configuration reads files and secrets from, and how it judges them.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::confine;
use crate::secret::Secret;
use crate::secret::trail::{Stamp, Trail};

mod command;

/// No file that a configuration names is larger than this; what is, is the wrong file.
const LARGEST: u64 = 1 << 20;

/// Where files are read from.
#[derive(Clone)]
pub enum Store {
    /// The file system.
    Disk,
    /// The file system, with a note of every file that was wanted.
    Noted(Trail),
    /// Texts in memory, by path: for the demo, which leaves no file behind.
    Memory(HashMap<PathBuf, String>),
}

impl std::fmt::Debug for Store {
    /// Names the files that are in memory, and shows nothing of them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Disk | Self::Noted(_) => f.write_str("Disk"),
            Self::Memory(files) => f.debug_set().entries(files.keys()).finish(),
        }
    }
}

/// What happens to a secret's file that others may read or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modes {
    /// It is refused.
    Refuse,
    /// It is used, with a warning at each start.
    Warn,
}

/// A reference to a text that does not stand in the configuration itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// The content of a file, or the text at a JSON pointer (RFC 6901) in it. Several pointers are
    /// tried in order.
    File {
        /// The file.
        path: PathBuf,
        /// Where in it; empty for all of it.
        pointers: Vec<String>,
    },
    /// The value of an environment variable.
    Env(String),
    /// A credential that systemd hands over.
    Credential(String),
    /// What a program writes to its standard output.
    Command(Vec<String>),
}

impl Reference {
    /// The whole content of a file.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File {
            path: path.into(),
            pointers: Vec::new(),
        }
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { path, pointers } if pointers.is_empty() => {
                write!(f, "{{ file = \"{}\" }}", path.display())
            }
            Self::File { path, pointers } => {
                write!(
                    f,
                    "{{ file = \"{}\", pointer = {pointers:?} }}",
                    path.display()
                )
            }
            Self::Command(words) => write!(f, "{{ command = {words:?} }}"),
            Self::Env(name) => write!(f, "{{ env = \"{name}\" }}"),
            Self::Credential(name) => write!(f, "{{ credential = \"{name}\" }}"),
        }
    }
}

/// What was read.
#[derive(Debug)]
pub struct Resolved {
    /// The content; where that is text, less one newline at its end.
    pub secret: Secret,
    /// What is questionable about where it stands.
    pub warning: Option<String>,
}

/// Why a reference gives nothing, in a sentence, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// What is wrong.
    pub message: String,
    /// The way out.
    pub help: String,
}

impl Unresolved {
    /// With the way out, or with none.
    pub fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: help.into(),
        }
    }
}

impl Store {
    /// The same, with a note of what is wanted of it.
    #[must_use]
    pub fn noted(&self) -> Self {
        match self {
            Self::Disk => Self::Noted(Trail::default()),
            Self::Noted(_) | Self::Memory(_) => self.clone(),
        }
    }

    /// What was wanted so far, where that is noted.
    #[must_use]
    pub fn trail(&self) -> Trail {
        match self {
            Self::Noted(trail) => trail.clone(),
            Self::Disk | Self::Memory(_) => Trail::default(),
        }
    }

    /// Notes that a program is run for a secret, where that is kept.
    pub fn note_program(&self) {
        if let Self::Noted(trail) = self {
            trail.note_program();
        }
    }

    /// Whether the file that a reference names is not what it was when `stamp` was taken, and its
    /// new stamp. Follows links, so that a link that is pointed elsewhere is a change. What systemd hands
    /// over is a file, too, and a reload of the unit may bring another one. The environment never
    /// changes while the process runs, and of a command nobody can tell.
    #[must_use]
    pub fn stamp(&self, reference: &Reference, folder: &Path) -> Option<Stamp> {
        match (self, reference) {
            (Self::Disk | Self::Noted(_), Reference::File { path, .. }) => {
                Stamp::of(&folder.join(path))
            }
            (Self::Disk | Self::Noted(_), Reference::Credential(name)) => {
                Stamp::of(&handed_over(name)?)
            }
            _ => None,
        }
    }

    /// Notes that a file or folder is wanted, where that is kept.
    pub fn note(&self, path: &Path, is_secret: bool) {
        if let Self::Noted(trail) = self {
            trail.note(path, is_secret);
        }
    }

    /// Reads a text that is no secret: a certificate, a preset.
    ///
    /// # Errors
    ///
    /// [`Unresolved`] with the path and the way out.
    pub fn read_text(&self, path: &Path) -> Result<String, Unresolved> {
        self.note(path, false);
        let (bytes, _) = self.read(path)?;
        String::from_utf8(bytes).map_err(|_| {
            let message = format!("{} is not text in UTF-8", path.display());
            Unresolved::new(message, "is it the right file, and saved as UTF-8?")
        })
    }

    /// Reads what a reference names. Relative paths start at `folder`; `judged` is whether the
    /// file's mode matters, as it does for secrets.
    ///
    /// # Errors
    ///
    /// [`Unresolved`] with the name and the way out.
    pub fn resolve(
        &self,
        reference: &Reference,
        folder: &Path,
        judged: Option<Modes>,
    ) -> Result<Resolved, Unresolved> {
        let (bytes, warning) = match reference {
            Reference::File { path, pointers } => {
                let path = folder.join(path);
                self.note(&path, judged.is_some());
                let (bytes, mode) = self.read(&path)?;
                let bytes = if pointers.is_empty() {
                    bytes
                } else {
                    point(bytes, pointers, &path)?
                };
                let warning = match (judged, mode) {
                    (Some(modes), Some(mode)) => judge(&path, mode, modes)?,
                    _ => None,
                };
                (bytes, warning)
            }
            Reference::Env(name) => (environment(name)?, None),
            Reference::Credential(name) => (self.credential(name)?, None),
            Reference::Command(words) => (command::run(words, folder)?, None),
        };
        let secret = without_newline(bytes);
        if secret.expose().is_empty() {
            return Err(Unresolved::new(format!("{reference} is empty"), ""));
        }
        let warning = warning.or_else(|| {
            let odd = judged.and_then(|_| odd_ends(secret.expose_str()?))?;
            Some(format!(
                "{reference} {odd}, which is taken for a part of it"
            ))
        });
        Ok(Resolved { secret, warning })
    }

    /// The content of a file, and its mode where there is one.
    fn read(&self, path: &Path) -> Result<(Vec<u8>, Option<u32>), Unresolved> {
        let failed = |error: &io::Error| cannot_read(path, error);
        match self {
            Self::Disk | Self::Noted(_) => {
                let file = open(path).map_err(|error| failed(&error))?;
                // Judged on the opened file: a path can point elsewhere a moment later.
                let metadata = file.metadata().map_err(|error| failed(&error))?;
                if metadata.is_dir() {
                    let message = format!("{} is a folder", path.display());
                    return Err(Unresolved::new(message, "name a file in it"));
                }
                if !metadata.is_file() {
                    let message = format!("{} is a pipe or a device", path.display());
                    return Err(Unresolved::new(
                        message,
                        "name a plain file, or a link to one",
                    ));
                }
                // Large enough at once: a buffer that grows leaves copies of a key behind.
                let size = usize::try_from(metadata.len().min(LARGEST)).unwrap_or(0);
                let mut bytes = Vec::with_capacity(size + 1);
                file.take(LARGEST + 1)
                    .read_to_end(&mut bytes)
                    .map_err(|error| failed(&error))?;
                if bytes.len() as u64 > LARGEST {
                    let message = format!("{} is larger than 1 MiB", path.display());
                    return Err(Unresolved::new(message, "is it the right file?"));
                }
                Ok((bytes, Some(metadata.mode())))
            }
            Self::Memory(files) => {
                let text = files.get(path);
                let text = text.ok_or_else(|| failed(&io::ErrorKind::NotFound.into()))?;
                Ok((text.clone().into_bytes(), None))
            }
        }
    }

    fn credential(&self, name: &str) -> Result<Vec<u8>, Unresolved> {
        let Some(path) = handed_over(name) else {
            return Err(Unresolved::new(
                "systemd has handed over no credentials ($CREDENTIALS_DIRECTORY is not set)",
                format!("run as a unit with `LoadCredential={name}:/path/to/file`"),
            ));
        };
        let is_plain = !name.is_empty() && !name.contains('/') && name != "..";
        if !is_plain {
            return Err(Unresolved::new(
                format!("`{name}` is no name of a credential"),
                "",
            ));
        }
        // systemd sees to the modes in there.
        self.note(&path, true);
        self.read(&path).map(|(bytes, _)| bytes)
    }
}

/// Where systemd puts a credential, if it hands over any.
fn handed_over(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY")?;
    Some(Path::new(&folder).join(name))
}

/// Opens a file to read it. A pipe that nobody writes to would be waited for until somebody does,
/// and a terminal would become this process's own: neither happens here.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

fn cannot_read(path: &Path, error: &io::Error) -> Unresolved {
    let shown = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => Unresolved::new(
            format!("there is no file {shown}"),
            if shown.to_string().contains("~/") || shown.to_string().contains('$') {
                "`~` and `$` mean nothing in a path; relative ones start at this file's folder"
            } else {
                "paths are relative to this file's folder"
            },
        ),
        io::ErrorKind::PermissionDenied if !confine::may_read(path) => Unresolved::new(
            format!(
                "{shown} may not be read: it lies in a folder that this process denied itself at its start"
            ),
            "restart it, or name the folder in `read` of [confine] next time",
        ),
        io::ErrorKind::PermissionDenied => {
            let user = rustix::process::geteuid().as_raw();
            let help =
                format!("this process runs as uid {user}: let it read the file, and nobody else");
            Unresolved::new(format!("{shown} may not be read"), help)
        }
        _ => Unresolved::new(format!("cannot read {shown}: {error}"), ""),
    }
}

/// Others may not read a secret's file, and nobody but its owner may write it. That a group may
/// read it is accepted: it is how one key serves several services.
fn judge(path: &Path, mode: u32, modes: Modes) -> Result<Option<String>, Unresolved> {
    let shown = path.display();
    let bits = mode & 0o7777;
    let fault = if mode & 0o004 != 0 {
        "may be read by everybody"
    } else if mode & 0o022 != 0 {
        "may be written by others than its owner"
    } else {
        return Ok(None);
    };
    let message = format!("{shown} {fault} (mode {bits:04o})");
    match modes {
        Modes::Warn => Ok(Some(message)),
        Modes::Refuse => {
            let help = format!(
                "`chmod 600 {shown}`, or `modes = \"warn\"` in [secrets] for a mount whose mode cannot be set"
            );
            Err(Unresolved::new(message, help))
        }
    }
}

/// The first text that one of the pointers leads to.
fn point(bytes: Vec<u8>, pointers: &[String], path: &Path) -> Result<Vec<u8>, Unresolved> {
    let bytes = Secret::new(bytes);
    let shown = path.display();
    let json: serde_json::Value = serde_json::from_slice(bytes.expose()).map_err(|error| {
        Unresolved::new(
            format!(
                "{shown} is not JSON (line {}, column {})",
                error.line(),
                error.column()
            ),
            "",
        )
    })?;
    let texts = pointers
        .iter()
        .filter_map(|pointer| json.pointer(pointer)?.as_str());
    let found = texts.map(str::to_owned).find(|text| !text.is_empty());
    found.map(String::into_bytes).ok_or_else(|| {
        let pointers: Vec<&str> = pointers.iter().map(String::as_str).collect();
        Unresolved::new(
            format!("{shown} has no text at {}", pointers.join(" or ")),
            "is it the right file?",
        )
    })
}

fn environment(name: &str) -> Result<Vec<u8>, Unresolved> {
    use std::os::unix::ffi::OsStringExt;
    let value = std::env::var_os(name);
    value.map(OsStringExt::into_vec).ok_or_else(|| {
        let message = format!("the environment variable {name} is not set");
        Unresolved::new(message, "set it where this process is started")
    })
}

/// What editors leave around a password without showing it, where that is one line. Text formats
/// do not mind it.
fn odd_ends(text: &str) -> Option<&'static str> {
    if text.trim().contains('\n') || text.starts_with('{') {
        None
    } else if text.starts_with('\u{feff}') {
        Some("begins with a byte order mark")
    } else if text.ends_with('\n') {
        Some("ends with a second newline")
    } else if text.trim() != text {
        Some("begins or ends with white space")
    } else {
        None
    }
}

/// Editors and `echo` end a text with a newline that is not part of the secret. Where the content is
/// no text, a key in DER or a shared secret of random bytes, the last byte is as good as any other.
fn without_newline(mut bytes: Vec<u8>) -> Secret {
    if bytes.last() == Some(&b'\n') && std::str::from_utf8(&bytes).is_ok() {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    Secret::new(bytes)
}
