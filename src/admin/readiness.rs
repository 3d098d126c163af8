//! Whether requests may be sent here.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Admin;
use crate::credential::report::Report;

/// What readiness asks of each credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// A first attempt, however it ended: an identity provider that is down makes one target
    /// unavailable and not all of them.
    Attempts,
    /// A token.
    All,
}

/// How long a first attempt is waited for.
const FIRST: Duration = Duration::from_secs(10);

/// The verdict, and what is shown of it.
pub(super) struct Readiness {
    pub(super) is_ready: bool,
    pub(super) shown: Value,
}

/// Looks at everything that must be there before requests are served well. The listeners are: they
/// were bound before this page was.
pub(super) fn of(admin: &Admin) -> Readiness {
    let is_draining = admin.drain.has_begun();
    let age = admin.clock.now().boot.saturating_sub(admin.started.boot);
    let plan = admin.plans.load();
    let mut missing = Map::new();
    for credential in &plan.credentials {
        let report = credential.report();
        if let Some(reason) = lacks(&report, admin.config.ready, age) {
            missing.insert(report.label(), reason.into());
        }
    }
    let is_ready = missing.is_empty() && !is_draining;
    let shown = json!({ "ready": is_ready, "draining": is_draining, "missing": missing });
    Readiness { is_ready, shown }
}

fn lacks(report: &Report, ready: Ready, age: Duration) -> Option<String> {
    let wants_token = report.required || ready == Ready::All;
    if wants_token && !report.is_good {
        let reason = report.error.clone();
        return Some(reason.unwrap_or_else(|| "it has no token yet".to_owned()));
    }
    let is_awaited = !report.was_tried && age < FIRST;
    is_awaited.then(|| "its first attempt is under way".to_owned())
}
