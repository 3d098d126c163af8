//! The sources that a credential is written out as, or expanded into.

use crate::config::Context;
use crate::config::credentials::{identity, secrets};
use crate::config::keys::{EXCHANGE, LOGIN, SELF_SIGNED, STATIC, Section};
use crate::config::read::Reader;
use crate::config::tree::{Node, Value};
use crate::credential::fixed::Static;
use crate::credential::{Config, Source};

mod calls;
mod exchange;
mod login;
mod placement;
mod self_signed;

use exchange::exchange;
use login::login;
use placement::placement;
use self_signed::self_signed;

/// Reads a source's table.
pub(super) fn read(
    source: &str,
    name: &str,
    path: &str,
    node: &Node,
    context: &Context<'_>,
) -> Option<Config> {
    let Value::Table(table) = &node.value else {
        return None;
    };
    let at = node.given.as_ref().unwrap_or(&node.at);
    let reader =
        |section: &'static Section| Reader::new(section, path, table, at, context.problems);
    let (reader, source) = match source {
        "self-signed" => {
            let reader = reader(&SELF_SIGNED);
            let source = self_signed(&reader, None, context);
            (reader, source.map(|it| Source::SelfSigned(Box::new(it))))
        }
        "exchange" => {
            let reader = reader(&EXCHANGE);
            let source = exchange(&reader, context);
            (reader, source.map(|it| Source::Exchange(Box::new(it))))
        }
        "login" => {
            let reader = reader(&LOGIN);
            let source = login(&reader, context).map(|it| Source::Login(Box::new(it)));
            (reader, source)
        }
        _ => {
            let reader = reader(&STATIC);
            let lifetime = reader.duration("lifetime").value;
            let token = secrets::text(&reader, "token", context);
            (
                reader,
                token.map(|token| Source::Static(Box::new(Static { token, lifetime }))),
            )
        }
    };
    let placement = reader.table("placement", placement).flatten();
    let renew_at = reader.integer("renew-at");
    let each_request = reader.declares("sign")
        && reader
            .word("sign")
            .is_some_and(|given| given.value == "each-request");
    let source = source?;
    Some(Config {
        name: name.to_owned(),
        with: None,
        identity: identity::of(path, node, context),
        source,
        placement: placement?,
        renew_at: renew_at?.value,
        each_request,
        required: reader.boolean("required"),
    })
}
