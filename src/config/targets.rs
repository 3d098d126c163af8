//! `[targets.NAME]` and its routes.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, header};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::net::SocketAddr;

use super::keys::TARGET;
use super::problem::{Severity, Span, did_you_mean};
use super::read::{Given, Reader};
use super::tree::{Entry, Node, Table, Text, Value, key};
use super::{Context, credentials, listeners, show};
use crate::dial::Endpoint;
use crate::host::Pattern;
use crate::outgoing::{self, ClientAuthorization, Pseudonym, RefusedPath};
use crate::plan::{self, Target};
use crate::respond;
use crate::router::Rule;
use crate::tls::{Authority, Verification};
use crate::upstream::Timeouts;
use crate::url::Url;

/// A target as it was read.
#[derive(Debug)]
pub struct Read {
    /// The operator's name for it.
    pub name: String,
    /// The name of its credential, if it has one.
    pub credential: Option<String>,
    /// What it is for the stages; `None` if it has faults.
    pub target: Option<Target>,
    /// Its routes.
    pub routes: Vec<RouteRead>,
    /// Its URL, for showing: in TOML.
    pub url: String,
}

/// A route as it was read.
#[derive(Debug)]
pub struct RouteRead {
    /// Which requests take it.
    pub rule: Rule,
    /// What happens to them; `None` if the target has faults.
    pub route: Option<plan::Route>,
    /// Where it stands.
    pub at: Span,
    /// The target's name.
    pub target_name: String,
    /// What it changes about the target's credential, for showing: in TOML.
    pub with: Option<String>,
}

/// What the targets are read with.
struct Around<'a> {
    kinds: credentials::Kinds<'a>,
    credentials: &'a [credentials::Read],
    /// Credentials that routes have made of others, in the order of their first use.
    variants: &'a RefCell<Vec<credentials::Read>>,
    listeners: &'a [listeners::Read],
    pseudonym: Pseudonym,
    context: &'a Context<'a>,
}

impl Around<'_> {
    /// The place of a credential of the file among all.
    fn index_of(&self, credential: &credentials::Read) -> Option<usize> {
        let mut all = self.credentials.iter();
        all.position(|other| other.name == credential.name)
    }

    /// The place of a variant, behind those of the file.
    fn index_of_variant(&self, variant: credentials::Read) -> usize {
        let mut variants = self.variants.borrow_mut();
        let is_same = |other: &credentials::Read| {
            other.name == variant.name && other.variant == variant.variant
        };
        let place = variants.iter().position(is_same).unwrap_or_else(|| {
            variants.push(variant);
            variants.len() - 1
        });
        self.credentials.len() + place
    }
}

/// Reads all of them. Gives the variants of credentials that their routes ask for, too.
pub fn read(
    root: &Reader<'_>,
    kinds: credentials::Kinds<'_>,
    credentials: &[credentials::Read],
    listeners: &[listeners::Read],
) -> (Vec<Read>, Vec<credentials::Read>) {
    let variants = RefCell::default();
    let around = Around {
        kinds,
        credentials,
        variants: &variants,
        listeners,
        pseudonym: Pseudonym::draw(),
        context: kinds.context,
    };
    let targets: Vec<Read> = root
        .entries("targets")
        .iter()
        .enumerate()
        .map(|(index, (name, table, at))| read_one(index, name, table, at, &around))
        .collect();
    if root.is_empty("targets") {
        let help = "write [targets.NAME] with a url, or with the credential of a preset";
        root.problems().fault(root.at(), "there is no target", help);
    }
    (targets, variants.into_inner())
}

