//! A configuration text as a tree in which every value knows its place.
//!
//! Strings are parsed into literal pieces and variables here, once, so that what is put in for a
//! variable is never looked through for further variables: an issuer that contains `${now}` stays
//! an issuer.

use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::REFERENCE;
use super::problem::{Problems, Source, Span};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it is written.
    pub at: Span,
    /// Where the operator gave it, if a preset's line is what uses it.
    pub given: Option<Span>,
}

impl Node {
    /// Calls `visit` with every text of the tree below, and the text's place.
    pub fn for_each_text(&self, visit: &mut impl FnMut(&Text, &Span)) {
        match &self.value {
            Value::Text(text) => visit(text, &self.at),
            Value::List(items) => items.iter().for_each(|item| item.for_each_text(visit)),
            Value::Table(table) => {
                let nodes = table.entries.iter().map(|entry| &entry.node);
                nodes.for_each(|node| node.for_each_text(visit));
            }
            Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Date(_) => {}
        }
    }

    /// Calls `visit` with the table that this is, or those of the list that it is.
    fn for_each_table(&self, visit: &mut dyn FnMut(&Table)) {
        match &self.value {
            Value::Table(table) => visit(table),
            Value::List(items) => items.iter().for_each(|item| item.for_each_table(visit)),
            _ => {}
        }
    }

    /// The text that this is, or those of the list that it is, less any with variables in them.
    #[must_use]
    pub fn literals(&self) -> Vec<String> {
        match &self.value {
            Value::Text(text) => text.as_literal().into_iter().collect(),
            Value::List(items) => items.iter().flat_map(Self::literals).collect(),
            _ => Vec::new(),
        }
    }
}

/// What a node can be.
#[derive(Clone, Debug)]
pub enum Value {
    /// A string, perhaps with variables in it.
    Text(Text),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// A date, a time or both, which no key takes.
    Date(String),
    /// A list.
    List(Vec<Node>),
    /// A table.
    Table(Table),
}

impl Value {
    /// How the kind of value is called in messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number with a fraction",
            Self::Boolean(_) => "true or false",
            Self::Date(_) => "a date or time",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// A string in pieces.
#[derive(Clone, Debug, Default)]
pub struct Text {
    /// The pieces, in order.
    pub pieces: Vec<Piece>,
    /// Where the text, or a part of it, was read from if it was given by reference: what is shown
    /// in place of it, in TOML.
    pub origin: Option<String>,
}

/// A piece of a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Characters that mean themselves.
    Literal(String),
    /// The name inside `${…}`.
    Variable(String),
}

impl Text {
    /// A text without variables.
    #[must_use]
    pub fn literal(text: impl Into<String>) -> Self {
        Self {
            pieces: vec![Piece::Literal(text.into())],
            origin: None,
        }
    }

    /// The text, if there is no variable in it.
    #[must_use]
    pub fn as_literal(&self) -> Option<String> {
        self.pieces
            .iter()
            .map(|piece| match piece {
                Piece::Literal(text) => Some(text.as_str()),
                Piece::Variable(_) => None,
            })
            .collect()
    }

    /// The variable's name, if the text is exactly one variable.
    #[must_use]
    pub fn as_variable(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [Piece::Variable(name)] => Some(name),
            _ => None,
        }
    }

    /// The text as TOML writes it, or in place of a text that was read from elsewhere where that is.
    #[must_use]
    pub fn to_toml(&self) -> String {
        if let Some(origin) = &self.origin {
            return origin.clone();
        }
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Literal(text) => text.replace("${", "$${"),
            Piece::Variable(name) => format!("${{{name}}}"),
        });
        quoted(&pieces.collect::<String>())
    }

    /// The names of all variables in the text.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Variable(name) => Some(name.as_str()),
            Piece::Literal(_) => None,
        })
    }

    /// Cuts a string at its variables. `$${` is a literal `${`.
    ///
    /// # Errors
    ///
    /// A sentence that says which variable is not closed or has no name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            let (before, from) = rest.split_at(dollar);
            literal.push_str(before);
            if let Some(after) = from.strip_prefix("$${") {
                literal.push_str("${");
                rest = after;
            } else if let Some(inner) = from.strip_prefix("${") {
                let end = inner
                    .find('}')
                    .ok_or("`${` is not closed by `}`; a literal `${` is written `$${`")?;
                let (name, after) = inner.split_at(end);
                if name.is_empty() {
                    return Err("`${}` names no variable".into());
                }
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                pieces.push(Piece::Variable(name.to_owned()));
                rest = &after[1..];
            } else {
                literal.push('$');
                rest = &from[1..];
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() || pieces.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self {
            pieces,
            origin: None,
        })
    }
}

