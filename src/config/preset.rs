//! Presets: a vendor described as data, expanded into a source and a target's defaults.
//!
//! An input is put in for `${name}` once, in parsed strings; a value that is exactly `${name}`
//! keeps the input's type, and a key whose value is an input that was not given is left out. There
//! are no conditions. What the token's own blanks are (`${now}` and the like) stays for the source.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::de::IgnoredAny;

use super::Context;
use super::keys::{self, CREDENTIAL, PRESET};
use super::problem::{Problems, Severity, Source, Span, did_you_mean, known_here};
use super::read::{Given, Reader};
use super::tree::{self, Entry, Node, Piece, Table, Text, Value};
use super::units;
use crate::credential::template::Blank;
use crate::jws::KeyKind;
use crate::secret::store::{Reference, Store};

/// The presets that come with the program: name and text.
pub const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/presets.rs"));

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
}

/// What the operator gives.
#[derive(Debug)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// What it takes.
    pub kind: InputKind,
    /// Whether it must be given.
    pub required: bool,
    /// What holds if it is left out; it may name the inputs before it.
    pub default: Option<Node>,
    /// What it is and where the operator finds it.
    pub doc: String,
    /// Words that may be given, each with what it stands for.
    choices: Vec<(String, String)>,
    /// What a list is joined with to be one text.
    join: Option<String>,
    /// Whether it is put in in lower case.
    lower: bool,
    /// Where it stands.
    at: Span,
    /// The input that is a JSON file with this one in it, and where in it.
    inside: Option<(String, Vec<String>)>,
}

/// What an input takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// A string, or a reference to one.
    Text,
    /// One part of a host name, or a reference to one.
    Label,
    /// An https URL.
    Url,
    /// A whole number from 0.
    Integer,
    /// A list of strings.
    Texts,
    /// A duration.
    Duration,
    /// A reference to a key, a password or a shared secret.
    Secret,
    /// A table whose strings may name the other inputs.
    Claims,
}

impl InputKind {
    /// Whether a default can be this.
    fn takes(self, value: &Value) -> bool {
        match self {
            Self::Text | Self::Label | Self::Url | Self::Duration => {
                matches!(value, Value::Text(_))
            }
            Self::Integer => matches!(value, Value::Integer(0..)),
            Self::Texts => match value {
                Value::List(items) => items.iter().all(|it| matches!(it.value, Value::Text(_))),
                _ => false,
            },
            Self::Secret | Self::Claims => matches!(value, Value::Table(_)),
        }
    }
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

#[derive(Debug)]
struct Lint {
    at: Span,
    input: String,
    shorter_than: Option<String>,
    contains: Option<String>,
    without: Option<String>,
    longer_than: Option<Duration>,
    severity: Severity,
    say: String,
    help: String,
}

/// A credential and a target's defaults, written out.
#[derive(Debug)]
pub struct Expanded {
    /// The source's name.
    pub source: String,
    /// The source's keys.
    pub credential: Node,
    /// The target's defaults.
    pub target: Table,
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
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            let message = format!("cannot read the folder {}: {error}", folder.display());
            problems.fault(at, message, "paths are relative to this file's folder");
            return known;
        }
    };
    let mut files: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "toml")
    });
    files.sort();
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

