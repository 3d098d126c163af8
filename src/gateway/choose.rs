//! listener → route: who may come in, and where that leads.

use crate::body::RequestBody;
use crate::listener::Entrance;
use crate::normalize::Normalized;
use crate::plan::{Plan, Route};
use crate::respond::Refused;
use crate::router::{Miss, Table};

/// The route that a request takes from where it came in.
pub(super) fn route<'a>(
    plan: &'a Plan,
    request: &Normalized<RequestBody>,
    listener: usize,
    entrance: &Entrance,
) -> Result<&'a Route, Refused> {
    let config = &plan.listeners[listener].config;
    if config.forward && request.is_for_a_proxy() {
        config.admit_forward(request)?;
        match forward(plan, request, listener) {
            // It may mean this proxy itself, by a name of its own.
            Err(Miss::NoTarget(_)) if config.is_own(request.host(), entrance.local) => {}
            found => return Ok(found?),
        }
    }
    config.admit(request, entrance)?;
    take(&plan.routes, request, listener).map_err(|miss| lost(miss, request))
}

/// A miss as the log tells it: with what was asked for, less the query, which may be a secret.
fn lost(miss: Miss, request: &Normalized<RequestBody>) -> Refused {
    let is_nowhere = matches!(miss, Miss::NoRoute);
    let mut refused = Refused::from(miss);
    if is_nowhere {
        let host = request.host().unwrap_or("no host");
        let (method, path) = (request.method(), request.path());
        refused.causes = format!("{}: {method} {path} at {host}", refused.detail);
    }
    refused
}

/// The route of a table, if the target cannot take the path for one of another route of its own.
fn take<'a>(
    table: &'a Table<Route>,
    request: &Normalized<RequestBody>,
    listener: usize,
) -> Result<&'a Route, Miss> {
    let route = table.select(listener, request)?;
    let is_targets = |other: &Route| other.target == route.target;
    if table.is_disguised(route, listener, request, is_targets) {
        return Err(Miss::Spelling);
    }
    Ok(route)
}

/// The route to the target that has the host and the port of a URL. It leads nowhere else: no connection is ever
/// opened to a host that a caller names.
fn forward<'a>(
    plan: &'a Plan,
    request: &Normalized<RequestBody>,
    listener: usize,
) -> Result<&'a Route, Miss> {
    take(&plan.forwards, request, listener).map_err(|miss| match miss {
        Miss::NoRoute => {
            let (host, port) = (request.host().unwrap_or_default(), request.port());
            let colon = if port.is_empty() { "" } else { ":" };
            Miss::NoTarget(format!("{host}{colon}{port}"))
        }
        other => other,
    })
}
