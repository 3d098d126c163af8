//! `[credentials.NAME.KIND]`

use std::time::Duration;

use http::HeaderName;
use serde_json::Value as Json;

use super::keys;
use super::preset::{self, Expanded, Known, SOURCES, one_table};
use super::problem::{Problems, Span};
use super::read::{Given, Reader};
use super::tree::{Node, Piece, Table, Text, Value, key as key_as_written};
use super::{Context, targets};
use crate::credential::claims::{Blank, Part, Template};
use crate::credential::placement::Placement;
use crate::credential::self_signed::SelfSigned;
use crate::credential::{Config, Source};
use crate::jws::{Algorithm, SigningKey};

/// A credential as it was read.
#[derive(Debug)]
pub struct Read {
    /// The operator's name for it.
    pub name: String,
    /// Where the name stands.
    pub at: Span,
    /// Its preset or source.
    pub kind: String,
    /// What it is for the stage; `None` if it has faults.
    pub config: Option<Config>,
    /// The header it goes into.
    pub header: HeaderName,
    /// A target's defaults, from the preset.
    pub target: Table,
    /// The source's table, presets expanded, for showing.
    pub expanded: Option<(String, Node)>,
}

/// Reads all of them.
pub fn read(root: &Reader<'_>, presets: &Known, context: &Context<'_>) -> Vec<Read> {
    let usable = presets.presets.iter().map(|preset| preset.name.as_str());
    let kinds: Vec<&str> = SOURCES.into_iter().chain(usable).collect();
    root.entries("credentials")
        .iter()
        .map(|(name, table, at)| read_one(name, table, at, presets, &kinds, context))
        .collect()
}

fn read_one(
    name: &Given<String>,
    table: &Table,
    at: &Span,
    presets: &Known,
    kinds: &[&str],
    context: &Context<'_>,
) -> Read {
    let mut read = Read {
        name: name.value.clone(),
        at: name.at.clone(),
        kind: String::new(),
        config: None,
        header: http::header::AUTHORIZATION,
        target: Table::default(),
        expanded: None,
    };
    if name.value == "none" {
        let help = "a target says `credential = \"none\"` to have no credential at all";
        context
            .problems
            .fault(&name.at, "a credential cannot be called `none`", help);
    }
    // What is wrong with the preset has been said where it stands.
    if let [entry] = table.entries.as_slice()
        && presets.broken.contains(&entry.name)
    {
        return read;
    }
    let place = format!("credentials.{}", key_as_written(&name.value));
    let Some((kind, table, at)) = one_table(&place, table, at, kinds, context.problems) else {
        return read;
    };
    let path = format!("{place}.{kind}");
    let expanded = match presets.get(&kind) {
        Some(preset) => preset.expand(&path, &table, &at, context),
        None => Some(Expanded {
            source: kind.clone(),
            credential: Node {
                value: Value::Table(table),
                at,
                given: None,
            },
            target: Table::default(),
        }),
    };
    read.kind = kind;
    if let Some(Expanded {
        source,
        credential,
        target,
    }) = expanded
    {
        read.target = target;
        read.config = self_signed(&name.value, &path, &credential, context);
        if let Some(config) = &read.config {
            read.header = config.placement.header.clone();
        }
        read.expanded = Some((source, credential));
    }
    read
}

/// Reads the keys of the self-signed source.
fn self_signed(name: &str, path: &str, node: &Node, context: &Context<'_>) -> Option<Config> {
    let Value::Table(table) = &node.value else {
        return None;
    };
    let at = node.given.as_ref().unwrap_or(&node.at);
    let reader = Reader::new(&keys::SELF_SIGNED, path, table, at, context.problems);
    let algorithm = reader.parsed("algorithm", |text| {
        text.parse::<Algorithm>().map_err(|error| error.to_string())
    });
    let key = key(&reader, algorithm.map(|given| given.value), context);
    let claims = reader
        .node("claims")
        .and_then(|node| claims(&reader, &node));
    let kid = reader
        .node("kid")
        .map(|node| super::identifier(&format!("`kid` in [{path}]"), &node, context));
    let (lifetime, backdate) = lifetime(&reader);
    let placement = reader.table("placement", placement)?;
    let (typ, renew_at, sign) = (
        reader.text("typ"),
        reader.integer("renew-at"),
        reader.word("sign"),
    );
    // Everything has been read, and all faults are noted: from here on the first one ends it.
    let kid = match kid {
        Some(kid) => kid?.as_literal(),
        None => None,
    };
    let source = SelfSigned {
        key: key?,
        kid,
        typ: typ?.value,
        claims: claims?,
        lifetime,
        backdate,
    };
    Some(Config {
        name: name.to_owned(),
        source: Source::SelfSigned(source),
        placement: placement?,
        renew_at: renew_at?.value,
        each_request: sign?.value == "each-request",
    })
}

fn lifetime(reader: &Reader<'_>) -> (Duration, Duration) {
    let (lifetime, backdate) = (reader.duration("lifetime"), reader.duration("backdate"));
    let second = Duration::from_secs(1);
    let fault = |given: &Given<Duration>, message: &str| {
        let (severity, at) = (super::problem::Severity::Fault, given.given.as_ref());
        reader.problems().note(severity, &given.at, at, message, "");
    };
    if lifetime.value < 2 * second {
        fault(
            &lifetime,
            "`lifetime` is shorter than two seconds, and tokens count whole ones",
        );
    } else if backdate.value + second >= lifetime.value {
        fault(&backdate, "`backdate` leaves nothing of `lifetime`");
    }
    (lifetime.value, backdate.value)
}

