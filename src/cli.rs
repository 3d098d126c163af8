//! The command line: what was asked for, and with which exit code it ends.

use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::{Arg, Parser};

use crate::config::problem::did_you_mean;
use crate::telemetry;

mod check;
mod demo;
mod emulate;
mod help;
mod init;
mod keygen;
mod online;
mod process;
mod serve;
mod token;
mod trouble;

/// Arguments that mean nothing (`EX_USAGE` of sysexits.h).
const USAGE: u8 = 64;
/// A configuration that cannot be used (`EX_CONFIG`).
const CONFIG: u8 = 78;

/// The machine's own configuration.
const MACHINES: &str = "/etc/countersign/proxy.toml";

/// What was asked for.
#[derive(Debug)]
enum Command {
    Serve {
        config: PathBuf,
    },
    Check {
        config: PathBuf,
        print: bool,
    },
    CheckOnline {
        config: PathBuf,
    },
    Token {
        config: PathBuf,
        name: String,
        form: token::Form,
    },
    Init {
        preset: Option<String>,
    },
    Demo,
    Emulate {
        vendor: Option<String>,
        address: Option<String>,
        out: Option<PathBuf>,
    },
    Keygen {
        preset: String,
        out: PathBuf,
    },
    PublicOf {
        file: PathBuf,
        jwk: bool,
    },
    Help(String),
    Version,
}

/// Runs the command that the arguments ask for.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match parse(Parser::from_args(arguments)) {
        Ok(command) => {
            let code = execute(command);
            telemetry::finish();
            code
        }
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
        Command::CheckOnline { config } => online::run(&config),
        Command::Token { config, name, form } => token::run(&config, &name, form),
        Command::Init { preset } => init::run(preset.as_deref()),
        Command::Demo => demo::run(),
        Command::Emulate {
            vendor,
            address,
            out,
        } => emulate::run(vendor.as_deref(), address.as_deref(), out.as_deref()),
        Command::Keygen { preset, out } => keygen::run(&preset, &out),
        Command::PublicOf { file, jwk } => keygen::public_of(&file, jwk),
        Command::Help(text) => say(&text),
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
    telemetry::say(&format!("countersign: {message}"));
    ExitCode::FAILURE
}

fn misused(message: impl std::fmt::Display, help: impl std::fmt::Display) -> ExitCode {
    eprintln!("countersign: {message}\n    help: {help}");
    ExitCode::from(USAGE)
}

/// The words and options as they were given.
#[derive(Default)]
struct Given {
    words: Vec<String>,
    wants_help: bool,
    /// Which options were given, whatever their values.
    options: Vec<&'static str>,
    config: Option<PathBuf>,
    out: Option<PathBuf>,
    public_of: Option<PathBuf>,
    address: Option<String>,
}

impl Given {
    fn has(&self, option: &str) -> bool {
        self.options.contains(&option)
    }

    /// Refuses options that the command does not know.
    fn only(&self, known: &[&str]) -> Result<(), String> {
        match self.options.iter().find(|it| !known.contains(it)) {
            Some(option) => Err(format!("`--{option}` means nothing to this command")),
            None => Ok(()),
        }
    }
}

fn parse(mut parser: Parser) -> Result<Command, String> {
    let mut given = Given::default();
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        let value = |parser: &mut Parser| parser.value().map_err(|error| error.to_string());
        let option = match argument {
            Arg::Short('h') | Arg::Long("help") => {
                given.wants_help = true;
                continue;
            }
            Arg::Short('V') | Arg::Long("version") => return Ok(Command::Version),
            Arg::Short('c') | Arg::Long("config") => {
                given.config = Some(value(&mut parser)?.into());
                "config"
            }
            Arg::Long("out") => {
                given.out = Some(value(&mut parser)?.into());
                "out"
            }
            Arg::Long("public-of") => {
                given.public_of = Some(value(&mut parser)?.into());
                "public-of"
            }
            Arg::Long("address") => {
                given.address = Some(value(&mut parser)?.to_string_lossy().into_owned());
                "address"
            }
            Arg::Long("print") => "print",
            Arg::Long("online") => "online",
            Arg::Long("header") => "header",
            Arg::Long("claims") => "claims",
            Arg::Long("jwk") => "jwk",
            Arg::Value(word) => {
                given.words.push(word.to_string_lossy().into_owned());
                continue;
            }
            Arg::Long(other) => {
                let dashed = help::OPTIONS.map(|it| format!("--{it}"));
                let known = dashed.iter().map(String::as_str);
                let name = format!("--{other}");
                return Err(format!(
                    "there is no option `{name}`: {}",
                    did_you_mean(&name, known)
                ));
            }
            other => return Err(other.unexpected().to_string()),
        };
        given.options.push(option);
    }
    if given.wants_help {
        return help(&given);
    }
    command(given)
}