/// The sources a preset can expand into, and a credential can be written out as.
pub const SOURCES: [&str; 4] = ["self-signed", "exchange", "login", "static"];

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
            preset.check_variables(&found);
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
        })
    }

    /// Every variable of a preset is an input of it or a blank of the token.
    fn check_variables(&self, problems: &Problems) {
        for node in [&self.credential, &self.target] {
            for_each_text(node, &mut |text, at| {
                for name in text.variables().filter(|it| Blank::named(it).is_none()) {
                    let Some(input) = self.input(name) else {
                        let known = self.inputs.iter().map(|input| input.name.as_str());
                        let help = did_you_mean(name, known);
                        problems.fault(at, format!("`{name}` is no input of this preset"), help);
                        continue;
                    };
                    if text.as_variable().is_none() {
                        input.check_as_part(at, problems);
                    }
                }
            });
        }
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
        for input in self.inputs.iter().filter(|it| it.goes_into_claims()) {
            let Some(default) = &input.default else {
                continue;
            };
            if !input.kind.takes(&default.value) {
                let found = default.value.kind();
                let message = format!("the default of `{}` cannot be {found}", input.name);
                problems.fault(&default.at, message, "it is of the input's own type");
            }
            // It may name the inputs that stand before it.
            let before: Vec<&str> = self
                .inputs
                .iter()
                .map(|it| it.name.as_str())
                .take_while(|name| *name != input.name)
                .collect();
            for_each_text(default, &mut |text, at| {
                for name in text.variables().filter(|name| !before.contains(name)) {
                    let message =
                        format!("`{name}` is no input that stands before `{}`", input.name);
                    problems.fault(at, message, did_you_mean(name, before.iter().copied()));
                }
            });
        }
        for lint in &self.lints {
            let names = [Some(&lint.input), lint.shorter_than.as_ref()];
            for name in names
                .into_iter()
                .flatten()
                .filter(|it| self.input(it).is_none() && !CREDENTIAL.contains(&it.as_str()))
            {
                let known = self.inputs.iter().map(|input| input.name.as_str());
                let help = did_you_mean(name, known);
                problems.fault(
                    &lint.at,
                    format!("`{name}` is no input of this preset"),
                    help,
                );
            }
        }
    }

    /// The input of that name.
    #[must_use]
    pub fn input(&self, name: &str) -> Option<&Input> {
        self.inputs.iter().find(|input| input.name == name)
    }

    /// Puts the operator's inputs in.
    pub(super) fn expand(
        &self,
        path: &str,
        given: &Table,
        at: &Span,
        context: &Context<'_>,
    ) -> Option<Expanded> {
        let (common, inputs): (Vec<&Entry>, Vec<&Entry>) = given
            .entries
            .iter()
            .partition(|entry| CREDENTIAL.contains(&entry.name.as_str()));
        self.note_unknown(path, &inputs, context.problems);
        let common = self.without_foreign(path, common, context.problems);
        let (values, is_complete) = self.values(path, &inputs, at, context)?;
        if is_complete {
            self.lint(&values, &common, context.problems);
        }
        let values = self.with_claims(path, values, context.problems)?;
        let mut credential = substitute(&self.credential, &values)?;
        let target = substitute(&self.target, &values)?;
        if let Value::Table(table) = &mut credential.value {
            table.lay(
                &Table {
                    entries: common.into_iter().cloned().collect(),
                },
                &[],
            );
        }
        let Value::Table(target) = target.value else {
            return None;
        };
        credential.given = Some(at.clone());
        Some(Expanded {
            source: self.source.clone(),
            credential,
            target,
        })
    }

    /// Puts the other inputs into tables of claims. Once and for all: what stands in those is not
    /// looked through again, so that a table that names itself is a fault and not a circle.
    fn with_claims(
        &self,
        path: &str,
        mut values: HashMap<String, Node>,
        problems: &Problems,
    ) -> Option<HashMap<String, Node>> {
        let is_claims = |input: &&Input| input.kind == InputKind::Claims;
        let plain: HashMap<String, Node> = values
            .iter()
            .filter(|(name, _)| self.input(name).is_some_and(Input::goes_into_claims))
            .map(|(name, node)| (name.clone(), node.clone()))
            .collect();
        let mut is_sound = true;
        for input in self.inputs.iter().filter(is_claims) {
            let Some(node) = values.get_mut(&input.name) else {
                continue;
            };
            for_each_text(node, &mut |text, at| {
                for name in text.variables() {
                    if Blank::named(name).is_none() && !plain.contains_key(name) {
                        is_sound = false;
                        let message = match self.input(name).map(|input| input.kind) {
                            Some(InputKind::Secret) => {
                                format!("`{name}` is a secret, and tokens are readable")
                            }
                            Some(InputKind::Claims) => {
                                format!("`{name}` is a table of claims and stands in no other")
                            }
                            Some(_) => format!("`{name}` is not given"),
                            None => format!("there is no input `{name}`"),
                        };
                        let message = format!("`{}` in [{path}]: {message}", input.name);
                        let known = plain.keys().map(String::as_str);
                        let known = known.chain(Blank::CLAIMS.iter().map(|(name, _)| *name));
                        problems.fault(at, message, sorted_choice(name, known));
                    }
                }
            });
            *node = substitute(node, &plain)?;
        }
        is_sound.then_some(values)
    }

    /// The keys for every credential, less those that mean nothing for this one: a token that is
    /// signed here is got over no connection.
    fn without_foreign<'a>(
        &self,
        path: &str,
        common: Vec<&'a Entry>,
        problems: &Problems,
    ) -> Vec<&'a Entry> {
        let has = |entry: &&Entry| keys::source(&self.source).key(&entry.name).is_some();
        let (own, foreign) = common.into_iter().partition::<Vec<&Entry>, _>(has);
        for entry in foreign {
            let message = format!("`{}` means nothing in [{path}]", entry.name);
            let why = match (self.source.as_str(), entry.name.as_str()) {
                (_, "sign") => "its tokens are not signed here",
                (_, "next-key") => "it has no key that signs",
                ("self-signed", _) => "its tokens are signed here, and nobody is asked for them",
                _ => "its tokens come from no endpoint",
            };
            problems.fault(&entry.name_at, message, why);
        }
        own
    }

    /// What an operator may write: the inputs, and those of the keys for every credential that mean
    /// something for this one.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> + Clone {
        let source = keys::source(&self.source);
        let common = CREDENTIAL.iter().copied();
        let common = common.filter(|name| source.key(name).is_some());
        self.inputs.iter().map(|it| it.name.as_str()).chain(common)
    }

    fn note_unknown(&self, path: &str, given: &[&Entry], problems: &Problems) {
        let known = self.keys();
        for entry in given {
            if self.input(&entry.name).is_none() {
                let message = format!("unknown key `{}` in [{path}]", entry.name);
                problems.fault(
                    &entry.name_at,
                    message,
                    did_you_mean(&entry.name, known.clone()),
                );
            }
        }
    }

    /// The inputs' values by name, and whether all of them are what was given. In place of one that
    /// is missing or wrong, which is noted, there is some value of its kind, so that the rest is
    /// still looked at; a secret has no such value.
    fn values(
        &self,
        path: &str,
        given: &[&Entry],
        at: &Span,
        context: &Context<'_>,
    ) -> Option<(HashMap<String, Node>, bool)> {
        let mut values = HashMap::new();
        let (mut is_complete, mut is_hopeless) = (true, false);
        for input in &self.inputs {
            let entry = given.iter().find(|entry| entry.name == input.name);
            let inside = input.inside.as_ref().and_then(|(file, pointers)| {
                let file = given.iter().find(|entry| entry.name == *file)?;
                Some(pointed(&file.node, pointers))
            });
            let node = match (entry, &input.default) {
                (Some(entry), _) if self.has_parts(input) => {
                    input.accept_document(path, &entry.node, context)
                }
                (Some(entry), _) => input.accept(path, &entry.node, context),
                // What is wrong with the file has been said of the file.
                (None, _) if input.is_in_none_of(&values) => None,
                (None, default) if inside.is_some() => {
                    input.read_inside(path, inside.as_ref(), default.as_ref(), &values, context)
                }
                (None, Some(default)) => match substitute(default, &values) {
                    Some(default) => input.accept(path, &default, context),
                    None => continue,
                },
                (None, None) if !input.required => continue,
                (None, None) => {
                    let message = format!("`{}` is missing in [{path}]", input.name);
                    context
                        .problems
                        .fault(at, message, format!("it is {}", input.doc));
                    None
                }
            };
            is_complete &= node.is_some();
            match node.or_else(|| input.stand_in(at)) {
                Some(node) => drop(values.insert(input.name.clone(), node)),
                None => is_hopeless = true,
            }
        }
        (!is_hopeless).then_some((values, is_complete))
    }

    /// Whether other inputs are read from inside this one.
    fn has_parts(&self, input: &Input) -> bool {
        let is_part = |other: &Input| {
            let inside = other.inside.as_ref();
            inside.is_some_and(|(file, _)| *file == input.name)
        };
        self.inputs.iter().any(is_part)
    }

    /// Lints look at inputs, and at the keys of the source that every credential takes.
    fn lint(&self, values: &HashMap<String, Node>, common: &[&Entry], problems: &Problems) {
        for lint in &self.lints {
            let common = common.iter().find(|entry| entry.name == lint.input);
            if let Some(node) = values.get(&lint.input).or_else(|| Some(&common?.node))
                && lint.speaks_up(node, values)
            {
                let at = node.given.as_ref().unwrap_or(&node.at);
                problems.note(lint.severity, at, None, lint.say.clone(), lint.help.clone());
            }
        }
    }
}