fn read_one(
    index: usize,
    name: &Given<String>,
    table: &Table,
    at: &Span,
    around: &Around<'_>,
) -> Read {
    let named = credential(name, table, around);
    let credential = named.unwrap_or_default();
    let mut merged = credential.map(|it| it.target.clone()).unwrap_or_default();
    // What a preset refuses or removes keeps tokens at home: an operator's list adds to it.
    merged.lay(table, &["refuse", "remove"]);
    let path = format!("targets.{}", key(&name.value));
    // A preset may have given the URL, had there been no fault in its credential or in the name of
    // that. One fault is enough: this one is never used.
    let has_preset = credential.is_none_or(|it| it.expanded.is_some());
    if (named.is_err() || !has_preset) && merged.get("url").is_none() {
        merged.entries.push(stand_in(at));
    }
    let reader = Reader::new(&TARGET, path, &merged, at, around.context.problems);
    let locations = locations(&reader);
    let changes_to_requests = changes(&reader, "headers");
    let answers = changes(&reader, "response-headers");
    let endpoints = endpoints(&reader, &locations, around.context);
    let timeouts = timeouts(&reader);
    let prepare = prepare(
        &reader,
        &locations[0],
        changes_to_requests,
        credential,
        &around.pseudonym,
    );
    let target = endpoints
        .zip(timeouts)
        .map(|(endpoints, (timeouts, wait))| {
            let (remove, set) = answers;
            Target {
                name: name.value.clone(),
                endpoints,
                timeouts,
                credential_timeout: wait,
                respond: respond::Config { remove, set },
            }
        });
    let config = prepare.map(|outgoing| plan::Route {
        target: index,
        credential: credential.and_then(|it| around.index_of(it)),
        outgoing,
    });
    Read {
        name: name.value.clone(),
        credential: credential.map(|it| it.name.clone()),
        target,
        routes: routes(&reader, name, config.as_ref(), named, around),
        url: shown_url(&reader),
    }
}

/// A URL in place of one that is not known because of a fault that has been noted.
fn stand_in(at: &Span) -> Entry {
    Entry {
        name: "url".into(),
        name_at: at.clone(),
        node: Node {
            value: Value::Text(Text::literal("https://unknown.invalid")),
            at: at.clone(),
            given: None,
        },
    }
}

/// The name of a credential is wrong, which has been noted.
#[derive(Clone, Copy, Debug)]
struct Misnamed;

/// The credential that a target names, or that has the target's own name; none for `none`.
fn credential<'a>(
    name: &Given<String>,
    table: &Table,
    around: &Around<'a>,
) -> Result<Option<&'a credentials::Read>, Misnamed> {
    let problems = around.context.problems;
    let names = || around.credentials.iter().map(|it| it.name.as_str());
    let find = |wanted: &str| around.credentials.iter().find(|it| it.name == wanted);
    let Some(entry) = table.get("credential") else {
        let own = find(&name.value);
        if own.is_none() {
            let message = format!(
                "target `{0}` has no credential: there is none called `{0}`",
                name.value
            );
            let help = "write credential = \"…\" with the name of one, or credential = \"none\" to send requests without any";
            problems.fault(&name.at, message, help);
        }
        return own.map(Some).ok_or(Misnamed);
    };
    let Value::Text(text) = &entry.node.value else {
        return Err(Misnamed);
    };
    let Some(wanted) = text.as_literal() else {
        let message = format!(
            "`credential` in [targets.{}]: variables mean nothing here",
            key(&name.value)
        );
        problems.fault(&entry.node.at, message, "a literal `${` is written `$${`");
        return Err(Misnamed);
    };
    if wanted == "none" {
        return Ok(None);
    }
    let found = find(&wanted);
    if found.is_none() {
        let message = format!("there is no credential `{wanted}`");
        let help = if around.credentials.is_empty() {
            format!("write [credentials.{wanted}.KIND]")
        } else {
            did_you_mean(&wanted, names())
        };
        problems.fault(&entry.node.at, message, help);
    }
    found.map(Some).ok_or(Misnamed)
}

/// The URL as `check --print` shows it: never what a reference in it refers to.
fn shown_url(reader: &Reader<'_>) -> String {
    match reader.node("url") {
        Some(node) => show::value(&node),
        None => String::new(),
    }
}

