//! The immutable snapshot that serves requests. A request uses one plan from its first stage to its
//! last.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::credential::Credential;
use crate::dial::Endpoint;
use crate::limits::Limits;
use crate::listener::Address;
use crate::listener::admission::Caller;
use crate::listener::bind::SocketFile;
use crate::listener::room::Room;
use crate::router::{Rule, Table};
use crate::upstream::{Spread, Timeouts};
use crate::{body, listener, normalize, outgoing, respond};

/// What serves requests.
#[derive(Debug)]
pub struct Plan {
    /// The listeners. Rules carry an index into this, connections an id: they outlive the plan.
    pub listeners: Vec<Listener>,
    /// Which request takes which route.
    pub routes: Table<Route>,
    /// Which request for a whole URL takes which route, where listeners forward those.
    pub forwards: Table<Route>,
    /// The targets; routes carry an index into this.
    pub targets: Vec<Target>,
    /// The credentials; routes carry an index into this.
    pub credentials: Vec<Arc<Credential>>,
    /// Limits on a request's head.
    pub normalize: normalize::Config,
    /// Limits on a request's body.
    pub body: body::Config,
    /// Whether each request is logged.
    pub log_requests: bool,
    /// How many requests are taken, for all targets together.
    pub limits: Limits,
}

impl Plan {
    /// The certificates that are shown: to callers by listeners, to the other side by targets and
    /// credentials. Those of the latter are read if that has not been done yet.
    #[must_use]
    pub fn certificates(&self) -> Vec<Certificate> {
        let listeners = self.listeners.iter().flat_map(|it| {
            let ends = it.config.tls.iter().flat_map(|tls| tls.ends());
            ends.map(|end| (it.config.name.clone(), (end.file, end.at)))
        });
        let targets = self.targets.iter().filter_map(|it| {
            let end = it.endpoints.first()?.verification.own_end()?;
            Some((it.name.clone(), end))
        });
        let credentials = self.credentials.iter().filter_map(|it| {
            let end = it.verification()?.own_end()?;
            Some((it.name().to_owned(), end))
        });
        let kinds = listeners.map(|it| ("listener", it));
        let kinds = kinds.chain(targets.map(|it| ("target", it)));
        let kinds = kinds.chain(credentials.map(|it| ("credential", it)));
        let mut all = Vec::new();
        for (kind, (name, (file, end))) in kinds {
            let certificate = Certificate {
                kind,
                name,
                file,
                end,
            };
            // Variants of a credential show the same.
            if !all.contains(&certificate) {
                all.push(certificate);
            }
        }
        all
    }

    /// The place of a listener, if it is one of this plan's.
    #[must_use]
    pub fn listener(&self, id: listener::Id) -> Option<usize> {
        self.listeners.iter().position(|it| it.id == id)
    }

    /// Where a target stands in another plan that leads to the same place for the same callers;
    /// `None` if that plan lets in others, forwards otherwise, or knows no such target.
    #[must_use]
    pub fn leads_as(&self, target: usize, other: &Self) -> Option<usize> {
        let own = &self.targets[target];
        let place = other.targets.iter().position(|it| it.name == own.name)?;
        let is_same = own.endpoints == other.targets[place].endpoints
            && self.ways(target).eq(other.ways(place));
        is_same.then_some(place)
    }

    /// Who may take which way to a target.
    fn ways(&self, target: usize) -> impl Iterator<Item = impl PartialEq + '_> + '_ {
        let routes = self.routes.iter().chain(self.forwards.iter());
        let own = routes.filter(move |(_, route)| route.target == target);
        own.map(|(rule, route)| {
            let listener = rule.listener.map(|it| self.listeners[it].id);
            // Places change from plan to plan; which listener it is does not.
            let rule = Rule {
                listener: None,
                ..rule.clone()
            };
            let outgoing = &route.outgoing;
            (
                (listener, rule),
                &route.callers,
                &outgoing.refuse,
                &outgoing.upgrades,
            )
        })
    }
}

/// A certificate that this process shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Who shows it: `listener`, `target` or `credential`.
    pub kind: &'static str,
    /// The operator's name for that.
    pub name: String,
    /// Its file.
    pub file: PathBuf,
    /// When it ends, in seconds since 1970.
    pub end: u64,
}

/// A listener in service.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Which it is, whatever its place in the plan.
    pub id: listener::Id,
    /// Who is let in.
    pub config: listener::Config,
    /// Where it listens, with the port that was chosen.
    pub bound: Address,
    /// The file of its socket, if it has one.
    pub file: Option<Arc<SocketFile>>,
    /// Counts its callers.
    pub room: Arc<Room>,
}

/// Where a request goes, and what is done to it on the way.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The target.
    pub target: usize,
    /// The credential; `None` if the target needs none.
    pub credential: Option<usize>,
    /// The callers it is for, by the names in their certificates; everybody if empty.
    pub callers: Vec<Caller>,
    /// What is done to the request.
    pub outgoing: outgoing::Config,
    /// How long it may take.
    pub patience: Patience,
}

/// How long a request may take once it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How long it waits for a token.
    pub credential: Duration,
    /// How slow the target may be.
    pub timeouts: Timeouts,
}

/// A target.
#[derive(Debug)]
pub struct Target {
    /// The operator's name for it.
    pub name: String,
    /// Where it is: one place, or the members of a cluster.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Which of several members requests go to.
    pub spread: Spread,
    /// How many requests it takes.
    pub limits: Limits,
    /// What is done to its answers.
    pub respond: respond::Config,
    /// Notices answers that show our token.
    pub echoes: respond::echo::Echoes,
}
