//! Gets the next token before the present one ends: one task a credential, on the control thread.

use std::sync::Arc;
use std::time::Duration;

use super::cell::Failure;
use super::{Credential, RETRY, chain};

/// How much earlier than due a renewal may come, in percent of the token's life: several processes
/// with the same credential shall not all renew in the same second.
const JITTER: u32 = 5;

/// Keeps a credential's token fresh for as long as the task lives.
pub async fn keep(credential: Arc<Credential>) {
    loop {
        let now = credential.clock.now();
        let outcome = credential.mint().map_err(|error| Failure {
            reason: chain(&error),
            until: now.after(RETRY),
        });
        let due = match &outcome {
            Ok(token) => token.renew_at,
            Err(failure) => failure.until,
        };
        match &outcome {
            Ok(token) => tracing::debug!(
                credential = credential.name(),
                life = ?token.end.left(now),
                "has a new token"
            ),
            Err(failure) => tracing::error!(
                credential = credential.name(),
                reason = failure.reason,
                "could not get a token"
            ),
        }
        credential.cell.publish(outcome);
        wait_until_due(&credential, due).await;
    }
}

/// Sleeps until the next token is due. A request that wants one wakes it, and it looks at the
/// clock again: what was due during a suspend is done now.
async fn wait_until_due(credential: &Credential, due: crate::clock::Moment) {
    while !due.reached(credential.clock.now()) {
        tokio::select! {
            () = credential.clock.sleep_until(due) => {}
            () = credential.cell.is_wanted() => {}
        }
    }
}

/// After which part of its life a token is renewed: the given percentage, less some jitter.
pub(super) fn due_after(life: Duration, percent: u32) -> Duration {
    let random = getrandom::u32().unwrap_or(0);
    // In thousandths of the life, so that short lives are jittered too.
    let early = random % (JITTER * 10 + 1);
    let thousandths = (percent * 10).saturating_sub(early);
    life.mul_f64(f64::from(thousandths) / 1000.0)
}
