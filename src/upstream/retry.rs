//! Sends a request, and sends it again where that is safe.
//!
//! A connection that was free may have been closed by the other side at the very moment it is
//! used. A request of which nothing was written is sent again on another connection, whatever its
//! method, and so is one that the other side says it has not looked at, once. One that may have been
//! read is sent again only if it is idempotent (RFC 9110 section 9.2.2), once. What is sent again
//! must have a body that is empty or kept.

use std::pin::{Pin, pin};
use std::time::Duration;

use h2::Reason;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::UpstreamError;
use super::members::Members;
use super::pool::Lease;
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
        let (lease, member) = members.lease().await?;
        // A small body that is still on its way cannot be sent again either.
        let is_kept = copy.as_ref().is_some_and(|copy| copy.body().is_whole());
        let has_one_try = !is_kept || !is_idempotent(request.method());
        if has_one_try && lease.is_reused() {
            // The other side may have closed the connection, and this worker not have looked at its
            // sockets since. Now it does, and a request that cannot be repeated is not lost to that.
            tokio::task::yield_now().await;
        }
        let failure = match attempt(lease, request, first_byte).await? {
            Ok((answer, lease)) => {
                member.answered();
                return Ok((answer, lease, copy));
            }
            Err(failure) => failure,
        };
        if let Some(unsent) = failure.unsent
            && failure.lease.is_reused()
        {
            failure.lease.pool.counts().retried.up();
            request = unsent;
            continue;
        }
        let (member, outcome) = match copy {
            Some(copy) if may_be_repeated(&failure.error, &failure.lease, &copy) => {
                let again = members.lease_again(&failure.lease, member);
                let (lease, member) = Box::pin(again).await?;
                (member, Box::pin(send_anew(lease, copy, first_byte)).await)
            }
            _ => (member, Err(classify(failure.error, &failure.progress))),
        };
        member.note(&outcome);
        return outcome;
    }
}

/// The one repetition of a request that has left.
async fn send_anew(
    lease: Lease,
    copy: Repeatable<RequestBody>,
    first_byte: Duration,
) -> Result<Answered, UpstreamError> {
    lease.pool.counts().retried.up();
    let mut request = copy.as_it_was();
    let copy = request.copy(RequestBody::copy);
    let request = request.into_request();
    request.body().restart();
    match attempt(lease, request, first_byte).await? {
        Ok((answer, lease)) => Ok((answer, lease, copy)),
        Err(failure) => Err(classify(failure.error, &failure.progress)),
    }
}

/// Why an attempt has brought no answer.
struct Failure {
    error: hyper::Error,
    /// The request, if nothing of it was written.
    unsent: Option<Box<Request<RequestBody>>>,
    lease: Lease,
    progress: Progress,
}

async fn attempt(
    lease: Lease,
    mut request: Box<Request<RequestBody>>,
    first_byte: Duration,
) -> Result<Result<(Response<Incoming>, Lease), Failure>, UpstreamError> {
    let mut lease = lease.fit_for(&request).await?;
    lease.address(&mut request);
    let progress = request.body().progress();
    let sent = {
        let sending = pin!(lease.send(*request));
        within(sending, &progress, first_byte).await
    };
    let Ok(sent) = sent else {
        // Perhaps nobody is there any more, and others shall not wait in vain as well.
        lease.retire();
        return Err(UpstreamError::TooSlow(first_byte));
    };
    match sent {
        Ok(answer) => {
            lease.learn(answer.headers());
            Ok(Ok((answer, after(lease, &progress))))
        }
        Err(mut failure) => {
            let unsent = failure.take_message().map(Box::new);
            let error = failure.into_error();
            if h2_error(&error).is_none_or(|error| !error.is_reset()) {
                lease.retire();
            }
            Ok(Err(Failure {
                error,
                unsent,
                lease,
                progress,
            }))
        }
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

/// No answer came in time.
struct TooSlow;

/// Waits for an answer, counting from the last byte of the request that was handed on: a long
/// upload is not a slow answer.
async fn within<T>(
    mut answer: Pin<&mut impl Future<Output = T>>,
    progress: &Progress,
    first_byte: Duration,
) -> Result<T, TooSlow> {
    loop {
        let deadline = progress.last() + first_byte;
        if let Ok(answer) = timeout_at(deadline, answer.as_mut()).await {
            return Ok(answer);
        }
        if progress.last() + first_byte <= Instant::now() {
            return Err(TooSlow);
        }
    }
}

/// Whether a request may be sent a second time after this error.
fn may_be_repeated(error: &hyper::Error, lease: &Lease, copy: &Repeatable<RequestBody>) -> bool {
    let is_harmless = is_unprocessed(error)
        || (lease.is_reused() && is_closed_early(error) && is_idempotent(copy.method()));
    is_harmless && copy.body().is_whole()
}

/// Whether sending a request twice does no more than sending it once.
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
    )
}

/// Whether the other side says that it has not looked at the request: its connection was ending
/// (RFC 9113 section 6.8: the request is none of those up to the last one it names) or it had no
/// room (section 8.7).
fn is_unprocessed(error: &hyper::Error) -> bool {
    h2_error(error).is_some_and(|error| {
        let is_refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        error.is_remote() && (error.is_go_away() || is_refused)
    })
}

/// Whether the connection ended before a byte of an answer came.
fn is_closed_early(error: &hyper::Error) -> bool {
    error.is_incomplete_message() || error.is_closed() || error.is_canceled() || is_io(error)
}

fn is_io(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error);
    source.is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
        || h2_error(error).is_some_and(h2::Error::is_io)
}

fn h2_error(error: &hyper::Error) -> Option<&h2::Error> {
    std::error::Error::source(error)?.downcast_ref()
}

fn classify(error: hyper::Error, progress: &Progress) -> UpstreamError {
    // What the other side sent was no HTTP/2, or more of it than is taken.
    let is_malformed = h2_error(&error).is_some_and(h2::Error::is_library);
    if let Some(fault) = progress.fault() {
        UpstreamError::Caller(fault)
    } else if error.is_parse() || is_malformed {
        UpstreamError::Broken(error)
    } else {
        UpstreamError::Reset(error)
    }
}
