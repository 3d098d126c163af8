//! The life of a request, on one worker.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};

use crate::body::{RequestBody, ResponseBody};
use crate::credential::cell::View;
use crate::dial::resolver::Resolver;
use crate::normalize::normalize;
use crate::outgoing::prepare;
use crate::plan::{Plan, Route};
use crate::respond::{self, Refused};
use crate::upstream::Upstream;
use crate::upstream::pool::Lease;

/// What is answered.
pub type Answer = Response<Content>;

/// The body of what is answered.
pub type Content = ResponseBody<Lease>;

/// Where a connection came in.
#[derive(Clone, Copy, Debug)]
pub struct Entrance {
    /// The listener, by its index in the plan.
    pub listener: usize,
    /// The address on our side.
    pub local: IpAddr,
    /// The caller's address.
    pub peer: IpAddr,
}

/// Serves the requests of one worker.
#[derive(Debug)]
pub struct Gateway {
    plans: RefCell<Cache<Arc<ArcSwap<Plan>>, Arc<Plan>>>,
    snapshot: RefCell<Rc<Snapshot>>,
    resolver: Resolver,
    ids: RequestIds,
}

/// A plan with what this worker alone has of it. Requests share it by a count that no other thread
/// touches.
#[derive(Debug)]
struct Snapshot {
    plan: Arc<Plan>,
    upstreams: Vec<Upstream>,
    views: Vec<RefCell<View>>,
}

impl Snapshot {
    fn new(plan: Arc<Plan>, resolver: &Resolver) -> Self {
        let upstreams = plan
            .targets
            .iter()
            .map(|target| Upstream::new(&target.endpoints, target.timeouts, resolver))
            .collect();
        let views = plan
            .credentials
            .iter()
            .map(|credential| credential.view())
            .collect();
        Self {
            plan,
            upstreams,
            views,
        }
    }
}

impl Gateway {
    /// A gateway that follows the plan it is given, and each that replaces it.
    #[must_use]
    pub fn new(plans: Arc<ArcSwap<Plan>>, resolver: Resolver) -> Self {
        let snapshot = Rc::new(Snapshot::new(plans.load_full(), &resolver));
        Self {
            plans: RefCell::new(Cache::new(plans)),
            snapshot: RefCell::new(snapshot),
            resolver,
            ids: RequestIds::default(),
        }
    }

    /// Answers a request, whatever happens.
    pub async fn handle(&self, request: Request<Incoming>, entrance: Entrance) -> Answer {
        let snapshot = self.snapshot();
        let note = snapshot.plan.log_requests.then(|| Note::of(&request));
        let started = note.as_ref().map(|_| Instant::now());
        let (target, outcome) = serve(&snapshot, request, entrance).await;
        let id = match (&note, &outcome) {
            (None, Ok(_)) => String::new(),
            _ => self.ids.next(),
        };
        let code = outcome.as_ref().err().map(|refused| refused.code);
        let answer = outcome.unwrap_or_else(|refused| {
            log_refusal(&refused, target, &id);
            refused.into_response(&id)
        });
        if let (Some(note), Some(started)) = (note, started) {
            tracing::info!(
                target: "countersign::request",
                id,
                peer = %entrance.peer,
                method = %note.method,
                path = note.path,
                to = target.unwrap_or("-"),
                status = answer.status().as_u16(),
                code,
                took = ?started.elapsed(),
            );
        }
        answer
    }

    /// Drops what has been idle for too long.
    pub fn sweep(&self) {
        for upstream in &self.snapshot.borrow().upstreams {
            upstream.sweep();
        }
    }

    fn snapshot(&self) -> Rc<Snapshot> {
        let mut plans = self.plans.borrow_mut();
        let plan = plans.load();
        let mut snapshot = self.snapshot.borrow_mut();
        if !Arc::ptr_eq(plan, &snapshot.plan) {
            *snapshot = Rc::new(Snapshot::new(Arc::clone(plan), &self.resolver));
        }
        Rc::clone(&snapshot)
    }
}

