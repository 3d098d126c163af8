//! `[[targets.NAME.routes]]`: which requests go to a target, and what is different about them there.
//! In the end, the routes of all targets make one table.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

use super::headers::note_doubled;
use super::problem::{Problems, Span, did_you_mean};
use super::read::{Given, Reader};
use super::targets::{self, Around, Misnamed};
use super::tree::Value;
use super::{credentials, listeners, show};
use crate::host::Pattern;
use crate::listener::admission::Caller;
use crate::outgoing::Place;
use crate::plan;
use crate::router::{Rule, Table};
use crate::upstream::Timeouts;

/// A route as it was read.
#[derive(Debug)]
pub struct Read {
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
    /// What it changes about the target's deadlines, likewise.
    pub timeouts: Option<String>,
}

/// Reads those of a target; without any, there is one for the path of its own name.
pub(super) fn read(
    reader: &Reader<'_>,
    name: &Given<String>,
    config: Option<&plan::Route>,
    credential: Result<Option<&credentials::Read>, Misnamed>,
    around: &Around<'_>,
) -> Vec<Read> {
    if !reader.has("routes") {
        return vec![of_own_name(name, config)];
    }
    // Of another kind: noted already.
    let is_list = reader
        .node("routes")
        .is_some_and(|it| matches!(it.value, Value::List(_)));
    let routes = reader.tables("routes", |it| {
        let read = read_one(it, name, config, credential, around)?;
        if let Some(route) = read.route.as_ref().filter(|_| read.with.is_some()) {
            note_doubled(
                reader,
                &route.outgoing.set,
                route.outgoing.placement.as_ref(),
            );
        }
        Some(read)
    });
    if routes.is_empty() && is_list {
        let message = format!(
            "target `{}` has no routes, so nothing ever goes there",
            name.value
        );
        let help = "leave `routes` out for the path of its own name";
        reader.problems().warn(&name.at, message, help);
    }
    routes.into_iter().flatten().collect()
}

/// The route of a target that lists none.
fn of_own_name(name: &Given<String>, config: Option<&plan::Route>) -> Read {
    let rule = Rule {
        path: format!("/{}", name.value),
        ..Rule::default()
    };
    let mut route = config.cloned();
    if let Some(route) = &mut route {
        route.outgoing.strip = rule.path.len();
    }
    Read {
        rule,
        route,
        at: name.at.clone(),
        target_name: name.value.clone(),
        with: None,
        timeouts: None,
    }
}

fn read_one(
    reader: &Reader<'_>,
    name: &Given<String>,
    config: Option<&plan::Route>,
    credential: Result<Option<&credentials::Read>, Misnamed>,
    around: &Around<'_>,
) -> Option<Read> {
    let rule = rule(reader, around)?;
    let passes_slashes = reader.word("encoded-slash")?.value == "pass";
    let strips = reader.boolean("strip");
    let callers = callers(reader, &rule, around);
    let patience = reader.table("timeouts", OwnPatience::read)?;
    let variant = match reader.has("with") {
        true => Some(with(reader, credential, around)?),
        false => None,
    };
    let mut route = config.cloned();
    if let Some(route) = &mut route {
        route.outgoing.strip = if strips { rule.path.len() } else { 0 };
        route.outgoing.encoded_slash = passes_slashes;
        route.callers = callers;
        route.patience = patience.over(route.patience);
        if let Some(variant) = &variant {
            route.credential = Some(variant.index);
            route.outgoing.placement = Some(variant.place.clone());
        }
    }
    let timeouts = match reader.node("timeouts").map(|it| it.value) {
        Some(Value::Table(table)) if reader.has("timeouts") => Some(show::inline(&table)),
        _ => None,
    };
    Some(Read {
        rule,
        route,
        at: reader.at().clone(),
        target_name: name.value.clone(),
        with: variant.map(|it| it.shown),
        timeouts,
    })
}