/// The target's URLs, all with the same path. What the rest is read with, if one has a fault.
fn locations(reader: &Reader<'_>) -> Vec<Url> {
    let mut urls: Vec<Url> = Vec::new();
    for given in reader.parsed_texts("url", location) {
        let path = |url: &Url| url.target.path().to_owned();
        if urls
            .first()
            .is_some_and(|it| path(it) != path(&given.value))
        {
            let message = format!("`url` in {}: the URLs differ in their path", reader.place());
            let (at, from) = (&given.at, given.given.as_ref());
            let problems = reader.problems();
            problems.note(Severity::Fault, at, from, message, "");
        } else {
            urls.push(given.value);
        }
    }
    if urls.is_empty() && reader.is_empty_list("url") {
        let message = format!("`url` in {} lists none", reader.place());
        let help = "give at least one https URL";
        reader.problems().fault(reader.at(), message, help);
    }
    if urls.is_empty() {
        urls.push(unknown());
    }
    urls
}

fn unknown() -> Url {
    Url::parse("https://unknown.invalid").expect("this is a URL")
}

/// A target's URL, which each request brings its own query to.
fn location(text: &str) -> Result<Url, String> {
    let url = Url::parse(text)?;
    if url.target.query().is_some() {
        return Err(format!(
            "`{text}` is not a target's URL: it has a query, and each request brings its own"
        ));
    }
    let path = url.target.path();
    if path.split('/').any(|it| matches!(it, "." | "..")) || path.contains("//") {
        return Err(format!(
            "`{text}` is not a target's URL: its path has an empty segment or one of dots"
        ));
    }
    Ok(url)
}

/// An IP address, with or without a port.
pub(super) fn address(text: &str, port: u16) -> Result<SocketAddr, String> {
    let with_port = text.parse().or_else(|_| {
        let alone = text.trim_start_matches('[').trim_end_matches(']').parse();
        alone.map(|address| SocketAddr::new(address, port))
    });
    with_port.map_err(|_| format!("`{text}` is no IP address with an optional port"))
}

fn endpoints(
    reader: &Reader<'_>,
    locations: &[Url],
    context: &Context<'_>,
) -> Option<Vec<Arc<Endpoint>>> {
    let connect = reader.parsed("connect", |text| match locations {
        [one] => address(text, one.port),
        _ => Err("one address cannot stand in for several URLs".into()),
    });
    let (connect_timeout, tls_timeout) = reader.table("timeouts", |it| {
        (it.duration("connect").value, it.duration("tls").value)
    })?;
    let authorities = authorities(reader, context);
    if reader.has("connect") && connect.is_none() {
        return None;
    }
    let connect = connect.map(|given| given.value);
    let verification = Arc::new(Verification::new(authorities?));
    let endpoint = |location: &Url| {
        Arc::new(Endpoint {
            host: location.host.clone(),
            authority: location.authority.clone(),
            server_name: location.server_name.clone(),
            port: location.port,
            connect,
            verification: Arc::clone(&verification),
            connect_timeout,
            tls_timeout,
        })
    };
    Some(locations.iter().map(endpoint).collect())
}

/// Whom a connection trusts, from the `tls` table.
pub(super) fn authorities(reader: &Reader<'_>, context: &Context<'_>) -> Option<Vec<Authority>> {
    let names = reader.table("tls", |it| it.texts("ca"))?;
    if names.is_empty() {
        let help = "leave it out for the machine's own authorities, or name a PEM file";
        let message = format!("`ca` in {} trusts nobody", reader.place());
        context.problems.fault(reader.at(), message, help);
        return None;
    }
    let read = |name: &Given<String>| match name.value.as_str() {
        "system" => Some(Authority::System),
        file => certificates(&context.folder.join(file), name, context),
    };
    // All of them are read, so that all faults are found.
    let authorities: Vec<Option<Authority>> = names.iter().map(read).collect();
    authorities.into_iter().collect()
}

