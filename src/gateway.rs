//! The life of a request, on one worker.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::time::{Instant, timeout};

use crate::body::{RequestBody, ResponseBody};
use crate::credential::cell::View;
use crate::dial::Endpoint;
use crate::dial::resolver::Resolver;
use crate::listener;
use crate::normalize::normalize;
use crate::outgoing::prepare;
use crate::plan::{Plan, Route, Target};
use crate::respond::{self, Refused};
use crate::shutdown::Busy;
use crate::unwind::caught;
use crate::upstream::pool::{Lease, Pool};
use crate::upstream::{Sent, Upstream};

mod tunnel;
mod upgrade;

/// What is answered.
pub type Answer = Response<ResponseBody<Lease>>;

/// Where a connection came in.
#[derive(Clone, Copy, Debug)]
pub struct Entrance {
    /// The listener.
    pub listener: listener::Id,
    /// The address on our side.
    pub local: IpAddr,
    /// The caller's address.
    pub peer: IpAddr,
}

/// Serves the requests of one worker.
#[derive(Debug)]
pub struct Gateway {
    snapshot: RefCell<Rc<Snapshot>>,
    /// Those before it that knew listeners which are gone now and still have connections.
    former: RefCell<Vec<Former>>,
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

/// A snapshot that listeners have gone with: their connections are served by it to their end.
#[derive(Debug)]
struct Former {
    snapshot: Rc<Snapshot>,
    gone: Vec<listener::Id>,
}

impl Snapshot {
    /// `before` is the snapshot that this one follows: pools of the same places are taken over with
    /// their connections.
    fn new(plan: Arc<Plan>, resolver: &Resolver, before: Option<&Self>) -> Self {
        let former: Vec<&Rc<Pool>> = before
            .into_iter()
            .flat_map(|it| it.upstreams.iter().flat_map(Upstream::pools))
            .collect();
        let pool = |endpoint: &Arc<Endpoint>| {
            let same = former.iter().find(|it| it.endpoint() == endpoint);
            let new = || Rc::new(Pool::new(Arc::clone(endpoint), resolver.clone()));
            same.map_or_else(new, |it| Rc::clone(it))
        };
        let upstreams = plan
            .targets
            .iter()
            .map(|target| {
                Upstream::new(target.endpoints.iter().map(pool).collect(), target.timeouts)
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
        }
    }
}

impl Gateway {
    /// A gateway that serves by this plan.
    #[must_use]
    pub fn new(plan: Arc<Plan>, resolver: Resolver) -> Self {
        let snapshot = Rc::new(Snapshot::new(plan, &resolver, None));
        Self {
            snapshot: RefCell::new(snapshot),
            former: RefCell::default(),
            resolver,
            ids: RequestIds::default(),
        }
    }

    /// Serves by another plan from now on. Requests under way end by the one they began with.
    pub fn follow(&self, plan: Arc<Plan>) {
        let before = self.snapshot.borrow();
        let next = Rc::new(Snapshot::new(plan, &self.resolver, Some(&before)));
        drop(before);
        let before = self.snapshot.replace(Rc::clone(&next));
        let ids = before.plan.listeners.iter().map(|it| it.id);
        let gone: Vec<listener::Id> = ids.filter(|id| next.plan.listener(*id).is_none()).collect();
        if !gone.is_empty() {
            self.former.borrow_mut().push(Former {
                snapshot: before,
                gone,
            });
        }
    }

    /// The last connection of a listener that is gone has ended.
    pub fn forget(&self, listener: listener::Id) {
        self.former.borrow_mut().retain_mut(|former| {
            former.gone.retain(|it| *it != listener);
            !former.gone.is_empty()
        });
    }

    /// Answers a request, whatever happens. `busy` is held on to by what goes on after the answer.
    pub async fn handle(
        &self,
        request: Request<Incoming>,
        entrance: Entrance,
        busy: &Busy,
    ) -> Answer {
        let Some((snapshot, place)) = self.snapshot(entrance.listener) else {
            return Refused::internal().into_response(&self.ids.next());
        };
        let note = snapshot.plan.log_requests.then(|| Note::of(&request));
        let started = note.as_ref().map(|_| Instant::now());
        let served = caught(serve(&snapshot, request, place, entrance.local, busy)).await;
        let (target, outcome) = served.unwrap_or_else(|| (None, Err(Refused::internal())));
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

    /// The snapshot that serves a listener's requests now, and the listener's place in it.
    fn snapshot(&self, listener: listener::Id) -> Option<(Rc<Snapshot>, usize)> {
        let snapshot = self.snapshot.borrow();
        if let Some(place) = snapshot.plan.listener(listener) {
            return Some((Rc::clone(&snapshot), place));
        }
        let former = self.former.borrow();
        let last = former.iter().find(|it| it.gone.contains(&listener))?;
        let place = last.snapshot.plan.listener(listener)?;
        Some((Rc::clone(&last.snapshot), place))
    }
}

/// Serves a request; gives the name of the target it went to, too, as far as it came.
async fn serve<'a>(
    snapshot: &'a Snapshot,
    mut request: Request<Incoming>,
    listener: usize,
    local: IpAddr,
    busy: &Busy,
) -> (Option<&'a str>, Result<Answer, Refused>) {
    let caller = hyper::upgrade::on(&mut request);
    match choose(snapshot, request, listener, local) {
        Err(refused) => (None, Err(refused)),
        Ok((route, request)) => {
            let target = &snapshot.plan.targets[route.target];
            let outcome = forward(snapshot, route, request).await;
            let answer = outcome.map(|sent| finish(sent, caller, target, busy));
            (Some(&target.name), answer)
        }
    }
}

type Chosen<'a> = (&'a Route, crate::normalize::Normalized<RequestBody>);

/// listener → normalize → route
fn choose(
    snapshot: &Snapshot,
    request: Request<Incoming>,
    listener: usize,
    local: IpAddr,
) -> Result<Chosen<'_>, Refused> {
    let plan = &snapshot.plan;
    let (parts, incoming) = request.into_parts();
    let body = RequestBody::new(incoming, plan.body)?;
    let request = normalize(Request::from_parts(parts, body), &plan.normalize)?;
    plan.listeners[listener].config.admit(&request, local)?;
    let route = plan.routes.select(listener, &request)?;
    Ok((route, request))
}

/// outgoing → credential → upstream → respond
async fn forward(
    snapshot: &Snapshot,
    route: &Route,
    request: crate::normalize::Normalized<RequestBody>,
) -> Result<Sent, Refused> {
    let target = &snapshot.plan.targets[route.target];
    let method = request.method().clone();
    let outgoing = prepare(request, &route.outgoing)?;
    let upstream = &snapshot.upstreams[route.target];
    let Some(index) = route.credential else {
        let sent = upstream.send(outgoing.as_it_is()).await?;
        return Ok(sent.map(|answer| respond::pass(answer, &method, &target.respond)));
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
    Ok(sent.map(|answer| respond::pass(answer, &method, &target.respond)))
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
