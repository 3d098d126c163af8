//! Sends a request, and sends it again where that is safe.
//!
//! A connection that was free may have been closed by the other side at the very moment it is
//! used. A request of which nothing was written is sent again on another connection, whatever its
//! method. One that was written is sent again only if it is idempotent (RFC 9110 section 9.2.2) and its
//! body is empty or kept, and only once, on a connection of its own.

use std::rc::Rc;
use std::time::Duration;

use http::{Method, Response};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::UpstreamError;
use super::members::Members;
use super::pool::{Lease, Pool};
use crate::body::{Progress, RequestBody};
use crate::outgoing::{Authorized, Repeatable};

type Answered = (Response<Incoming>, Lease, Option<Repeatable<RequestBody>>);

/// Sends a request and waits for the head of the answer.
///
/// # Errors
///
/// What went wrong in the last attempt.
pub(super) async fn send(
    members: &Members,
    mut request: Authorized<RequestBody>,
    first_byte: Duration,
) -> Result<Answered, UpstreamError> {
    let copy = request.copy(RequestBody::copy);
    let mut request = request.into_request();
    request.body().restart();
    loop {
        let mut lease = members.lease().await?;
        lease.address(&mut request);
        let progress = request.body().progress();
        let sent = lease.sender.try_send_request(request);
        let mut failure = match within(sent, &progress, first_byte).await? {
            Ok(answer) => return Ok((answer, after(lease, &progress), copy)),
            Err(failure) => failure,
        };
        let error = match failure.take_message() {
            Some(unsent) if lease.is_reused => {
                lease.pool.counts().retried.up();
                request = unsent;
                continue;
            }
            _ => failure.into_error(),
        };
        return match copy {
            Some(copy) if lease.is_reused && is_closed_early(&error) && may_be_repeated(&copy) => {
                send_anew(&lease.pool, copy, first_byte).await
            }
            _ => Err(classify(error, &progress)),
        };
    }
}

/// The one repetition of a request that may have been read: on a connection that nobody has used.
async fn send_anew(
    pool: &Rc<Pool>,
    copy: Repeatable<RequestBody>,
    first_byte: Duration,
) -> Result<Answered, UpstreamError> {
    pool.counts().retried.up();
    let mut lease = pool.open().await?;
    let mut request = copy.as_it_was();
    let copy = request.copy(RequestBody::copy);
    let mut request = request.into_request();
    lease.address(&mut request);
    request.body().restart();
    let progress = request.body().progress();
    match within(lease.sender.send_request(request), &progress, first_byte).await? {
        Ok(answer) => Ok((answer, after(lease, &progress), copy)),
        Err(error) => Err(classify(error, &progress)),
    }
}

/// The connection once the head of an answer is there. A server that answers before the whole body
/// came may take the rest of the body for the next request, and its answer to that would reach
/// whoever is next on the connection.
fn after(lease: Lease, progress: &Progress) -> Lease {
    if progress.is_over() {
        lease
    } else {
        lease.used_up()
    }
}

/// Waits for an answer, counting from the last byte of the request that was handed on: a long
/// upload is not a slow answer.
async fn within<T>(
    answer: impl Future<Output = T>,
    progress: &Progress,
    first_byte: Duration,
) -> Result<T, UpstreamError> {
    tokio::pin!(answer);
    loop {
        let deadline = progress.last() + first_byte;
        if let Ok(answer) = timeout_at(deadline, answer.as_mut()).await {
            return Ok(answer);
        }
        if progress.last() + first_byte <= Instant::now() {
            return Err(UpstreamError::TooSlow(first_byte));
        }
    }
}

/// Whether sending a request twice does no more than sending it once.
fn may_be_repeated(request: &Repeatable<RequestBody>) -> bool {
    let is_idempotent = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
    );
    is_idempotent && request.body().is_whole()
}

/// Whether the connection ended before a byte of an answer came.
fn is_closed_early(error: &hyper::Error) -> bool {
    error.is_incomplete_message() || error.is_closed() || error.is_canceled() || is_io(error)
}

fn is_io(error: &hyper::Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
}

fn classify(error: hyper::Error, progress: &Progress) -> UpstreamError {
    if let Some(fault) = progress.fault() {
        UpstreamError::Caller(fault)
    } else if error.is_parse() {
        UpstreamError::Broken(error)
    } else {
        UpstreamError::Reset(error)
    }
}
