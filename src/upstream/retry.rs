//! Sends a request, and sends it again where that is safe.
//!
//! A connection that was free may have been closed by the other side at the very moment it is
//! used. A request of which nothing was written is sent again on another connection, whatever its
//! method, and so is one that the other side says it has not looked at, once. One that may have been
//! read is sent again only if it is idempotent (RFC 9110 section 9.2.2), once. What is sent again
//! must have a body that is empty or kept.

use std::pin::{Pin, pin};
use std::time::Duration;

use http::{Method, Response};
use tokio::time::{Instant, timeout_at};

use super::UpstreamError;
use super::broken::Broken;
use super::incoming::Source;
use super::members::Members;
use super::pool::Lease;
use crate::body::{Progress, RequestBody};
use crate::outgoing::{Authorized, Repeatable};

type Answered = (Response<Source>, Lease, Option<Repeatable<RequestBody>>);

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
    let mut body = request.body_mut().take();
    body.restart();
    loop {
        let (mut lease, member) = members.lease().await?;
        // A small body that is still on its way cannot be sent again either.
        let is_repeatable = request.body().is_whole() && is_idempotent(request.head().method());
        if !is_repeatable && lease.is_reused() {
            // The other side may have closed the connection, and this worker not have looked at its
            // sockets since. Now it does, and a request that cannot be repeated is not lost to that.
            tokio::task::yield_now().await;
            if !lease.is_ready() {
                lease.pool.counts().retried.up();
                continue;
            }
        }
        let failure = match attempt(lease, &request, body, first_byte).await? {
            Ok((answer, lease)) => {
                member.answered();
                return Ok((answer, lease, request.into_repeatable(RequestBody::is_kept)));
            }
            Err(failure) => failure,
        };
        if let Some(unsent) = failure.unsent
            && failure.lease.is_reused()
        {
            failure.lease.pool.counts().retried.up();
            body = unsent;
            continue;
        }
        let (member, outcome) = if may_be_repeated(&failure.error, &failure.lease, &request) {
            let again = members.lease_again(&failure.lease, member);
            let (lease, member) = Box::pin(again).await?;
            (
                member,
                Box::pin(send_anew(lease, request, first_byte)).await,
            )
        } else {
            (member, Err(classify(failure.error, &failure.progress)))
        };
        member.note(&outcome);
        return outcome;
    }
}

/// The one repetition of a request that has left.
async fn send_anew(
    lease: Lease,
    mut request: Authorized<RequestBody>,
    first_byte: Duration,
) -> Result<Answered, UpstreamError> {
    lease.pool.counts().retried.up();
    let body = request.body_mut().take();
    body.restart();
    match attempt(lease, &request, body, first_byte).await? {
        Ok((answer, lease)) => Ok((answer, lease, request.into_repeatable(RequestBody::is_kept))),
        Err(failure) => Err(classify(failure.error, &failure.progress)),
    }
}

/// Why an attempt has brought no answer.
struct Failure {
    error: Broken,
    /// The body, if nothing of the request was written.
    unsent: Option<RequestBody>,
    lease: Lease,
    progress: Progress,
}

async fn attempt(
    lease: Lease,
    request: &Authorized<RequestBody>,
    body: RequestBody,
    first_byte: Duration,
) -> Result<Result<(Response<Source>, Lease), Failure>, UpstreamError> {
    let mut lease = lease.fit_for(request.head()).await?;
    let progress = body.progress();
    let sent = {
        let sending = pin!(lease.send(request.head(), body));
        within(sending, &progress, first_byte).await
    };
    let Ok(sent) = sent else {
        // Perhaps nobody is there any more, and others shall not wait in vain as well.
        lease.retire();
        return Err(UpstreamError::TooSlow(first_byte));
    };
    match sent {
        Ok(answer) => Ok(Ok((answer, lease))),
        Err((error, unsent)) => {
            if !error.is_reset_of_one() {
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
fn may_be_repeated(error: &Broken, lease: &Lease, request: &Authorized<RequestBody>) -> bool {
    let is_harmless = error.is_unprocessed()
        || (lease.is_reused() && error.is_closed_early() && is_idempotent(request.head().method()));
    is_harmless && request.body().is_whole()
}

/// Whether sending a request twice does no more than sending it once.
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
    )
}

fn classify(error: Broken, progress: &Progress) -> UpstreamError {
    if let Some(fault) = progress.fault() {
        UpstreamError::Caller(fault)
    } else if error.is_malformed() {
        UpstreamError::Broken(error)
    } else {
        UpstreamError::Reset(error)
    }
}
