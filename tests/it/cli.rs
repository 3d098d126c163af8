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

#[test]
fn each_command_has_a_help_of_its_own() {
    let all = text(&run(Path::new("."), &["--help"]).stdout);
    let commands = [
        "serve", "check", "token", "init", "demo", "emulate", "keygen",
    ];
    for command in commands {
        assert!(all.contains(&format!("\n  {command} ")), "{command}");
        for arguments in [[command, "--help"], ["-h", command]] {
            let output = run(Path::new("."), &arguments);
            let said = text(&output.stdout);
            assert_eq!(output.status.code(), Some(0), "{command}");
            assert!(
                said.starts_with(&format!("countersign {command}: ")),
                "{said}"
            );
            assert!(
                said.contains(&format!("usage: countersign {command}")) || command == "serve",
                "{said}"
            );
        }
    }
    let keygen = text(&run(Path::new("."), &["keygen", "--help"]).stdout);
    assert!(
        keygen.contains("`vdr`") && keygen.contains("ec-p521"),
        "{keygen}"
    );
}

#[test]
fn a_word_that_is_nearly_one_is_told_which() {
    for (arguments, said) in [
        (
            &["chek"][..],
            "there is no command `chek`: did you mean `check`?",
        ),
        (&["chek", "--help"], "did you mean `check`?"),
        (
            &["check", "--onlin"],
            "there is no option `--onlin`: did you mean `--online`?",
        ),
        (&["keygen", "--public-off=x"], "did you mean `--public-of`?"),
    ] {
        let output = run(Path::new("."), arguments);
        assert_eq!(output.status.code(), Some(64));
        let err = text(&output.stderr);
        assert!(err.contains(said), "{said} is missing in {err}");
    }
}
