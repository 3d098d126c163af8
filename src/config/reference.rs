//! References: `{ file = … }` and the like, in place of what never stands in the configuration.
//!
//! A secret is always given by one. An identifier may be, and is then read at once, for it is put
//! into URLs and claims.

use super::Context;
use super::keys::REFERENCE;
use super::problem::Problems;
use super::read::Reader;
use super::tree::{Node, Text, Value};
use crate::secret::Secret;
use crate::secret::material::{Material, Place};
use crate::secret::store::Reference;

/// An identifier: a text that stands in the configuration itself, or one that is referred to.
pub(super) fn identifier(place: &str, node: &Node, context: &Context<'_>) -> Option<Text> {
    let fault = |message: String, help: &str| {
        let message = format!("{place}: {message}");
        context.problems.fault(&node.at, message, help);
        None
    };
    if let Value::Text(text) = &node.value {
        return match text.as_literal().as_deref() {
            Some("") => fault("this is empty".into(), ""),
            _ => Some(text.clone()),
        };
    }
    if !matches!(node.value, Value::Table(_)) {
        let message = format!("text in quotes wanted, {} found", node.value.kind());
        return fault(message, "or refer to it: { file = \"…\" }");
    }
    let reference = reference(place, node, context.problems)?;
    if let Reference::Command(_) = reference {
        let help = "write the text itself, or refer to a file";
        return fault("a command is only for secrets".into(), help);
    }
    let resolved = match context.store.resolve(&reference, context.folder, None) {
        Ok(resolved) => resolved,
        Err(error) => return fault(error.message, &error.help),
    };
    let wrong_file = "is it the right file? An identifier is one line of text";
    match resolved.secret.expose_str().map(str::trim) {
        None => fault(format!("{reference} is not text"), wrong_file),
        Some("") => fault(format!("{reference} is empty"), ""),
        // An identifier is put into tokens, and a private key in its place would be sent away.
        Some(text) if text.contains("PRIVATE KEY-----") => {
            fault(format!("{reference} is a private key"), wrong_file)
        }
        Some(text) if text.contains(char::is_control) => {
            fault(format!("{reference} is more than one line"), wrong_file)
        }
        Some(text) => Some(Text {
            origin: Some(reference.to_string()),
            ..Text::literal(text)
        }),
    }
}

/// Reads `{ file = … }` and the like.
pub(super) fn reference(place: &str, node: &Node, problems: &Problems) -> Option<Reference> {
    // The preset's line only passes it on.
    let at = node.given.as_ref().unwrap_or(&node.at);
    let fault = |message: String, help: &str| {
        problems.fault(at, message, help);
        None
    };
    let Value::Table(table) = &node.value else {
        let help = "write { file = \"…\" }, { env = \"…\" }, { credential = \"…\" } or { command = [\"…\"] }";
        return fault(
            format!("{place} is a secret and never stands in the configuration itself"),
            help,
        );
    };
    let reader = Reader::new(&REFERENCE, place, table, &node.at, problems);
    if reader.has("pointer") && !reader.has("file") {
        return fault(
            format!("{place} has `pointer` without `file`"),
            "write { file = \"…\", pointer = \"…\" }",
        );
    }
    let pointers: Vec<String> = reader
        .parsed_texts("pointer", pointer)
        .into_iter()
        .map(|given| given.value)
        .collect();
    let command: Vec<String> = reader
        .texts("command")
        .into_iter()
        .map(|given| given.value)
        .collect();
    let mut found = [
        reader.text("file").map(|given| Reference::File {
            path: given.value.into(),
            pointers,
        }),
        reader.text("env").map(|given| Reference::Env(given.value)),
        reader
            .text("credential")
            .map(|given| Reference::Credential(given.value)),
        (!command.is_empty()).then_some(Reference::Command(command)),
    ]
    .into_iter()
    .flatten();
    match (found.next(), found.next()) {
        (Some(reference), None) => Some(reference),
        (Some(_), Some(_)) => fault(
            format!("{place} refers to two places"),
            "keep one of file, env, credential and command",
        ),
        (None, _) if reader.has("command") && reader.is_sound() => fault(
            format!("{place}: the command is empty"),
            "name a program and its arguments",
        ),
        // An unknown key has been noted already.
        (None, _) if !table.entries.is_empty() => None,
        (None, _) => fault(
            format!("{place} refers to nothing"),
            "write { file = \"…\" }",
        ),
    }
}

/// A secret that is referred to, read now and made into what it is used as.
pub(super) fn material<T>(
    place: &str,
    node: &Node,
    context: &Context<'_>,
    parse: impl Fn(&Secret) -> Result<T, String> + Send + Sync + 'static,
) -> Option<Material<T>> {
    let reference = reference(place, node, context.problems)?;
    let at = node.given.as_ref().unwrap_or(&node.at);
    let stands = Place {
        reference,
        folder: context.folder.to_path_buf(),
        store: context.store.clone(),
        modes: context.modes,
    };
    match Material::load(stands, parse) {
        Ok((material, warning)) => {
            if let Some(warning) = warning {
                context.problems.warn(at, format!("{place}: {warning}"), "");
            }
            Some(material)
        }
        Err(error) => {
            context
                .problems
                .fault(at, format!("{place}: {}", error.message), error.help);
            None
        }
    }
}

/// A JSON pointer (RFC 6901 section 3) to something inside a document.
pub(super) fn pointer(text: &str) -> Result<String, String> {
    if text.starts_with('/') {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{text}` is no JSON pointer: those start with a slash, such as `/data/token`"
        ))
    }
}
