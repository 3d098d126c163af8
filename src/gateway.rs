//! The life of a request, on one worker.

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::time::{Instant, timeout};

use crate::body::{RequestBody, ResponseBody};
use crate::clock::Clock;
use crate::credential::cell::View;
use crate::credential::{Credential, Trial};
use crate::dial::resolver::Resolver;
use crate::listener::admit_caller;
use crate::listener::door::{self, Turned};
use crate::listener::stream::{Socket, Stream};
use crate::normalize::{Normalized, normalize};
use crate::outgoing::{Authorized, Repeatable, prepare};
use crate::plan::{Plan, Route};
use crate::respond::Refused;
use crate::shutdown::ending::Tie;
use crate::unwind::caught;
use crate::upstream::{self, Sent};
use crate::{listener, metrics};

mod choose;
mod exchange;
mod passage;
mod snapshot;
mod tunnel;
mod upgrade;

use exchange::Exchange;
use passage::{Carried, Note, Passage};
use snapshot::Snapshot;
use upgrade::Bounds;

pub use crate::listener::Entrance;

/// What is answered.
pub type Answer = Response<Content>;

/// The body of what is answered, counted until its last byte.
pub type Content = Carried<ResponseBody<upstream::Incoming>>;

/// What is answered, as it came.
type Passed = Response<ResponseBody<upstream::Incoming>>;

/// Serves the requests of one worker.
#[derive(Debug)]
pub struct Gateway {
    snapshot: RefCell<Rc<Snapshot>>,
    /// Those before it that knew listeners which are gone now and still have connections.
    former: RefCell<Vec<Former>>,
    resolver: Resolver,
    counts: Arc<metrics::Worker>,
    clock: Clock,
    ids: RequestIds,
}

/// A snapshot that listeners have gone with: their connections are served by it to their end.
#[derive(Debug)]
struct Former {
    snapshot: Rc<Snapshot>,
    gone: Vec<listener::Id>,
}

impl Gateway {
    /// A gateway that serves by this plan and counts what it does.
    #[must_use]
    pub fn new(
        plan: Arc<Plan>,
        resolver: Resolver,
        counts: Arc<metrics::Worker>,
        clock: Clock,
    ) -> Self {
        let snapshot = Rc::new(Snapshot::new(plan, &resolver, &counts, None));
        Self {
            snapshot: RefCell::new(snapshot),
            former: RefCell::default(),
            resolver,
            counts,
            clock,
            ids: RequestIds::default(),
        }
    }

    /// What the worker counts.
    #[must_use]
    pub fn counts(&self) -> &metrics::Worker {
        &self.counts
    }

    /// Serves by another plan from now on. Requests under way end by the one they began with.
    pub fn follow(&self, plan: Arc<Plan>) {
        let before = self.snapshot.borrow();
        let next = Rc::new(Snapshot::new(
            plan,
            &self.resolver,
            &self.counts,
            Some(&before),
        ));
        drop(before);
        let before = self.snapshot.replace(Rc::clone(&next));
        before.turn_to(&next);
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

    /// Lets a connection in, by the plan that is in force now.
    ///
    /// # Errors
    ///
    /// The reason why it was closed.
    pub async fn open(
        &self,
        listener: listener::Id,
        socket: Socket,
    ) -> Result<(Stream, Entrance), Turned> {
        let Some((snapshot, place)) = self.snapshot(listener) else {
            return Err(Turned::Gone(ErrorKind::ConnectionAborted.into()));
        };
        door::open(&snapshot.plan.listeners[place].config, listener, socket).await
    }

    /// Answers a request, whatever happens. What goes on after the answer is tied to the caller's connection.
    pub async fn handle(
        &self,
        request: Request<Incoming>,
        entrance: Entrance,
        tie: &Tie,
    ) -> Answer {
        let Some((snapshot, place)) = self.snapshot(entrance.listener) else {
            let passage = Passage::begin(&self.snapshot.borrow().nowhere, None);
            return self.refuse(Refused::internal(), passage);
        };
        let is_logged = snapshot.plan.log_requests;
        let note = is_logged.then(|| Note::of(&request, entrance.peer, self.ids.next()));
        let mut passage = Passage::begin(&snapshot.nowhere, note);
        let served = self.serve(&snapshot, request, place, &entrance, tie, &mut passage);
        let served = caught(pin!(served)).await;
        match served {
            Some(Ok(answer)) => passage.answer(answer),
            Some(Err(refused)) => self.refuse(refused, passage),
            None => self.refuse(Refused::internal(), passage),
        }
    }

    fn refuse(&self, refused: Refused, mut passage: Passage) -> Answer {
        let id = passage.id().unwrap_or_else(|| self.ids.next());
        log_refusal(&refused, passage.target(), &id);
        passage.refused(refused.code);
        passage.answer(refused.into_response(&id))
    }

    /// The way of a request, to its target if it comes that far.
    async fn serve(
        &self,
        snapshot: &Snapshot,
        mut request: Request<Incoming>,
        listener: usize,
        entrance: &Entrance,
        tie: &Tie,
        passage: &mut Passage,
    ) -> Result<Passed, Refused> {
        let caller = hyper::upgrade::on(&mut request);
        let started = passage.started();
        let (route, request) = choose(snapshot, request, listener, entrance, started)?;
        passage.lead_to(&snapshot.places[route.target], &self.clock)?;
        let sent = forward(snapshot, route, request, entrance, passage).await?;
        let bounds = || Bounds {
            tie: tie.clone(),
            turned: Rc::clone(&snapshot.turns[route.target]),
            idle: route.patience.timeouts.stream,
        };
        Ok(finish(sent, caller, bounds, passage))
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

type Chosen<'a> = (&'a Route, Normalized<RequestBody>);

/// listener → normalize → route
fn choose<'a>(
    snapshot: &'a Snapshot,
    request: Request<Incoming>,
    listener: usize,
    entrance: &Entrance,
    started: Instant,
) -> Result<Chosen<'a>, Refused> {
    let plan = &snapshot.plan;
    let (parts, incoming) = request.into_parts();
    let body = RequestBody::new(incoming, plan.body, started)?;
    let mut request = normalize(Request::from_parts(parts, body), &plan.normalize)?;
    let route = choose::route(plan, &request, listener, entrance)?;
    admit_caller(&route.callers, entrance)?;
    plan.listeners[listener].config.take_own(&mut request);
    Ok((route, request))
}

