//! The fifth stage: sends what may leave, and brings back the head of the answer.
//!
//! Every worker has its own upstreams with their own pools; nothing here is shared between
//! threads but the endpoint's description.

use std::rc::Rc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use tokio::time::{Instant, timeout_at};

use crate::body::{Fault, RequestBody, ResponseBody};
use crate::dial::DialError;
use crate::outgoing::{Authorized, Repeatable, upgrade};

mod broken;
mod exclusive;
mod framing;
mod health;
pub mod http1;
mod incoming;
mod members;
mod opening;
pub mod pool;
pub mod retry;
mod shared;

pub use broken::Broken;
pub use http1::Line;
pub use incoming::Incoming;
pub use members::Spread;

use members::Members;
use pool::Pool;

/// How slow an upstream may be once it is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the last byte of the request to the head of the answer.
    pub first_byte: Duration,
    /// Without a byte of the answer's body.
    pub idle: Duration,
    /// The same once protocols were switched, and in a stream of events.
    pub stream: Duration,
    /// From the head of the request to the last byte of the answer; without end if `None`.
    pub total: Option<Duration>,
}

/// How slow an upstream may be with one request.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    timeouts: Timeouts,
    end: Option<Instant>,
}

impl Timeouts {
    /// How long an answer's body may be silent. Events, and the pictures of a camera, come when
    /// something happens.
    fn for_body(&self, headers: &HeaderMap) -> Duration {
        const STREAMS: [&[u8]; 2] = [b"text/event-stream", b"multipart/x-mixed-replace"];
        let is_stream = headers.get(header::CONTENT_TYPE).is_some_and(|it| {
            let bytes = it.as_bytes();
            let end = bytes.iter().position(|byte| *byte == b';');
            let media_type = bytes[..end.unwrap_or(bytes.len())].trim_ascii();
            STREAMS.iter().any(|it| it.eq_ignore_ascii_case(media_type))
        });
        if is_stream { self.stream } else { self.idle }
    }

    /// The deadlines of a request that begins now.
    #[must_use]
    pub fn begin(self) -> Deadlines {
        Deadlines {
            timeouts: self,
            end: self.total.map(|total| Instant::now() + total),
        }
    }
}

impl Deadlines {
    /// What is left of a span for something else that the request waits for.
    #[must_use]
    pub fn within(&self, span: Duration) -> Duration {
        let left = |end: Instant| end.saturating_duration_since(Instant::now());
        self.end.map_or(span, |end| span.min(left(end)))
    }
}

/// The network side of a target, as one worker sees it.
#[derive(Debug)]
pub struct Upstream {
    members: Members,
    kept_back: Rc<[HeaderName]>,
}

/// What came of a request that was sent.
#[derive(Debug)]
pub struct Sent {
    /// The head of the answer, and its body on the way.
    pub answer: Answer,
    /// The request, if it can be sent again.
    pub copy: Option<Repeatable<RequestBody>>,
    /// The protocol that the connection speaks from here on, and the connection, if it was asked to
    /// leave HTTP and did.
    pub switched_to: Option<(HeaderValue, Line)>,
}

impl Sent {
    /// Changes the answer.
    #[must_use]
    pub fn map(self, change: impl FnOnce(Answer) -> Answer) -> Self {
        Self {
            answer: change(self.answer),
            ..self
        }
    }
}

type Answer = Response<ResponseBody<Incoming>>;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No connection could be opened; nothing was sent.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The caller did something wrong while sending the body.
    #[error(transparent)]
    Caller(Fault),
    /// The connection ended before there was an answer.
    #[error("the upstream closed the connection before it answered")]
    Reset(#[source] Broken),
    /// What came is no answer in HTTP.
    #[error("the upstream's answer is not HTTP as it should be")]
    Broken(#[source] Broken),
    /// It switched protocols, which nobody asked it to, or not to this one.
    #[error("the upstream switched protocols without being asked to")]
    Switched,
    /// Its head says more than once, or not in plain words, where the body ends.
    #[error("the upstream's answer has no single framing")]
    Framing,
    /// No answer came in time.
    #[error("no answer within {0:?}")]
    TooSlow(Duration),
    /// The answer's head did not come in all the time that the request had.
    #[error("the whole of it was not done within {0:?}")]
    OverTime(Duration),
}

impl Upstream {
    /// An upstream with a pool for each place that it is at. Trailers of the names in `kept_back` do
    /// not pass.
    #[must_use]
    pub fn new(pools: Vec<Rc<Pool>>, spread: Spread, kept_back: Rc<[HeaderName]>) -> Self {
        Self {
            members: Members::new(pools, spread),
            kept_back,
        }
    }

    /// Its pools, for an upstream that takes its place.
    pub fn pools(&self) -> impl Iterator<Item = &Rc<Pool>> {
        self.members.pools()
    }

    /// Sends a request within the deadlines. Gives the answer, and the request for the case that the
    /// answer calls for sending it again.
    ///
    /// # Errors
    ///
    /// An [`UpstreamError`]; who is to blame is part of it.
    pub async fn send(
        &self,
        request: Authorized<RequestBody>,
        deadlines: &Deadlines,
    ) -> Result<Sent, UpstreamError> {
        let Deadlines { timeouts, end } = *deadlines;
        let asked = request.protocol().cloned();
        let first_byte = timeouts.first_byte;
        let (answer, lease, copy) = match end {
            // In place: what is first made and then waited for is copied on the way.
            None => retry::send(&self.members, request, first_byte).await?,
            Some(end) => {
                let sending = Box::pin(retry::send(&self.members, request, first_byte));
                let over_time = |_| UpstreamError::OverTime(timeouts.total.unwrap_or_default());
                timeout_at(end, sending).await.map_err(over_time)??
            }
        };
        let protocol = match answer.status() {
            StatusCode::SWITCHING_PROTOCOLS => Some(agreed(asked, answer.headers())?),
            _ => None,
        };
        if !framing::is_plain(answer.headers()) {
            return Err(UpstreamError::Framing);
        }
        let (head, source) = answer.into_parts();
        let mut incoming = Incoming::new(source, lease);
        let switched_to = match protocol {
            Some(protocol) => Some((
                protocol,
                incoming.take_line().ok_or(UpstreamError::Switched)?,
            )),
            None => None,
        };
        let idle = timeouts.for_body(&head.headers);
        let mut body = ResponseBody::upstream(incoming, idle, Rc::clone(&self.kept_back));
        if let Some(end) = end {
            body = body.until(end);
        }
        let answer = Response::from_parts(head, body);
        Ok(Sent {
            answer,
            copy,
            switched_to,
        })
    }

    /// Drops connections that have been idle for too long.
    pub fn sweep(&self) {
        self.members.sweep();
    }
}

/// The protocol that was asked for and that the answer names: a server that leaves HTTP for anything
/// else, or unasked, is broken, or a request in front of it was read in two ways.
fn agreed(asked: Option<HeaderValue>, answer: &HeaderMap) -> Result<HeaderValue, UpstreamError> {
    let named = upgrade::only(answer);
    asked
        .filter(|asked| {
            named.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(asked.as_bytes()))
        })
        .ok_or(UpstreamError::Switched)
}
