//! `countersign serve`: runs the proxy until it is told to end.

use std::path::Path;
use std::process::ExitCode;

use super::{check, process};
use crate::app::{self, Running};
use crate::clock::Clock;
use crate::config::{self, Loaded};
use crate::listener::inherited;
use crate::plan::Plan;
use crate::router::Rule;
use crate::secret::store::Store;
use crate::telemetry;

/// Loads, starts, announces, waits and drains.
pub(super) fn run(path: &Path) -> ExitCode {
    let unusable = inherited::take_over();
    let Loaded {
        config, warnings, ..
    } = match config::load(path, &Store::Disk) {
        Ok(loaded) => loaded,
        Err(problems) => return check::refuse(&problems, path),
    };
    telemetry::start(config.log);
    for warning in warnings.sorted() {
        tracing::warn!("{warning}");
    }
    for socket in unusable {
        tracing::warn!("systemd has handed over what is of no use: {socket}");
    }
    process::prepare();
    match app::start(config, Clock::system()) {
        Ok(running) => {
            announce(&running);
            process::run_until_signal(running)
        }
        Err(error) => super::fail(error),
    }
}

/// Says where it listens, who can reach that, and what leads where.
fn announce(running: &Running) {
    let plan = running.plan();
    for ((name, address), listener) in running.listeners().iter().zip(&plan.listeners) {
        let url = match address.ip() {
            Some(address) => format!("{}://{address}", listener.scheme()),
            None => address.to_string(),
        };
        let bound = format!("listening on {url} (listener `{name}`)");
        match address.is_local() {
            Some(true) => tracing::info!("{bound}: this machine only"),
            _ if listener.is_guarded() => {
                tracing::info!("{bound}: other machines too, if they are let in");
            }
            _ => tracing::warn!(
                "{bound}: reachable from other machines, and whoever can reach this address can use the credentials; listeners.{name}.allow says who may"
            ),
        }
    }
    for (rule, route) in plan.routes.iter() {
        let target = &plan.targets[route.target];
        let hosts: Vec<&str> = target.endpoints.iter().map(|it| it.host.as_str()).collect();
        let credential = match route.credential {
            Some(index) => format!("credential `{}`", plan.credentials[index].name()),
            None => "no credential".to_owned(),
        };
        tracing::info!(
            "{} goes to {} (target `{}`) with {credential}",
            describe(rule, &plan),
            hosts.join(" or "),
            target.name,
        );
    }
}

fn describe(rule: &Rule, plan: &Plan) -> String {
    let mut parts = Vec::new();
    if !rule.methods.is_empty() {
        let methods: Vec<&str> = rule.methods.iter().map(http::Method::as_str).collect();
        parts.push(methods.join(", "));
    }
    let host = rule
        .host
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    let path = if rule.path.is_empty() {
        "/"
    } else {
        &rule.path
    };
    parts.push(format!("{host}{path}"));
    if let Some(listener) = rule.listener {
        parts.push(format!("at listener `{}`", plan.listeners[listener].name));
    }
    if !rule.headers.is_empty() {
        let names: Vec<&str> = rule.headers.iter().map(|(name, _)| name.as_str()).collect();
        parts.push(format!("with {}", names.join(", ")));
    }
    parts.join(" ")
}
