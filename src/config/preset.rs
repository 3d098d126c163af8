//! Presets: a vendor described as data, so that one more vendor is one more file.
//!
//! Here is what a preset is, which ones are known, and how one is read and checked. Below, `input`
//! takes what the operator gives, `expand` puts that in, and `advice` is what is said of mistakes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::keys::{CREDENTIAL, PRESET};
use super::kind::one_table;
use super::problem::{Problems, Source, Span, did_you_mean};
use super::read::Reader;
use super::tree::{self, Node, Piece, Table, Value};
use crate::credential::template::Blank;
use crate::jws::KeyKind;
use crate::secret::store::Store;
use advice::{Lint, read_guide, read_lint};
use input::read_input;

mod advice;
mod expand;
mod input;

pub use advice::{Guide, Hint};
pub use expand::Expanded;
pub use input::{Input, InputKind};

/// The presets that come with the program: name and text.
pub const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/presets.rs"));

/// The sources a preset can expand into, and a credential can be written out as.
pub const SOURCES: [&str; 4] = ["self-signed", "exchange", "login", "static"];

/// What stands in a configuration that is still to be filled in.
pub const BLANK: &str = "CHANGE-ME";

/// A vendor described as data.
#[derive(Debug)]
pub struct Preset {
    /// The name, which is a credential's KIND.
    pub name: String,
    /// The system and its API, in a few words.
    pub about: String,
    /// The vendor's page.
    pub reference: String,
    /// What the operator gives.
    pub inputs: Vec<Input>,
    /// The key pair that `keygen` makes.
    pub key: Option<KeyPair>,
    source: String,
    credential: Node,
    target: Node,
    lints: Vec<Lint>,
    guide: Arc<Guide>,
}

/// The key pair that a vendor asks for.
#[derive(Debug)]
pub struct KeyPair {
    /// The kind of key.
    pub kind: String,
    /// The file for the private key.
    pub private: String,
    /// The file for the public key.
    pub public: String,
    /// What to do with the public key.
    pub next: String,
}

/// All presets that are known.
#[derive(Debug, Default)]
pub struct Known {
    /// Those that can be used.
    pub presets: Vec<Preset>,
    /// The names of those that have faults.
    pub broken: Vec<String>,
}

impl Known {
    fn add(&mut self, name: &str, shown: &str, text: &str, problems: &Problems) {
        match Preset::parse(name, shown, text, problems) {
            Some(preset) => self.presets.push(preset),
            None => self.broken.push(name.to_owned()),
        }
    }

    /// The preset of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Preset> {
        self.presets.iter().find(|preset| preset.name == name)
    }
}

/// The built-in presets, and those of the operator's folder.
#[must_use]
pub fn known(store: &Store, folder: Option<(&Path, &Span)>, problems: &Problems) -> Known {
    let mut known = Known::default();
    for (name, text) in BUILT_IN {
        known.add(name, &format!("preset {name}"), text, problems);
    }
    let Some((folder, at)) = folder else {
        return known;
    };
    store.note(folder, false);
    let files = match toml_files(folder) {
        Ok(files) => files,
        Err(error) => {
            let message = format!("cannot read the folder {}: {error}", folder.display());
            problems.fault(at, message, "paths are relative to this file's folder");
            return known;
        }
    };
    for path in files {
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        // An editor's backup or lock.
        if name.starts_with('.') {
            continue;
        }
        if known.get(&name).is_some() || SOURCES.contains(&name.as_str()) {
            let message = format!("{} has the name of a built-in kind", path.display());
            problems.fault(at, message, "a preset of yours needs a name of its own");
            continue;
        }
        match store.read_text(&path) {
            Ok(text) => {
                known.add(&name, &path.display().to_string(), &text, problems);
            }
            Err(error) => {
                problems.fault(at, error.message, error.help);
                known.broken.push(name);
            }
        }
    }
    known
}

/// The TOML files of a folder, by name.
fn toml_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|it| it == "toml"))
        .collect();
    files.sort();
    Ok(files)
}

impl Preset {
    fn parse(name: &str, shown: &str, text: &str, problems: &Problems) -> Option<Self> {
        let source = Arc::new(Source {
            name: shown.to_owned(),
            text: text.to_owned(),
        });
        let found = Problems::default();
        let root = tree::parse(&source, &found);
        if found.has_faults() {
            problems.append(found);
            return None;
        }
        let Value::Table(table) = &root.value else {
            unreachable!("a document is a table")
        };
        let reader = Reader::new(&PRESET, "the preset", table, &root.at, &found);
        let preset = Self::read(name, &reader);
        if let Some(preset) = &preset {
            preset.check(&found);
        }
        let is_usable = !found.has_faults();
        problems.append(found);
        preset.filter(|_| is_usable)
    }

