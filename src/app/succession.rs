//! From a configuration to a plan, and from a plan to the next: what stays, what comes, what goes.

use std::sync::Arc;

use crate::admin;
use crate::app::Config;
use crate::caller::seats;
use crate::credential::{self, Credential};
use crate::dial::resolver;
use crate::limits::InFlight;
use crate::listener::manners::Protocols;
use crate::plan::{Listener, Plan, Target};
use crate::telemetry;
use crate::tls;

/// What holds for the process as long as it runs, so that a change of it takes a restart.
#[derive(Clone, Debug)]
pub(super) struct Fixed {
    workers: usize,
    dns: resolver::Config,
    log: telemetry::Format,
    admin: Option<admin::Config>,
    connections: Option<usize>,
}

impl Fixed {
    pub(super) fn workers(&self) -> usize {
        self.workers
    }

    /// What a configuration would have otherwise, by the names of its keys.
    pub(super) fn differences(&self, config: &Config) -> Vec<&'static str> {
        let keys = [
            ("workers", self.workers != config.workers),
            ("dns", self.dns != config.dns),
            ("log.format", self.log != config.log.format),
            ("admin", self.admin != config.admin),
            ("limits.connections", self.connections != config.connections),
        ];
        let differing = keys.into_iter().filter(|(_, differs)| *differs);
        differing.map(|(key, _)| key).collect()
    }
}

/// Makes a plan of a configuration whose listeners are bound.
pub(super) fn plan(
    config: Config,
    listeners: Vec<Listener>,
    credential: impl FnMut(credential::Config) -> Arc<Credential>,
) -> (Plan, Fixed) {
    let fixed = Fixed {
        workers: config.workers,
        dns: config.dns,
        log: config.log.format,
        admin: config.admin,
        connections: config.connections,
    };
    let plan = Plan {
        listeners,
        routes: config.routes,
        forwards: config.forwards,
        targets: config.targets,
        credentials: config.credentials.into_iter().map(credential).collect(),
        normalize: config.normalize,
        body: config.body,
        log_requests: config.log.requests,
        limits: config.limits,
    };
    (plan, fixed)
}

/// Bounds the requests under way where nothing is said about it and HTTP/2 is spoken: each may need a
/// descriptor for a connection of its own to a target, and one caller brings a hundred of them.
pub(super) fn bound_requests(config: &mut Config) {
    let mut listeners = config.listeners.iter();
    if listeners.any(|it| it.manners.protocols != Protocols::Http1) {
        let bound = || Arc::new(InFlight::new(seats::most()));
        config.limits.requests.get_or_insert_with(bound);
    }
}

/// Has targets use the endpoints that there are already, where they are equal: what was loaded for
/// them, and TLS sessions that can be resumed, stay with them.
pub(super) fn keep_endpoints(targets: &mut [Target], before: &Plan) {
    for endpoint in targets.iter_mut().flat_map(|it| &mut it.endpoints) {
        let mut former = before.targets.iter().flat_map(|it| &it.endpoints);
        if let Some(same) = former.find(|it| *it == endpoint) {
            *endpoint = Arc::clone(same);
        }
    }
}

/// Has limits that say the same go on counting: what is under way stays under way, and a reload is no
/// way around a rate.
pub(super) fn keep_limits(config: &mut Config, before: &Plan) {
    config.limits.carry_on(&before.limits);
    for target in &mut config.targets {
        if let Some(same) = before.targets.iter().find(|it| it.name == target.name) {
            target.limits.carry_on(&same.limits);
        }
    }
}

/// Follows the files that certificates are in: of targets, whose members have theirs in common, and
/// of the endpoints that give tokens. Those that are followed already are not followed twice.
pub(super) fn follow_certificates(plan: &Plan) {
    let targets = plan.targets.iter();
    let targets = targets.map(|target| &target.endpoints[0].verification);
    let credentials = plan.credentials.iter();
    for verification in targets.chain(credentials.filter_map(|it| it.verification())) {
        tls::follow(verification);
    }
}

/// Reads the authorities now rather than in the first request. What is wrong with them is told to
/// that request, too.
pub(super) fn load_authorities(targets: &[Target]) {
    for target in targets {
        if let Err(error) = target.endpoints[0].verification.config() {
            tracing::error!(target = target.name, %error, "cannot verify this target");
        }
    }
}
