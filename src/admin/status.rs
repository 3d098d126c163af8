//! How everything is doing, as JSON.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::Admin;
use crate::clock::Moment;
use crate::credential::report::Report;
use crate::metrics::{self, Ailment};
use crate::plan::{Plan, Target};
use crate::telemetry;

/// The whole page.
pub(super) fn of(admin: &Admin) -> Value {
    let plan = admin.plans.load();
    let counts = admin.metrics.targets();
    let now = admin.clock.now();
    let (reloads, failed) = admin.reload.counts();
    let listeners = plan.listeners.iter();
    let listeners =
        listeners.map(|it| json!({ "name": it.config.name, "address": it.bound.to_string() }));
    let targets = plan.targets.iter().enumerate();
    let targets = targets.map(|(index, it)| target(index, it, &plan, counts.get(&it.name), now));
    let credentials = plan.credentials.iter();
    let credentials = credentials.map(|it| credential(&it.report(), admin));
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "started": admin.started.rfc3339(),
        "uptime": now.boot.saturating_sub(admin.started.boot).as_secs(),
        "draining": admin.drain.has_begun(),
        "workers": admin.metrics.workers().len(),
        "connections": admin.metrics.sum(|worker| &worker.connections),
        "reloads": {
            "done": reloads,
            "failed": failed,
            "last-failed": admin.reload.is_refused(),
        },
        "log-lines-lost": telemetry::lost(),
        "listeners": listeners.collect::<Vec<_>>(),
        "targets": targets.collect::<Vec<_>>(),
        "credentials": credentials.collect::<Vec<_>>(),
    })
}

fn target(
    index: usize,
    target: &Target,
    plan: &Plan,
    counts: Option<&metrics::Target>,
    now: Moment,
) -> Value {
    let members = target.endpoints.iter().map(|it| {
        let name = String::from_utf8_lossy(it.authority.as_bytes());
        let ailment = counts.and_then(|counts| counts.ailments.of(&name));
        member(&format!("{}:{}", it.host, it.port), ailment.as_ref(), now)
    });
    let mut routes = plan.routes.iter().map(|(_, route)| route);
    let route = routes.find(|route| route.target == index);
    let credential = route.and_then(|route| route.credential);
    let credential = credential.map(|index| plan.credentials[index].name());
    let requests: u64 = counts.map_or(0, |it| it.outcomes().sum());
    json!({
        "name": target.name,
        "members": members.collect::<Vec<_>>(),
        "credential": credential,
        "active": counts.map_or(0, |it| it.active.get()),
        "requests": requests,
    })
}

/// How a member is doing, as its requests have shown: `red` from its first failure to its next answer.
fn member(address: &str, ailment: Option<&Ailment>, now: Moment) -> Value {
    let left = |until: Instant| until.saturating_duration_since(Instant::now());
    let left = ailment.and_then(|it| it.until).map(left);
    let left = left.filter(|left| !left.is_zero());
    json!({
        "address": address,
        "state": if ailment.is_some() { "red" } else { "green" },
        "since": ailment.map(|it| now.before(it.since.elapsed()).rfc3339()),
        "error": ailment.map(|it| &it.error),
        "workers": ailment.map(|it| it.workers),
        "passed-over-for": left.map(|it| it.as_secs_f64().ceil()),
    })
}

/// How a credential is doing. Times to come are in seconds from now.
pub(super) fn credential(report: &Report, admin: &Admin) -> Value {
    let token = report.token.as_ref();
    json!({
        "name": report.name,
        "with": report.with,
        "state": state(report),
        "since": report.since.map(Moment::rfc3339),
        "fingerprint": token.map(|it| &it.fingerprint),
        "expires-in": token.map(|it| it.left.as_secs()),
        "next-attempt-in": report.next_attempt.map(|it| it.as_secs()),
        "error": report.error,
        "minted": report.minted,
        "failed": report.failed,
        "waiting": report.waiting,
        "clock-offset": report.offset,
        "required": report.required || admin.config.ready == super::Ready::All,
    })
}

fn state(report: &Report) -> &'static str {
    match (report.is_good, report.was_tried) {
        (true, _) => "green",
        (false, true) => "red",
        (false, false) => "pending",
    }
}
