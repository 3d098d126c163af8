//! What happens to both connections once the target has switched protocols.

use std::time::Duration;

use http::header::HeaderValue;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::task::spawn_local;

use super::Passed;
use super::tunnel::{self, End};
use crate::outgoing::upgrade;
use crate::shutdown::ending::Tie;

/// Tells the caller of the switch, and joins the connections as soon as both have left HTTP. `caller`
/// is the caller's connection, `protocol` what both sides have agreed on, `tie` says when they must
/// have ended, and `held` is held until they have.
pub(super) fn switch(
    mut answer: Passed,
    caller: OnUpgrade,
    protocol: HeaderValue,
    idle: Duration,
    tie: Tie,
    held: impl Sized + 'static,
) -> Passed {
    upgrade::put(answer.headers_mut(), protocol);
    let upstream = hyper::upgrade::on(&mut answer);
    spawn_local(async move {
        match tokio::try_join!(caller, upstream) {
            Ok((caller, upstream)) => {
                let (caller, upstream) = (TokioIo::new(caller), TokioIo::new(upstream));
                tokio::select! {
                    end = tunnel::connect(caller, upstream, idle) => say(&end),
                    () = tie.cut() => tracing::debug!("an upgraded connection was cut off"),
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
