//! One request from its head to the last byte of its answer: the one place where requests are
//! taken in, counted and logged.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::credential::Credential;
use crate::limits::{Exceeded, Limits, Permit};
use crate::listener::Peer;
use crate::metrics::{self, Outcome};
use crate::plan::{Plan, Target};

/// Where requests go, as one worker counts them; nowhere, if the name is empty.
#[derive(Debug)]
pub(super) struct Place {
    name: String,
    pub(super) counts: Arc<metrics::Target>,
    /// What the target takes.
    limits: Limits,
    /// What the process takes.
    overall: Limits,
}

impl Place {
    /// A target.
    pub(super) fn of(target: &Target, plan: &Plan, counts: &metrics::Worker) -> Self {
        Self {
            name: target.name.clone(),
            counts: counts.target(&target.name),
            limits: target.limits.clone(),
            overall: plan.limits.clone(),
        }
    }

    /// No target.
    pub(super) fn nowhere(counts: &metrics::Worker) -> Self {
        Self {
            name: String::new(),
            counts: counts.target(""),
            limits: Limits::default(),
            overall: Limits::default(),
        }
    }
}

/// A request on its way. It is over when this is dropped.
#[derive(Debug)]
pub(super) struct Passage {
    place: Rc<Place>,
    stay: Option<Stay>,
    started: Instant,
    status: Option<StatusCode>,
    note: Option<Box<Note>>,
}

/// The room that a request takes up at its target, until this is dropped. A request that becomes
/// something else, as WebSocket does, leaves it to that.
#[derive(Debug)]
pub(super) struct Stay {
    place: Rc<Place>,
    /// Held, and never looked at.
    _permits: (Option<Permit>, Option<Permit>),
}

impl Stay {
    fn begin(place: &Rc<Place>, clock: &Clock) -> Result<Self, Exceeded> {
        let now = || clock.now().boot;
        let permits = (place.overall.admit(now)?, place.limits.admit(now)?);
        place.counts.active.up();
        Ok(Self {
            place: Rc::clone(place),
            _permits: permits,
        })
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.place.counts.active.down();
    }
}

/// What the log says of a request. The query is left out: tools put secrets there.
#[derive(Debug)]
pub(super) struct Note {
    id: String,
    peer: Peer,
    method: Method,
    path: String,
    code: Option<&'static str>,
    credential: Option<String>,
    bytes: u64,
}

impl Note {
    pub(super) fn of<B>(request: &Request<B>, peer: Peer, id: String) -> Box<Self> {
        Box::new(Self {
            id,
            peer,
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            code: None,
            credential: None,
            bytes: 0,
        })
    }
}

impl Passage {
    /// A request that has come in, and has not found its target yet.
    pub(super) fn begin(nowhere: &Rc<Place>, note: Option<Box<Note>>) -> Self {
        Self {
            place: Rc::clone(nowhere),
            stay: None,
            started: Instant::now(),
            status: None,
            note,
        }
    }

    /// It goes to this target, if that takes one more.
    pub(super) fn lead_to(&mut self, place: &Rc<Place>, clock: &Clock) -> Result<(), Exceeded> {
        self.place = Rc::clone(place);
        self.stay = Some(Stay::begin(place, clock)?);
        Ok(())
    }

    /// What goes on when this is over takes the room.
    pub(super) fn leave(&mut self) -> Option<Stay> {
        self.stay.take()
    }

    /// When it came in. Reading the clock costs more than all that is counted, so that whoever needs
    /// to know takes this.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// The target's name, as far as it is known.
    pub(super) fn target(&self) -> &str {
        named(&self.place.name)
    }

    /// The counts of the target.
    pub(super) fn counts(&self) -> &metrics::Target {
        &self.place.counts
    }

    /// The request's id, if it has been given one.
    pub(super) fn id(&self) -> Option<String> {
        self.note.as_ref().map(|note| note.id.clone())
    }

    /// It leaves with this credential.
    pub(super) fn wears(&mut self, credential: &Credential) {
        if let Some(note) = &mut self.note {
            note.credential = credential.fingerprint();
        }
    }

    /// It is refused.
    pub(super) fn refused(&mut self, code: &'static str) {
        self.place.counts.refuse(code);
        if let Some(note) = &mut self.note {
            note.code = Some(code);
        }
    }

    /// The head of its answer is there. The rest of the way is that of the answer's body.
    pub(super) fn answer<B>(mut self, answer: Response<B>) -> Response<Carried<B>> {
        self.status = Some(answer.status());
        self.place.counts.took.note(self.started.elapsed());
        answer.map(|body| Carried {
            body,
            passage: self,
        })
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let counts = &self.place.counts;
        counts.end(self.status.map_or(Outcome::Aborted, Outcome::Answered));
        if let Some(note) = &self.note {
            tracing::info!(
                target: "countersign::request",
                id = note.id,
                peer = %note.peer,
                method = %note.method,
                path = note.path,
                to = self.target(),
                status = self.status.map(|status| status.as_u16()),
                code = note.code,
                credential = note.credential,
                bytes = note.bytes,
                seconds = self.started.elapsed().as_secs_f64(),
            );
        }
    }
}

/// What stands for a target that there is none of.
fn named(name: &str) -> &str {
    if name.is_empty() { "-" } else { name }
}

/// The body of an answer, which is counted while it passes.
#[derive(Debug)]
pub struct Carried<B> {
    body: B,
    passage: Passage,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Carried<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            let bytes = data.len() as u64;
            self.passage.counts().sent.add(bytes);
            if let Some(note) = &mut self.passage.note {
                note.bytes += bytes;
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
