//! Reads a table of the tree by its declared section.
//!
//! Every getter notes what is wrong and goes on with the declared default, so that one run finds
//! all faults of a file.

use std::time::Duration;

use super::keys::{Key, Kind, Presence, Section};
use super::problem::{Problems, Severity, Span, did_you_mean, known_here};
use super::tree::{Entry, Node, Table, Text, Value, key, parse_value, quoted};
use super::units;

/// A value with the place that it came from.
#[derive(Clone, Debug)]
pub struct Given<T> {
    /// The value.
    pub value: T,
    /// Where it is written.
    pub at: Span,
    /// Where the operator gave it, if a preset's line is what uses it.
    pub given: Option<Span>,
}

/// A table that is being read.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    section: &'static Section,
    /// The section's path with the operator's names in it.
    path: String,
    table: &'a Table,
    at: Span,
    problems: &'a Problems,
    /// How many faults there were when reading started.
    faults: usize,
}

impl<'a> Reader<'a> {
    /// Starts reading: unknown and missing keys, and values of the wrong kind, are noted at once,
    /// so that none goes unnoticed because nobody asks for it.
    #[must_use]
    pub fn new(
        section: &'static Section,
        path: impl Into<String>,
        table: &'a Table,
        at: &Span,
        problems: &'a Problems,
    ) -> Self {
        let reader = Self {
            section,
            path: path.into(),
            table,
            at: at.clone(),
            problems,
            faults: problems.faults(),
        };
        reader.note_unknown();
        reader.note_missing();
        reader.note_wrong_kinds();
        reader
    }

    fn note_unknown(&self) {
        for entry in &self.table.entries {
            if self.section.key(&entry.name).is_none() {
                let message = format!("unknown key `{}` in {}", entry.name, self.place());
                let help = did_you_mean(&entry.name, self.section.names());
                self.problems.fault(&entry.name_at, message, help);
            }
        }
    }

    fn note_missing(&self) {
        for key in self.section.keys {
            let missing = self.table.get(key.name).is_none();
            if missing && matches!(key.presence, Presence::Required) {
                let message = format!("`{}` is missing in {}", key.name, self.place());
                self.problems
                    .fault(&self.at, message, format!("it is {}", key.doc));
            }
        }
    }

    fn note_wrong_kinds(&self) {
        for entry in &self.table.entries {
            if let Some(key) = self.section.key(&entry.name)
                && !fits(&key.kind, &entry.node.value)
            {
                let found = entry.node.value.kind();
                let message = format!("{} wanted, {found} found", key.kind.wanted());
                let path = self.below(key.name);
                let help = match key.kind {
                    Kind::Tables(_) => {
                        format!("write [[{path}]], in two pairs of brackets, above each")
                    }
                    Kind::Word(words) => known_here(words.iter().copied()),
                    Kind::Named(_) => format!("write [{path}.NAME] above its keys"),
                    Kind::Table(_) | Kind::TextTable | Kind::Free => {
                        format!("write [{path}] above its keys")
                    }
                    _ => String::new(),
                };
                self.fault(key.name, &entry.node, &message, &help);
            }
        }
    }

    /// The table's path as messages name it.
    #[must_use]
    pub fn place(&self) -> String {
        if self.path.starts_with("the ") || self.path.starts_with('`') {
            self.path.clone()
        } else {
            format!("[{}]", self.path)
        }
    }

    /// The table's path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where the table starts.
    #[must_use]
    pub fn at(&self) -> &Span {
        &self.at
    }

