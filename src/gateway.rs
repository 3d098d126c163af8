//! The life of a request, on one worker.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::body::{RequestBody, ResponseBody};
use crate::credential::cell::View;
use crate::dial::resolver::Resolver;
use crate::limits::Limits;
use crate::metrics;
use crate::normalize::normalize;
use crate::outgoing::prepare;
use crate::plan::{Plan, Route};
use crate::respond::{self, Refused};
use crate::upstream::Upstream;
use crate::upstream::pool::Lease;

mod passage;

use passage::{Carried, Note, Passage, Place};

/// What is answered, counted until its last byte.
pub type Answer = Response<Carried<ResponseBody<Lease>>>;

/// What is answered, as it came.
type Passed = Response<ResponseBody<Lease>>;

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
    counts: Arc<metrics::Worker>,
    ids: RequestIds,
}

/// A plan with what this worker alone has of it. Requests share it by a count that no other thread
/// touches.
#[derive(Debug)]
struct Snapshot {
    plan: Arc<Plan>,
    upstreams: Vec<Upstream>,
    views: Vec<RefCell<View>>,
    /// The targets, as they are counted here.
    places: Vec<Rc<Place>>,
    /// Where requests are counted that come to no target.
    nowhere: Rc<Place>,
}

impl Snapshot {
    fn new(plan: Arc<Plan>, resolver: &Resolver, counts: &metrics::Worker) -> Self {
        let places: Vec<Rc<Place>> = plan
            .targets
            .iter()
            .map(|target| {
                Rc::new(Place {
                    name: target.name.clone(),
                    counts: counts.target(&target.name),
                    limits: target.limits.clone(),
                    requests: plan.requests.clone(),
                })
            })
            .collect();
        let nowhere = Rc::new(Place {
            name: String::new(),
            counts: counts.target(""),
            limits: Limits::default(),
            requests: None,
        });
        let upstreams = plan
            .targets
            .iter()
            .zip(&places)
            .map(|(target, place)| {
                let counts = Arc::clone(&place.counts);
                Upstream::new(&target.endpoints, target.timeouts, resolver, counts)
            })
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
            places,
            nowhere,
        }
    }
}

impl Gateway {
    /// A gateway that follows the plan it is given, and each that replaces it, and counts what it
    /// does.
    #[must_use]
    pub fn new(
        plans: Arc<ArcSwap<Plan>>,
        resolver: Resolver,
        counts: Arc<metrics::Worker>,
    ) -> Self {
        let snapshot = Rc::new(Snapshot::new(plans.load_full(), &resolver, &counts));
        Self {
            plans: RefCell::new(Cache::new(plans)),
            snapshot: RefCell::new(snapshot),
            resolver,
            counts,
            ids: RequestIds::default(),
        }
    }

    /// Answers a request, whatever happens.
    pub async fn handle(&self, request: Request<Incoming>, entrance: Entrance) -> Answer {
        let snapshot = self.snapshot();
        let is_logged = snapshot.plan.log_requests;
        let note = is_logged.then(|| Note::of(&request, entrance.peer, self.ids.next()));
        let mut passage = Passage::begin(Rc::clone(&snapshot.nowhere), note);
        let answer = match serve(&snapshot, request, entrance, &mut passage).await {
            Ok(answer) => answer,
            Err(refused) => {
                let id = passage.id().unwrap_or_else(|| self.ids.next());
                log_refusal(&refused, passage.target(), &id);
                passage.refused(refused.code);
                refused.into_response(&id)
            }
        };
        passage.answered(answer.status());
        answer.map(|body| passage.carry(body))
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
            *snapshot = Rc::new(Snapshot::new(
                Arc::clone(plan),
                &self.resolver,
                &self.counts,
            ));
        }
        Rc::clone(&snapshot)
    }
}

/// The way of a request, to its target if it comes that far.
async fn serve(
    snapshot: &Snapshot,
    request: Request<Incoming>,
    entrance: Entrance,
    passage: &mut Passage,
) -> Result<Passed, Refused> {
    let (route, request) = choose(snapshot, request, entrance)?;
    passage.lead_to(&snapshot.places[route.target], &snapshot.plan.clock)?;
    forward(snapshot, route, request, passage).await
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
    passage: &mut Passage,
) -> Result<Passed, Refused> {
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
    passage.wears(credential);
    let mut sent = upstream.send(authorized).await?;
    if is_ours
        && sent.answer.status() == StatusCode::UNAUTHORIZED
        && let Some(copy) = sent.copy.take()
        // The rest of the body, if the answer came before it.
        && timeout(patience, copy.body().whole()).await == Ok(true)
        && let Some((again, trial)) = credential.place_again(copy, view, patience).await
    {
        passage.counts().replayed.up();
        passage.wears(credential);
        sent = upstream.send(again).await?;
        credential.hear(&trial, sent.answer.status());
    }
    if is_ours && sent.answer.status() == StatusCode::UNAUTHORIZED {
        credential.say_refused(&target.name);
    }
    Ok(respond::pass(sent.answer, &method, &target.respond))
}

fn log_refusal(refused: &Refused, target: &str, id: &str) {
    let causes = if refused.causes.is_empty() {
        &*refused.detail
    } else {
        &refused.causes
    };
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
