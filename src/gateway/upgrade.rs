//! What happens to both connections once the target has switched protocols.

use std::rc::Rc;
use std::time::Duration;

use http::header::HeaderValue;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::task::spawn_local;

use super::Passed;
use super::tunnel::{self, End};
use crate::outgoing::upgrade;
use crate::shutdown::ending::{Signal, Tie};
use crate::upstream::Line;

/// When the connections must have ended: with those that the caller's came in with, or after the way to
/// the target has turned.
pub(super) struct Bounds {
    pub(super) tie: Tie,
    pub(super) turned: Rc<Signal>,
    /// How long both may be silent.
    pub(super) idle: Duration,
}

/// Tells the caller of the switch, and joins the connections as soon as the caller's has left HTTP too.
/// `caller` is the caller's connection, `switched_to` what both sides have agreed on and the target's
/// connection, and `held` is held until they have ended.
pub(super) fn switch(
    mut answer: Passed,
    caller: OnUpgrade,
    switched_to: (HeaderValue, Line),
    bounds: Bounds,
    held: impl Sized + 'static,
) -> Passed {
    let (protocol, upstream) = switched_to;
    upgrade::put(answer.headers_mut(), protocol);
    spawn_local(async move {
        match caller.await {
            Ok(caller) => {
                tokio::select! {
                    end = tunnel::connect(TokioIo::new(caller), upstream, bounds.idle) => say(&end),
                    () = bounds.tie.cut(&bounds.turned) => tracing::debug!("an upgraded connection was cut off"),
                }
            }
            // The caller has gone before it heard of it, as a rule.
            Err(error) => tracing::debug!(%error, "a switch to another protocol failed"),
        }
        drop(held);
    });
    answer
}

fn say(end: &End) {
    match end {
        End::Whole(sent, received) => {
            tracing::debug!(sent, received, "an upgraded connection ended");
        }
        End::Broken(error) => tracing::debug!(%error, "an upgraded connection broke"),
        End::Idle => tracing::debug!("an upgraded connection was idle for too long"),
    }
}
