//! The configuration as a running proxy reads it: again and again.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Loaded, load};
use crate::app::reload::{Origin, Reading};
use crate::secret::store::Store;
use crate::secret::trail::Trail;

/// A file as the origin of a configuration. `trail` is what it was made of when it was read first.
#[must_use]
pub fn origin(path: PathBuf, trail: Trail) -> Origin {
    Origin {
        read: Arc::new(move || read(&path)),
        trail,
    }
}

fn read(path: &std::path::Path) -> Reading {
    let trail = Trail::default();
    let store = Store::Noted(trail.clone());
    let texts = |problems: &super::problem::Problems| {
        let sorted = problems.sorted();
        sorted.iter().map(ToString::to_string).collect()
    };
    let outcome = match load(path, &store) {
        Ok(Loaded {
            config, warnings, ..
        }) => Ok((Box::new(config), texts(&warnings))),
        Err(problems) => Err(texts(&problems)),
    };
    Reading { outcome, trail }
}