    fn read(name: &str, reader: &Reader<'_>) -> Option<Self> {
        let inputs = reader
            .named("inputs", read_input)
            .into_iter()
            .flatten()
            .collect();
        let lints = reader
            .tables("lint", read_lint)
            .into_iter()
            .flatten()
            .collect();
        let credential = reader.node("credential")?;
        // Of another kind: noted already.
        let Value::Table(kinds) = &credential.value else {
            return None;
        };
        let (source, table, at) = one_table(
            "credential",
            kinds,
            &credential.at,
            &SOURCES,
            reader.problems(),
        )?;
        let target = reader.node("target").unwrap_or_else(|| Node {
            value: Value::Table(Table::default()),
            at: reader.at().clone(),
            given: None,
        });
        Some(Self {
            name: name.to_owned(),
            about: reader.text("about")?.value,
            reference: reader.text("reference")?.value,
            inputs,
            key: reader.table("key", read_key_pair).flatten(),
            source,
            credential: Node {
                value: Value::Table(table),
                at,
                given: None,
            },
            target,
            lints,
            guide: Arc::new(read_guide(reader)),
        })
    }

    /// The input of that name.
    #[must_use]
    pub fn input(&self, name: &str) -> Option<&Input> {
        self.inputs.iter().find(|input| input.name == name)
    }

    /// What it knows about refusals.
    #[must_use]
    pub fn guide(&self) -> &Arc<Guide> {
        &self.guide
    }

    /// The target's URL as the preset has it, with the inputs' names in it.
    #[must_use]
    pub fn url(&self) -> Option<String> {
        match &self.target.value {
            Value::Table(table) => match &table.get("url")?.node.value {
                Value::List(urls) => urls.first().map(as_written),
                _ => Some(as_written(&table.get("url")?.node)),
            },
            _ => None,
        }
    }

    /// Checks that the parts fit each other: what one names, another is.
    fn check(&self, problems: &Problems) {
        self.check_variables(problems);
        self.check_files(problems);
        self.check_defaults(problems);
        self.check_lints(problems);
    }

    /// Every variable of a preset is an input of it or a blank of the token.
    fn check_variables(&self, problems: &Problems) {
        for node in [&self.credential, &self.target] {
            node.for_each_text(&mut |text, at| {
                for name in text.variables().filter(|it| Blank::named(it).is_none()) {
                    match self.input(name) {
                        None => self.note_no_input(name, at, problems),
                        Some(input) if text.as_variable().is_none() => {
                            input.check_as_part(at, problems);
                        }
                        Some(_) => {}
                    }
                }
            });
        }
    }

    /// An input that is read from a file stands behind the input that is the file.
    fn check_files(&self, problems: &Problems) {
        for (place, input) in self.inputs.iter().enumerate() {
            let Some((file, _)) = &input.inside else {
                continue;
            };
            let before = &self.inputs[..place];
            let is_file = |it: &Input| it.name == *file && it.kind == InputKind::Secret;
            if !before.iter().any(is_file) {
                let message = format!(
                    "`{}` is said to be in `{file}`, which is no secret that stands before it",
                    input.name
                );
                let help = "the file is an input of the type `secret`";
                problems.fault(&input.at, message, help);
            }
        }
    }

    /// A default is of its input's type, and may name the inputs that stand before it.
    fn check_defaults(&self, problems: &Problems) {
        for (place, input) in self.inputs.iter().enumerate() {
            let Some(default) = input.default.as_ref().filter(|_| input.goes_into_claims()) else {
                continue;
            };
            if !input.kind.takes(&default.value) {
                let found = default.value.kind();
                let message = format!("the default of `{}` cannot be {found}", input.name);
                problems.fault(&default.at, message, "it is of the input's own type");
            }
            let before = self.inputs[..place].iter().map(|it| it.name.as_str());
            default.for_each_text(&mut |text, at| {
                for name in text.variables() {
                    if !before.clone().any(|it| it == name) {
                        let message =
                            format!("`{name}` is no input that stands before `{}`", input.name);
                        problems.fault(at, message, did_you_mean(name, before.clone()));
                    }
                }
            });
        }
    }

    /// A lint looks at inputs, and at keys that every credential takes.
    fn check_lints(&self, problems: &Problems) {
        for (name, at) in self.lints.iter().flat_map(Lint::inputs) {
            if self.input(name).is_none() && !CREDENTIAL.contains(&name) {
                self.note_no_input(name, at, problems);
            }
        }
    }

    fn note_no_input(&self, name: &str, at: &Span, problems: &Problems) {
        let known = self.inputs.iter().map(|input| input.name.as_str());
        let message = format!("`{name}` is no input of this preset");
        problems.fault(at, message, did_you_mean(name, known));
    }
}

/// A text as it was written.
fn as_written(node: &Node) -> String {
    let Value::Text(text) = &node.value else {
        return String::new();
    };
    text.pieces
        .iter()
        .map(|piece| match piece {
            Piece::Literal(text) => text.clone(),
            Piece::Variable(name) => format!("${{{name}}}"),
        })
        .collect()
}

fn read_key_pair(reader: &Reader<'_>) -> Option<KeyPair> {
    let text = |name| reader.text(name).map(|given| given.value);
    let kind = reader.parsed("kind", |text| match text.parse::<KeyKind>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("`{text}` is {error}")),
    });
    let (kind, private) = (kind.map(|given| given.value), text("private"));
    Some(KeyPair {
        kind: kind?,
        private: private?,
        public: text("public")?,
        next: text("next")?,
    })
}
