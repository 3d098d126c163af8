//! Claims and parameters, with blanks that are filled in for each token.

use serde_json::{Map, Value};
use uuid::Uuid;

/// A JSON value with blanks.
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
    /// The issuer that an OpenID provider's discovery document names.
    Issuer,
    /// The token endpoint's URL.
    Endpoint,
    /// The signed assertion.
    Assertion,
    /// The client's secret.
    ClientSecret,
    /// The user's password.
    Password,
    /// The refresh token that came with the last answer, or was given to begin with.
    RefreshToken,
    /// The live token.
    Token,
}

impl Blank {
    /// Those of claims, with their names.
    pub const CLAIMS: &[(&'static str, Self)] = &[
        ("now", Self::Now),
        ("expires", Self::Expires),
        ("uuid", Self::Uuid),
    ];

    /// Those of the claims of an assertion.
    pub const ASSERTION: &[(&'static str, Self)] = &[
        ("now", Self::Now),
        ("expires", Self::Expires),
        ("uuid", Self::Uuid),
        ("issuer-url", Self::Issuer),
        ("endpoint-url", Self::Endpoint),
    ];

    /// Those of the parameters of an exchange.
    pub const EXCHANGE: &[(&'static str, Self)] = &[
        ("assertion", Self::Assertion),
        ("secret-of-client", Self::ClientSecret),
        ("secret-of-user", Self::Password),
        ("refresh-token", Self::RefreshToken),
        ("uuid", Self::Uuid),
        ("now", Self::Now),
    ];

    /// Those of the parameters of a login.
    pub const LOGIN: &[(&'static str, Self)] = &[
        ("secret-of-user", Self::Password),
        ("uuid", Self::Uuid),
        ("now", Self::Now),
    ];

    /// Those of the parameters of a login's refresh.
    pub const REFRESH: &[(&'static str, Self)] = &[
        ("refresh-token", Self::RefreshToken),
        ("live-token", Self::Token),
        ("secret-of-user", Self::Password),
        ("uuid", Self::Uuid),
        ("now", Self::Now),
    ];

    /// The blank of that name, wherever it may stand.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let all = Self::ASSERTION.iter().chain(Self::EXCHANGE);
        let all = all.chain(Self::REFRESH);
        all.copied()
            .find(|(known, _)| *known == name)
            .map(|(_, blank)| blank)
    }
}

/// What the blanks of one token are filled with.
#[derive(Clone, Copy, Debug)]
pub struct Filling<'a> {
    /// For `${now}`.
    pub now: u64,
    /// For `${expires}`.
    pub expires: u64,
    /// For the others; what is not named here stays empty.
    pub texts: &'a [(Blank, &'a str)],
}

impl Filling<'_> {
    fn value(&self, blank: Blank) -> Value {
        match blank {
            Blank::Now => self.now.into(),
            Blank::Expires => self.expires.into(),
            Blank::Uuid => Uuid::new_v4().to_string().into(),
            other => {
                let text = self.texts.iter().find(|(named, _)| *named == other);
                text.map_or("", |(_, text)| text).into()
            }
        }
    }

    fn text(&self, blank: Blank) -> String {
        match self.value(blank) {
            Value::String(text) => text,
            other => other.to_string(),
        }
    }
}

impl Template {
    /// Whether a blank stands anywhere in it.
    #[must_use]
    pub fn has(&self, blank: Blank) -> bool {
        match self {
            Self::Fixed(_) => false,
            Self::Blank(own) => *own == blank,
            Self::Text(parts) => parts
                .iter()
                .any(|part| matches!(part, Part::Blank(own) if *own == blank)),
            Self::List(items) => items.iter().any(|item| item.has(blank)),
            Self::Object(members) => members.iter().any(|(_, value)| value.has(blank)),
        }
    }

    /// Fills the blanks.
    #[must_use]
    pub fn fill(&self, filling: &Filling<'_>) -> Value {
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