    /// The table as it is written.
    #[must_use]
    pub fn written(&self) -> &'a Table {
        self.table
    }

    /// Where the problems go.
    #[must_use]
    pub fn problems(&self) -> &'a Problems {
        self.problems
    }

    /// Whether the section has a key of that name at all.
    #[must_use]
    pub fn declares(&self, name: &str) -> bool {
        self.section.key(name).is_some()
    }

    /// Whether the key is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.table.get(name).is_some()
    }

    /// Whether no fault has been noted since reading started.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.problems.faults() == self.faults
    }

    /// Whether the key is there and is a table with nothing in it.
    #[must_use]
    pub fn is_empty(&self, name: &str) -> bool {
        let entry = self.table.get(name);
        entry.is_some_and(|it| matches!(&it.node.value, Value::Table(it) if it.entries.is_empty()))
    }

    /// Whether the key is there and is a list with nothing in it.
    #[must_use]
    pub fn is_empty_list(&self, name: &str) -> bool {
        let entry = self.table.get(name);
        entry.is_some_and(|it| matches!(&it.node.value, Value::List(items) if items.is_empty()))
    }

    /// The key's node as it stands, its default if it has one, or nothing.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<Node> {
        self.table
            .get(name)
            .map(|entry| entry.node.clone())
            .or_else(|| self.default(name))
    }

    /// All keys that are there or have a default, with their nodes.
    pub fn nodes(&self) -> impl Iterator<Item = (&'static str, Node)> {
        let names = self.section.names();
        names.filter_map(|name| Some((name, self.node(name)?)))
    }

    fn key(&self, name: &str) -> &'static Key {
        self.section.key(name).expect("only declared keys are read")
    }

    fn default(&self, name: &str) -> Option<Node> {
        match self.key(name).presence {
            Presence::Default(text) => Some(parse_value(text, &self.at)),
            Presence::Required | Presence::Optional => None,
        }
    }

    /// Notes that a value is not what its key takes.
    pub fn fault(&self, name: &str, node: &Node, message: &str, help: &str) {
        let message = format!("`{name}` in {}: {message}", self.place());
        self.problems.note(
            Severity::Fault,
            &node.at,
            node.given.as_ref(),
            message,
            help,
        );
    }

    fn wrong_kind(&self, name: &str, node: &Node, wanted: &str) {
        let found = node.value.kind();
        self.fault(name, node, &format!("{wanted} wanted, {found} found"), "");
    }

    /// Reads a key with `convert`; a fault is noted and the default taken in its place.
    fn get<T>(&self, name: &str, convert: impl Fn(&Self, &Node) -> Option<T>) -> Option<Given<T>> {
        let entry = self.table.get(name);
        // What does not fit has been noted already.
        let entry = entry.filter(|entry| fits(&self.key(name).kind, &entry.node.value));
        let found = entry.and_then(|entry| {
            let value = convert(self, &entry.node)?;
            let Node { at, given, .. } = &entry.node;
            Some(Given {
                value,
                at: at.clone(),
                given: given.clone(),
            })
        });
        found.or_else(|| {
            let node = self.default(name)?;
            let value = convert(self, &node).expect("declared defaults fit their keys");
            Some(Given {
                value,
                at: self.at.clone(),
                given: None,
            })
        })
    }

    fn literal(&self, name: &str, node: &Node) -> Option<String> {
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

    /// A table of strings, in the order of the file: name, place of the name, value.
    #[must_use]
    pub fn text_table(&self, name: &str) -> Vec<(Given<String>, Given<String>)> {
        let Some(node) = self.node(name) else {
            return Vec::new();
        };
        let Value::Table(table) = &node.value else {
            return Vec::new();
        };
        let inner = Self {
            path: self.below(name),
            ..self.clone()
        };
        let given = |value: String, at: &Span, node: &Node| Given {
            value,
            at: at.clone(),
            given: node.given.clone(),
        };
        table
            .entries
            .iter()
            .filter_map(|entry| {
                let value = inner.literal(&entry.name, &entry.node)?;
                let key = given(entry.name.clone(), &entry.name_at, &entry.node);
                Some((key, given(value, &entry.node.at, &entry.node)))
            })
            .collect()
    }

    /// Calls `read` with a reader for the table under the key.
    pub fn table<T>(&self, name: &str, read: impl FnOnce(&Reader<'_>) -> T) -> Option<T> {
        let (Kind::Table(section) | Kind::TextOrTable(section)) = self.key(name).kind else {
            unreachable!("`{name}` is not declared as a table")
        };
        let node = self.node(name)?;
        let path = self.below(name);
        let empty = Table::default();
        let table = match &node.value {
            Value::Table(table) => table,
            // Noted already. One that may be left out altogether has no defaults to go on with.
            _ if self.default(name).is_none() => return None,
            _ => &empty,
        };
        Some(read(&Reader::new(
            section,
            path,
            table,
            &node.at,
            self.problems,
        )))
    }

    /// Calls `read` with a reader for each table of the list under the key.
    pub fn tables<T>(&self, name: &str, mut read: impl FnMut(&Reader<'_>) -> T) -> Vec<T> {
        let Kind::Tables(section) = self.key(name).kind else {
            unreachable!("`{name}` is not declared as a list of tables")
        };
        let Some(node) = self.node(name) else {
            return Vec::new();
        };
        let Value::List(items) = &node.value else {
            return Vec::new();
        };
        let mut read_one = |item: &Node| match &item.value {
            Value::Table(table) => {
                let reader = Reader::new(section, self.below(name), table, &item.at, self.problems);
                Some(read(&reader))
            }
            _ => {
                self.wrong_kind(name, item, "a table");
                None
            }
        };
        items.iter().filter_map(&mut read_one).collect()
    }

    /// Calls `read` with the operator's name and a reader for each table under the key.
    pub fn named<T>(
        &self,
        name: &str,
        mut read: impl FnMut(&Given<String>, &Reader<'_>) -> T,
    ) -> Vec<T> {
        let Kind::Named(section) = self.key(name).kind else {
            unreachable!("`{name}` is not declared as named tables")
        };
        self.entries(name)
            .iter()
            .map(|(given, table, at)| {
                let path = format!("{}.{}", self.below(name), key(&given.value));
                read(given, &Reader::new(section, path, table, at, self.problems))
            })
            .collect()
    }

    /// The tables under the names of a table of tables.
    #[must_use]
    pub fn entries(&self, name: &str) -> Vec<(Given<String>, Table, Span)> {
        let Some(node) = self.node(name) else {
            return Vec::new();
        };
        let Value::Table(table) = &node.value else {
            return Vec::new();
        };
        let mut entries = Vec::new();
        for entry in &table.entries {
            self.note_odd_name(name, entry);
            let key = Given {
                value: entry.name.clone(),
                at: entry.name_at.clone(),
                given: entry.node.given.clone(),
            };
            match &entry.node.value {
                Value::Table(table) => entries.push((key, table.clone(), entry.name_at.clone())),
                other => {
                    let path = self.below(name);
                    let found = other.kind();
                    let message = format!(
                        "`{}` in [{path}]: a table wanted, {found} found",
                        entry.name
                    );
                    let help = format!("write [{path}.NAME] above its keys");
                    self.problems.fault(&entry.node.at, message, help);
                }
            }
        }
        entries
    }

    /// Names stand in paths, logs and headers as they are, so that all of those must take them.
    fn note_odd_name(&self, name: &str, entry: &Entry) {
        let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let own = entry.name.as_str();
        if own.is_empty() || !own.bytes().all(is_fine) || own.starts_with('.') {
            let message = format!("{} cannot be a name in [{}]", quoted(own), self.below(name));
            let help = "names have letters, digits, `-`, `_` and `.` in them, and no dot in front";
            self.problems.fault(&entry.name_at, message, help);
        }
    }

    fn below(&self, name: &str) -> String {
        if self.path.starts_with("the ") {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
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

/// Whether a value is of the kind that a key takes. References have a reader of their own.
fn fits(kind: &Kind, value: &Value) -> bool {
    match kind {
        Kind::Text | Kind::Word(_) | Kind::Duration | Kind::Timeout | Kind::Size => {
            matches!(value, Value::Text(_))
        }
        Kind::Integer(..) => matches!(value, Value::Integer(_)),
        Kind::Integers(..) => matches!(value, Value::Integer(_) | Value::List(_)),
        Kind::Boolean => matches!(value, Value::Boolean(_)),
        Kind::Texts => matches!(value, Value::Text(_) | Value::List(_)),
        Kind::TextOrTable(_) => matches!(value, Value::Text(_) | Value::Table(_)),
        Kind::TextTable | Kind::Table(_) | Kind::Named(_) | Kind::Free => {
            matches!(value, Value::Table(_))
        }
        Kind::Tables(_) => matches!(value, Value::List(_)),
        Kind::Identifier | Kind::Secret | Kind::Any => true,
    }
}
