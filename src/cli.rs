//! The command line: what was asked for, and with which exit code it ends.

use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::{Arg, Parser};

use crate::telemetry;

mod check;
mod demo;
mod emulate;
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

const HELP: &str = "\
countersign: plain requests go in, requests with a fresh bearer token go out over TLS

usage: countersign [COMMAND] [OPTIONS]

commands:
  serve                   run the proxy; the default
  check                   say whether a configuration can be used, and what is wrong with it
  check --online          and whether its targets can be reached and its credentials get tokens
  token NAME              get a token from a credential and print it, for scripts
  init [PRESET]           print a configuration for a preset, to paste and fill in; or list them
  keygen PRESET           make the key pair that a preset's vendor asks for; or a KIND of key
  keygen --public-of FILE print the public half of a key
  demo                    run the proxy against emulated vendors, without any configuration
  emulate VENDOR          run one emulated vendor, to put a proxy in front of

options:
  -c, --config FILE       the configuration (default: ./proxy.toml, else /etc/countersign/proxy.toml)
      --print             check: print the configuration as it will be in force, without secrets
      --header            token: print it as a header
      --claims            token: print what is in it instead
      --jwk               keygen --public-of: as a JSON Web Key
      --out FOLDER        keygen: where the files go (default: here)
                          emulate: leave a configuration for it there; without, no file is written
      --address ADDRESS   emulate: where to listen (default: 127.0.0.1:0, a free port)
  -h, --help              this text
  -V, --version           the version
";

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
    Help,
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
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
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
            other => return Err(other.unexpected().to_string()),
        };
        given.options.push(option);
    }
    command(given)
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
        [command, .., last] if COMMANDS.contains(command) => {
            Err(format!("`{last}` is too much for this command"))
        }
        [other, ..] => Err(format!("there is no command `{other}`")),
    }
}

/// Every command's word.
const COMMANDS: [&str; 7] = [
    "serve", "check", "token", "init", "demo", "emulate", "keygen",
];

/// The file in this folder, unless only the machine's is there.
fn default_config() -> PathBuf {
    let (here, machines) = (PathBuf::from("proxy.toml"), PathBuf::from(MACHINES));
    if !here.exists() && machines.exists() {
        machines
    } else {
        here
    }
}
