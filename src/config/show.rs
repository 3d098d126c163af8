//! The whole configuration written out: presets expanded, defaults in place, secrets left out.

use http::{HeaderName, HeaderValue};

use super::read::Reader;
use super::tree::{Node, Table, Value, key, quoted};
use super::{credentials, listeners, routes, targets, units};
use crate::dial::via::Via;
use crate::dial::{Endpoint, Protocol};
use crate::limits::Limits;
use crate::tls::Authority;
use crate::upstream::Spread;

/// Writes out what will be in force, in the form of the configuration itself.
#[must_use]
pub fn show(
    root: &Reader<'_>,
    listeners: &[listeners::Read],
    credentials: &[credentials::Read],
    targets: &[targets::Read],
) -> String {
    let mut out = String::new();
    for name in ["workers", "drain", "presets"] {
        if let Some(node) = root.node(name) {
            line(&mut out, &format!("{name} = {}", value(&node)));
        }
    }
    line(&mut out, "");
    for listener in listeners {
        let config = &listener.config;
        let hosts: Vec<String> = config
            .hosts
            .iter()
            .map(|host| quoted(&host.to_string()))
            .collect();
        line(&mut out, &format!("[listeners.{}]", key(&config.name)));
        line(
            &mut out,
            &format!("address = {}", quoted(&config.address.to_string())),
        );
        line(&mut out, &format!("hosts = [{}]", hosts.join(", ")));
        if config.forward {
            line(&mut out, "forward = true");
        }
        for (name, value) in &listener.shown {
            line(&mut out, &format!("{name} = {value}"));
        }
        line(&mut out, "");
    }
    for credential in credentials {
        show_credential(&mut out, credential);
    }
    for target in targets {
        show_target(&mut out, target, listeners);
    }
    for name in [
        "log", "admin", "limits", "timeouts", "dns", "secrets", "confine",
    ] {
        show_section(&mut out, root, name);
    }
    out
}

fn show_section(out: &mut String, root: &Reader<'_>, name: &str) {
    root.table(name, |section| {
        line(out, &format!("[{name}]"));
        for (name, node) in section.nodes() {
            line(out, &format!("{name} = {}", value(&node)));
        }
        line(out, "");
    });
}

fn show_credential(out: &mut String, credential: &credentials::Read) {
    let Some((source, node)) = &credential.expanded else {
        return;
    };
    let mut node = node.clone();
    if let Value::Table(table) = &mut node.value {
        hide_headers(table);
    }
    let mut shown = String::new();
    show_table(
        &mut shown,
        &format!("credentials.{}.{source}", key(&credential.name)),
        &node,
    );
    if *source != credential.kind {
        line(out, &format!("# from the preset `{}`", credential.kind));
    }
    let Some(with) = &credential.variant else {
        out.push_str(&shown);
        return;
    };
    // It has no table of its own in a configuration: its name is taken.
    line(out, &format!("# the same for routes with = {with}"));
    for text in shown.trim_end().lines() {
        line(out, format!("# {text}").trim_end());
    }
    line(out, "");
}

