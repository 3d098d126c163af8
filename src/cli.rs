//! The command line: what was asked for, and with which exit code it ends.

use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::{Arg, Parser};

mod check;
mod demo;
mod keygen;
mod process;
mod serve;

/// Arguments that mean nothing (`EX_USAGE` of sysexits.h).
const USAGE: u8 = 64;
/// A configuration that cannot be used (`EX_CONFIG`).
const CONFIG: u8 = 78;

const HELP: &str = "\
countersign: plain requests go in, requests with a fresh bearer token go out over TLS

usage: countersign [COMMAND] [OPTIONS]

commands:
  serve                   run the proxy; the default
  check                   say whether a configuration can be used, and what is wrong with it
  demo                    run the proxy against emulated vendors, without any configuration
  keygen PRESET           make the key pair that a preset's vendor asks for
  keygen --public-of FILE print the public half of a key

options:
  -c, --config FILE       the configuration (default: ./proxy.toml, else /etc/countersign/proxy.toml)
      --print             check: print the configuration as it will be in force, without secrets
      --out FOLDER        keygen: where the files go (default: here)
  -h, --help              this text
  -V, --version           the version
";

/// What was asked for.
#[derive(Debug)]
enum Command {
    Serve { config: PathBuf },
    Check { config: PathBuf, print: bool },
    Demo,
    Keygen { preset: String, out: PathBuf },
    PublicOf { file: PathBuf },
    Help,
    Version,
}

/// Runs the command that the arguments ask for.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match parse(Parser::from_args(arguments)) {
        Ok(command) => execute(command),
        Err(error) => {
            eprintln!("countersign: {error}\n\n`countersign --help` shows what there is");
            ExitCode::from(USAGE)
        }
    }
}

fn execute(command: Command) -> ExitCode {
    match command {
        Command::Serve { config } => serve::run(&config),
        Command::Check { config, print } => check::run(&config, print),
        Command::Demo => demo::run(),
        Command::Keygen { preset, out } => keygen::run(&preset, &out),
        Command::PublicOf { file } => keygen::public_of(&file),
        Command::Help => say(HELP),
        Command::Version => say(concat!("countersign ", env!("CARGO_PKG_VERSION"), "\n")),
    }
}

fn say(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        // Who reads the first line only has what they want.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => fail(error),
        _ => ExitCode::SUCCESS,
    }
}

fn fail(message: impl std::fmt::Display) -> ExitCode {
    eprintln!("countersign: {message}");
    ExitCode::FAILURE
}

/// The words and options as they were given.
#[derive(Default)]
struct Given {
    words: Vec<String>,
    config: Option<PathBuf>,
    print: bool,
    out: Option<PathBuf>,
    public_of: Option<PathBuf>,
}

fn parse(mut parser: Parser) -> Result<Command, String> {
    let mut given = Given::default();
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        let path = |parser: &mut Parser| {
            parser
                .value()
                .map(PathBuf::from)
                .map_err(|error| error.to_string())
        };
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
            Arg::Short('V') | Arg::Long("version") => return Ok(Command::Version),
            Arg::Short('c') | Arg::Long("config") => given.config = Some(path(&mut parser)?),
            Arg::Long("print") => given.print = true,
            Arg::Long("out") => given.out = Some(path(&mut parser)?),
            Arg::Long("public-of") => given.public_of = Some(path(&mut parser)?),
            Arg::Value(word) => given.words.push(word.to_string_lossy().into_owned()),
            other => return Err(other.unexpected().to_string()),
        }
    }
    command(given)
}

fn command(given: Given) -> Result<Command, String> {
    let words: Vec<&str> = given.words.iter().map(String::as_str).collect();
    let config = || given.config.clone().unwrap_or_else(default_config);
    let takes = |config: bool, print: bool, out: bool| {
        let stray = [
            ("--config", given.config.is_some() && !config),
            ("--print", given.print && !print),
            ("--out", given.out.is_some() && !out),
        ];
        match stray.iter().find(|(_, is_stray)| *is_stray) {
            Some((option, _)) => Err(format!("`{option}` means nothing to this command")),
            None => Ok(()),
        }
    };
    match (words.as_slice(), &given.public_of) {
        ([] | ["serve"], None) => {
            takes(true, false, false)?;
            Ok(Command::Serve { config: config() })
        }
        (["check"], None) => {
            takes(true, true, false)?;
            Ok(Command::Check {
                config: config(),
                print: given.print,
            })
        }
        (["demo"], None) => {
            takes(false, false, false)?;
            Ok(Command::Demo)
        }
        (["keygen"], Some(file)) => {
            takes(false, false, false)?;
            Ok(Command::PublicOf { file: file.clone() })
        }
        (["keygen", preset], None) => {
            takes(false, false, true)?;
            let out = given.out.clone().unwrap_or_else(|| PathBuf::from("."));
            Ok(Command::Keygen {
                preset: (*preset).to_owned(),
                out,
            })
        }
        (["keygen"], None) => Err(format!("keygen for which preset? {}", keygen::choices())),
        (["serve" | "check" | "demo" | "keygen", ..], _) => Err(format!(
            "`{}` is too much for this command",
            words.last().unwrap_or(&"")
        )),
        ([], Some(_)) => Err("`--public-of` belongs to keygen".into()),
        ([other, ..], _) => Err(format!("there is no command `{other}`")),
    }
}

/// The file in this folder, if there is one; else the machine's.
fn default_config() -> PathBuf {
    let here = PathBuf::from("proxy.toml");
    if here.exists() {
        here
    } else {
        PathBuf::from("/etc/countersign/proxy.toml")
    }
}
