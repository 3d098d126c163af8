//! `require-header` of a listener.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::config::Context;
use crate::config::headers::is_ours;
use crate::config::read::Reader;
use crate::config::reference::material;
use crate::config::tree::{Entry, Node, Value, quoted};
use crate::listener::admission::{RequiredHeader, RequiredValue};
use crate::listener::browser;
use crate::secret::Secret;

const NAME: &str = "require-header";

/// Reads a name alone, or a table of names and what they must say.
pub(super) fn read(reader: &Reader<'_>, context: &Context<'_>) -> Vec<Arc<RequiredHeader>> {
    let Some(node) = reader.node(NAME) else {
        return Vec::new();
    };
    let required: Vec<Option<RequiredHeader>> = match &node.value {
        Value::Text(_) => {
            let given = reader.text(NAME);
            let name = given.and_then(|given| header(&given.value, &node, reader));
            let name = name.filter(|name| no_page_sends(name, &node, reader));
            vec![name.map(|name| RequiredHeader {
                name,
                value: RequiredValue::Any,
            })]
        }
        Value::Table(table) if !table.entries.is_empty() => {
            let entries = table.entries.iter();
            entries.map(|it| entry(it, reader, context)).collect()
        }
        other => {
            let message = format!("a header wanted, {} found", other.kind());
            let help = "write \"X-Countersign\", or { X-Countersign = { file = \"…\" } } for one value alone";
            reader.fault(NAME, &node, &message, help);
            Vec::new()
        }
    };
    required.into_iter().flatten().map(Arc::new).collect()
}

/// Leaves out what headers must say, for showing.
pub(super) fn hide(node: &mut Node) {
    let Value::Table(table) = &mut node.value else {
        return;
    };
    for entry in &mut table.entries {
        if let Value::Text(text) = &mut entry.node.value {
            text.origin = Some(quoted("…"));
        }
    }
}

fn header(name: &str, node: &Node, reader: &Reader<'_>) -> Option<HeaderName> {
    let fault = |message: &str| {
        reader.fault(NAME, node, message, "");
        None
    };
    match HeaderName::try_from(name) {
        Err(_) => fault(&format!("`{name}` is no header name")),
        Ok(name) if is_ours(&name) => fault(&format!("`{name}` has a meaning of its own")),
        Ok(name) => Some(name),
    }
}

/// Whether a header keeps browsers out although its value is no secret.
fn no_page_sends(name: &HeaderName, node: &Node, reader: &Reader<'_>) -> bool {
    let is_sent = browser::may_send(name);
    if is_sent {
        let message = format!("any page has a browser send `{name}`");
        let help = "a name of your own, such as \"X-Countersign\", keeps them out";
        reader.fault(NAME, node, &message, help);
    }
    !is_sent
}

fn entry(entry: &Entry, reader: &Reader<'_>, context: &Context<'_>) -> Option<RequiredHeader> {
    let node = &entry.node;
    let name = header(&entry.name, node, reader)?;
    let value = match &node.value {
        Value::Text(_) if !no_page_sends(&name, node, reader) => return None,
        Value::Text(text) => {
            let text = text
                .as_literal()
                .filter(|it| HeaderValue::try_from(it).is_ok());
            let Some(text) = text else {
                let message = format!("what `{name}` must say cannot be a header's value");
                reader.fault(NAME, node, &message, "");
                return None;
            };
            RequiredValue::Literal(text)
        }
        Value::Table(_) => {
            let place = format!("`{NAME}` in {}", reader.place());
            let material = material(&place, node, context, text)?;
            if material.is_command() {
                let help = "have the command write a file, which is read again whenever it changes";
                reader.fault(NAME, node, "a command is only for credentials", help);
                return None;
            }
            RequiredValue::Secret(material)
        }
        other => {
            let message = format!(
                "text in quotes or a reference wanted, {} found",
                other.kind()
            );
            reader.fault(NAME, node, &message, "");
            return None;
        }
    };
    Some(RequiredHeader { name, value })
}

fn text(secret: &Secret) -> Result<Secret, String> {
    let is_value = HeaderValue::from_bytes(secret.expose()).is_ok();
    match secret.expose_str().filter(|_| is_value) {
        Some(text) => Ok(Secret::from(text.to_owned())),
        None => Err("it cannot be a header's value".into()),
    }
}
