//! Claims and parameters: tables of anything, with blanks that the token's own moment fills.

use serde_json::Value as Json;

use crate::config::read::Reader;
use crate::config::tree::{Node, Piece, Text, Value};
use crate::credential::template::{Blank, Part, Template};

/// The blanks that may stand somewhere, with their names.
pub(super) type Blanks = [(&'static str, Blank)];

/// Reads a key whose value must be a table: a JWT's payload is an object (RFC 7519 section 7.2), and
/// parameters have names.
pub(super) fn object(reader: &Reader<'_>, key: &str, blanks: &Blanks) -> Option<Template> {
    let node = reader.node(key)?;
    match &node.value {
        Value::Table(_) => template(reader, key, &node, blanks),
        // Noted already.
        _ => None,
    }
}

fn template(reader: &Reader<'_>, key: &str, node: &Node, blanks: &Blanks) -> Option<Template> {
    let inner = |node: &Node| template(reader, key, node, blanks);
    // All members are looked at before the first fault counts, so that all are noted.
    let all = |templates: Vec<Option<Template>>| templates.into_iter().collect::<Option<Vec<_>>>();
    Some(match &node.value {
        Value::Text(text) => text_template(reader, key, node, text, blanks)?,
        Value::Integer(number) => Template::Fixed((*number).into()),
        Value::Float(number) => match serde_json::Number::from_f64(*number) {
            Some(number) => Template::Fixed(Json::Number(number)),
            None => {
                reader.fault(key, node, "JSON has no such number", "");
                return None;
            }
        },
        Value::Boolean(boolean) => Template::Fixed((*boolean).into()),
        Value::Date(date) => {
            let message = format!("JSON has no dates, and {date} is one");
            let help = "write it in quotes, or as a number of seconds since 1970";
            reader.fault(key, node, &message, help);
            return None;
        }
        Value::List(items) => Template::List(all(items.iter().map(inner).collect())?),
        Value::Table(table) => {
            let members = all(table.entries.iter().map(|it| inner(&it.node)).collect())?;
            let names = table.entries.iter().map(|entry| entry.name.clone());
            Template::Object(names.zip(members).collect())
        }
    })
}

fn text_template(
    reader: &Reader<'_>,
    key: &str,
    node: &Node,
    text: &Text,
    blanks: &Blanks,
) -> Option<Template> {
    let blank = |name: &str| {
        let found = blanks
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, blank)| *blank);
        if found.is_none() {
            let known: Vec<String> = blanks
                .iter()
                .map(|(name, _)| format!("`${{{name}}}`"))
                .collect();
            let help = format!(
                "filled in here: {}; a literal `${{` is written `$${{`",
                known.join(", ")
            );
            reader.fault(
                key,
                node,
                &format!("there is no variable `{name}` here"),
                &help,
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
