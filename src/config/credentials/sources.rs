//! The sources that a credential is written out as, or expanded into.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

use super::claims::object;
use super::{identity, secrets};
use crate::config::keys::{EXCHANGE, LOGIN, SELF_SIGNED, STATIC, Section};
use crate::config::problem::Severity;
use crate::config::read::{Given, Reader};
use crate::config::tree::{Node, Value};
use crate::config::{Context, connections, headers, reference};
use crate::credential::answer::Places;
use crate::credential::call::{Line, Urls};
use crate::credential::discovery::Discovery;
use crate::credential::exchange::{Exchange, TokenEndpoint};
use crate::credential::fixed::Static;
use crate::credential::keys::Keys;
use crate::credential::login::Login;
use crate::credential::placement::Placement;
use crate::credential::self_signed::SelfSigned;
use crate::credential::step::{Authorization, Encoding, Step};
use crate::credential::template::{Blank, Template};
use crate::credential::{Config, Source};
use crate::jws::Algorithm;
use crate::outgoing::Place;
use crate::secret::kept::Kept;
use crate::url::Url;

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

/// A self-signed token, or the assertion of an exchange, whose next key stands one table up.
fn self_signed(
    reader: &Reader<'_>,
    above: Option<&Reader<'_>>,
    context: &Context<'_>,
) -> Option<SelfSigned> {
    let algorithm = reader.parsed("algorithm", |text| {
        text.parse::<Algorithm>().map_err(|error| error.to_string())
    });
    let blanks = if above.is_some() {
        Blank::ASSERTION
    } else {
        Blank::CLAIMS
    };
    let claims = object(reader, "claims", blanks);
    let kid = identified(reader, "kid", context);
    let (lifetime, backdate) = lifetime(reader);
    let algorithm = algorithm?.value;
    let present = secrets::key(reader, "key", algorithm, context);
    let holder = above.unwrap_or(reader);
    let next = holder
        .has("next-key")
        .then(|| secrets::key(holder, "next-key", algorithm, context));
    Some(SelfSigned {
        keys: Keys::new(present?, next.flatten()),
        kid,
        typ: reader.text("typ")?.value,
        claims: claims?,
        lifetime,
        backdate,
    })
}

/// An identifier, if it is given.
fn identified(reader: &Reader<'_>, name: &str, context: &Context<'_>) -> Option<String> {
    let node = reader.node(name)?;
    reference::identifier(&format!("`{name}` in {}", reader.place()), &node, context)?.as_literal()
}

