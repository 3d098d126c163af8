//! Which files were read, and what they were: how one sees that they have changed.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a file was, as far as one can tell without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Not the time of its content, which anybody may set, but that of its last change at all.
    changed: (i64, i64),
}

impl Stamp {
    /// What a file is now; `None` if it is not there. Links are followed: where a mount changes over
    /// by a link, it is another file that stands there.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// The files that a configuration was made of, each as it was just before it was read: a change
/// since then shows as another stamp.
#[derive(Clone, Debug, Default)]
pub struct Trail(Arc<Mutex<Traces>>);

#[derive(Debug, Default)]
struct Traces {
    files: BTreeMap<PathBuf, Trace>,
    runs_programs: bool,
}

/// One file of a [`Trail`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// What it was; `None` if it was not there.
    pub stamp: Option<Stamp>,
    /// Whether it holds a secret, which is looked after where it is used.
    pub is_secret: bool,
}

impl Trail {
    pub(super) fn note(&self, path: &Path, is_secret: bool) {
        let trace = Trace {
            stamp: Stamp::of(path),
            is_secret,
        };
        self.traces()
            .files
            .entry(path.to_path_buf())
            .or_insert(trace);
    }

    pub(super) fn note_program(&self) {
        self.traces().runs_programs = true;
    }

    /// All of them, by path.
    #[must_use]
    pub fn files(&self) -> BTreeMap<PathBuf, Trace> {
        self.traces().files.clone()
    }

    /// Whether a secret comes from a program.
    #[must_use]
    pub fn runs_programs(&self) -> bool {
        self.traces().runs_programs
    }

    fn traces(&self) -> MutexGuard<'_, Traces> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
