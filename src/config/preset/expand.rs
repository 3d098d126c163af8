//! Expansion: the operator's inputs are put in for `${name}`, once and in parsed strings, which
//! makes a source's keys and a target's defaults of a preset. A value that is exactly `${name}`
//! keeps the input's type, and a key whose value is an input that was not given is left out. There
//! are no conditions. What the token's own blanks are (`${now}` and the like) stays for the source.

use std::collections::HashMap;

use super::{BLANK, Input, InputKind, Preset};
use crate::config::Context;
use crate::config::keys::{self, CREDENTIAL};
use crate::config::problem::{Problems, Span, did_you_mean};
use crate::config::tree::{Entry, Node, Piece, Table, Text, Value, quoted};
use crate::credential::template::Blank;

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

impl Preset {
    /// Puts the operator's inputs in.
    pub(in crate::config) fn expand(
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
            let entries = common.into_iter().cloned().collect();
            table.lay(&Table { entries }, &[]);
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

    /// What an operator may write: the inputs, and those of the keys for every credential that mean
    /// something for this one.
    pub(in crate::config) fn keys(&self) -> impl Iterator<Item = &str> + Clone {
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
                (Some(entry), _) if entry.node.literals().iter().any(|it| it.contains(BLANK)) => {
                    let message = format!("`{}` in [{path}] is still to be filled in", input.name);
                    let help = format!("it is {}", input.doc);
                    context.problems.fault(&entry.node.at, message, help);
                    None
                }
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
            node.for_each_text(&mut |text, at| {
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

/// Puts values in for variables. `None` if the node is a variable without a value.
pub(super) fn substitute(node: &Node, values: &HashMap<String, Node>) -> Option<Node> {
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
        joined.origin = Some(quoted(&shown));
    }
    Some(Node {
        value: Value::Text(joined),
        at: node.at.clone(),
        given,
    })
}

/// A value as a part of a text.
pub(super) fn interpolated(node: &Node) -> String {
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