impl Lint {
    fn speaks_up(&self, node: &Node, values: &HashMap<String, Node>) -> bool {
        let texts = texts_of(node);
        let length = |texts: &[String]| texts.iter().map(String::len).sum::<usize>();
        let is_shorter = self.shorter_than.as_ref().is_none_or(|other| {
            values
                .get(other)
                .is_some_and(|other| length(&texts) < length(&texts_of(other)))
        });
        let is_longer = self.longer_than.is_none_or(|most| {
            let given = texts.first().and_then(|text| units::duration(text).ok());
            given.is_some_and(|given| given > most)
        });
        let contains = self
            .contains
            .as_ref()
            .is_none_or(|part| texts.iter().any(|it| it.contains(part)));
        let lacks = self
            .without
            .as_ref()
            .is_none_or(|item| !texts.contains(item));
        is_shorter && is_longer && contains && lacks
    }
}

fn texts_of(node: &Node) -> Vec<String> {
    match &node.value {
        Value::Text(text) => text.as_literal().into_iter().collect(),
        Value::List(items) => items.iter().flat_map(texts_of).collect(),
        _ => Vec::new(),
    }
}

impl Input {
    fn stand_in(&self, at: &Span) -> Option<Node> {
        let value = match self.kind {
            InputKind::Text | InputKind::Label => Value::Text(Text::literal("unknown")),
            InputKind::Url => Value::Text(Text::literal("https://unknown.invalid")),
            InputKind::Integer => Value::Integer(0),
            InputKind::Duration => Value::Text(Text::literal("30s")),
            InputKind::Texts => Value::List(Vec::new()),
            InputKind::Claims => Value::Table(Table::default()),
            InputKind::Secret => return None,
        };
        Some(Node {
            value,
            at: at.clone(),
            given: None,
        })
    }

