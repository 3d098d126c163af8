//! Whether one member of several is worth a request, as far as the requests themselves have shown.
//!
//! Faults of the connection count, and nothing that a member answers: a 503 may be about one path, or
//! about the caller. A member that cannot be connected to is left alone for a while, longer each time; so is one that
//! hangs up on several requests in a row.

use std::cell::Cell;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::{metrics, tls};

/// For how long a member is left alone, at first and at most.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// So many requests in a row that end without an answer are the member's fault; one or two may be
/// the requests' own.
const HANG_UPS: u32 = 3;

/// What one worker has seen of a member.
#[derive(Debug)]
pub(super) struct Health {
    /// The member's address in the configuration, for the log.
    host: String,
    /// Where it is published what is wrong with it.
    counts: Arc<metrics::Target>,
    /// Whether nothing has gone wrong since the last answer: all that a request looks at as a rule.
    is_spotless: Cell<bool>,
    backoff: Cell<Backoff>,
    hang_ups: Cell<u32>,
    /// Until when it is left alone.
    until: Cell<Option<Instant>>,
    /// Whether it is being tried again.
    is_on_trial: Cell<bool>,
    /// Whether the log knows that it is down.
    is_told: Cell<bool>,
}

impl Health {
    /// That of a member of which nothing is known, which is the best.
    pub(super) fn new(host: String, counts: Arc<metrics::Target>) -> Self {
        // Whatever had its place before is gone.
        counts.ailments.recovered(&host);
        Self {
            host,
            counts,
            is_spotless: Cell::new(true),
            backoff: Cell::new(Backoff::new(FIRST, LONGEST)),
            hang_ups: Cell::new(0),
            until: Cell::new(None),
            is_on_trial: Cell::new(false),
            is_told: Cell::new(false),
        }
    }

    /// Until when it is left alone; `None` if it is not.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until.get()
    }

    /// Whether it is to be tried again now. Says yes once until the trial has an outcome.
    pub(super) fn begin_trial(&self) -> bool {
        let is_due = self.until.get().is_some_and(|it| it <= Instant::now());
        is_due && !self.is_on_trial.replace(true)
    }

    /// It cannot be connected to.
    pub(super) fn failed(&self, error: &dyn Error) {
        let mut backoff = self.backoff.get();
        let wait = backoff.fail();
        self.backoff.set(backoff);
        self.until.set(Some(Instant::now() + wait));
        self.is_on_trial.set(false);
        self.note(error);
        if !self.is_told.replace(true) {
            let cause = error.source().map(tls::words);
            tracing::warn!(member = self.host, %error, cause, "left alone for a while; the others serve");
        }
    }

    /// Publishes what went wrong. No more than that comes of it where there is no other member.
    pub(super) fn note(&self, error: &dyn Error) {
        self.is_spotless.set(false);
        let cause = error.source().map(tls::words);
        let cause = cause.map_or_else(String::new, |it| format!(": {it}"));
        let text = format!("{error}{cause}");
        self.counts
            .ailments
            .failed(&self.host, self.until.get(), text);
    }

    /// It takes connections. Whether it answers is for a request to find out.
    pub(super) fn connected(&self) {
        if self.until.replace(None).is_some() {
            self.counts.ailments.connected(&self.host);
        }
        self.is_on_trial.set(false);
    }

    /// It hung up on a request.
    pub(super) fn hung_up(&self, error: &dyn Error) {
        self.is_spotless.set(false);
        self.hang_ups.set(self.hang_ups.get() + 1);
        // One that was down before has nothing to its credit yet.
        if self.hang_ups.get() >= HANG_UPS || self.is_told.get() {
            self.failed(error);
        }
    }

    /// It answered, whatever it said.
    pub(super) fn answered(&self) {
        if self.is_spotless.replace(true) {
            return;
        }
        let mut backoff = self.backoff.get();
        backoff.succeed();
        self.backoff.set(backoff);
        self.hang_ups.set(0);
        self.connected();
        self.counts.ailments.recovered(&self.host);
        if self.is_told.replace(false) {
            tracing::info!(member = self.host, "answers again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault() -> std::io::Error {
        std::io::Error::other("a fault")
    }

    #[test]
    fn a_member_that_failed_is_left_alone_and_tried_again_by_one() {
        let health = Health::new("one.example".into(), Arc::default());
        assert!(health.until().is_none() && !health.begin_trial());
        health.failed(&fault());
        let left = health.until().expect("left alone") - Instant::now();
        assert!(left > FIRST / 4 && left <= FIRST, "{left:?}");
        assert!(!health.begin_trial(), "not yet");
        health.until.set(Some(Instant::now()));
        assert!(health.begin_trial());
        assert!(!health.begin_trial(), "one is enough");
        health.failed(&fault());
        health.until.set(Some(Instant::now()));
        assert!(health.begin_trial(), "the outcome makes room for the next");
        health.connected();
        assert!(health.until().is_none());
    }

    #[test]
    fn a_member_that_hangs_up_is_left_alone_after_some_requests_in_a_row() {
        let health = Health::new("one.example".into(), Arc::default());
        for _ in 1..HANG_UPS {
            health.hung_up(&fault());
        }
        health.answered();
        for _ in 1..HANG_UPS {
            health.hung_up(&fault());
            assert!(health.until().is_none());
        }
        health.hung_up(&fault());
        assert!(health.until().is_some());
        health.connected();
        health.hung_up(&fault());
        assert!(health.until().is_some(), "a connection alone proves little");
        health.answered();
        assert!(health.until().is_none());
        health.hung_up(&fault());
        assert!(health.until().is_none());
    }
}