fn certificates(path: &Path, name: &Given<String>, context: &Context<'_>) -> Option<Authority> {
    let fault = |message: String, help: &str| {
        context.problems.fault(&name.at, message, help);
        None
    };
    let text = match context.store.read_text(path) {
        Ok(text) => text,
        Err(error) => return fault(error.message, &error.help),
    };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let shown = path.display();
    match certificates {
        Ok(certificates) if certificates.is_empty() => fault(
            format!("{shown} has no certificate in it"),
            "it must be PEM: -----BEGIN CERTIFICATE-----",
        ),
        Ok(certificates) => {
            let authority = Authority::Certificates(certificates);
            match Verification::new(vec![authority.clone()]).config() {
                Ok(_) => Some(authority),
                Err(error) => fault(format!("{shown}: {error}"), ""),
            }
        }
        Err(error) => fault(format!("{shown} is not PEM: {error}"), ""),
    }
}

fn timeouts(reader: &Reader<'_>) -> Option<(Timeouts, std::time::Duration)> {
    reader.table("timeouts", |it| {
        let timeouts = Timeouts {
            first_byte: it.duration("first-byte").value,
            idle: it.duration("idle").value,
        };
        (timeouts, it.duration("credential").value)
    })
}

type Changes = (Vec<HeaderName>, Vec<(HeaderName, HeaderValue)>);

/// Headers to remove and to set. Never one that the proxy itself answers for.
fn changes(reader: &Reader<'_>, name: &str) -> Changes {
    let header = |given: &Given<String>| {
        let noted = |message: String| {
            reader.problems().note(
                Severity::Fault,
                &given.at,
                given.given.as_ref(),
                message,
                "",
            );
            None
        };
        match HeaderName::try_from(given.value.as_str()) {
            Err(_) => noted(format!("`{}` is no header name", given.value)),
            Ok(name) if is_ours(&name) => noted(format!(
                "`{}` is a header that the proxy itself sets",
                given.value
            )),
            Ok(name) => Some(name),
        }
    };
    let read = |it: &Reader<'_>| {
        let remove = it.texts("remove").iter().filter_map(&header).collect();
        let set = it.text_table("set");
        let set = set.iter().filter_map(|(name, value)| {
            let name = header(name)?;
            let Ok(parsed) = HeaderValue::try_from(value.value.as_str()) else {
                let message = format!("what `{name}` is set to cannot be a header's value");
                reader.problems().fault(&value.at, message, "");
                return None;
            };
            Some((name, parsed))
        });
        (remove, set.collect())
    };
    reader.table(name, read).unwrap_or_default()
}

/// Whether a header is one that the proxy itself answers for: the request's framing, its way, and
/// the credential, which has `placement`.
#[must_use]
pub fn is_ours(name: &HeaderName) -> bool {
    crate::headers::is_hop_by_hop(name)
        || [
            header::HOST,
            header::CONTENT_LENGTH,
            header::EXPECT,
            header::VIA,
        ]
        .contains(name)
}

fn prepare(
    reader: &Reader<'_>,
    location: &Url,
    (remove, set): Changes,
    credential: Option<&credentials::Read>,
    pseudonym: &Pseudonym,
) -> Option<outgoing::Config> {
    let placement = credential.map(|it| it.header.clone());
    note_doubled(reader, &set, placement.as_ref());
    let refuse = reader.parsed_texts("refuse", RefusedPath::parse);
    let refuse = refuse.into_iter().map(|given| given.value);
    Some(outgoing::Config {
        host: location.authority.clone(),
        base: location.target.path().trim_end_matches('/').to_owned(),
        strip: 0,
        encoded_slash: false,
        refuse: refuse.collect(),
        remove,
        set,
        placement,
        client_authorization: match reader.word("client-authorization")?.value.as_str() {
            "reject" => ClientAuthorization::Reject,
            "pass" => ClientAuthorization::Pass,
            _ => ClientAuthorization::Replace,
        },
        pseudonym: pseudonym.clone(),
    })
}

