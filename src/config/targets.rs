//! `[targets.NAME]`: where requests go, with which credential, and what is changed about them on
//! the way. Which requests those are is a matter of [`routes`].

use std::cell::RefCell;
use std::sync::Arc;

use super::connections::{address, verification, via};
use super::headers::{Changes, changes, note_doubled};
use super::keys::TARGET;
use super::problem::{Severity, Span, did_you_mean};
use super::read::{Given, Reader};
use super::tree::{Entry, Node, Table, Text, Value, key};
use super::{Context, credentials, listeners, routes, show};
use crate::dial::{Endpoint, Keep, Protocol};
use crate::limits::{InFlight, Limits, Rate};
use crate::outgoing::{self, ClientAuthorization, Pseudonym, RefusedPath};
use crate::plan::{self, Patience, Target};
use crate::respond;
use crate::upstream::{Spread, Timeouts};
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
    /// How long its requests may take, as far as their routes say nothing else.
    pub patience: Option<Patience>,
    /// Its routes.
    pub routes: Vec<routes::Read>,
    /// Its URL, for showing: in TOML.
    pub url: String,
    /// What else it says of how requests are sent, for showing: keys and values in TOML.
    pub shown: Vec<(String, String)>,
}

/// What the targets are read with.
pub(super) struct Around<'a> {
    pub(super) kinds: credentials::Kinds<'a>,
    credentials: &'a [credentials::Read],
    /// Credentials that routes have made of others, in the order of their first use.
    variants: &'a RefCell<Vec<credentials::Read>>,
    pub(super) listeners: &'a [listeners::Read],
    pseudonym: Pseudonym,
    pub(super) context: &'a Context<'a>,
}

impl Around<'_> {
    /// The place of a credential of the file among all.
    fn index_of(&self, credential: &credentials::Read) -> Option<usize> {
        let mut all = self.credentials.iter();
        all.position(|other| other.name == credential.name)
    }

    /// The place of a variant, behind those of the file.
    pub(super) fn index_of_variant(&self, variant: credentials::Read) -> usize {
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
        pseudonym: Pseudonym::of_process(),
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
    let (patience, spread) = (patience(&reader), spread(&reader));
    let rewrites = reader
        .word("redirects")
        .is_some_and(|it| it.value == "rewrite");
    let limits = limits(&reader);
    let prepare = prepare(
        &reader,
        &locations[0],
        changes_to_requests,
        credential,
        &around.pseudonym,
    );
    let target = endpoints.zip(spread).map(|(endpoints, spread)| {
        let (remove, set) = answers;
        Target {
            name: name.value.clone(),
            endpoints,
            spread,
            limits,
            respond: respond::Config {
                remove,
                set,
                redirects: rewrites,
            },
            echoes: respond::echo::Echoes::default(),
        }
    });
    let config = prepare
        .zip(patience)
        .map(|(outgoing, patience)| plan::Route {
            patience,
            target: index,
            credential: credential.and_then(|it| around.index_of(it)),
            callers: Vec::new(),
            outgoing,
        });
    Read {
        name: name.value.clone(),
        credential: credential.map(|it| it.name.clone()),
        target,
        patience,
        routes: routes::read(&reader, name, config.as_ref(), named, around),
        url: shown_url(&reader),
        shown: shown(&reader),
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
pub(super) struct Misnamed;

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

fn shown(reader: &Reader<'_>) -> Vec<(String, String)> {
    let plain = ["header-case", "client-authorization"];
    let plain = plain
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), show::value(&reader.node(name)?))));
    let pool = reader.table("pool", |pool| {
        let keys = pool.nodes();
        keys.map(|(name, node)| (format!("pool.{name}"), show::value(&node)))
            .collect::<Vec<_>>()
    });
    plain.chain(pool.unwrap_or_default()).collect()
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
    let verification = verification(reader, context);
    let keep = keep(reader);
    let protocol = spoken(reader);
    let via = via(reader, context).ok();
    if reader.has("connect") && connect.is_none() {
        return None;
    }
    let connect = connect.map(|given| given.value);
    let via = via?;
    let (verification, keep, protocol) = (verification?, keep?, protocol?);
    let endpoint = |location: &Url| {
        Arc::new(Endpoint {
            host: location.host.clone(),
            authority: location.authority.clone(),
            server_name: location.server_name.clone(),
            port: location.port,
            connect,
            via: via.clone(),
            verification: Arc::clone(&verification),
            protocol,
            keep,
            connect_timeout,
            tls_timeout,
        })
    };
    Some(locations.iter().map(endpoint).collect())
}