    /// Notes what would leave a hole in a text of the preset's.
    fn check_as_part(&self, at: &Span, problems: &Problems) {
        let message = if !self.goes_into_claims() {
            format!("`{}` is a table and cannot be a part of a text", self.name)
        } else if !self.required && self.default.is_none() {
            format!(
                "`{}` may be missing and cannot be a part of a text",
                self.name
            )
        } else {
            return;
        };
        problems.fault(at, message, "give the input a default, or a key of its own");
    }

    /// Whether it is to be read from a file that is missing or wrong.
    fn is_in_none_of(&self, values: &HashMap<String, Node>) -> bool {
        let inside = self.inside.as_ref();
        inside.is_some_and(|(file, _)| !values.contains_key(file))
    }

    fn goes_into_claims(&self) -> bool {
        !matches!(self.kind, InputKind::Secret | InputKind::Claims)
    }

    /// Checks what the operator gave, and reads it if it is a reference to an identifier.
    fn accept(&self, path: &str, node: &Node, context: &Context<'_>) -> Option<Node> {
        let fault = |message: String| {
            let message = format!("`{}` in [{path}]: {message}", self.name);
            context
                .problems
                .fault(&node.at, message, format!("it is {}", self.doc));
            None
        };
        let wrong = |wanted: &str| fault(format!("{wanted} wanted, {} found", node.value.kind()));
        match (self.kind, &node.value) {
            (InputKind::Text | InputKind::Label, _) => {
                let text = self.identifier(path, node, context)?;
                let literal = text.as_literal()?;
                if self.kind == InputKind::Label && !is_label(&literal) {
                    // What was read from a file may be another file's content, and a secret.
                    let shown = text.origin.unwrap_or_else(|| format!("`{literal}`"));
                    return fault(format!("{shown} is not one part of a host name"));
                }
                let text = match self.chosen(&literal) {
                    Some(chosen) => Text {
                        origin: text.origin,
                        ..Text::literal(chosen)
                    },
                    None => {
                        let known = self.choices.iter().map(|(word, _)| word.as_str());
                        let (shown, help) = match text.origin {
                            // Not even the nearest choice is told of what was read from elsewhere.
                            Some(origin) => (origin, known_here(known)),
                            None => (format!("`{literal}`"), did_you_mean(&literal, known)),
                        };
                        let message =
                            format!("`{}` in [{path}]: {shown} is not a choice", self.name);
                        context.problems.fault(&node.at, message, help);
                        return None;
                    }
                };
                Some(Node {
                    value: Value::Text(text),
                    ..node.clone()
                })
            }
            (InputKind::Duration, Value::Text(text)) => match text.as_literal() {
                Some(text) if units::duration(&text).is_ok() => Some(node.clone()),
                _ => fault("a duration such as \"30s\" wanted".into()),
            },
            (InputKind::Duration, _) => wrong("a duration in quotes"),
            (InputKind::Url, Value::Text(text)) => match text.as_literal() {
                Some(url) if url.starts_with("https://") => Some(node.clone()),
                _ => fault("a URL that starts with https:// wanted".into()),
            },
            (InputKind::Url, _) => wrong("a URL in quotes"),
            (InputKind::Integer, Value::Integer(0..)) => Some(node.clone()),
            (InputKind::Integer, _) => wrong("a whole number from 0"),
            (InputKind::Texts, Value::List(items)) if items.is_empty() && self.join.is_some() => {
                fault("this lists none; leave it out".into())
            }
            (InputKind::Texts, Value::List(items)) if items.iter().all(is_literal) => {
                let joined = self.join.as_ref().map(|join| {
                    let items: Vec<String> = items.iter().map(interpolated).collect();
                    Value::Text(Text::literal(items.join(join)))
                });
                let value = joined.unwrap_or_else(|| node.value.clone());
                Some(Node {
                    value,
                    ..node.clone()
                })
            }
            // A single text is a list of one.
            (InputKind::Texts, Value::Text(_)) if is_literal(node) => {
                let value = Value::List(vec![node.clone()]);
                self.accept(
                    path,
                    &Node {
                        value,
                        ..node.clone()
                    },
                    context,
                )
            }
            (InputKind::Texts, _) => wrong("a list of texts"),
            // Left as it stands: the source's own key reads it.
            (InputKind::Secret, _) => Some(node.clone()),
            (InputKind::Claims, Value::Table(_)) => Some(node.clone()),
            (InputKind::Claims, _) => wrong("a table"),
        }
    }

