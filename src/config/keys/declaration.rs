//! What is said of a key: its kind, whether it may be left out, and what it is for.

/// A table of the configuration.
#[derive(Debug)]
pub struct Section {
    /// How it is called in messages and in the example; `NAME` stands for the operator's name.
    pub path: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

impl Section {
    /// The key of that name.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The names of all keys.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + Clone {
        self.keys.iter().map(|key| key.name)
    }
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Its name, in kebab-case.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Whether it may be left out, and what holds then.
    pub presence: Presence,
    /// What it is for.
    pub doc: &'static str,
}

/// Whether a key may be left out.
#[derive(Debug)]
pub enum Presence {
    /// It must be given.
    Required,
    /// It may be left out, and then nothing of the sort happens.
    Optional,
    /// It may be left out, and then this TOML value holds.
    Default(&'static str),
}

/// What a key takes.
#[derive(Debug)]
pub enum Kind {
    /// A string.
    Text,
    /// A string, or a reference to one: an identifier.
    Identifier,
    /// A reference and never the thing itself: a key, a password, a shared secret.
    Secret,
    /// A whole number within bounds.
    Integer(i64, i64),
    /// A list of whole numbers within bounds.
    Integers(i64, i64),
    /// `true` or `false`.
    Boolean,
    /// A duration such as `"30s"`.
    Duration,
    /// A duration that is longer than none.
    Timeout,
    /// A size such as `"64KiB"`.
    Size,
    /// One of a few words.
    Word(&'static [&'static str]),
    /// A list of strings.
    Texts,
    /// A table of strings.
    TextTable,
    /// A table of anything; what it means is the reader's business.
    Free,
    /// Anything at all.
    Any,
    /// A string, or a table with keys of its own that says more.
    TextOrTable(&'static Section),
    /// A table with keys of its own.
    Table(&'static Section),
    /// A list of tables with keys of their own.
    Tables(&'static Section),
    /// Tables under names of the operator's choosing.
    Named(&'static Section),
}

impl Kind {
    /// What a message asks for in place of a value of another kind.
    #[must_use]
    pub fn wanted(&self) -> &'static str {
        match self {
            Self::TextOrTable(_) => "text in quotes, or a table",
            Self::Text | Self::Identifier | Self::Word(_) => "text in quotes",
            Self::Secret => "a reference",
            Self::Integer(..) => "a whole number",
            Self::Integers(..) => "a list of whole numbers",
            Self::Boolean => "true or false",
            Self::Duration | Self::Timeout => "a duration in quotes, such as \"30s\",",
            Self::Size => "a size in quotes, such as \"64KiB\",",
            Self::Texts => "a list of texts",
            Self::TextTable => "a table of texts",
            Self::Any => "a value",
            Self::Free | Self::Table(_) | Self::Named(_) => "a table",
            Self::Tables(_) => "a list of tables",
        }
    }
}

pub(super) const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        presence: Presence::Required,
        doc,
    }
}

pub(super) const fn optional(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        presence: Presence::Optional,
        doc,
    }
}

pub(super) const fn default(
    name: &'static str,
    kind: Kind,
    value: &'static str,
    doc: &'static str,
) -> Key {
    Key {
        name,
        kind,
        presence: Presence::Default(value),
        doc,
    }
}
