//! `countersign keygen`: the key pair that a preset's vendor asks for, and the public half of a key
//! that exists.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::ExitCode;

use super::CONFIG;
use crate::config::preset::{self, KeyPair, Preset};
use crate::config::problem::{Problems, did_you_mean};
use crate::jws::{self, KeyKind};
use crate::secret::store::{Modes, Reference, Store};

/// Only the owner may read a private key.
pub(super) const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// Makes a preset's key pair in a folder. A file that exists is never written over.
pub(super) fn run(name: &str, folder: &Path) -> ExitCode {
    let problems = Problems::default();
    let known = preset::known(&Store::Disk, None, &problems);
    let pair = match (known.get(name), name.parse::<KeyKind>()) {
        (Some(preset), _) => match &preset.key {
            Some(pair) => Wanted::of(pair),
            None => return super::fail(format!("the preset `{name}` needs no key pair")),
        },
        (None, Ok(kind)) => Some(Wanted {
            kind,
            private: format!("{name}-private.pem"),
            public: format!("{name}-public.pem"),
            next: "give it to whoever is to verify what the private one signs".to_owned(),
        }),
        (None, Err(_)) => {
            let known = with_keys(&known.presets).map(|preset| preset.name.as_str());
            let known: Vec<&str> = known.chain(KeyKind::ALL.map(KeyKind::name)).collect();
            let help = did_you_mean(name, known.iter().copied());
            return super::misused(format!("there is no preset `{name}`"), help);
        }
    };
    let Some(pair) = pair else {
        return super::fail(format!("the preset `{name}` wants a key of unknown kind"));
    };
    let kind = pair.kind;
    let (private, public) = (folder.join(&pair.private), folder.join(&pair.public));
    for path in [&private, &public] {
        if path.exists() {
            return super::fail(format!(
                "{} exists already, and a key that is in use must not be lost; move it or use --out FOLDER",
                path.display()
            ));
        }
    }
    // Nobody else is to look into a folder of keys.
    if let Err(error) = DirBuilder::new().recursive(true).mode(0o700).create(folder) {
        return super::fail(format!(
            "cannot make the folder {}: {error}",
            folder.display()
        ));
    }
    let keys = jws::generate(kind);
    if let Err(error) = write(&private, keys.private_pem.expose(), PRIVATE) {
        return super::fail(format!("cannot write {}: {error}", private.display()));
    }
    if let Err(error) = write(&public, keys.public_pem.as_bytes(), PUBLIC) {
        // Half a pair is of no use, and would be in the way of the next try.
        let _ = fs::remove_file(&private);
        return super::fail(format!("cannot write {}: {error}", public.display()));
    }
    super::say(&format!(
        "{}  the private key ({kind}, mode 0600): keep it here\n{}  the public key: {}\n",
        private.display(),
        public.display(),
        pair.next
    ))
}

/// What is to be made.
struct Wanted {
    kind: KeyKind,
    private: String,
    public: String,
    next: String,
}

impl Wanted {
    fn of(pair: &KeyPair) -> Option<Self> {
        Some(Self {
            kind: pair.kind.parse().ok()?,
            private: pair.private.clone(),
            public: pair.public.clone(),
            next: pair.next.clone(),
        })
    }
}

/// Writes a file that did not exist, or leaves none.
pub(super) fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content).inspect_err(|_| {
        let _ = fs::remove_file(path);
    })
}

/// Prints the public half of a private key, as PEM or as a JSON Web Key.
pub(super) fn public_of(file: &Path, as_jwk: bool) -> ExitCode {
    let reference = Reference::file(file);
    let read = Store::Disk.resolve(&reference, Path::new(""), Some(Modes::Warn));
    let resolved = match read {
        Ok(resolved) => resolved,
        Err(error) => {
            eprintln!("countersign: {}", error.message);
            return ExitCode::from(CONFIG);
        }
    };
    if is_public(resolved.secret.expose()) {
        eprintln!(
            "countersign: {} is a public key already: it can be given away as it is; --public-of wants the private one",
            file.display()
        );
        return ExitCode::from(CONFIG);
    }
    if let Some(warning) = resolved.warning {
        eprintln!("countersign: warning: {warning}");
    }
    let public = if as_jwk {
        jws::public_jwk(&resolved.secret).map(|jwk| format!("{jwk:#}\n"))
    } else {
        jws::public_of(&resolved.secret)
    };
    match public {
        Ok(public) => super::say(&public),
        Err(error) => {
            eprintln!("countersign: {}: {error}", file.display());
            ExitCode::from(CONFIG)
        }
    }
}

/// Whether a text is a public key in PEM.
fn is_public(text: &[u8]) -> bool {
    let has = |label: &[u8]| text.windows(label.len()).any(|it| it == label);
    has(b" PUBLIC KEY-----") && !has(b" PRIVATE KEY-----")
}

/// The presets that have a key pair, in a sentence.
pub(super) fn choices() -> String {
    let presets = preset::known(&Store::Disk, None, &Problems::default());
    let names: Vec<String> = with_keys(&presets.presets)
        .map(|preset| format!("`{}`", preset.name))
        .collect();
    let kinds = KeyKind::ALL.map(KeyKind::name).join(", ");
    format!(
        "known: {}; or give a kind of key: {kinds}",
        names.join(", ")
    )
}

fn with_keys(presets: &[Preset]) -> impl Iterator<Item = &Preset> {
    presets.iter().filter(|preset| preset.key.is_some())
}