    /// What a word stands for; `None` if there are choices and it is none of them. What a choice
    /// stands for may be given itself, too.
    fn chosen(&self, word: &str) -> Option<String> {
        let word = if self.lower {
            word.to_lowercase()
        } else {
            word.to_owned()
        };
        if self.choices.is_empty() || self.choices.iter().any(|(_, meaning)| *meaning == word) {
            return Some(word);
        }
        self.choices
            .iter()
            .find(|(choice, _)| *choice == word)
            .map(|(_, meaning)| meaning.clone())
    }

    /// Checks a JSON file that other inputs are read from. What is wrong with it is said once, here.
    fn accept_document(&self, path: &str, node: &Node, context: &Context<'_>) -> Option<Node> {
        let place = format!("`{}` in [{path}]", self.name);
        let fault = |message: String, help: &str| {
            let message = format!("{place}: {message}");
            context.problems.fault(&node.at, message, help);
            None
        };
        let help = "write { file = \"…\" } and nothing else: other inputs are read from inside it";
        if !matches!(node.value, Value::Table(_)) {
            return fault("a file is wanted here, and never its content".into(), help);
        }
        let reference = reference(&place, node, context.problems)?;
        match &reference {
            Reference::File { pointers, .. } if pointers.is_empty() => {}
            _ => return fault("a file as a whole is wanted here".into(), help),
        }
        let resolved = match context.store.resolve(&reference, context.folder, None) {
            Ok(resolved) => resolved,
            Err(error) => return fault(error.message, &error.help),
        };
        match serde_json::from_slice::<IgnoredAny>(resolved.secret.expose()) {
            Ok(_) => Some(node.clone()),
            Err(error) => {
                let (line, column) = (error.line(), error.column());
                let message = format!("{reference} is not JSON (line {line}, column {column})");
                fault(message, &format!("it is {}", self.doc))
            }
        }
    }

    /// Reads the input in the JSON file that has it. What has no text there is the default.
    fn read_inside(
        &self,
        path: &str,
        inside: Option<&Node>,
        default: Option<&Node>,
        values: &HashMap<String, Node>,
        context: &Context<'_>,
    ) -> Option<Node> {
        let inside = inside?;
        if self.kind == InputKind::Secret {
            return Some(inside.clone());
        }
        let found = Problems::default();
        let quietly = Context {
            problems: &found,
            ..*context
        };
        match self.accept(path, inside, &quietly) {
            Some(node) => Some(node),
            None if default.is_some() => self.accept(path, &substitute(default?, values)?, context),
            None => {
                context.problems.append(found);
                None
            }
        }
    }

