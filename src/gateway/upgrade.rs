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

/// When the connections must have ended: with those that the caller's came in with, or after the way to
/// the target has turned.
pub(super) struct Bounds {
    pub(super) tie: Tie,
    pub(super) turned: Rc<Signal>,
    /// How long both may be silent.
    pub(super) idle: Duration,
}

/// Tells the caller of the switch, and joins the connections as soon as both have left HTTP. `caller`
/// is the caller's connection, `protocol` what both sides have agreed on, and `held` is held until they
/// have ended.
pub(super) fn switch(
    mut answer: Passed,
    caller: OnUpgrade,
    protocol: HeaderValue,
    bounds: Bounds,
    held: impl Sized + 'static,
) -> Passed {
    upgrade::put(answer.headers_mut(), protocol);
    let upstream = hyper::upgrade::on(&mut answer);
    spawn_local(async move {
        match tokio::try_join!(caller, upstream) {
            Ok((caller, upstream)) => {
                let (caller, upstream) = (TokioIo::new(caller), TokioIo::new(upstream));
                tokio::select! {
                    end = tunnel::connect(caller, upstream, bounds.idle) => say(&end),
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
