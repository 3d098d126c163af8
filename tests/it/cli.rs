//! The commands, run as an operator runs them.

mod check;
mod emulate;
mod init;
mod keygen;
mod online;
mod token;

use std::path::Path;
use std::process::{Command, Output};

use crate::support::canary;

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
    let output = command(folder, arguments)
        .output()
        .expect("the program runs");
    // These print a secret because they are asked to.
    if !["token", "keygen"].contains(&arguments[0]) {
        canary::output(&output.stdout);
    }
    canary::output(&output.stderr);
    output
}

/// What it wrote.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the program writes UTF-8")
}

/// Whoever lists the processes of a machine reads their arguments.
#[test]
fn no_command_takes_a_secret_as_an_argument() {
    let help = run(Path::new("."), &["--help"]);
    let help = text(&help.stdout);
    let (commands, options) = help.split_once("options:").expect("both");
    let takes = |line: &str| {
        let mut words = line.split_whitespace().filter(|it| !it.starts_with("-c"));
        let option = words.find(|it| it.starts_with("--"))?;
        let value = words
            .next()
            .filter(|it| it.bytes().all(|byte| byte.is_ascii_uppercase()))?;
        Some(format!("{option} {value}"))
    };
    let mut taken: Vec<String> = options.lines().filter_map(takes).collect();
    taken.extend(commands.lines().filter_map(takes));
    taken.sort();
    assert_eq!(
        taken,
        [
            "--address ADDRESS",
            "--config FILE",
            "--out FOLDER",
            "--public-of FILE"
        ],
        "none of these is a secret; is what is new here?"
    );
}
