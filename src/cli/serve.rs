//! `countersign serve`: runs the proxy until it is told to end.

use std::path::Path;
use std::process::ExitCode;

use super::check::{self, count};
use super::process;
use crate::app::{self, Running};
use crate::clock::Clock;
use crate::config::{self, Loaded};
use crate::confine;
use crate::listener::{self, Address, inherited};
use crate::plan::{Listener, Plan};
use crate::router::Rule;
use crate::secret::store::Store;
use crate::secret::trail::Trail;
use crate::supervisor::{self, State};
use crate::telemetry;

/// Hardens itself, loads, starts, announces, waits and drains.
pub(super) fn run(path: &Path) -> ExitCode {
    let unusable = inherited::take_over();
    let undone = confine::harden();
    supervisor::meet();
    let trail = Trail::default();
    let Loaded {
        config, warnings, ..
    } = match config::load(path, &Store::Noted(trail.clone())) {
        Ok(loaded) => loaded,
        Err(problems) => return check::refuse(&problems, path),
    };
    // Before anything starts a thread, which would not be held by it.
    let confined = match confine::enforce(&config.confine) {
        Ok(said) => said,
        Err(error) => return super::fail(error),
    };
    telemetry::start(config.log);
    for undone in undone {
        tracing::warn!("{undone}");
    }
    tracing::info!("{confined}");
    for warning in warnings.sorted() {
        tracing::warn!("{warning}");
    }
    for socket in unusable {
        tracing::warn!("systemd has handed over what is of no use: {socket}");
    }
    process::prepare();
    let origin = config::origin(path.to_path_buf(), trail);
    match app::follow(config, origin, Clock::system()) {
        Ok(running) => process::run_until_signal(running, |running| {
            announce(running);
            supervisor::tell(State::Ready);
        }),
        Err(error) => super::fail(error),
    }
}

/// Says what runs, where it listens, who can reach that, and what leads where.
fn announce(running: &Running) {
    let plan = running.plan();
    tracing::info!(
        "countersign {}: {}, {}, {}, {}",
        env!("CARGO_PKG_VERSION"),
        count(running.workers(), "worker"),
        count(plan.listeners.len(), "listener"),
        count(plan.credentials.len(), "credential"),
        count(plan.targets.len(), "target"),
    );
    for Listener { config, bound, .. } in &plan.listeners {
        say_who_reaches(config, bound);
    }
    if let Some(address) = running.admin() {
        let said = format!("health, metrics and status are on {}", url("http", address));
        match address.is_local() {
            Some(true) => tracing::info!("{said}"),
            _ => tracing::warn!(
                "{said}: whoever can reach this address can see them, reload the configuration and have credentials renewed"
            ),
        }
    }
    for (rule, route) in plan.routes.iter() {
        let target = &plan.targets[route.target];
        // With their ports: the members of a cluster may differ in nothing else.
        let hosts: Vec<_> = target
            .endpoints
            .iter()
            .map(|it| String::from_utf8_lossy(it.authority.as_bytes()))
            .collect();
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

fn say_who_reaches(listener: &listener::Config, address: &Address) {
    let name = &listener.name;
    let url = url(listener.scheme(), address);
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

/// A URL, where an address has one.
fn url(scheme: &str, address: &Address) -> String {
    match address.ip() {
        Some(address) => format!("{scheme}://{address}"),
        None => address.to_string(),
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
        parts.push(format!(
            "at listener `{}`",
            plan.listeners[listener].config.name
        ));
    }
    if !rule.headers.is_empty() {
        let names: Vec<&str> = rule.headers.iter().map(|(name, _)| name.as_str()).collect();
        parts.push(format!("with {}", names.join(", ")));
    }
    parts.join(" ")
}
