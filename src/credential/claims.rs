//! The claims of a token, with blanks that are filled in for each.

use serde_json::{Map, Value};
use uuid::Uuid;

/// Claims with blanks.
#[derive(Clone, Debug)]
pub enum Template {
    /// A value that is the same in every token.
    Fixed(Value),
    /// Exactly one blank: the value keeps the blank's type.
    Blank(Blank),
    /// A text with blanks in it.
    Text(Vec<Part>),
    /// A list.
    List(Vec<Template>),
    /// An object, in this order.
    Object(Vec<(String, Template)>),
}

/// A part of a text.
#[derive(Clone, Debug)]
pub enum Part {
    /// Characters that mean themselves.
    Literal(String),
    /// A blank.
    Blank(Blank),
}

/// What is filled in for each token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blank {
    /// When it is issued, in whole seconds since 1970 (RFC 7519 section 2, `NumericDate`).
    Now,
    /// When it ends, likewise.
    Expires,
    /// A random UUID, new for each.
    Uuid,
}

impl Blank {
    /// All of them, with their names.
    pub const NAMES: [(&'static str, Self); 3] = [
        ("now", Self::Now),
        ("expires", Self::Expires),
        ("uuid", Self::Uuid),
    ];

    /// The blank of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, blank)| *blank)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::Expires => "expires",
            Self::Uuid => "uuid",
        }
    }
}

/// What the blanks of one token are filled with.
#[derive(Clone, Copy, Debug)]
pub struct Filling {
    /// For `${now}`.
    pub now: u64,
    /// For `${expires}`.
    pub expires: u64,
}

impl Filling {
    fn value(self, blank: Blank) -> Value {
        match blank {
            Blank::Now => self.now.into(),
            Blank::Expires => self.expires.into(),
            Blank::Uuid => Uuid::new_v4().to_string().into(),
        }
    }

    fn text(self, blank: Blank) -> String {
        match self.value(blank) {
            Value::String(text) => text,
            other => other.to_string(),
        }
    }
}

impl Template {
    /// Fills the blanks.
    #[must_use]
    pub fn fill(&self, filling: Filling) -> Value {
        match self {
            Self::Fixed(value) => value.clone(),
            Self::Blank(blank) => filling.value(*blank),
            Self::Text(parts) => parts
                .iter()
                .map(|part| match part {
                    Part::Literal(text) => text.clone(),
                    Part::Blank(blank) => filling.text(*blank),
                })
                .collect::<String>()
                .into(),
            Self::List(items) => items.iter().map(|item| item.fill(filling)).collect(),
            Self::Object(members) => Value::Object(
                members
                    .iter()
                    .map(|(name, value)| (name.clone(), value.fill(filling)))
                    .collect::<Map<_, _>>(),
            ),
        }
    }
}
