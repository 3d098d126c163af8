//! Where listeners with `forward` lead: each route of a target serves its URL's own host there, too,
//! with everything else that the route asks for.

use super::problem::{Problems, Span};
use super::{listeners, targets};
use crate::host::Pattern;
use crate::plan::Route;
use crate::router::{Rule, Table};

/// A rule with where it comes from.
struct Derived<'a> {
    rule: Rule,
    route: Route,
    at: &'a Span,
    target: &'a str,
}

/// The table of requests for whole URLs.
pub(super) fn table(
    targets: &[targets::Read],
    listeners: &[listeners::Read],
    problems: &Problems,
) -> Option<Table<Route>> {
    let mut all: Vec<Derived<'_>> = Vec::new();
    for (listener, read) in listeners.iter().enumerate() {
        if read.config.forward {
            for target in targets {
                add(target, listener, &mut all);
            }
        }
    }
    let places: Vec<(&Span, &str)> = all.iter().map(|it| (it.at, it.target)).collect();
    let rules: Vec<Rule> = all.iter().map(|it| it.rule.clone()).collect();
    let entries = all.into_iter().map(|it| (it.rule, it.route)).collect();
    match Table::build(entries, listeners.len()) {
        Ok(table) => Some(table),
        Err(hidden) => {
            for hidden in hidden {
                let ((at, target), (other_at, other)) = (places[hidden.rule], places[hidden.by]);
                let rule = &rules[hidden.rule];
                let host = rule
                    .host
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                let listener = &listeners[rule.listener.unwrap_or_default()].config.name;
                let message = format!(
                    "on listener `{listener}`, which forwards, a request for http://{host} could take this route of target `{target}` or the one of target `{other}` at {other_at}"
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
                    path: base.clone(),
                    ..read.rule.clone()
                },
                route: route.clone(),
                at: &read.at,
                target: &target.name,
            };
            let is_known = |it: &Derived<'_>| it.rule == derived.rule && it.route == derived.route;
            if !all.iter().any(is_known) {
                all.push(derived);
            }
        }
    }
}
