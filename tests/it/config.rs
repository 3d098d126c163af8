//! `proxy.toml` and presets: what is accepted, what is said of the rest, and what is in force.

mod example;
mod faults;
mod kinds;
mod odd;
mod presets;
mod sources;

use std::fs;
use std::path::Path;

use countersign::config::{self, Loaded};
use countersign::secret::store::Store;

use crate::support::Folder;

/// Reads a configuration as if it stood in this folder; the error is what an operator would see.
fn parse(folder: &Folder, text: &str) -> Result<Loaded, String> {
    config::parse("proxy.toml", text, folder.path(), &Store::Disk)
        .map_err(|problems| without_place(folder, &problems.to_string()))
}

/// A message without the name of the folder that this run has made up.
fn without_place(folder: &Folder, text: &str) -> String {
    text.replace(&folder.path().display().to_string(), "FOLDER")
}

/// Compares with the file of what is expected, or writes it if `COUNTERSIGN_UPDATE` is set.
fn expect(file: &Path, found: &str, wrong: &mut Vec<String>) {
    if std::env::var_os("COUNTERSIGN_UPDATE").is_some() {
        fs::write(file, found).expect("the source folder can be written");
        return;
    }
    let wanted = fs::read_to_string(file).unwrap_or_default();
    if wanted != found {
        wrong.push(format!(
            "{}\n--- wanted\n{wanted}--- found\n{found}",
            file.display()
        ));
    }
}
