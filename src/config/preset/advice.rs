//! What a preset says of mistakes: lints about inputs that are probably not meant, hints about what
//! a vendor's refusal probably means, and a path that any good token can GET.

use std::collections::HashMap;
use std::time::Duration;

use super::Preset;
use crate::config::problem::{Problems, Severity, Span};
use crate::config::read::Reader;
use crate::config::tree::{Entry, Node, Value};
use crate::config::units;

/// What a preset knows about refusals.
#[derive(Debug, Default)]
pub struct Guide {
    /// What refusals probably mean.
    pub hints: Vec<Hint>,
    /// A path of the target that any good token can GET.
    pub probe: Option<String>,
}

impl Guide {
    /// The hints about a refusal with this status and these words: those that look for words in it
    /// and find them, or else those that look for none.
    #[must_use]
    pub fn hints(&self, status: u16, said: &str) -> Vec<&Hint> {
        let said = said.to_lowercase();
        let of_status = || self.hints.iter().filter(|it| it.status.contains(&status));
        let finds = |hint: &&Hint| {
            let mut words = hint.contains.iter();
            words.any(|word| said.contains(&word.to_lowercase()))
        };
        let exact: Vec<&Hint> = of_status().filter(finds).collect();
        if exact.is_empty() {
            of_status().filter(|it| it.contains.is_empty()).collect()
        } else {
            exact
        }
    }
}

/// What a refusal probably means.
#[derive(Debug)]
pub struct Hint {
    status: Vec<u16>,
    contains: Vec<String>,
    /// What it means.
    pub say: String,
    /// The way out.
    pub help: String,
}

/// What is said of an input that can be used and is probably not meant. All conditions must hold.
#[derive(Debug)]
pub(super) struct Lint {
    at: Span,
    input: String,
    shorter_than: Option<String>,
    lacks: Option<String>,
    contains: Option<String>,
    without: Option<String>,
    longer_than: Option<Duration>,
    severity: Severity,
    say: String,
    help: String,
}

impl Lint {
    /// The inputs that it looks at, each with the lint's own place.
    pub(super) fn inputs(&self) -> impl Iterator<Item = (&str, &Span)> {
        let names = [
            Some(&self.input),
            self.shorter_than.as_ref(),
            self.lacks.as_ref(),
        ];
        let names = names.into_iter().flatten();
        names.map(|name| (name.as_str(), &self.at))
    }

    fn speaks_up(&self, node: &Node, values: &HashMap<String, Node>) -> bool {
        let texts = node.literals();
        let length = |texts: &[String]| texts.iter().map(String::len).sum::<usize>();
        let is_shorter = self.shorter_than.as_ref().is_none_or(|other| {
            values
                .get(other)
                .is_some_and(|other| length(&texts) < length(&other.literals()))
        });
        let lacks = self.lacks.as_ref().is_none_or(|other| {
            let part = values.get(other).map(Node::literals).unwrap_or_default();
            !texts
                .iter()
                .any(|text| part.iter().all(|part| text.contains(part)))
        });
        let is_longer = self.longer_than.is_none_or(|most| {
            let given = texts.first().and_then(|text| units::duration(text).ok());
            given.is_some_and(|given| given > most)
        });
        let contains = self
            .contains
            .as_ref()
            .is_none_or(|part| texts.iter().any(|it| it.contains(part)));
        let is_without = self
            .without
            .as_ref()
            .is_none_or(|item| !texts.contains(item));
        is_shorter && lacks && is_longer && contains && is_without
    }
}

impl Preset {
    /// Lints look at inputs, and at the keys of the source that every credential takes.
    pub(super) fn lint(
        &self,
        values: &HashMap<String, Node>,
        common: &[&Entry],
        problems: &Problems,
    ) {
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

pub(super) fn read_guide(reader: &Reader<'_>) -> Guide {
    let hints = reader.tables("hint", read_hint);
    let path = reader.table("probe", |it| {
        it.parsed("path", |text| match text.starts_with('/') {
            true => Ok(text.to_owned()),
            false => Err(format!("the path `{text}` does not start with a slash")),
        })
    });
    Guide {
        hints: hints.into_iter().flatten().collect(),
        probe: path.flatten().map(|given| given.value),
    }
}

fn read_hint(reader: &Reader<'_>) -> Option<Hint> {
    let text = |name| reader.text(name).map(|given| given.value);
    let node = reader.node("status")?;
    let number = |node: &Node| match node.value {
        Value::Integer(number @ 400..=599) => u16::try_from(number).ok(),
        _ => None,
    };
    let status: Option<Vec<u16>> = match &node.value {
        Value::List(items) if !items.is_empty() => items.iter().map(number).collect(),
        _ => None,
    };
    if status.is_none() {
        let help = "write status = [401]";
        reader.fault("status", &node, "a list of statuses from 400 wanted", help);
    }
    Some(Hint {
        status: status?,
        contains: reader
            .texts("contains")
            .into_iter()
            .map(|given| given.value)
            .collect(),
        say: text("say")?,
        help: text("help")?,
    })
}

pub(super) fn read_lint(reader: &Reader<'_>) -> Option<Lint> {
    let text = |name| reader.text(name).map(|given| given.value);
    Some(Lint {
        at: reader.at().clone(),
        input: text("input")?,
        shorter_than: text("shorter-than"),
        lacks: text("lacks"),
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
