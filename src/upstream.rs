//! The fifth stage: sends what may leave, and brings back the head of the answer.
//!
//! Every worker has its own upstreams with their own pools; nothing here is shared between
//! threads but the endpoint's description.

use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use crate::body::{Fault, RequestBody, ResponseBody};
use crate::dial::resolver::Resolver;
use crate::dial::{DialError, Endpoint};
use crate::outgoing::{Authorized, Repeatable};

mod framing;
mod health;
mod members;
pub mod pool;
pub mod retry;

pub use members::Spread;

use members::Members;
use pool::Lease;

/// How slow an upstream may be once it is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the last byte of the request to the head of the answer.
    pub first_byte: Duration,
    /// Without a byte of the answer's body.
    pub idle: Duration,
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
}

/// What came of a request that was sent.
#[derive(Debug)]
pub struct Sent {
    /// The head of the answer, and its body on the way.
    pub answer: Response<ResponseBody<Lease>>,
    /// A second copy of the request, if there can be one.
    pub copy: Option<Repeatable<RequestBody>>,
}

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
    Reset(#[source] hyper::Error),
    /// What came is no answer in HTTP.
    #[error("the upstream's answer is not HTTP as it should be")]
    Broken(#[source] hyper::Error),
    /// It switched protocols, which nobody asked it to.
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
    /// An upstream without connections.
    #[must_use]
    pub fn new(endpoints: &[Arc<Endpoint>], spread: Spread, resolver: &Resolver) -> Self {
        Self {
            members: Members::new(endpoints, spread, resolver),
        }
    }

    /// Sends a request within the deadlines. Gives the answer, and the copy of the request for
    /// the case that the answer calls for sending it again.
    ///
    /// # Errors
    ///
    /// An [`UpstreamError`]; who is to blame is part of it.
    pub async fn send(
        &self,
        request: Authorized<RequestBody>,
        deadlines: &Deadlines,
    ) -> Result<Sent, UpstreamError> {
        let Timeouts {
            first_byte,
            idle,
            total,
        } = deadlines.timeouts;
        let sending = retry::send(&self.members, request, first_byte);
        let sent = by(deadlines.end, sending).await;
        let (answer, lease, copy) =
            sent.ok_or(UpstreamError::OverTime(total.unwrap_or_default()))??;
        // No request of ours asks for another protocol, and a connection that has left HTTP can
        // carry no further request.
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(UpstreamError::Switched);
        }
        if !framing::is_plain(answer.headers()) {
            return Err(UpstreamError::Framing);
        }
        let answer = answer.map(|body: Incoming| {
            let body = ResponseBody::upstream(body, lease, idle);
            match deadlines.end {
                Some(end) => body.until(end),
                None => body,
            }
        });
        Ok(Sent { answer, copy })
    }

    /// Drops connections that have been idle for too long.
    pub fn sweep(&self) {
        self.members.sweep();
    }
}

/// What comes of some work, unless it ends too late.
async fn by<T>(end: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    tokio::pin!(work);
    match end {
        None => Some(work.as_mut().await),
        Some(end) => timeout_at(end, work.as_mut()).await.ok(),
    }
}
