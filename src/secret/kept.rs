//! A secret that others replace while we use it, kept on disk so that it outlives the process: a
//! refresh token, which some endpoints accept once and answer with the next.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Where it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    folder: PathBuf,
    /// Its file's name.
    name: String,
}

/// What stands in the file.
#[derive(Serialize, Deserialize)]
struct Content {
    /// What we were given to begin with. Another one now means that the operator has begun anew.
    given: String,
    /// What came last.
    last: String,
}

impl Kept {
    /// In a file of a folder, which follows from what it belongs to.
    #[must_use]
    pub fn new(folder: &Path, of: &str) -> Self {
        Self {
            folder: folder.to_owned(),
            name: format!("refresh-token-{:016x}.json", digest(of)),
        }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What came last of what was given; nothing if none has come yet.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or is not what was once written.
    pub fn load(&self, given: &str) -> io::Result<Option<String>> {
        let text = match fs::read(self.folder.join(&self.name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let content: Content = serde_json::from_slice(&text)?;
        Ok((content.given == given).then_some(content.last))
    }

    /// Keeps what came last. It is on the disk when this returns, whole or not at all.
    ///
    /// # Errors
    ///
    /// If it cannot be written: it is lost when the process ends, then.
    pub fn store(&self, given: String, last: String) -> io::Result<()> {
        let path = self.folder.join(&self.name);
        let new = self.folder.join(format!("{}.new", self.name));
        // One that a process has left behind when it was killed.
        let _ = fs::remove_file(&new);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&serde_json::to_vec(&Content { given, last })?)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        // The name is on the disk when its folder is.
        File::open(&self.folder)?.sync_all()
    }
}

/// FNV-1a: the same in every build, and no secret goes in.
fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
