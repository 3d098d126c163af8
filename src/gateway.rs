//! The life of a request, on one worker.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::time::{Instant, timeout};

use crate::body::{RequestBody, ResponseBody};
use crate::credential::cell::View;
use crate::dial::resolver::Resolver;
use crate::normalize::{Normalized, normalize};
use crate::outgoing::prepare;
use crate::plan::{Plan, Route, Target};
use crate::respond::Refused;
use crate::shutdown::Busy;
use crate::upstream::pool::Lease;
use crate::upstream::{Sent, Upstream};

mod choose;
mod exchange;
mod tunnel;
mod upgrade;

use exchange::Exchange;

/// What is answered.
pub type Answer = Response<ResponseBody<Lease>>;

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

    /// Answers a request, whatever happens. `busy` is held on to by what goes on after the answer.
    pub async fn handle(
        &self,
        request: Request<Incoming>,
        entrance: Entrance,
        busy: &Busy,
    ) -> Answer {
        let snapshot = self.snapshot();
        let note = snapshot.plan.log_requests.then(|| Note::of(&request));
        let started = note.as_ref().map(|_| Instant::now());
        let (target, outcome) = serve(&snapshot, request, entrance, busy).await;
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
async fn serve<'a>(
    snapshot: &'a Snapshot,
    mut request: Request<Incoming>,
    entrance: Entrance,
    busy: &Busy,
) -> (Option<&'a str>, Result<Answer, Refused>) {
    let caller = hyper::upgrade::on(&mut request);
    match choose(snapshot, request, entrance) {
        Err(refused) => (None, Err(refused)),
        Ok((route, request)) => {
            let target = &snapshot.plan.targets[route.target];
            let outcome = forward(snapshot, route, request).await;
            let answer = outcome.map(|sent| finish(sent, caller, target, busy));
            (Some(&target.name), answer)
        }
    }
}

type Chosen<'a> = (&'a Route, Normalized<RequestBody>);

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
    let route = choose::route(plan, &request, entrance)?;
    Ok((route, request))
}

/// outgoing → credential → upstream → respond
async fn forward(
    snapshot: &Snapshot,
    route: &Route,
    request: Normalized<RequestBody>,
) -> Result<Sent, Refused> {
    let target = &snapshot.plan.targets[route.target];
    let exchange = Exchange::begin(target, route, &request);
    let outgoing = prepare(request, &route.outgoing)?;
    let upstream = &snapshot.upstreams[route.target];
    let Some(index) = route.credential else {
        return Ok(exchange.finish(upstream.send(outgoing.as_it_is()).await?, None));
    };
    let (credential, view) = (&snapshot.plan.credentials[index], &snapshot.views[index]);
    let patience = target.credential_timeout;
    let authorized = credential.place(outgoing, view, patience).await?;
    // None if it is the caller's own.
    let mut ours = authorized.credential().cloned();
    let mut sent = upstream.send(authorized).await?;
    if ours.is_some()
        && sent.answer.status() == StatusCode::UNAUTHORIZED
        && let Some(copy) = sent.copy.take()
        // The rest of the body, if the answer came before it.
        && timeout(patience, copy.body().whole()).await == Ok(true)
        && let Some((again, trial)) = credential.place_again(copy, view, patience).await
    {
        ours = again.credential().cloned();
        sent = upstream.send(again).await?;
        credential.hear(&trial, sent.answer.status());
    }
    if ours.is_some() && sent.answer.status() == StatusCode::UNAUTHORIZED {
        credential.say_refused(&target.name);
    }
    Ok(exchange.finish(sent, ours.as_ref()))
}

/// Hands the answer to the caller; where the target has switched protocols, the connections too.
fn finish(sent: Sent, caller: OnUpgrade, target: &Target, busy: &Busy) -> Answer {
    match sent.switched_to {
        None => sent.answer,
        Some(protocol) => {
            let idle = target.timeouts.stream;
            upgrade::switch(sent.answer, caller, protocol, idle, busy.clone())
        }
    }
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