/// The callers that a route is for. They show certificates where they are asked for them.
fn callers(reader: &Reader<'_>, rule: &Rule, around: &Around<'_>) -> Vec<Caller> {
    let Some(node) = reader.node("callers") else {
        return Vec::new();
    };
    if reader.is_empty_list("callers") {
        let help = "leave it out for every caller";
        reader.fault(
            "callers",
            &node,
            "the list is empty, so that nobody would be let in",
            help,
        );
    }
    let asks = |it: &listeners::Read| match &it.config.tls {
        Some(tls) => tls.asks_for_certificates(),
        // Its faults have been noted.
        None => it.has_tls,
    };
    let mut serving = around.listeners.iter().enumerate();
    if !serving.any(|(index, it)| rule.listener.is_none_or(|own| own == index) && asks(it)) {
        let message = "no listener that this route serves asks callers for certificates";
        let help = "write tls.client-ca at one of them";
        reader.fault("callers", &node, message, help);
    }
    let callers = reader.parsed_texts("callers", Caller::parse);
    callers.into_iter().map(|given| given.value).collect()
}

/// What a route says of its deadlines.
struct OwnPatience {
    credential: Option<Duration>,
    first_byte: Option<Duration>,
    idle: Option<Duration>,
    stream: Option<Duration>,
    total: Option<Duration>,
}

impl OwnPatience {
    fn read(reader: &Reader<'_>) -> Self {
        let given = |name| reader.duration_if_any(name).map(|given| given.value);
        Self {
            credential: given("credential"),
            first_byte: given("first-byte"),
            idle: given("idle"),
            stream: given("stream"),
            total: given("total"),
        }
    }

    /// In place of what its target says.
    fn over(&self, targets: plan::Patience) -> plan::Patience {
        let usual = targets.timeouts;
        plan::Patience {
            credential: self.credential.unwrap_or(targets.credential),
            timeouts: Timeouts {
                first_byte: self.first_byte.unwrap_or(usual.first_byte),
                idle: self.idle.unwrap_or(usual.idle),
                stream: self.stream.unwrap_or(usual.stream),
                total: self.total.or(usual.total),
            },
        }
    }
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
        port: None,
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

/// What a route has in place of its target's credential.
struct Variant {
    /// Its place among all credentials.
    index: usize,
    /// Where it goes on a request.
    place: Place,
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
        place: variant.place.clone(),
        shown: variant.variant.clone().unwrap_or_default(),
        index: around.index_of_variant(variant),
    })
}

/// Puts the routes of all targets into one table.
pub(super) fn table(
    targets: &[targets::Read],
    listeners: usize,
    problems: &Problems,
) -> Option<Table<plan::Route>> {
    let routes = || targets.iter().flat_map(|target| &target.routes);
    let places: Vec<(&Rule, &Span, &str)> = routes()
        .map(|route| (&route.rule, &route.at, route.target_name.as_str()))
        .collect();
    let rules = routes()
        .map(|route| (route.rule.clone(), route.route.clone()))
        .collect();
    let rules: Vec<(Rule, Option<plan::Route>)> = rules;
    match Table::build(rules, listeners) {
        Ok(table) => table.try_map(|route| route),
        Err(hidden) => {
            for hidden in hidden {
                let (rule, at, target) = places[hidden.rule];
                let (other, other_at, other_target) = places[hidden.by];
                let message = format!(
                    "no request can take this route of target `{target}`: the one of target `{other_target}` at {other_at} takes them all"
                );
                let help = if is_same(rule, other) {
                    "the two are equal; tell them apart by path, host, listener, methods or headers"
                } else {
                    "routes are tried in this order: a listener named, an exact host, a suffix, the longest path, methods named, most headers, the place in the file"
                };
                problems.fault(at, message, help);
            }
            None
        }
    }
}

/// Whether two rules match the same requests by the same words.
fn is_same(one: &Rule, other: &Rule) -> bool {
    one.listener == other.listener
        && one.host == other.host
        && one.path == other.path
        && one.methods == other.methods
        && one.headers == other.headers
}
