//! What `--help` prints: of all commands together, and of each.

/// Of all together.
pub(super) const ALL: &str = "\
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
  -h, --help              this text; `countersign COMMAND --help` for one command
  -V, --version           the version
";

const SERVE: &str = "\
countersign serve: run the proxy, which `countersign` alone does, too

usage: countersign [serve] [--config FILE]

  -c, --config FILE       the configuration (default: ./proxy.toml, else /etc/countersign/proxy.toml)

SIGHUP has the configuration read again, as every change of its files does. SIGTERM and Ctrl-C finish
what is under way; a second one ends at once. It ends with 78 if the configuration cannot be used.
";

const CHECK: &str = "\
countersign check: say whether a configuration can be used, and all that is wrong with it

usage: countersign check [--config FILE] [--print]
       countersign check [--config FILE] --online

  -c, --config FILE       the configuration (default: ./proxy.toml, else /etc/countersign/proxy.toml)
      --print             print it as it will be in force, presets expanded and secrets left out
      --online            reach each target and get one token from each credential, too

It ends with 0 if all is well, 78 if the file cannot be used, and 1 if something beyond it fails.
";

const TOKEN: &str = "\
countersign token: get one token from a credential and print it, for scripts

usage: countersign token NAME [--config FILE] [--header | --claims]

  -c, --config FILE       the configuration (default: ./proxy.toml, else /etc/countersign/proxy.toml)
      --header            print it as the header that it goes out in
      --claims            print what is in it instead
";

const INIT: &str = "\
countersign init: print a configuration for a preset, to paste and fill in

usage: countersign init [PRESET]

Without a preset it lists them.
";

const KEYGEN: &str = "\
countersign keygen: make a key pair, or print the public half of a key that exists

usage: countersign keygen PRESET [--out FOLDER]
       countersign keygen KIND [--out FOLDER]
       countersign keygen --public-of FILE [--jwk]

      --out FOLDER        where the files go (default: here); it is made if it is not there
      --public-of FILE    print the public half of this private key
      --jwk               as a JSON Web Key

";

const DEMO: &str = "\
countersign demo: run the proxy against emulated vendors, in memory and without any configuration

usage: countersign demo
";

const EMULATE: &str = "\
countersign emulate: run one emulated vendor, to put a proxy in front of

usage: countersign emulate VENDOR [--address ADDRESS] [--out FOLDER]

      --address ADDRESS   where to listen (default: 127.0.0.1:0, a free port)
      --out FOLDER        leave a configuration for it there; without, no file is written
";

/// Every command's word, with its own text.
pub(super) const COMMANDS: [(&str, &str); 7] = [
    ("serve", SERVE),
    ("check", CHECK),
    ("token", TOKEN),
    ("init", INIT),
    ("demo", DEMO),
    ("emulate", EMULATE),
    ("keygen", KEYGEN),
];

/// Every option that is written out.
pub(super) const OPTIONS: [&str; 11] = [
    "config",
    "print",
    "online",
    "header",
    "claims",
    "jwk",
    "out",
    "address",
    "public-of",
    "help",
    "version",
];

/// The text of one command.
pub(super) fn of(command: &str) -> Option<&'static str> {
    let found = COMMANDS.iter().find(|(name, _)| *name == command);
    found.map(|(_, text)| *text)
}
