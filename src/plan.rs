//! The immutable snapshot that serves requests. A request uses one plan from its first stage to its
//! last.

use std::sync::Arc;
use std::time::Duration;

use crate::credential::Credential;
use crate::dial::Endpoint;
use crate::router::Table;
use crate::upstream::{Spread, Timeouts};
use crate::{body, listener, normalize, outgoing, respond};

/// What serves requests.
#[derive(Debug)]
pub struct Plan {
    /// The listeners; connections carry an index into this.
    pub listeners: Vec<listener::Config>,
    /// Which request takes which route.
    pub routes: Table<Route>,
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
}

/// Where a request goes, and what is done to it on the way.
#[derive(Clone, Debug)]
pub struct Route {
    /// The target.
    pub target: usize,
    /// The credential; `None` if the target needs none.
    pub credential: Option<usize>,
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
    /// What is done to its answers.
    pub respond: respond::Config,
}