    /// An identifier stands in the configuration itself, or is referred to.
    fn identifier(&self, path: &str, node: &Node, context: &Context<'_>) -> Option<Text> {
        let place = format!("`{}` in [{path}]", self.name);
        let text = super::identifier(&place, node, context)?;
        if text.as_literal().is_none() {
            let message = format!("{place}: variables mean nothing here");
            context
                .problems
                .fault(&node.at, message, "a literal `${` is written `$${`");
            return None;
        }
        Some(text)
    }
}

/// A reference to a JSON file, narrowed to a place in it.
fn pointed(file: &Node, pointers: &[String]) -> Node {
    // Anything else than a reference has been noted.
    let mut table = match &file.value {
        Value::Table(table) => table.clone(),
        _ => Table::default(),
    };
    let text = |pointer: &String| Node {
        value: Value::Text(Text::literal(pointer.clone())),
        ..file.clone()
    };
    table.entries.push(Entry {
        name: "pointer".into(),
        name_at: file.at.clone(),
        node: Node {
            value: Value::List(pointers.iter().map(text).collect()),
            ..file.clone()
        },
    });
    Node {
        value: Value::Table(table),
        ..file.clone()
    }
}

fn sorted_choice<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    did_you_mean(name, known.iter().copied())
}

fn is_literal(node: &Node) -> bool {
    matches!(&node.value, Value::Text(text) if text.as_literal().is_some())
}