/// Reads the key that signs and checks that it is of the kind that the algorithm needs, if there
/// is one.
fn key(
    reader: &Reader<'_>,
    algorithm: Option<Algorithm>,
    context: &Context<'_>,
) -> Option<SigningKey> {
    let node = reader.node("key")?;
    let place = format!("`key` in {}", reader.place());
    let reference = preset::reference(&place, &node, context.problems)?;
    let at = node.given.as_ref().unwrap_or(&node.at);
    let resolved = match context
        .store
        .resolve(&reference, context.folder, Some(context.modes))
    {
        Ok(resolved) => resolved,
        Err(error) => {
            context
                .problems
                .fault(at, format!("{place}: {}", error.message), error.help);
            return None;
        }
    };
    if let Some(warning) = resolved.warning {
        context.problems.warn(at, format!("{place}: {warning}"), "");
    }
    match SigningKey::parse(algorithm?, &resolved.secret) {
        Ok(key) => Some(key),
        Err(error) => {
            context
                .problems
                .fault(at, format!("{place}: {reference}: {error}"), "");
            None
        }
    }
}

fn placement(reader: &Reader<'_>) -> Option<Placement> {
    let header = reader.parsed("header", |text| {
        let name = HeaderName::try_from(text).map_err(|_| format!("`{text}` is no header name"))?;
        if targets::is_ours(&name) {
            return Err(format!("`{text}` is a header that the proxy itself sets"));
        }
        Ok(name)
    });
    let scheme = reader.parsed("scheme", |text| {
        if text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(text.to_owned())
        } else {
            Err(format!("`{text}` is not one word"))
        }
    });
    Some(Placement {
        header: header?.value,
        scheme: scheme?.value,
    })
}

/// The claims, which must be a table: a JWT's payload is an object (RFC 7519 section 7.2).
fn claims(reader: &Reader<'_>, node: &Node) -> Option<Template> {
    match &node.value {
        Value::Table(_) => template(reader, node),
        // Noted already.
        _ => None,
    }
}

fn template(reader: &Reader<'_>, node: &Node) -> Option<Template> {
    // All members are looked at before the first fault counts, so that all are noted.
    let all = |templates: Vec<Option<Template>>| templates.into_iter().collect::<Option<Vec<_>>>();
    Some(match &node.value {
        Value::Text(text) => text_template(reader, node, text)?,
        Value::Integer(number) => Template::Fixed((*number).into()),
        Value::Float(number) => match serde_json::Number::from_f64(*number) {
            Some(number) => Template::Fixed(Json::Number(number)),
            None => {
                reader.fault("claims", node, "JSON has no such number", "");
                return None;
            }
        },
        Value::Boolean(boolean) => Template::Fixed((*boolean).into()),
        Value::Date(date) => {
            let message = format!("JSON has no dates, and {date} is one");
            let help = "write it in quotes, or as a number of seconds since 1970";
            reader.fault("claims", node, &message, help);
            return None;
        }
        Value::List(items) => Template::List(all(items
            .iter()
            .map(|item| template(reader, item))
            .collect())?),
        Value::Table(table) => {
            let entries = &table.entries;
            let members = all(entries
                .iter()
                .map(|it| template(reader, &it.node))
                .collect())?;
            let names = entries.iter().map(|entry| entry.name.clone());
            Template::Object(names.zip(members).collect())
        }
    })
}

fn text_template(reader: &Reader<'_>, node: &Node, text: &Text) -> Option<Template> {
    let blank = |name: &str| {
        let found = Blank::named(name);
        if found.is_none() {
            let help = "a token's blanks are `${now}`, `${expires}` and `${uuid}`; a literal `${` is written `$${`";
            reader.fault(
                "claims",
                node,
                &format!("there is no variable `{name}` here"),
                help,
            );
        }
        found
    };
    if let Some(name) = text.as_variable() {
        return blank(name).map(Template::Blank);
    }
    if let Some(literal) = text.as_literal() {
        return Some(Template::Fixed(literal.into()));
    }
    let parts = text.pieces.iter().map(|piece| match piece {
        Piece::Literal(text) => Some(Part::Literal(text.clone())),
        Piece::Variable(name) => blank(name).map(Part::Blank),
    });
    parts.collect::<Option<_>>().map(Template::Text)
}

/// Notes credentials that are on no request: a typing error, as a rule.
pub fn note_unused(credentials: &[Read], targets: &[targets::Read], problems: &Problems) {
    // A target whose own faults are noted may well have meant it.
    if problems.has_faults() {
        return;
    }
    for credential in credentials {
        let is_used = targets
            .iter()
            .any(|it| it.credential.as_deref() == Some(&credential.name));
        if !is_used {
            let message = format!("no target uses credential `{}`", credential.name);
            let help = format!(
                "name a target `{0}`, or write credential = \"{0}\" in one",
                credential.name
            );
            problems.warn(&credential.at, message, help);
        }
    }
}