/// Notes a header that is set beside the credential that stands in it.
fn note_doubled(
    reader: &Reader<'_>,
    set: &[(HeaderName, HeaderValue)],
    placement: Option<&HeaderName>,
) {
    for (name, _) in set.iter().filter(|(name, _)| placement == Some(name)) {
        let message = format!("`{name}` in {} carries the credential", reader.place());
        let help = "take it out of `set`";
        reader.problems().fault(reader.at(), message, help);
    }
}

fn routes(
    reader: &Reader<'_>,
    name: &Given<String>,
    config: Option<&plan::Route>,
    credential: Result<Option<&credentials::Read>, Misnamed>,
    around: &Around<'_>,
) -> Vec<RouteRead> {
    if !reader.has("routes") {
        let rule = Rule {
            path: format!("/{}", name.value),
            ..Rule::default()
        };
        let mut route = config.cloned();
        if let Some(route) = &mut route {
            route.outgoing.strip = rule.path.len();
        }
        return vec![RouteRead {
            rule,
            route,
            at: name.at.clone(),
            target_name: name.value.clone(),
            with: None,
        }];
    }
    // Of another kind: noted already.
    let is_list = reader
        .node("routes")
        .is_some_and(|it| matches!(it.value, Value::List(_)));
    let routes = reader.tables("routes", |it| {
        let rule = rule(it, around)?;
        let passes_slashes = it.word("encoded-slash")?.value == "pass";
        let mut route = config.cloned();
        if let Some(route) = &mut route {
            route.outgoing.strip = if it.boolean("strip") {
                rule.path.len()
            } else {
                0
            };
            route.outgoing.encoded_slash = passes_slashes;
        }
        let variant = if it.has("with") {
            Some(with(it, credential, around)?)
        } else {
            None
        };
        if let (Some(route), Some(variant)) = (&mut route, &variant) {
            note_doubled(reader, &route.outgoing.set, Some(&variant.header));
            route.credential = Some(variant.index);
            route.outgoing.placement = Some(variant.header.clone());
        }
        let at = it.at().clone();
        Some(RouteRead {
            rule,
            route,
            at,
            target_name: name.value.clone(),
            with: variant.map(|it| it.shown),
        })
    });
    if routes.is_empty() && is_list {
        let message = format!(
            "target `{}` has no routes, so nothing ever goes there",
            name.value
        );
        reader.problems().warn(
            &name.at,
            message,
            "leave `routes` out for the path of its own name",
        );
    }
    routes.into_iter().flatten().collect()
}

/// What a route has in place of its target's credential.
struct Variant {
    /// Its place among all credentials.
    index: usize,
    /// The header it goes into.
    header: HeaderName,
    /// What is changed, in TOML.
    shown: String,
}

/// The variant of the target's credential that a route asks for.
fn with(
    reader: &Reader<'_>,
    credential: Result<Option<&credentials::Read>, Misnamed>,
    around: &Around<'_>,
) -> Option<Variant> {
    let node = reader.node("with")?;
    // Of another kind: noted already.
    let Value::Table(table) = &node.value else {
        return None;
    };
    let Some(credential) = credential.ok()? else {
        let message = "the target has no credential that could be changed";
        let help = "take `with` out, or name a credential";
        reader.fault("with", &node, message, help);
        return None;
    };
    let before = reader.problems().faults();
    let variant = around.kinds.variant(credential, table, &node.at)?;
    // Requests would go to one place, with a token for another. What has faults goes nowhere.
    let is_sound = reader.problems().faults() == before;
    if is_sound && show::inline(&variant.target) != show::inline(&credential.target) {
        let message =
            "this also changes where requests go or what is refused there, and a route cannot";
        let help = "make a credential and a target of their own for it";
        reader.fault("with", &node, message, help);
        return None;
    }
    Some(Variant {
        header: variant.header.clone(),
        shown: variant.variant.clone().unwrap_or_default(),
        index: around.index_of_variant(variant),
    })
}

