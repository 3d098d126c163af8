//! How a credential is doing, for whoever looks at the process. No token is in here.

use std::time::Duration;

use super::Credential;
use crate::clock::Moment;

/// How a credential is doing at a moment.
#[derive(Debug)]
pub struct Report {
    /// The operator's name for it.
    pub name: String,
    /// What a route's `with` changes about it, if it is a variant.
    pub with: Option<String>,
    /// Whether readiness asks for its token.
    pub required: bool,
    /// Whether requests get a token right now.
    pub is_good: bool,
    /// Whether the first attempt is over, however it ended.
    pub was_tried: bool,
    /// Since when it has been good, or has not.
    pub since: Option<Moment>,
    /// The present token.
    pub token: Option<Token>,
    /// Why the last attempt gave none.
    pub error: Option<String>,
    /// How long it takes until the next attempt.
    pub next_attempt: Option<Duration>,
    /// Tokens got since the start.
    pub minted: u64,
    /// Attempts since the start that gave none.
    pub failed: u64,
    /// Requests that wait for a token.
    pub waiting: usize,
    /// How many seconds the endpoint's clock is ahead of ours, as far as it said.
    pub offset: i64,
}

/// What may be said of a token.
#[derive(Debug)]
pub struct Token {
    /// Tells it apart from others without telling anything about it.
    pub fingerprint: String,
    /// How long it is still used.
    pub left: Duration,
}

impl Credential {
    /// How it is doing now.
    #[must_use]
    pub fn report(&self) -> Report {
        let (state, now) = (self.cell.state(), self.clock.now());
        let token = state.good_at(now);
        let was_tried = self.cell.was_tried();
        let is_good = if self.config.each_request {
            was_tried && state.failure.is_none()
        } else {
            token.is_some()
        };
        let ended = state.token.as_ref().map(|token| token.end);
        let due = match (&state.failure, token) {
            (Some(failure), _) => Some(failure.until),
            (None, Some(token)) => Some(token.renew_at),
            (None, None) => None,
        };
        Report {
            name: self.config.name.clone(),
            with: self.config.with.clone(),
            required: self.config.required,
            is_good,
            was_tried,
            since: if is_good {
                state.good_since
            } else {
                state.failing_since.or(ended)
            },
            token: token.map(|token| Token {
                fingerprint: token.fingerprint.clone(),
                left: token.end.left(now),
            }),
            error: state.failure.as_ref().map(|it| it.reason.clone()),
            next_attempt: due.map(|due| due.left(now)),
            minted: self.cell.minted(),
            failed: self.cell.failed(),
            waiting: self.cell.waiting(),
            offset: self.cell.offset(),
        }
    }

    /// The fingerprint of the present token; `None` without one.
    #[must_use]
    pub fn fingerprint(&self) -> Option<String> {
        let state = self.cell.state();
        state.token.as_ref().map(|it| it.fingerprint.clone())
    }

    /// Has the next token got now, whatever the present one is worth, and whatever the wait after
    /// a refusal: an operator has changed something. Returns when an attempt is over.
    pub async fn renew_now(&self) {
        self.cell.demand();
        self.cell.next_attempt().await;
    }
}

impl Report {
    /// The name, and what a route's `with` changes about it.
    #[must_use]
    pub fn label(&self) -> String {
        match &self.with {
            Some(with) => format!("{} {with}", self.name),
            None => self.name.clone(),
        }
    }
}