/// Serves a request; gives the name of the target it went to, too, as far as it came.
async fn serve(
    snapshot: &Snapshot,
    request: Request<Incoming>,
    entrance: Entrance,
) -> (Option<&str>, Result<Answer, Refused>) {
    match choose(snapshot, request, entrance) {
        Err(refused) => (None, Err(refused)),
        Ok((route, request)) => {
            let target = snapshot.plan.targets[route.target].name.as_str();
            (Some(target), forward(snapshot, route, request).await)
        }
    }
}

type Chosen<'a> = (&'a Route, crate::normalize::Normalized<RequestBody>);

/// listener → normalize → route
fn choose(
    snapshot: &Snapshot,
    request: Request<Incoming>,
    entrance: Entrance,
) -> Result<Chosen<'_>, Refused> {
    let plan = &snapshot.plan;
    let (parts, incoming) = request.into_parts();
    let body = RequestBody::new(incoming, plan.body)?;
    let request = normalize(Request::from_parts(parts, body), &plan.normalize)?;
    plan.listeners[entrance.listener].admit(&request, entrance.local)?;
    let route = plan.routes.select(entrance.listener, &request)?;
    Ok((route, request))
}

/// outgoing → credential → upstream → respond
async fn forward(
    snapshot: &Snapshot,
    route: &Route,
    request: crate::normalize::Normalized<RequestBody>,
) -> Result<Answer, Refused> {
    let target = &snapshot.plan.targets[route.target];
    let method = request.method().clone();
    let outgoing = prepare(request, &route.outgoing)?;
    let upstream = &snapshot.upstreams[route.target];
    let Some(index) = route.credential else {
        let sent = upstream.send(outgoing.as_it_is()).await?;
        return Ok(respond::pass(sent.answer, &method, &target.respond));
    };
    let (credential, view) = (&snapshot.plan.credentials[index], &snapshot.views[index]);
    let patience = target.credential_timeout;
    let is_ours = !outgoing.has_callers_credential();
    let authorized = credential.place(outgoing, view, patience).await?;
    let mut sent = upstream.send(authorized).await?;
    if is_ours
        && sent.answer.status() == StatusCode::UNAUTHORIZED
        && let Some(copy) = sent.copy.take()
        // The rest of the body, if the answer came before it.
        && timeout(patience, copy.body().whole()).await == Ok(true)
        && let Some((again, trial)) = credential.place_again(copy, view, patience).await
    {
        sent = upstream.send(again).await?;
        credential.hear(&trial, sent.answer.status());
    }
    if is_ours && sent.answer.status() == StatusCode::UNAUTHORIZED {
        credential.say_refused(&target.name);
    }
    Ok(respond::pass(sent.answer, &method, &target.respond))
}

/// What the log says of a request. The query is left out: tools put secrets there.
struct Note {
    method: Method,
    path: String,
}

impl Note {
    fn of(request: &Request<Incoming>) -> Self {
        Self {
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
        }
    }
}

fn log_refusal(refused: &Refused, target: Option<&str>, id: &str) {
    let causes = if refused.causes.is_empty() {
        &*refused.detail
    } else {
        &refused.causes
    };
    let target = target.unwrap_or("-");
    if refused.status.is_server_error() {
        tracing::warn!(id, to = target, code = refused.code, causes, "refused");
    } else {
        tracing::info!(id, to = target, code = refused.code, causes, "refused");
    }
}

/// Names for requests: the worker's own random start, and a count.
#[derive(Debug)]
struct RequestIds {
    start: u32,
    count: Cell<u64>,
}

impl Default for RequestIds {
    fn default() -> Self {
        Self {
            start: getrandom::u32().unwrap_or(0),
            count: Cell::new(0),
        }
    }
}

impl RequestIds {
    fn next(&self) -> String {
        let count = self.count.get();
        self.count.set(count.wrapping_add(1));
        format!("{:08x}-{count:x}", self.start)
    }
}