/// The text about the command that was named, or about all.
fn help(given: &Given) -> Result<Command, String> {
    let text = match given.words.first() {
        None => help::ALL.to_owned(),
        Some(word) => {
            let text = help::of(word).ok_or_else(|| no_command(word))?;
            let choices = if word == "keygen" {
                keygen::choices() + "\n"
            } else {
                String::new()
            };
            format!("{text}{choices}")
        }
    };
    Ok(Command::Help(text))
}

fn no_command(word: &str) -> String {
    let known = help::COMMANDS.iter().map(|(name, _)| *name);
    format!(
        "there is no command `{word}`: {}",
        did_you_mean(word, known)
    )
}

fn command(given: Given) -> Result<Command, String> {
    let words: Vec<&str> = given.words.iter().map(String::as_str).collect();
    let config = || given.config.clone().unwrap_or_else(default_config);
    match words.as_slice() {
        [] if given.has("public-of") => Err("`--public-of` belongs to keygen".into()),
        [] | ["serve"] => {
            given.only(&["config"])?;
            Ok(Command::Serve { config: config() })
        }
        ["check"] if given.has("online") => {
            given.only(&["config", "online"])?;
            Ok(Command::CheckOnline { config: config() })
        }
        ["check"] => {
            given.only(&["config", "print"])?;
            Ok(Command::Check {
                config: config(),
                print: given.has("print"),
            })
        }
        ["token", name] => {
            given.only(&["config", "header", "claims"])?;
            let form = match (given.has("header"), given.has("claims")) {
                (true, true) => return Err("`--header` and `--claims` are two things".into()),
                (true, false) => token::Form::Header,
                (false, true) => token::Form::Claims,
                (false, false) => token::Form::Bare,
            };
            Ok(Command::Token {
                config: config(),
                name: (*name).to_owned(),
                form,
            })
        }
        ["token"] => Err("token of which credential? Write `countersign token NAME`".into()),
        ["init"] | ["init", _] => {
            given.only(&[])?;
            let preset = words.get(1).map(|name| (*name).to_owned());
            Ok(Command::Init { preset })
        }
        ["demo"] => {
            given.only(&[])?;
            Ok(Command::Demo)
        }
        ["emulate"] | ["emulate", _] => {
            given.only(&["address", "out"])?;
            Ok(Command::Emulate {
                vendor: words.get(1).map(|name| (*name).to_owned()),
                address: given.address,
                out: given.out,
            })
        }
        ["keygen"] => {
            given.only(&["public-of", "jwk"])?;
            let jwk = given.has("jwk");
            match given.public_of {
                Some(file) => Ok(Command::PublicOf { file, jwk }),
                None => Err(format!("keygen for which preset? {}", keygen::choices())),
            }
        }
        ["keygen", preset] => {
            given.only(&["out"])?;
            let out = given.out.clone().unwrap_or_else(|| PathBuf::from("."));
            Ok(Command::Keygen {
                preset: (*preset).to_owned(),
                out,
            })
        }
        [command, .., last] if help::of(command).is_some() => {
            Err(format!("`{last}` is too much for this command"))
        }
        [other, ..] => Err(no_command(other)),
    }
}

/// The file in this folder, unless only the machine's is there.
fn default_config() -> PathBuf {
    let (here, machines) = (PathBuf::from("proxy.toml"), PathBuf::from(MACHINES));
    if !here.exists() && machines.exists() {
        machines
    } else {
        here
    }
}
