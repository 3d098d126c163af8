//! Where listeners with `forward` lead: each route of a target serves its URL's own host and port
//! there, too, with everything else that the route asks for.
//!
//! Tools ask such a listener for `http://` and mean a URL whose port is 443, so that a request that
//! says no port is for the target at 443; where there is none, for the only one that has the host.

use std::collections::BTreeSet;

use super::problem::{Problems, Span};
use super::{listeners, targets};
use crate::host::Pattern;
use crate::plan::Route;
use crate::router::{HTTP, Rule, Table};

/// A rule with where it comes from.
struct Derived<'a> {
    rule: Rule,
    route: Route,
    at: &'a Span,
    target: &'a str,
    /// Whether the port is that of the target's URL, and not the one of a request that says none.
    is_own_port: bool,
}

/// The port of a target whose URL says none.
const HTTPS: u16 = 443;

/// The table of requests for whole URLs.
pub(super) fn table(
    targets: &[targets::Read],
    listeners: &[listeners::Read],
    problems: &Problems,
) -> Option<Table<Route>> {
    let mut all: Vec<Derived<'_>> = Vec::new();
    for (listener, read) in listeners.iter().enumerate() {
        if read.config.forward {
            let mut added = Vec::new();
            for target in targets {
                add(target, listener, &mut added);
            }
            let defaults = without_port(&added, &read.config.name, &read.at, problems);
            all.extend(added);
            all.extend(defaults);
        }
    }
    let places: Vec<_> = all
        .iter()
        .map(|it| (it.at, it.target, it.is_own_port))
        .collect();
    let rules: Vec<Rule> = all.iter().map(|it| it.rule.clone()).collect();
    let entries = all.into_iter().map(|it| (it.rule, it.route)).collect();
    match Table::build(entries, listeners.len()) {
        Ok(table) => Some(table),
        Err(hidden) => {
            for hidden in hidden {
                let (at, target, is_own_port) = places[hidden.rule];
                let (other_at, other, _) = places[hidden.by];
                if !is_own_port {
                    // Told already.
                    continue;
                }
                let rule = &rules[hidden.rule];
                let host = rule
                    .host
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                let port = match rule.port {
                    None | Some(HTTPS) => String::new(),
                    Some(port) => format!(":{port}"),
                };
                let listener = &listeners[rule.listener.unwrap_or_default()].config.name;
                let message = format!(
                    "on listener `{listener}`, which forwards, a request for http://{host}{port} could take this route of target `{target}` or the one of target `{other}` at {other_at}"
                );
                let help = "keep one of them to another listener: listener = \"…\"";
                problems.fault(at, message, help);
            }
            None
        }
    }
}

/// The routes of a target that serve this listener, under the hosts of its URLs. Two that differ in
/// nothing but the path they have elsewhere are one here.
fn add<'a>(target: &'a targets::Read, listener: usize, all: &mut Vec<Derived<'a>>) {
    let Some(built) = &target.target else { return };
    for read in &target.routes {
        let serves = read.rule.listener.is_none_or(|named| named == listener);
        let Some(route) = read.route.as_ref().filter(|_| serves) else {
            continue;
        };
        let mut route = route.clone();
        let base = std::mem::take(&mut route.outgoing.base);
        route.outgoing.strip = 0;
        for endpoint in &built.endpoints {
            let derived = Derived {
                rule: Rule {
                    listener: Some(listener),
                    host: Some(Pattern::Exact(endpoint.host.to_ascii_lowercase())),
                    port: Some(endpoint.port),
                    path: base.clone(),
                    ..read.rule.clone()
                },
                route: route.clone(),
                at: &read.at,
                target: &target.name,
                is_own_port: true,
            };
            let is_known = |it: &Derived<'_>| it.rule == derived.rule && it.route == derived.route;
            if !all.iter().any(is_known) {
                all.push(derived);
            }
        }
    }
}

/// The routes of requests that say no port, made of those that say one.
fn without_port<'a>(
    own: &[Derived<'a>],
    listener: &str,
    at: &Span,
    problems: &Problems,
) -> Vec<Derived<'a>> {
    let mut hosts: Vec<&Pattern> = Vec::new();
    for host in own.iter().filter_map(|it| it.rule.host.as_ref()) {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    let mut defaults: Vec<Derived<'a>> = Vec::new();
    for host in hosts {
        let of_host = || own.iter().filter(|it| it.rule.host.as_ref() == Some(host));
        let has = |port| of_host().any(|it| it.rule.port == Some(port));
        if has(HTTP) {
            continue;
        }
        let targets: BTreeSet<&str> = of_host().map(|it| it.target).collect();
        if !has(HTTPS) && targets.len() > 1 {
            let names = targets.into_iter().collect::<Vec<_>>().join("`, `");
            problems.warn(
                at,
                format!("on listener `{listener}`, which forwards, a request for http://{host} leads nowhere if it says no port: the targets `{names}` have that host, and none of them port 443"),
                "callers have to say the port of the one that they mean",
            );
            continue;
        }
        let chosen = of_host().filter(|it| !has(HTTPS) || it.rule.port == Some(HTTPS));
        for it in chosen {
            let rule = Rule {
                port: Some(HTTP),
                ..it.rule.clone()
            };
            let is_known = |other: &&Derived<'_>| other.rule == rule && other.route == it.route;
            if !defaults.iter().any(|other| is_known(&other)) {
                defaults.push(Derived {
                    rule,
                    route: it.route.clone(),
                    is_own_port: false,
                    ..*it
                });
            }
        }
    }
    defaults
}
