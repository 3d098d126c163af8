//! Inputs: what a preset asks the operator for, and how what was given is checked. A reference to
//! an identifier is read at once; one to a secret is left to the source's own key.

use std::collections::HashMap;

use serde::de::IgnoredAny;

use super::expand::{interpolated, substitute};
use crate::config::keys::CREDENTIAL;
use crate::config::problem::{Problems, Span, did_you_mean, known_here};
use crate::config::read::{Given, Reader};
use crate::config::reference::{self, pointer, reference};
use crate::config::tree::{Node, Table, Text, Value};
use crate::config::{Context, show, units};
use crate::credential::template::Blank;
use crate::secret::store::Reference;

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
    pub choices: Vec<(String, String)>,
    /// What a list is joined with to be one text.
    join: Option<String>,
    /// Whether it is put in in lower case.
    lower: bool,
    /// Where it stands.
    pub(super) at: Span,
    /// The input that is a JSON file with this one in it, and where in it.
    pub(super) inside: Option<(String, Vec<String>)>,
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
    pub(super) fn takes(self, value: &Value) -> bool {
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

/// Reads `[inputs.NAME]`.
pub(super) fn read_input(name: &Given<String>, reader: &Reader<'_>) -> Option<Input> {
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
        doc: reader.node("doc").map(|node| super::as_written(&node))?,
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

impl Input {
    /// The input that has this one in it, if it is read from a file that another one names.
    #[must_use]
    pub fn read_from(&self) -> Option<&str> {
        self.inside.as_ref().map(|(file, _)| file.as_str())
    }

    /// The default as TOML writes it, and whether it stands for itself: one that names other inputs
    /// cannot be given.
    #[must_use]
    pub fn shown_default(&self) -> Option<(String, bool)> {
        let default = self.default.as_ref()?;
        let mut is_literal = true;
        default.for_each_text(&mut |text, _| {
            is_literal &= text.as_literal().is_some();
        });
        Some((show::value(default), is_literal))
    }

    pub(super) fn goes_into_claims(&self) -> bool {
        !matches!(self.kind, InputKind::Secret | InputKind::Claims)
    }

    /// Whether it is to be read from a file that is missing or wrong.
    pub(super) fn is_in_none_of(&self, values: &HashMap<String, Node>) -> bool {
        let inside = self.inside.as_ref();
        inside.is_some_and(|(file, _)| !values.contains_key(file))
    }

    /// Notes what would leave a hole in a text of the preset's.
    pub(super) fn check_as_part(&self, at: &Span, problems: &Problems) {
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

    /// Checks what the operator gave, and reads it if it is a reference to an identifier.
    pub(super) fn accept(&self, path: &str, node: &Node, context: &Context<'_>) -> Option<Node> {
        let fault = |message: String| {
            let message = format!("`{}` in [{path}]: {message}", self.name);
            context
                .problems
                .fault(&node.at, message, format!("it is {}", self.doc));
            None
        };
        let wrong = |wanted: &str| fault(format!("{wanted} wanted, {} found", node.value.kind()));
        match (self.kind, &node.value) {
            (InputKind::Text | InputKind::Label, _) => self.accept_text(path, node, context),
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

    /// Checks an identifier, and puts what a choice stands for in its place.
    fn accept_text(&self, path: &str, node: &Node, context: &Context<'_>) -> Option<Node> {
        let fault = |message: String, help: String| {
            let message = format!("`{}` in [{path}]: {message}", self.name);
            context.problems.fault(&node.at, message, help);
            None
        };
        let text = self.identifier(path, node, context)?;
        let literal = text.as_literal()?;
        if self.kind == InputKind::Label && !is_label(&literal) {
            // What was read from a file may be another file's content, and a secret.
            let shown = text.origin.unwrap_or_else(|| format!("`{literal}`"));
            let message = format!("{shown} is not one part of a host name");
            return fault(message, format!("it is {}", self.doc));
        }
        let Some(chosen) = self.chosen(&literal) else {
            let known = self.choices.iter().map(|(word, _)| word.as_str());
            let (shown, help) = match text.origin {
                // Not even the nearest choice is told of what was read from elsewhere.
                Some(origin) => (origin, known_here(known)),
                None => (format!("`{literal}`"), did_you_mean(&literal, known)),
            };
            return fault(format!("{shown} is not a choice"), help);
        };
        let text = Text {
            origin: text.origin,
            ..Text::literal(chosen)
        };
        Some(Node {
            value: Value::Text(text),
            ..node.clone()
        })
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

    /// An identifier stands in the configuration itself, or is referred to.
    fn identifier(&self, path: &str, node: &Node, context: &Context<'_>) -> Option<Text> {
        let place = format!("`{}` in [{path}]", self.name);
        let text = reference::identifier(&place, node, context)?;
        if text.as_literal().is_none() {
            let message = format!("{place}: variables mean nothing here");
            context.problems.fault(
                &node.at,
                message,
                "{ env = \"NAME\" } takes it from the environment; a literal `${` is written `$${`",
            );
            return None;
        }
        Some(text)
    }

    /// Checks a JSON file that other inputs are read from. What is wrong with it is said once, here.
    pub(super) fn accept_document(
        &self,
        path: &str,
        node: &Node,
        context: &Context<'_>,
    ) -> Option<Node> {
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
    pub(super) fn read_inside(
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

    pub(super) fn stand_in(&self, at: &Span) -> Option<Node> {
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
