//! Reads keys whose values stand for one thing, or for a list of such.

use std::time::Duration;

use super::{Given, Reader};
use crate::config::keys::Kind;
use crate::config::problem::did_you_mean;
use crate::config::tree::{Node, Text, Value};
use crate::config::units;

impl Reader<'_> {
    pub(super) fn literal(&self, name: &str, node: &Node) -> Option<String> {
        let Value::Text(text) = &node.value else {
            self.wrong_kind(name, node, "text in quotes");
            return None;
        };
        let literal = text.as_literal();
        if literal.is_none() {
            let variable = text.variables().next().unwrap_or_default();
            let message = format!("there is no variable `{variable}` here");
            self.fault(name, node, &message, "a literal `${` is written `$${`");
        }
        literal
    }

    /// A string.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Given<String>> {
        self.get(name, |reader, node| reader.literal(name, node))
    }

    /// A string that `parse` understands.
    #[must_use]
    pub fn parsed<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Given<T>> {
        self.get(name, |reader, node| {
            let text = reader.literal(name, node)?;
            parse(&text)
                .map_err(|message| reader.fault(name, node, &without(&message, &text, node), ""))
                .ok()
        })
    }

    /// One of the words that the key declares.
    #[must_use]
    pub fn word(&self, name: &str) -> Option<Given<String>> {
        let Kind::Word(words) = self.key(name).kind else {
            unreachable!("`{name}` is not declared as a word")
        };
        self.get(name, |reader, node| {
            let text = reader.literal(name, node)?;
            if words.contains(&text.as_str()) {
                return Some(text);
            }
            let help = did_you_mean(&text, words.iter().copied());
            reader.fault(name, node, &format!("`{text}` is not a choice"), &help);
            None
        })
    }

    /// A whole number within the bounds that the key declares.
    #[must_use]
    pub fn integer(&self, name: &str) -> Option<Given<u32>> {
        let Kind::Integer(least, most) = self.key(name).kind else {
            unreachable!("`{name}` is not declared as a number")
        };
        self.get(name, |reader, node| {
            let Value::Integer(number) = node.value else {
                return None;
            };
            if !(least..=most).contains(&number) {
                let message = format!("{number} is not between {least} and {most}");
                reader.fault(name, node, &message, "");
                return None;
            }
            u32::try_from(number).ok()
        })
    }

    /// A list of whole numbers within the bounds that the key declares; one alone counts as a list.
    #[must_use]
    pub fn integers(&self, name: &str) -> Vec<u32> {
        let Kind::Integers(least, most) = self.key(name).kind else {
            unreachable!("`{name}` is not declared as numbers")
        };
        let read = |item: &Node| match item.value {
            Value::Integer(number) if (least..=most).contains(&number) => {
                u32::try_from(number).ok()
            }
            Value::Integer(number) => {
                let message = format!("{number} is not between {least} and {most}");
                self.fault(name, item, &message, "");
                None
            }
            _ => {
                self.wrong_kind(name, item, "a whole number");
                None
            }
        };
        match self.table.get(name).map(|entry| &entry.node) {
            Some(Node {
                value: Value::List(items),
                ..
            }) => items.iter().filter_map(read).collect(),
            Some(node) if matches!(node.value, Value::Integer(_)) => {
                read(node).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    /// `true` or `false`.
    #[must_use]
    pub fn boolean(&self, name: &str) -> bool {
        let value = self.get(name, |_, node| match node.value {
            Value::Boolean(boolean) => Some(boolean),
            _ => None,
        });
        value.expect("booleans have defaults").value
    }

    /// A duration. The key must have a default.
    #[must_use]
    pub fn duration(&self, name: &str) -> Given<Duration> {
        let given = self.duration_if_any(name);
        given.expect("the duration has a default")
    }

    /// A duration that may be left out.
    #[must_use]
    pub fn duration_if_any(&self, name: &str) -> Option<Given<Duration>> {
        let may_be_zero = !matches!(self.key(name).kind, Kind::Timeout);
        let parse = |text: &str| match units::duration(text) {
            Ok(Duration::ZERO) if !may_be_zero => Err(format!("`{text}` leaves no time at all")),
            other => other,
        };
        self.parsed(name, parse)
    }

    /// A size in bytes.
    #[must_use]
    pub fn size(&self, name: &str) -> Option<Given<u64>> {
        self.parsed(name, units::size)
    }

    /// A list of strings; a single string counts as a list of one.
    #[must_use]
    pub fn texts(&self, name: &str) -> Vec<Given<String>> {
        self.items(name)
            .iter()
            .filter_map(|item| {
                let value = self.literal(name, item)?;
                Some(Given {
                    value,
                    at: item.at.clone(),
                    given: item.given.clone(),
                })
            })
            .collect()
    }

    /// A list of strings that `parse` understands; those that it does not are noted and left out.
    #[must_use]
    pub fn parsed_texts<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<Given<T>> {
        let parsed = |item: Node| {
            let text = self.literal(name, &item)?;
            let value = parse(&text)
                .map_err(|message| self.fault(name, &item, &without(&message, &text, &item), ""))
                .ok()?;
            Some(Given {
                value,
                at: item.at,
                given: item.given,
            })
        };
        self.items(name).into_iter().filter_map(parsed).collect()
    }

    fn items(&self, name: &str) -> Vec<Node> {
        let Some(node) = self.node(name) else {
            return Vec::new();
        };
        match node.value {
            Value::List(items) => items,
            Value::Text(_) => vec![node],
            _ => Vec::new(),
        }
    }
}

/// A message about a text. If the text was read from elsewhere, that is what the message names: it
/// could be any file, and a key as well as a host name.
fn without(message: &str, text: &str, node: &Node) -> String {
    match &node.value {
        Value::Text(Text {
            origin: Some(origin),
            ..
        }) => message
            .replace(&format!("`{text}`"), origin)
            .replace(text, origin),
        _ => message.to_owned(),
    }
}
