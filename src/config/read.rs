//! Reads a table of the tree by its declared section.
//!
//! Every getter notes what is wrong and goes on with the declared default, so that one run finds
//! all faults of a file.

use super::keys::{Key, Kind, Presence, Section};
use super::problem::{Problems, Severity, Span, did_you_mean, known_here};
use super::tree::{Node, Table, Value, parse_value};

mod tables;
mod values;

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

    fn below(&self, name: &str) -> String {
        if self.path.starts_with("the ") {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
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
