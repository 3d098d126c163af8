//! What tells one credential from another: all that its table says once presets are expanded, in a
//! form that neither comments nor the order of keys change.

use std::fmt::Write;

use crate::config::tree::{Node, Piece, Text, Value};
use crate::credential::Identity;
use crate::secret::store::Modes;

/// The identity of a credential with a source's table. `path` has its name and kind.
pub(super) fn of(path: &str, node: &Node, modes: Modes) -> Identity {
    let mut text = format!("{path} {modes:?} ");
    write(&mut text, node);
    Identity { text }
}

fn write(out: &mut String, node: &Node) {
    match &node.value {
        Value::Text(text) => write_text(out, text),
        Value::Integer(number) => out.push_str(&number.to_string()),
        Value::Float(number) => {
            let _ = write!(out, "{number:?}");
        }
        Value::Boolean(boolean) => out.push_str(&boolean.to_string()),
        Value::Date(date) => out.push_str(date),
        Value::List(items) => {
            out.push('[');
            for item in items {
                write(out, item);
                out.push(',');
            }
            out.push(']');
        }
        Value::Table(table) => {
            let mut entries: Vec<_> = table.entries.iter().collect();
            entries.sort_by(|one, other| one.name.cmp(&other.name));
            out.push('{');
            for entry in entries {
                let _ = write!(out, "{:?}=", entry.name);
                write(out, &entry.node);
                out.push(',');
            }
            out.push('}');
        }
    }
}

/// A text as it is, wherever it was read from; where it was is not part of it.
fn write_text(out: &mut String, text: &Text) {
    for piece in &text.pieces {
        let _ = match piece {
            Piece::Literal(literal) => write!(out, "{literal:?}"),
            Piece::Variable(name) => write!(out, "${name}"),
        };
    }
}