fn lifetime(reader: &Reader<'_>) -> (Duration, Duration) {
    let (lifetime, backdate) = (reader.duration("lifetime"), reader.duration("backdate"));
    let second = Duration::from_secs(1);
    let fault = |given: &Given<Duration>, message: &str| {
        let at = given.given.as_ref();
        reader
            .problems()
            .note(Severity::Fault, &given.at, at, message, "");
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

fn placement(reader: &Reader<'_>) -> Option<Placement> {
    let header = reader.parsed("header", |text| {
        let name = HeaderName::try_from(text).map_err(|_| format!("`{text}` is no header name"))?;
        if headers::is_ours(&name) {
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
    let query = reader.parsed("query", place_name);
    let cookie = reader.parsed("cookie", place_name);
    let (header, mut scheme) = (header?.value, scheme?.value);
    let places: Vec<&str> = ["header", "query", "cookie"]
        .into_iter()
        .filter(|name| reader.has(name))
        .collect();
    if places.len() > 1 {
        let message = format!(
            "{} names more than one place: {}",
            reader.place(),
            places.join(", ")
        );
        let help = "a token stands in one place of a request";
        reader.problems().fault(reader.at(), message, help);
    }
    let place = match (query, cookie) {
        (Some(name), _) => Place::Query(name.value),
        (None, Some(name)) => Place::Cookie(name.value),
        (None, None) => Place::Header(header),
    };
    if !matches!(place, Place::Header(_)) {
        if reader.has("scheme") && !scheme.is_empty() {
            let message = format!("`scheme` in {} is for headers alone", reader.place());
            let help = "take it out";
            reader.problems().fault(reader.at(), message, help);
        }
        scheme.clear();
    }
    Some(Placement { place, scheme })
}

/// The name of a parameter or a cookie, such as needs no encoding.
fn place_name(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is no plain name of letters and digits"))
    }
}

fn exchange(reader: &Reader<'_>, context: &Context<'_>) -> Option<Exchange> {
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

fn urls(reader: &Reader<'_>) -> Option<Urls> {
    let parsed = reader.parsed_texts("url", Url::parse);
    if parsed.is_empty() && reader.is_empty_list("url") {
        let message = format!("`url` in {} lists none", reader.place());
        let help = "give at least one https URL";
        reader.problems().fault(reader.at(), message, help);
    }
    let urls: Vec<Url> = parsed.into_iter().map(|given| given.value).collect();
    (!urls.is_empty()).then(|| Urls::new(urls))
}

fn line(reader: &Reader<'_>, context: &Context<'_>) -> Option<Line> {
    let verification = connections::verification(reader, context);
    let connect = reader.parsed("connect", |text| connections::address(text, 443));
    if connect.is_some() && reader.texts("url").len() > 1 {
        let message = format!(
            "`connect` in {} leads all of its URLs to one address",
            reader.place()
        );
        let help = "keep one URL, or leave `connect` out";
        reader.problems().warn(reader.at(), message, help);
    }
    let timeouts = reader.table("timeouts", |it| {
        ["connect", "tls", "total"].map(|name| it.duration(name).value)
    })?;
    let via = connections::via(reader, context);
    if reader.has("connect") && connect.is_none() {
        return None;
    }
    Some(Line {
        verification: verification?,
        connect: connect.map(|given| given.value),
        via: via.ok()?,
        connect_timeout: timeouts[0],
        tls_timeout: timeouts[1],
        total: timeouts[2],
    })
}

fn encoding(reader: &Reader<'_>) -> Option<Encoding> {
    Some(match reader.word("send")?.value.as_str() {
        "form" => Encoding::Form,
        "json" => Encoding::Json,
        _ => Encoding::Nothing,
    })
}

fn headers(reader: &Reader<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let pairs = reader.text_table("headers");
    let parse = |(name, value): &(Given<String>, Given<String>)| {
        let header = HeaderName::try_from(name.value.as_str()).ok();
        let parsed = HeaderValue::try_from(value.value.as_str()).ok();
        let is_ours = header.as_ref().is_some_and(headers::is_ours);
        match (header, parsed) {
            (Some(header), Some(value)) if !is_ours => Some((header, value)),
            _ => {
                let message = format!(
                    "`{}` cannot be a header here, or not with this value",
                    name.value
                );
                reader.problems().fault(&name.at, message, "");
                None
            }
        }
    };
    pairs.iter().filter_map(parse).collect()
}

/// Where the answer has what. Keys that a source does not declare are left out.
fn places(reader: &Reader<'_>) -> Option<Places> {
    let found = |name: &str, parse: fn(&str) -> Result<String, String>| {
        let given = reader.declares(name).then(|| reader.parsed(name, parse));
        given.flatten().map(|given| given.value)
    };
    let pointer = |name: &str| {
        found(name, |text| match text {
            "" => Ok(String::new()),
            _ => reference::pointer(text),
        })
    };
    let header = reader.declares("token-header").then(|| {
        reader.parsed("token-header", |text| {
            HeaderName::try_from(text).map_err(|_| format!("`{text}` is no header name"))
        })
    });
    let places = Places {
        token_header: header.flatten().map(|given| given.value),
        token_cookie: found("token-cookie", cookie_name),
        token: pointer("token"),
        lifetime: pointer("expires-in"),
        // What an exchange brings stands where RFC 6749 says.
        refresh_token: if reader.declares("grant") {
            Some("/refresh_token".into())
        } else {
            pointer("refresh-token")
        },
        default_lifetime: reader.duration("lifetime").value,
    };
    let is_told = |name: &str| reader.declares(name) && reader.node(name).is_some();
    if !["token", "token-header", "token-cookie"]
        .into_iter()
        .any(is_told)
    {
        let message = format!(
            "{} does not say where in the answer the token is",
            reader.place()
        );
        let help = "give `token`, `token-header` or `token-cookie`";
        reader.problems().fault(reader.at(), message, help);
        return None;
    }
    Some(places)
}

/// RFC 6265 section 4.1.1.
fn cookie_name(text: &str) -> Result<String, String> {
    let is_fine = |byte: u8| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_fine) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is no name of a cookie"))
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

fn needs(reader: &Reader<'_>, key: &str, what: &str) {
    if !reader.has(key) {
        let message = format!("`{key}` is missing in {}", reader.place());
        reader
            .problems()
            .fault(reader.at(), message, format!("{what} needs it"));
    }
}

fn login(reader: &Reader<'_>, context: &Context<'_>) -> Option<Login> {
    let urls = urls(reader);
    let line = line(reader, context);
    let password = secrets::text(reader, "password", context);
    let places = places(reader);
    let parameters = object(reader, "parameters", Blank::LOGIN);
    let refresh = if reader.has("refresh") {
        reader
            .table("refresh", |it| refresh(it, reader, places.as_ref()))?
            .map(Some)
    } else {
        Some(None)
    };
    let step = Step {
        method: Method::POST,
        encoding: encoding(reader)?,
        parameters: parameters?,
        headers: headers(reader),
        authorization: Authorization::Nothing,
        places: places?,
    };
    Some(Login {
        urls: urls?,
        step,
        refresh: refresh?,
        line: line?,
        password: password?,
    })
}

fn refresh(
    reader: &Reader<'_>,
    above: &Reader<'_>,
    places: Option<&Places>,
) -> Option<(Urls, Step)> {
    let urls = urls(reader);
    let parameters = object(reader, "parameters", Blank::REFRESH);
    if let Some(parameters) = &parameters
        && parameters.has(Blank::RefreshToken)
    {
        needs(above, "refresh-token", "`${refresh-token}`");
    }
    let encoding = encoding(reader)?;
    if encoding == Encoding::Nothing && reader.has("parameters") && !reader.is_empty("parameters") {
        let message = format!("`parameters` in {} are not sent", reader.place());
        let help = "write send = \"form\" or send = \"json\"";
        reader.problems().fault(reader.at(), message, help);
    }
    let step = Step {
        method: Method::POST,
        encoding,
        parameters: parameters?,
        headers: headers(above),
        authorization: if reader.boolean("bearer") {
            Authorization::Live
        } else {
            Authorization::Nothing
        },
        places: places?.clone(),
    };
    Some((urls?, step))
}