fn rule(reader: &Reader<'_>, around: &Around<'_>) -> Option<Rule> {
    let host = reader.parsed("host", Pattern::parse);
    let path = reader.parsed("path", path);
    let methods = reader.texts("methods");
    if reader.has("methods") && methods.is_empty() && reader.is_sound() {
        let message = format!("`methods` in {} lists none", reader.place());
        reader
            .problems()
            .fault(reader.at(), message, "leave it out for every method");
    }
    let methods: Vec<Option<Method>> = methods.iter().map(|it| method(reader, it)).collect();
    let headers = reader.text_table("headers");
    let headers: Vec<_> = headers.iter().map(|it| header_rule(reader, it)).collect();
    let listener = reader
        .text("listener")
        .map(|given| listener(&given, around));
    if !reader.is_sound() {
        return None;
    }
    Some(Rule {
        listener: match listener {
            Some(found) => Some(found?),
            None => None,
        },
        host: host.map(|given| given.value),
        path: path?.value,
        methods: methods.into_iter().collect::<Option<_>>()?,
        headers: headers.into_iter().collect::<Option<_>>()?,
    })
}

fn listener(given: &Given<String>, around: &Around<'_>) -> Option<usize> {
    let found = around
        .listeners
        .iter()
        .position(|it| it.config.name == given.value);
    if found.is_none() {
        let names = around.listeners.iter().map(|it| it.config.name.as_str());
        let message = format!("there is no listener `{}`", given.value);
        around
            .context
            .problems
            .fault(&given.at, message, did_you_mean(&given.value, names));
    }
    found
}

/// A route's path: whole segments, spelt as requests will spell them.
fn path(text: &str) -> Result<String, String> {
    let bad = |why: &str| Err(format!("`{text}` is not a route's path: {why}"));
    if !text.starts_with('/') {
        return bad("it does not start with a slash");
    }
    let path = text.strip_suffix('/').unwrap_or(text);
    if text.contains(['?', '#', '%', '\\', '*']) || !text.bytes().all(|it| it.is_ascii_graphic()) {
        return bad("plain segments are matched, without query, encoding or wildcards");
    }
    if path
        .split('/')
        .skip(1)
        .any(|it| matches!(it, "" | "." | ".."))
    {
        return bad("it has an empty segment or one of dots");
    }
    Ok(path.to_owned())
}

fn method(reader: &Reader<'_>, given: &Given<String>) -> Option<Method> {
    let noted = |message: String, help: &str| {
        reader.problems().fault(&given.at, message, help);
        None
    };
    let upper = given.value.to_ascii_uppercase();
    if upper != given.value {
        return noted(
            format!("methods are in capitals, `{}` is not", given.value),
            &format!("write `{upper}`"),
        );
    }
    if ["TRACE", "TRACK", "CONNECT"].contains(&upper.as_str()) {
        return noted(
            format!("`{upper}` is never forwarded"),
            "it would show the token to the caller, or open a tunnel",
        );
    }
    match Method::from_bytes(upper.as_bytes()) {
        Ok(method) => Some(method),
        Err(_) => noted(format!("`{upper}` is no method"), ""),
    }
}

fn header_rule(
    reader: &Reader<'_>,
    (name, value): &(Given<String>, Given<String>),
) -> Option<(HeaderName, Option<HeaderValue>)> {
    let header = HeaderName::try_from(name.value.as_str());
    let wanted = match value.value.as_str() {
        "*" => Ok(None),
        text => HeaderValue::try_from(text).map(Some),
    };
    match (header, wanted) {
        (Ok(header), Ok(wanted)) => Some((header, wanted)),
        _ => {
            let message = format!("`{}: {}` cannot be a header", name.value, value.value);
            reader.problems().fault(&name.at, message, "");
            None
        }
    }
}

/// Whether two rules match the same requests by the same words.
#[must_use]
pub fn is_same(one: &Rule, other: &Rule) -> bool {
    one.listener == other.listener
        && one.host == other.host
        && one.path == other.path
        && one.methods == other.methods
        && one.headers == other.headers
}
