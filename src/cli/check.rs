//! `countersign check`: whether a configuration can be used.

use std::path::Path;
use std::process::ExitCode;

use super::CONFIG;
use crate::config::problem::Problems;
use crate::config::{self, Loaded};
use crate::listener::Address;
use crate::secret::store::Store;

/// Reads the file and says what is wrong with it, or prints what will be in force.
pub(super) fn run(path: &Path, print: bool) -> ExitCode {
    let Loaded {
        config,
        warnings,
        shown,
        ..
    } = match config::load(path, &Store::Disk) {
        Ok(loaded) => loaded,
        Err(problems) => return refuse(&problems, path),
    };
    eprint!("{warnings}");
    for listener in config
        .listeners
        .iter()
        .filter(|it| it.address.is_local() == Some(false) && !it.is_guarded())
    {
        eprintln!(
            "note: whoever can reach {} (listener `{}`) can use the credentials",
            listener.address, listener.name
        );
    }
    if let Some(Address::Ip(address)) = config.admin.as_ref().map(|it| &it.address)
        && !address.ip().is_loopback()
    {
        eprintln!(
            "note: whoever can reach {address} ([admin]) can see how all is doing, reload it and have credentials renewed"
        );
    }
    if print {
        return super::say(&shown);
    }
    super::say(&format!(
        "{} can be used: {}, {}, {}\n",
        path.display(),
        count(config.listeners.len(), "listener"),
        count(config.credentials.len(), "credential"),
        count(config.targets.len(), "target"),
    ))
}

/// Says what is wrong with a configuration.
pub(super) fn refuse(problems: &Problems, path: &Path) -> ExitCode {
    eprint!("{problems}");
    let faults = count(problems.faults(), "fault");
    eprintln!("countersign: {} cannot be used: {faults}", path.display());
    ExitCode::from(CONFIG)
}

/// How many there are of something, in words.
pub(super) fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
