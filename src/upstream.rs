//! The fifth stage: sends what may leave, and brings back the head of the answer.
//!
//! Every worker has its own upstreams with their own pools; nothing here is shared between
//! threads but the endpoint's description.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Response, StatusCode};
use hyper::body::Incoming;

use crate::body::{Fault, RequestBody, ResponseBody};
use crate::dial::resolver::Resolver;
use crate::dial::{DialError, Endpoint};
use crate::outgoing::{Authorized, Repeatable};

mod exclusive;
mod framing;
mod members;
mod opening;
pub mod pool;
pub mod retry;
mod shared;

use members::Members;
use pool::Lease;

/// How slow an upstream may be once it is connected.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the last byte of the request to the head of the answer.
    pub first_byte: Duration,
    /// Without a byte of the answer's body.
    pub idle: Duration,
}

/// The network side of a target, as one worker sees it.
#[derive(Debug)]
pub struct Upstream {
    members: Members,
    timeouts: Timeouts,
    kept_back: Rc<[HeaderName]>,
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
}

impl Upstream {
    /// An upstream without connections. Trailers of the names in `kept_back` do not pass.
    #[must_use]
    pub fn new(
        endpoints: &[Arc<Endpoint>],
        timeouts: Timeouts,
        kept_back: Rc<[HeaderName]>,
        resolver: &Resolver,
    ) -> Self {
        Self {
            members: Members::new(endpoints, resolver),
            timeouts,
            kept_back,
        }
    }

    /// Sends a request within the deadlines. Gives the answer, and the copy of the request for
    /// the case that the answer calls for sending it again.
    ///
    /// # Errors
    ///
    /// An [`UpstreamError`]; who is to blame is part of it.
    pub async fn send(&self, request: Authorized<RequestBody>) -> Result<Sent, UpstreamError> {
        let first_byte = self.timeouts.first_byte;
        let (answer, lease, copy) = retry::send(&self.members, request, first_byte).await?;
        // No request of ours asks for another protocol, and a connection that has left HTTP can
        // carry no further request.
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(UpstreamError::Switched);
        }
        if !framing::is_plain(answer.headers()) {
            return Err(UpstreamError::Framing);
        }
        let idle = self.timeouts.idle;
        let kept_back = Rc::clone(&self.kept_back);
        let answer =
            answer.map(|body: Incoming| ResponseBody::upstream(body, lease, idle, kept_back));
        Ok(Sent { answer, copy })
    }

    /// Drops connections that have been idle for too long.
    pub fn sweep(&self) {
        self.members.sweep();
    }
}