/// One part of a host name (RFC 1123 section 2.1).
fn is_label(text: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(is_fine)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn read_input(name: &Given<String>, reader: &Reader<'_>) -> Option<Input> {
    if CREDENTIAL.contains(&name.value.as_str()) || Blank::named(&name.value).is_some() {
        let message = format!(
            "`{}` has a meaning of its own and cannot be an input",
            name.value
        );
        reader.problems().fault(&name.at, message, "");
        return None;
    }
    let kind = match reader.word("type")?.value.as_str() {
        "text" => InputKind::Text,
        "label" => InputKind::Label,
        "url" => InputKind::Url,
        "integer" => InputKind::Integer,
        "texts" => InputKind::Texts,
        "duration" => InputKind::Duration,
        "secret" => InputKind::Secret,
        _ => InputKind::Claims,
    };
    let from: Vec<String> = reader
        .parsed_texts("from", pointer)
        .into_iter()
        .map(|given| given.value)
        .collect();
    let is_text = matches!(kind, InputKind::Text | InputKind::Label);
    for (key, is_fine) in [
        ("choices", is_text),
        ("lower", is_text),
        ("join", kind == InputKind::Texts),
        ("in", is_text || kind == InputKind::Secret),
        ("from", reader.has("in")),
    ] {
        if reader.has(key) && !is_fine {
            let message = format!("`{key}` means nothing in {}", reader.place());
            let help = match key {
                "from" => "`in` names the input that is the file",
                "join" => "it is for inputs of the type `texts`",
                "in" => "it is for inputs of the types `text`, `label` and `secret`",
                _ => "it is for inputs of the types `text` and `label`",
            };
            reader.problems().fault(reader.at(), message, help);
        }
    }
    if reader.has("in") && !reader.has("from") {
        let message = format!("`from` is missing in {}", reader.place());
        let help = "say where in the file the input is: a JSON pointer";
        reader.problems().fault(reader.at(), message, help);
    }
    Some(Input {
        name: name.value.clone(),
        at: name.at.clone(),
        kind,
        required: reader.boolean("required"),
        default: reader.node("default"),
        // Its `${…}` is meant for the reader of the text.
        doc: reader.node("doc").map(|node| shown(&node))?,
        choices: reader
            .text_table("choices")
            .into_iter()
            .map(|(word, meaning)| (word.value, meaning.value))
            .collect(),
        join: reader.text("join").map(|given| given.value),
        lower: reader.boolean("lower"),
        inside: reader.text("in").map(|file| (file.value, from)),
    })
}

/// A text as it was written.
fn shown(node: &Node) -> String {
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

fn read_lint(reader: &Reader<'_>) -> Option<Lint> {
    let text = |name| reader.text(name).map(|given| given.value);
    Some(Lint {
        at: reader.at().clone(),
        input: text("input")?,
        shorter_than: text("shorter-than"),
        contains: text("contains"),
        without: text("without"),
        longer_than: reader
            .parsed("longer-than", units::duration)
            .map(|given| given.value),
        severity: match reader.word("level")?.value.as_str() {
            "fault" => Severity::Fault,
            _ => Severity::Warning,
        },
        say: text("say")?,
        help: text("help")?,
    })
}

/// The one table of `[place]`, whose name says what it is: name, table and place.
pub(super) fn one_table(
    place: &str,
    table: &Table,
    at: &Span,
    known: &[&str],
    problems: &Problems,
) -> Option<(String, Table, Span)> {
    let kind_is_missing = || {
        let choices: Vec<String> = known
            .iter()
            .map(|kind| format!("[{place}.{kind}]"))
            .collect();
        let message = format!("[{place}] does not say of what kind it is");
        problems.fault(at, message, format!("write one of {}", choices.join(", ")));
        None
    };
    let is_table = |entry: &Entry| matches!(entry.node.value, Value::Table(_));
    let is_known = |entry: &Entry| known.contains(&entry.name.as_str());
    match table.entries.as_slice() {
        [] => kind_is_missing(),
        entries if !entries.iter().any(is_table) => kind_is_missing(),
        // A reference is a table too.
        entries @ [_, _, ..] if !entries.iter().any(is_known) => kind_is_missing(),
        [
            Entry {
                name,
                name_at,
                node:
                    Node {
                        value: Value::Table(table),
                        ..
                    },
            },
        ] => {
            if known.contains(&name.as_str()) {
                return Some((name.clone(), table.clone(), name_at.clone()));
            }
            let message = format!("there is no kind `{name}` for [{place}]");
            problems.fault(name_at, message, did_you_mean(name, known.iter().copied()));
            None
        }
        entries
            if entries
                .iter()
                .filter(|it| is_known(it) && is_table(it))
                .count()
                == 1 =>
        {
            let mut found = None;
            for entry in entries {
                match &entry.node.value {
                    Value::Table(table) if is_known(entry) => {
                        found = Some((entry.name.clone(), table.clone(), entry.name_at.clone()));
                    }
                    _ => {
                        let message =
                            format!("`{}` stands beside the kind of [{place}]", entry.name);
                        problems.fault(
                            &entry.name_at,
                            message,
                            "keys stand in the kind's own table",
                        );
                    }
                }
            }
            found
        }
        entries => {
            let names: Vec<String> = entries.iter().map(|it| format!("`{}`", it.name)).collect();
            let second = &entries[1].name_at;
            let message = format!(
                "[{place}] has more than one kind in it: {}",
                names.join(", ")
            );
            problems.fault(
                second,
                message,
                "keys stand one level deeper, and each credential has one kind",
            );
            None
        }
    }
}

/// Calls `visit` with every text of a tree.
fn for_each_text(node: &Node, visit: &mut impl FnMut(&Text, &Span)) {
    match &node.value {
        Value::Text(text) => visit(text, &node.at),
        Value::List(items) => items.iter().for_each(|item| for_each_text(item, visit)),
        Value::Table(table) => {
            table
                .entries
                .iter()
                .for_each(|entry| for_each_text(&entry.node, visit));
        }
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Date(_) => {}
    }
}

/// Puts values in for variables. `None` if the node is a variable without a value.
fn substitute(node: &Node, values: &HashMap<String, Node>) -> Option<Node> {
    let value = match &node.value {
        Value::Text(text) => return substitute_text(node, text, values),
        Value::List(items) => {
            Value::List(items.iter().flat_map(|item| repeat(item, values)).collect())
        }
        Value::Table(table) => {
            let entries = table.entries.iter().filter_map(|entry| {
                let node = substitute(&entry.node, values)?;
                Some(Entry {
                    node,
                    ..entry.clone()
                })
            });
            Value::Table(Table {
                entries: entries.collect(),
            })
        }
        other => other.clone(),
    };
    Some(Node {
        value,
        ..node.clone()
    })
}

/// Puts values into an item of a list. A text that has a list as a part is repeated for each item
/// of that: `["https://${host}/x"]` with two hosts is two URLs.
fn repeat(item: &Node, values: &HashMap<String, Node>) -> Vec<Node> {
    let list = match &item.value {
        Value::Text(text) if text.as_variable().is_none() => {
            text.variables()
                .find_map(|name| match &values.get(name)?.value {
                    Value::List(items) => Some((name.to_owned(), items.clone())),
                    _ => None,
                })
        }
        _ => None,
    };
    let Some((name, items)) = list else {
        return substitute(item, values).into_iter().collect();
    };
    let mut each = values.clone();
    let put = |value: Node| {
        each.insert(name.clone(), value);
        substitute(item, &each)
    };
    items.into_iter().filter_map(put).collect()
}

fn substitute_text(node: &Node, text: &Text, values: &HashMap<String, Node>) -> Option<Node> {
    if let Some(name) = text.as_variable()
        && Blank::named(name).is_none()
    {
        let value = values.get(name)?;
        let given = value.given.clone().or_else(|| Some(value.at.clone()));
        return Some(Node {
            value: value.value.clone(),
            at: node.at.clone(),
            given,
        });
    }
    let mut given = node.given.clone();
    let mut joined = Text {
        pieces: Vec::new(),
        origin: text.origin.clone(),
    };
    // As the text is shown, if a part of it was read from elsewhere.
    let (mut shown, mut is_read) = (String::new(), false);
    for piece in &text.pieces {
        let value = match piece {
            Piece::Variable(name) => values.get(name),
            Piece::Literal(_) => None,
        };
        match value {
            Some(value) => {
                given.get_or_insert_with(|| value.at.clone());
                let put_in = interpolated(value);
                match &value.value {
                    Value::Text(Text {
                        origin: Some(origin),
                        ..
                    }) => {
                        shown.push_str(&format!("<{origin}>"));
                        is_read = true;
                    }
                    _ => shown.push_str(&put_in),
                }
                joined.pieces.push(Piece::Literal(put_in));
            }
            None => {
                shown.push_str(match piece {
                    Piece::Literal(text) | Piece::Variable(text) => text,
                });
                joined.pieces.push(piece.clone());
            }
        }
    }
    if is_read {
        joined.origin = Some(tree::quoted(&shown));
    }
    Some(Node {
        value: Value::Text(joined),
        at: node.at.clone(),
        given,
    })
}

/// A value as a part of a text.
fn interpolated(node: &Node) -> String {
    match &node.value {
        Value::Text(text) => text.as_literal().unwrap_or_default(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(boolean) => boolean.to_string(),
        Value::Date(date) => date.clone(),
        Value::List(items) => items.iter().map(interpolated).collect::<Vec<_>>().join(","),
        Value::Table(_) => String::new(),
    }
}

/// A JSON pointer (RFC 6901 section 3) to something inside a document.
pub(super) fn pointer(text: &str) -> Result<String, String> {
    if text.starts_with('/') {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{text}` is no JSON pointer: those start with a slash, such as `/data/token`"
        ))
    }
}

/// Reads `{ file = … }` and the like.
pub(super) fn reference(place: &str, node: &Node, problems: &Problems) -> Option<Reference> {
    // The preset's line only passes it on.
    let at = node.given.as_ref().unwrap_or(&node.at);
    let fault = |message: String, help: &str| {
        problems.fault(at, message, help);
        None
    };
    let Value::Table(table) = &node.value else {
        let help = "write { file = \"…\" }, { env = \"…\" }, { credential = \"…\" } or { command = [\"…\"] }";
        return fault(
            format!("{place} is a secret and never stands in the configuration itself"),
            help,
        );
    };
    let reader = Reader::new(&keys::REFERENCE, place, table, &node.at, problems);
    if reader.has("pointer") && !reader.has("file") {
        return fault(
            format!("{place} has `pointer` without `file`"),
            "write { file = \"…\", pointer = \"…\" }",
        );
    }
    let pointers: Vec<String> = reader
        .parsed_texts("pointer", pointer)
        .into_iter()
        .map(|given| given.value)
        .collect();
    let command: Vec<String> = reader
        .texts("command")
        .into_iter()
        .map(|given| given.value)
        .collect();
    let mut found = [
        reader.text("file").map(|given| Reference::File {
            path: given.value.into(),
            pointers,
        }),
        reader.text("env").map(|given| Reference::Env(given.value)),
        reader
            .text("credential")
            .map(|given| Reference::Credential(given.value)),
        (!command.is_empty()).then_some(Reference::Command(command)),
    ]
    .into_iter()
    .flatten();
    match (found.next(), found.next()) {
        (Some(reference), None) => Some(reference),
        (Some(_), Some(_)) => fault(
            format!("{place} refers to two places"),
            "keep one of file, env, credential and command",
        ),
        (None, _) if reader.has("command") && reader.is_sound() => fault(
            format!("{place}: the command is empty"),
            "name a program and its arguments",
        ),
        // An unknown key has been noted already.
        (None, _) if !table.entries.is_empty() => None,
        (None, _) => fault(
            format!("{place} refers to nothing"),
            "write { file = \"…\" }",
        ),
    }
}
