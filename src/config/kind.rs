//! `[credentials.NAME.KIND]`, and `[credential.KIND]` of a preset: a table with one other in it,
//! whose name says of what kind it is. Most of this is about what people write instead.

use super::problem::{Problems, Span, did_you_mean};
use super::tree::{Entry, Node, Table, Value};

/// The one table of `[place]`, whose name says what it is: name, table and place.
pub(super) fn one_table(
    place: &str,
    table: &Table,
    at: &Span,
    known: &[&str],
    problems: &Problems,
) -> Option<(String, Table, Span)> {
    let kind_is_missing = || {
        let choices: Vec<String> = known
            .iter()
            .map(|kind| format!("[{place}.{kind}]"))
            .collect();
        let message = format!("[{place}] does not say of what kind it is");
        problems.fault(at, message, format!("write one of {}", choices.join(", ")));
        None
    };
    let is_table = |entry: &Entry| matches!(entry.node.value, Value::Table(_));
    let is_known = |entry: &Entry| known.contains(&entry.name.as_str());
    match table.entries.as_slice() {
        [] => kind_is_missing(),
        entries if !entries.iter().any(is_table) => kind_is_missing(),
        // A reference is a table too.
        entries @ [_, _, ..] if !entries.iter().any(is_known) => kind_is_missing(),
        [
            Entry {
                name,
                name_at,
                node:
                    Node {
                        value: Value::Table(table),
                        ..
                    },
            },
        ] => {
            if known.contains(&name.as_str()) {
                return Some((name.clone(), table.clone(), name_at.clone()));
            }
            let message = format!("there is no kind `{name}` for [{place}]");
            problems.fault(name_at, message, did_you_mean(name, known.iter().copied()));
            None
        }
        entries
            if entries
                .iter()
                .filter(|it| is_known(it) && is_table(it))
                .count()
                == 1 =>
        {
            let mut found = None;
            for entry in entries {
                match &entry.node.value {
                    Value::Table(table) if is_known(entry) => {
                        found = Some((entry.name.clone(), table.clone(), entry.name_at.clone()));
                    }
                    _ => {
                        let message =
                            format!("`{}` stands beside the kind of [{place}]", entry.name);
                        problems.fault(
                            &entry.name_at,
                            message,
                            "keys stand in the kind's own table",
                        );
                    }
                }
            }
            found
        }
        entries => {
            let names: Vec<String> = entries.iter().map(|it| format!("`{}`", it.name)).collect();
            let second = &entries[1].name_at;
            let message = format!(
                "[{place}] has more than one kind in it: {}",
                names.join(", ")
            );
            problems.fault(
                second,
                message,
                "keys stand one level deeper, and each credential has one kind",
            );
            None
        }
    }
}
