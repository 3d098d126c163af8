//! The program: its arguments go to [`countersign::cli`], which gives back an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    countersign::cli::run(std::env::args_os().skip(1))
}
