//! Bodies on their way through: streamed, counted and timed, never collected.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

mod request;
mod response;

pub use request::{Config, Fault, Progress, RequestBody};
pub use response::{AnswerFault, ResponseBody, Upstream};

/// Ready when nothing has moved for `span`. The timer is made when a body first has to wait, so
/// that one which is there at once costs none.
fn poll_idle(
    timer: &mut Option<Pin<Box<Sleep>>>,
    span: Duration,
    context: &mut Context<'_>,
) -> Poll<()> {
    timer
        .get_or_insert_with(|| Box::pin(tokio::time::sleep(span)))
        .as_mut()
        .poll(context)
}