/// Some services take a key in a header.
fn hide_headers(source: &mut Table) {
    let headers = source.entries.iter_mut().find(|it| it.name == "headers");
    if let Some(Value::Table(headers)) = headers.map(|it| &mut it.node.value) {
        for header in &mut headers.entries {
            if let Value::Text(text) = &mut header.node.value {
                text.origin = Some(quoted("…"));
            }
        }
    }
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn show_target(out: &mut String, read: &targets::Read, listeners: &[listeners::Read]) {
    let Some(target) = &read.target else { return };
    let Some(endpoint) = target.endpoints.first() else {
        return;
    };
    let credential = read.credential.as_deref().unwrap_or("none");
    line(out, &format!("[targets.{}]", key(&read.name)));
    line(out, &format!("url = {}", read.url));
    if let Some(address) = endpoint.connect {
        line(out, &format!("connect = {}", quoted(&address.to_string())));
    }
    if let Some(via) = &endpoint.via {
        line(out, &format!("via = {}", shown_via(via)));
    }
    if target.endpoints.len() > 1 {
        let spread = match target.spread {
            Spread::RoundRobin => "round-robin",
            Spread::First => "first",
        };
        line(out, &format!("spread = {}", quoted(spread)));
    }
    line(out, &format!("credential = {}", quoted(credential)));
    show_terms(out, endpoint);
    for (name, value) in &read.shown {
        line(out, &format!("{name} = {value}"));
    }
    if let Some(route) = read.routes.iter().find_map(|route| route.route.as_ref()) {
        let refused: Vec<String> = route
            .outgoing
            .refuse
            .iter()
            .map(|path| quoted(&path.to_string()))
            .collect();
        line(out, &format!("refuse = [{}]", refused.join(", ")));
        let upgrades = route.outgoing.upgrades.iter().map(|it| quoted(it));
        let upgrades: Vec<String> = upgrades.collect();
        line(out, &format!("upgrades = [{}]", upgrades.join(", ")));
        show_changes(out, "headers", &route.outgoing.remove, &route.outgoing.set);
    }
    let answers = &target.respond;
    if answers.redirects {
        line(out, "redirects = \"rewrite\"");
    }
    show_changes(out, "response-headers", &answers.remove, &answers.set);
    let patience = read.patience;
    let timeouts = [
        ("connect", Some(endpoint.connect_timeout)),
        ("tls", Some(endpoint.tls_timeout)),
        ("credential", patience.map(|it| it.credential)),
        ("first-byte", patience.map(|it| it.timeouts.first_byte)),
        ("idle", patience.map(|it| it.timeouts.idle)),
        ("stream", patience.map(|it| it.timeouts.stream)),
        ("total", patience.and_then(|it| it.timeouts.total)),
    ];
    for (name, span) in timeouts {
        let Some(span) = span else { continue };
        line(
            out,
            &format!("timeouts.{name} = {}", quoted(&units::show_duration(span))),
        );
    }
    show_limits(out, &target.limits);
    line(out, "routes = [");
    for route in &read.routes {
        let strips = route.route.as_ref().is_some_and(|it| it.outgoing.strip > 0);
        line(
            out,
            &format!("    {{ {} }},", rule(route, strips, listeners)),
        );
    }
    line(out, "]\n");
}

fn shown_via(via: &Via) -> String {
    let url = quoted(&via.to_string());
    match &via.login {
        Some(login) => format!(
            "{{ url = {url}, user = {}, password = \"…\" }}",
            quoted(&login.user)
        ),
        None => url,
    }
}

fn show_limits(out: &mut String, limits: &Limits) {
    if let Some(requests) = &limits.requests {
        line(out, &format!("limits.requests = {}", requests.limit()));
    }
    if let Some(rate) = &limits.rate {
        let per = quoted(&units::show_duration(rate.per));
        line(out, &format!("rate.requests = {}", rate.requests));
        line(out, &format!("rate.per = {per}"));
        line(out, &format!("rate.burst = {}", rate.burst));
    }
}

/// What is removed and set. Values stay unsaid here, too.
fn show_changes(
    out: &mut String,
    name: &str,
    remove: &[HeaderName],
    set: &[(HeaderName, HeaderValue)],
) {
    let removed: Vec<String> = remove.iter().map(|it| quoted(it.as_str())).collect();
    if !removed.is_empty() {
        line(out, &format!("{name}.remove = [{}]", removed.join(", ")));
    }
    for (header, _) in set {
        line(out, &format!("{name}.set.{} = \"…\"", key(header.as_str())));
    }
}

/// What is spoken to the target, and how both sides show who they are.
fn show_terms(out: &mut String, endpoint: &Endpoint) {
    let tls = endpoint.verification.asks_for();
    let authority = |authority: &Authority| match authority {
        Authority::System => quoted("system"),
        Authority::File(path) => quoted(&path.display().to_string()),
    };
    let authorities: Vec<String> = tls.authorities.iter().map(authority).collect();
    line(out, &format!("tls.ca = [{}]", authorities.join(", ")));
    if !tls.pins.is_empty() {
        let pins: Vec<String> = tls.pins.iter().map(|it| quoted(&it.to_string())).collect();
        line(out, &format!("tls.pin = [{}]", pins.join(", ")));
    }
    if let Some(identity) = &tls.identity {
        let path = quoted(&identity.certificate.display().to_string());
        line(out, &format!("tls.certificate = {path}"));
        line(out, &format!("tls.key = {}", identity.key));
    }
    let protocol = match endpoint.protocol {
        Protocol::Http1 => "http1",
        Protocol::Http2 => "http2",
        Protocol::Auto => "auto",
    };
    line(out, &format!("protocol = {}", quoted(protocol)));
}

fn rule(route: &routes::Read, strips: bool, listeners: &[listeners::Read]) -> String {
    let rule = &route.rule;
    let mut parts = Vec::new();
    if let Some(listener) = rule.listener.and_then(|index| listeners.get(index)) {
        parts.push(format!("listener = {}", quoted(&listener.config.name)));
    }
    if let Some(host) = &rule.host {
        parts.push(format!("host = {}", quoted(&host.to_string())));
    }
    let path = if rule.path.is_empty() {
        "/"
    } else {
        &rule.path
    };
    parts.push(format!("path = {}", quoted(path)));
    if !rule.path.is_empty() {
        parts.push(format!("strip = {strips}"));
    }
    if !rule.methods.is_empty() {
        let methods: Vec<String> = rule.methods.iter().map(|it| quoted(it.as_str())).collect();
        parts.push(format!("methods = [{}]", methods.join(", ")));
    }
    if !rule.headers.is_empty() {
        let headers: Vec<String> = rule
            .headers
            .iter()
            .map(|(name, value)| {
                let value = value
                    .as_ref()
                    .and_then(|value| value.to_str().ok())
                    .unwrap_or("*");
                format!("{name} = {}", quoted(value))
            })
            .collect();
        parts.push(format!("headers = {{ {} }}", headers.join(", ")));
    }
    if let Some(route) = route.route.as_ref().filter(|it| !it.callers.is_empty()) {
        let callers = route.callers.iter().map(|it| quoted(&it.to_string()));
        parts.push(format!(
            "callers = [{}]",
            callers.collect::<Vec<_>>().join(", ")
        ));
    }
    if route
        .route
        .as_ref()
        .is_some_and(|it| it.outgoing.encoded_slash)
    {
        parts.push("encoded-slash = \"pass\"".to_owned());
    }
    if let Some(with) = &route.with {
        parts.push(format!("with = {with}"));
    }
    if let Some(timeouts) = &route.timeouts {
        parts.push(format!("timeouts = {timeouts}"));
    }
    parts.join(", ")
}

/// A table with its plain keys first and its tables below, as TOML wants it.
fn show_table(out: &mut String, path: &str, node: &Node) {
    let Value::Table(table) = &node.value else {
        return;
    };
    line(out, &format!("[{path}]"));
    let is_reference =
        |node: &Node| matches!(&node.value, Value::Table(table) if table.is_reference());
    let (plain, tables): (Vec<_>, Vec<_>) = table.entries.iter().partition(|entry| {
        !matches!(entry.node.value, Value::Table(_)) || is_reference(&entry.node)
    });
    for entry in plain {
        line(
            out,
            &format!("{} = {}", key(&entry.name), value(&entry.node)),
        );
    }
    out.push('\n');
    for entry in tables {
        show_table(out, &format!("{path}.{}", key(&entry.name)), &entry.node);
    }
}

/// A value as it is written.
#[must_use]
pub fn value(node: &Node) -> String {
    match &node.value {
        Value::Text(text) => text.to_toml(),
        Value::Integer(number) => number.to_string(),
        // A whole one keeps its point.
        Value::Float(number) => format!("{number:?}"),
        Value::Boolean(boolean) => boolean.to_string(),
        Value::Date(date) => date.clone(),
        Value::List(items) => {
            format!(
                "[{}]",
                items.iter().map(value).collect::<Vec<_>>().join(", ")
            )
        }
        Value::Table(table) => inline(table),
    }
}

/// A table in one line.
#[must_use]
pub fn inline(table: &Table) -> String {
    let members = table
        .entries
        .iter()
        .map(|it| format!("{} = {}", key(&it.name), value(&it.node)));
    format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
}
