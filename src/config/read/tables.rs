//! Reads keys whose values are tables.

use super::{Given, Reader};
use crate::config::keys::Kind;
use crate::config::problem::Span;
use crate::config::tree::{Entry, Node, Table, Value, key, quoted};

impl Reader<'_> {
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
}
