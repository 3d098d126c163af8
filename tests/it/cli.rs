//! The commands, run as an operator runs them.

mod check;
mod emulate;
mod init;
mod keygen;
mod online;
mod token;

use std::path::Path;
use std::process::{Command, Output};

/// The built program, about to run in a folder.
pub(crate) fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command
        .args(arguments)
        .current_dir(folder)
        .env_remove("CREDENTIALS_DIRECTORY");
    command
}

/// Runs the built program in a folder.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments)
        .output()
        .expect("the program runs")
}

/// What it wrote.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the program writes UTF-8")
}