/// outgoing → credential → upstream → respond
async fn forward(
    snapshot: &Snapshot,
    route: &Route,
    request: Normalized<RequestBody>,
    entrance: &Entrance,
    passage: &mut Passage,
) -> Result<Sent, Refused> {
    let target = &snapshot.plan.targets[route.target];
    let deadlines = route.patience.timeouts.begin();
    let exchange = Exchange::begin(target, route, &request, entrance.is_tls);
    let outgoing = prepare(request, &route.outgoing)?;
    let upstream = &snapshot.upstreams[route.target];
    let Some(index) = route.credential else {
        let sent = upstream.send(outgoing.as_it_is(), &deadlines).await?;
        return Ok(exchange.finish(sent, None, passage.counts()));
    };
    let (credential, view) = (&snapshot.plan.credentials[index], &snapshot.views[index]);
    let patience = deadlines.within(route.patience.credential);
    let authorized = credential.place(outgoing, view, patience).await?;
    passage.wears(credential);
    // None if it is the caller's own.
    let mut ours = authorized.credential().cloned();
    let mut sent = upstream.send(authorized, &deadlines).await?;
    if ours.is_some()
        && sent.answer.status() == StatusCode::UNAUTHORIZED
        && let Some(copy) = sent.copy.take()
        && let Some((again, trial)) = Box::pin(reauthorize(credential, copy, view, patience)).await
    {
        passage.counts().replayed.up();
        passage.wears(credential);
        ours = again.credential().cloned();
        sent = Box::pin(upstream.send(again, &deadlines)).await?;
        credential.hear(&trial, sent.answer.status());
    }
    if ours.is_some() && sent.answer.status() == StatusCode::UNAUTHORIZED {
        credential.say_refused(&target.name);
    }
    Ok(exchange.finish(sent, ours.as_ref(), passage.counts()))
}

/// The request once more with another credential, if there is any point in that.
async fn reauthorize(
    credential: &Credential,
    copy: Repeatable<RequestBody>,
    view: &RefCell<View>,
    patience: Duration,
) -> Option<(Authorized<RequestBody>, Trial)> {
    // The rest of the body, if the answer came before it.
    let is_whole = timeout(patience, copy.body().whole()).await;
    if is_whole != Ok(true) {
        return None;
    }
    credential.place_again(copy, view, patience).await
}

/// Hands the answer to the caller; where the target has switched protocols, the connections too.
fn finish(
    sent: Sent,
    caller: OnUpgrade,
    bounds: impl FnOnce() -> Bounds,
    passage: &mut Passage,
) -> Passed {
    match sent.switched_to {
        None => sent.answer,
        Some(switched_to) => {
            upgrade::switch(sent.answer, caller, switched_to, bounds(), passage.leave())
        }
    }
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