/// A table, in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Its entries; names are unique.
    pub entries: Vec<Entry>,
}

/// One entry of a table.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub name: String,
    /// Where the key is written.
    pub name_at: Span,
    /// What it is set to.
    pub node: Node,
}

impl Table {
    /// Calls `visit` with every entry here and in the tables below.
    pub fn for_each_entry(&self, visit: &mut impl FnMut(&Entry)) {
        for entry in &self.entries {
            visit(entry);
            entry
                .node
                .for_each_table(&mut |table| table.for_each_entry(visit));
        }
    }

    /// The entry of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// Whether this is `{ file = … }` or the like.
    #[must_use]
    pub fn is_reference(&self) -> bool {
        let is_known = |entry: &Entry| REFERENCE.key(&entry.name).is_some();
        !self.entries.is_empty() && self.entries.iter().all(is_known)
    }

    /// Lays `over` on this table. Tables are merged entry by entry, any other value replaces the
    /// one below it, and the lists named in `added` are joined instead of replaced.
    pub fn lay(&mut self, over: &Self, added: &[&str]) {
        for entry in &over.entries {
            let Some(under) = self
                .entries
                .iter_mut()
                .find(|under| under.name == entry.name)
            else {
                self.entries.push(entry.clone());
                continue;
            };
            match (&mut under.node.value, &entry.node.value) {
                // Two halves of references would refer to two places.
                (Value::Table(below), Value::Table(above))
                    if below.is_reference() && above.is_reference() =>
                {
                    *under = entry.clone();
                }
                (Value::Table(below), Value::Table(above)) => below.lay(above, added),
                (Value::List(below), Value::List(above)) if added.contains(&&*entry.name) => {
                    below.extend(above.iter().cloned());
                }
                // A single text counts as a list of one.
                (Value::List(below), Value::Text(_)) if added.contains(&&*entry.name) => {
                    below.push(entry.node.clone());
                }
                _ => *under = entry.clone(),
            }
        }
    }
}

/// A string as TOML writes it.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            it if it.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(it))),
            it => quoted.push(it),
        }
    }
    quoted.push('"');
    quoted
}

/// A key as TOML writes it: in quotes where it is more than letters, digits, `-` and `_`.
#[must_use]
pub fn key(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !name.is_empty() && name.bytes().all(is_bare) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// Parses a text into a tree. Every fault of the grammar is noted, and what could be read is
/// returned all the same.
#[must_use]
pub fn parse(source: &Arc<Source>, problems: &Problems) -> Node {
    let (document, errors) = DeTable::parse_recoverable(&source.text);
    for error in &errors {
        let start = error.span().map_or(0, |span| span.start);
        let at = Span {
            source: Arc::clone(source),
            start,
        };
        let named = error
            .span()
            .filter(|_| error.message().starts_with("duplicate key"))
            .and_then(|span| source.text.get(span))
            .map(|name| format!(" `{name}`"))
            .unwrap_or_default();
        let message = error.message().trim_end();
        let help = look_alike(source.text.get(start..).unwrap_or_default());
        problems.fault(&at, format!("this is not TOML: {message}{named}"), help);
    }
    let builder = Builder { source, problems };
    let at = builder.span(document.span().start);
    Node {
        value: Value::Table(builder.table(document.get_ref())),
        at,
        given: None,
    }
}

/// What word processors and web pages make of plain characters, where a text begins with that.
fn look_alike(text: &str) -> &'static str {
    match text.chars().next() {
        Some('“' | '”' | '„' | '‘' | '’' | '«' | '»') => {
            "this is a typographic quotation mark: write \""
        }
        Some('\u{a0}' | '\u{200b}' | '\u{202f}' | '\u{feff}') => {
            "this is white space that TOML does not know: write a plain blank"
        }
        _ => "",
    }
}