/// What is spoken. HTTP/1.1 unless something else is asked for: it costs less for answers of the
/// usual size, and a lost packet holds up one request.
fn spoken(reader: &Reader<'_>) -> Option<Protocol> {
    Some(match reader.word("protocol")?.value.as_str() {
        "http2" => Protocol::Http2,
        "auto" => Protocol::Auto,
        _ => Protocol::Http1,
    })
}

fn keep(reader: &Reader<'_>) -> Option<Keep> {
    let title_case = reader.word("header-case")?.value == "title";
    reader.table("pool", |it| {
        Some(Keep {
            idle: it.duration("idle").value,
            most_idle: it.integer("most-idle")?.value as usize,
            age: it.duration("age").value,
            title_case,
        })
    })?
}

fn patience(reader: &Reader<'_>) -> Option<Patience> {
    reader.table("timeouts", |it| Patience {
        credential: it.duration("credential").value,
        timeouts: Timeouts {
            first_byte: it.duration("first-byte").value,
            idle: it.duration("idle").value,
            stream: it.duration("stream").value,
            total: it.duration_if_any("total").map(|given| given.value),
        },
    })
}

fn spread(reader: &Reader<'_>) -> Option<Spread> {
    Some(match reader.word("spread")?.value.as_str() {
        "first" => Spread::First,
        _ => Spread::RoundRobin,
    })
}

/// `limits.requests` of a target, or of the whole.
pub(super) fn requests(reader: &Reader<'_>) -> Option<Arc<InFlight>> {
    let given = reader.table("limits", |it| it.integer("requests"));
    let limit = given.flatten()?.value as usize;
    Some(Arc::new(InFlight::new(limit)))
}

fn limits(reader: &Reader<'_>) -> Limits {
    let rate = reader.table("rate", |it| {
        let (requests, per) = (it.integer("requests")?.value, it.duration("per").value);
        let burst = it.integer("burst").map_or(requests, |given| given.value);
        Some(Arc::new(Rate::new(requests, per, burst)))
    });
    Limits {
        requests: requests(reader),
        rate: rate.flatten(),
    }
}

fn prepare(
    reader: &Reader<'_>,
    location: &Url,
    (remove, set): Changes,
    credential: Option<&credentials::Read>,
    pseudonym: &Pseudonym,
) -> Option<outgoing::Config> {
    let placement = credential.map(|it| it.place.clone());
    note_doubled(reader, &set, placement.as_ref());
    let refuse = reader.parsed_texts("refuse", RefusedPath::parse);
    let refuse = refuse.into_iter().map(|given| given.value);
    let upgrades = reader.parsed_texts("upgrades", protocol);
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
        upgrades: upgrades.into_iter().map(|given| given.value).collect(),
        pseudonym: pseudonym.clone(),
    })
}

/// A protocol that bytes are passed on for, unseen. Another HTTP would bring requests that nobody
/// has read, TLS what nobody can.
fn protocol(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    let family = name.split('/').next().unwrap_or_default();
    if ["h2c", "h2", "http", "tls"].contains(&family) {
        return Err(format!(
            "`{text}` is never passed on: requests inside it would be seen by nobody, and go out without a credential"
        ));
    }
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!(
            "`{text}` is not the name of a protocol, such as `websocket`"
        ));
    }
    Ok(name)
}
