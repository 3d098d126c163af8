//! `[credentials.NAME.exchange]`

use http::Method;

use super::calls::{encoding, headers, line, needs, places, urls};
use super::self_signed::{identified, self_signed};
use crate::config::Context;
use crate::config::credentials::claims::object;
use crate::config::credentials::secrets;
use crate::config::read::Reader;
use crate::credential::discovery::Discovery;
use crate::credential::exchange::{Exchange, TokenEndpoint};
use crate::credential::step::{Authorization, Step};
use crate::credential::template::{Blank, Template};
use crate::secret::kept::Kept;

/// Reads it.
pub(super) fn exchange(reader: &Reader<'_>, context: &Context<'_>) -> Option<Exchange> {
    let endpoint = endpoint(reader);
    let line = line(reader, context);
    let secret = |name: &str| {
        if reader.has(name) {
            secrets::text(reader, name, context).map(Some)
        } else {
            Some(None)
        }
    };
    let (client_secret, password, refresh_token) = (
        secret("client-secret"),
        secret("password"),
        secret("refresh-token"),
    );
    let client_id = identified(reader, "client-id", context);
    let user = identified(reader, "user", context);
    if reader.has("next-key") && !reader.has("assertion") {
        let message = format!("`next-key` in {} follows no key", reader.place());
        let help = "there is no `assertion` that could be signed with it";
        reader.problems().fault(reader.at(), message, help);
    }
    let assertion = if reader.has("assertion") {
        reader
            .table("assertion", |it| self_signed(it, Some(reader), context))
            .flatten()
            .map(Some)
    } else {
        Some(None)
    };
    let parameters = parameters(reader, client_id.as_deref(), user);
    let step = Step {
        method: Method::POST,
        encoding: encoding(reader)?,
        parameters: parameters?,
        headers: headers(reader),
        authorization: match reader.word("client-authentication")?.value.as_str() {
            "basic" => Authorization::Basic,
            "basic-unencoded" => Authorization::BasicUnencoded,
            _ => Authorization::Nothing,
        },
        places: places(reader)?,
    };
    let (client_id, refresh_token) = (client_id.unwrap_or_default(), refresh_token?);
    let kept = context
        .state
        .zip(refresh_token.as_ref())
        .map(|(state, given)| Kept::new(state, &format!("{client_id} {}", given.reference())));
    Some(Exchange {
        endpoint: endpoint?,
        line: line?,
        step,
        assertion: assertion?,
        client_id,
        client_secret: client_secret?,
        password: password?,
        refresh_token,
        kept,
    })
}

fn endpoint(reader: &Reader<'_>) -> Option<TokenEndpoint> {
    let discovery = reader.parsed("discovery", Discovery::new);
    let has_url = reader.has("url");
    match (has_url, reader.has("discovery")) {
        (true, true) => {
            let message = format!("{} has both `url` and `discovery`", reader.place());
            reader
                .problems()
                .fault(reader.at(), message, "keep the one that is known");
            None
        }
        (false, false) => {
            let message = format!("{} has neither `url` nor `discovery`", reader.place());
            reader
                .problems()
                .fault(reader.at(), message, "give the token endpoint's https URL");
            None
        }
        (true, false) => urls(reader).map(TokenEndpoint::At),
        (false, true) => discovery.map(|it| TokenEndpoint::Discovered(it.value)),
    }
}

const JWT_BEARER_GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const JWT_BEARER_CLIENT: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The parameters that the grant and the client's authentication ask for, then the operator's own,
/// which replace any of the same name.
fn parameters(
    reader: &Reader<'_>,
    client_id: Option<&str>,
    user: Option<String>,
) -> Option<Template> {
    let text = |text: &str| Template::Fixed(text.into());
    let grant = reader.word("grant")?.value;
    let mut all: Vec<(String, Template)> = Vec::new();
    let mut add = |name: &str, value: Template| all.push((name.to_owned(), value));
    match grant.as_str() {
        "client-credentials" => add("grant_type", text("client_credentials")),
        "jwt-bearer" => {
            needs(reader, "assertion", "the grant `jwt-bearer`");
            add("grant_type", text(JWT_BEARER_GRANT));
            add("assertion", Template::Blank(Blank::Assertion));
        }
        "password" => {
            needs(reader, "user", "the grant `password`");
            needs(reader, "password", "the grant `password`");
            add("grant_type", text("password"));
            add("username", text(&user.unwrap_or_default()));
            add("password", Template::Blank(Blank::Password));
        }
        "refresh-token" => {
            needs(reader, "refresh-token", "the grant `refresh-token`");
            add("grant_type", text("refresh_token"));
            add("refresh_token", Template::Blank(Blank::RefreshToken));
        }
        _ => {}
    }
    let authentication = reader.word("client-authentication")?.value;
    let shown = format!("client-authentication = \"{authentication}\"");
    match authentication.as_str() {
        "private-key-jwt" => {
            needs(reader, "assertion", &shown);
            add("client_assertion_type", text(JWT_BEARER_CLIENT));
            add("client_assertion", Template::Blank(Blank::Assertion));
        }
        "post" | "basic" | "basic-unencoded" => {
            needs(reader, "client-id", &shown);
            needs(reader, "client-secret", &shown);
            if authentication == "post" {
                add("client_id", text(client_id.unwrap_or_default()));
                add("client_secret", Template::Blank(Blank::ClientSecret));
            }
        }
        _ => {
            if let Some(client_id) = client_id {
                add("client_id", text(client_id));
            }
        }
    }
    let scopes: Vec<String> = reader
        .texts("scopes")
        .into_iter()
        .map(|it| it.value)
        .collect();
    if !scopes.is_empty() {
        add("scope", text(&scopes.join(" ")));
    }
    let own = object(reader, "parameters", Blank::EXCHANGE)?;
    for (blank, variable, key) in [
        (Blank::Assertion, "`${assertion}`", "assertion"),
        (
            Blank::ClientSecret,
            "`${secret-of-client}`",
            "client-secret",
        ),
        (Blank::Password, "`${secret-of-user}`", "password"),
    ] {
        if own.has(blank) {
            needs(reader, key, variable);
        }
    }
    let Template::Object(own) = own else {
        return None;
    };
    all.retain(|(name, _)| !own.iter().any(|(replaced, _)| replaced == name));
    all.extend(own);
    Some(Template::Object(all))
}
