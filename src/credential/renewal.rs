//! Gets the next token before the present one ends: one task a credential, on the control thread.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::call::Tools;
use super::cell::{Failure, Token};
use super::patience::Patience;
use super::secrets::run_commands;
use super::{Credential, MintError, RETRY, Source, chain};
use crate::backoff::between;
use crate::clock::Moment;

/// How much earlier than due a renewal may come, in percent of the token's life: several processes
/// with the same credential shall not all renew in the same second.
const JITTER: f64 = 5.0;

/// How often a command is run whose key signs each request.
const RUN_AGAIN: Duration = Duration::from_secs(60);

/// Keeps a credential's token fresh, whatever happens: should an attempt panic, the next one comes
/// as after any other failure.
pub async fn keep(credential: Arc<Credential>, tools: Tools) {
    loop {
        // Whatever is in here ends with this task.
        let mut kept = JoinSet::new();
        kept.spawn_local(renew(Arc::clone(&credential), tools.clone()));
        let Some(Err(panic)) = kept.join_next().await else {
            return;
        };
        let name = credential.name();
        tracing::error!(credential = name, %panic, "renewing broke; it begins anew");
        let again = credential.clock.now().after(RETRY);
        credential.clock.sleep_until(again).await;
    }
}

async fn renew(credential: Arc<Credential>, tools: Tools) {
    if credential.is_for_each_request() {
        return supply(&credential).await;
    }
    let mut patience = Patience::default();
    loop {
        let mut memory = credential.memory.lock().await;
        if credential.cell.state().is_refused {
            // It is not to be refreshed but to be replaced.
            memory.forget();
            if let Source::SelfSigned(source) = &credential.config.source {
                // Perhaps the target has changed over to the next key.
                source.keys.try_other();
            }
        }
        let offset = memory.offset;
        let outcome = credential.mint(&mut memory, &tools).await;
        if memory.offset != offset {
            tracing::warn!(
                credential = credential.name(),
                seconds = memory.offset,
                "the token endpoint's clock is ahead of this machine's by so much; assertions are dated by it"
            );
        }
        credential.cell.note_offset(memory.offset);
        drop(memory);
        let due = publish(&credential, outcome, &mut patience);
        if wait_until_due(&credential, due).await == Woken::Demanded {
            patience = Patience::default();
        }
    }
}

/// Keeps the commands' secrets fresh where the workers sign by themselves.
async fn supply(credential: &Arc<Credential>) {
    let mut patience = Patience::default();
    loop {
        let ran = run_commands(credential).await;
        let now = credential.clock.now();
        let next = match ran {
            Ok(()) => {
                patience.succeed();
                credential.cell.publish_sound(now);
                now.after(RUN_AGAIN)
            }
            Err(error) => publish_failure(credential, &error, &mut patience, now),
        };
        // There is no token that a request could want, so whoever wakes this demands an attempt.
        tokio::select! {
            () = credential.clock.sleep_until(next) => {}
            () = credential.cell.is_wanted() => patience = Patience::default(),
        }
    }
}

/// Gives when the next token is due, or the next attempt at it.
fn publish(
    credential: &Credential,
    outcome: Result<Token, MintError>,
    patience: &mut Patience,
) -> Moment {
    let now = credential.clock.now();
    match outcome {
        Ok(token) => {
            let due = token.renew_at;
            let is_news = patience.has_reported() || credential.state().token.is_none();
            let (name, life) = (credential.name(), token.end.left(now).as_secs());
            if is_news {
                tracing::info!(credential = name, "has a token, good for {life} s");
            } else {
                tracing::debug!(credential = name, "has a new token, good for {life} s");
            }
            patience.succeed();
            credential.cell.publish(Ok(token));
            due
        }
        Err(error) => publish_failure(credential, &error, patience, now),
    }
}

/// Gives when the next attempt is due.
fn publish_failure(
    credential: &Credential,
    error: &MintError,
    patience: &mut Patience,
    now: Moment,
) -> Moment {
    let wait = patience.fail(error, &credential.config.source);
    let (until, reason) = (now.after(wait), chain(error));
    patience.report(credential, &reason, wait, now);
    credential.cell.publish(Err(Failure {
        reason,
        at: now,
        until,
    }));
    until
}

/// Why the wait for the next attempt is over.
#[derive(PartialEq, Eq)]
enum Woken {
    Due,
    Demanded,
}

/// Sleeps until the next token is due. A request that wants one wakes it, and it looks at the
/// clock again: what was due during a suspend is done now.
async fn wait_until_due(credential: &Credential, due: Moment) -> Woken {
    loop {
        if credential.cell.take_demand() {
            return Woken::Demanded;
        }
        if due.reached(credential.clock.now()) || credential.cell.is_empty() {
            return Woken::Due;
        }
        tokio::select! {
            () = credential.clock.sleep_until(due) => {}
            () = credential.cell.is_wanted() => {}
        }
    }
}

/// After which part of its life a token is renewed: the given percentage, less some jitter.
pub(super) fn due_after(life: Duration, percent: u32) -> Duration {
    life.mul_f64((f64::from(percent) - between(0.0, JITTER)).max(0.0) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_is_due_at_the_given_part_of_a_life_or_a_little_before() {
        for _ in 0..100 {
            let due = due_after(Duration::from_secs(100), 75);
            assert!(
                due >= Duration::from_secs(70) && due <= Duration::from_secs(75),
                "{due:?}"
            );
        }
        assert!(due_after(Duration::from_secs(24 * 3600), 95) < Duration::from_secs(24 * 3600));
    }
}