/// Parses one value, as the declared defaults are written.
#[must_use]
pub fn parse_value(text: &'static str, at: &Span) -> Node {
    let value = DeValue::parse(text).expect("declared defaults are TOML values");
    let source = Arc::new(Source {
        name: "default".into(),
        text: text.into(),
    });
    let problems = Problems::default();
    let node = Builder {
        source: &source,
        problems: &problems,
    }
    .node(&value);
    Node {
        at: at.clone(),
        ..node
    }
}

struct Builder<'a> {
    source: &'a Arc<Source>,
    problems: &'a Problems,
}

impl Builder<'_> {
    fn span(&self, start: usize) -> Span {
        Span {
            source: Arc::clone(self.source),
            start,
        }
    }

    fn table(&self, table: &DeTable<'_>) -> Table {
        let mut entries: Vec<Entry> = table
            .iter()
            .map(|(key, value)| Entry {
                name: key.get_ref().to_string(),
                name_at: self.span(key.span().start),
                node: self.node(value),
            })
            .collect();
        entries.sort_by_key(|entry| entry.name_at.start);
        Table { entries }
    }

    fn node(&self, value: &Spanned<DeValue<'_>>) -> Node {
        let at = self.span(value.span().start);
        let value = match value.get_ref() {
            DeValue::String(text) => Value::Text(self.text(text, &at)),
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => Value::Integer(number),
                    Err(_) => {
                        self.problems.fault(&at, "this number is too large", "");
                        Value::Integer(0)
                    }
                }
            }
            DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(boolean) => Value::Boolean(*boolean),
            DeValue::Datetime(date) => Value::Date(date.to_string()),
            DeValue::Array(items) => {
                Value::List(items.iter().map(|item| self.node(item)).collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table)),
        };
        Node {
            value,
            at,
            given: None,
        }
    }

    fn text(&self, text: &str, at: &Span) -> Text {
        Text::parse(text).unwrap_or_else(|message| {
            self.problems.fault(at, message, "");
            Text::literal(text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<Piece> {
        Text::parse(text).expect(text).pieces
    }

    #[test]
    fn a_string_is_cut_at_its_variables() {
        let user = || Piece::Variable("user".into());
        assert_eq!(pieces("${user}"), [user()]);
        assert_eq!(
            pieces("user:${user}"),
            [Piece::Literal("user:".into()), user()]
        );
        assert_eq!(pieces(""), [Piece::Literal(String::new())]);
        assert_eq!(pieces("a$b$${user}"), [Piece::Literal("a$b${user}".into())]);
    }

    #[test]
    fn a_variable_that_is_not_closed_or_not_named_is_refused() {
        assert!(Text::parse("${user").is_err());
        assert!(Text::parse("a${}").is_err());
    }

    #[test]
    fn what_is_added_to_a_list_stays_beside_what_was_there_in_either_form() {
        let problems = Problems::default();
        let table = |text: &str| {
            let (name, text) = ("f".to_owned(), text.to_owned());
            match parse(&Arc::new(Source { name, text }), &problems).value {
                Value::Table(table) => table,
                other => panic!("{other:?}"),
            }
        };
        for over in ["refuse = \"/b\"", "refuse = [\"/b\"]"] {
            let mut under = table("refuse = [\"/a\"]");
            under.lay(&table(over), &["refuse"]);
            let Value::List(items) = &under.entries[0].node.value else {
                panic!("{under:?}")
            };
            assert_eq!(items.len(), 2, "{over}");
        }
    }

    #[test]
    fn every_fault_of_the_grammar_is_noted_with_its_line() {
        let text = "a = = 1\n[b]\nc = 2\nd = \"x\n";
        let source = Arc::new(Source {
            name: "f".into(),
            text: text.into(),
        });
        let problems = Problems::default();
        let _ = parse(&source, &problems);
        let shown = problems.to_string();
        assert!(shown.contains("f:1:"), "{shown}");
        assert!(shown.contains("f:4:"), "{shown}");
    }
}
