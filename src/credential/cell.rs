//! Where a token stands while it is good: written by the control thread, read by the workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};
use http::HeaderValue;
use tokio::sync::{Notify, watch};

use crate::clock::{Clock, Moment};

/// A token that is ready for requests.
#[derive(Debug)]
pub struct Token {
    /// The whole header value, marked as sensitive.
    pub value: HeaderValue,
    /// When it came.
    pub minted: Moment,
    /// From then on it must not be used.
    pub end: Moment,
    /// From then on the next one is due.
    pub renew_at: Moment,
}

/// Why the last attempt gave no token.
#[derive(Clone, Debug)]
pub struct Failure {
    /// For the operator.
    pub reason: String,
    /// When the next attempt is made.
    pub until: Moment,
}

/// What is known at a moment. A failure does not take away a token that is still good.
#[derive(Debug, Default)]
pub struct State {
    /// The last token that was got.
    pub token: Option<Arc<Token>>,
    /// What went wrong since.
    pub failure: Option<Failure>,
    /// Whether a target has refused the last token, and it is not known yet how to go on.
    pub is_refused: bool,
}

impl State {
    fn good_at(&self, now: Moment) -> Option<&Arc<Token>> {
        self.token.as_ref().filter(|token| !token.end.reached(now))
    }
}

/// What became of a token that a target has refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is forgotten, and the next one is on its way.
    Forgotten,
    /// Another one has already taken its place.
    Replaced,
    /// It is too new for another one to be any better: the target refuses what we can get.
    TooSoon,
}

/// How long after a renewal a 401 renews nothing: a target that refuses every token would have one
/// minted for each request.
const TRUSTED: Duration = Duration::from_secs(30);

/// The cell itself.
#[derive(Debug)]
pub struct Cell {
    state: Arc<ArcSwap<State>>,
    /// Counts the attempts, so that whoever waits wakes at the next one.
    attempts: watch::Sender<u64>,
    /// Wakes the renewal when a request needs a token now.
    wanted: Notify,
    demanded: AtomicBool,
}

impl Default for Cell {
    fn default() -> Self {
        Self {
            state: Arc::new(ArcSwap::from_pointee(State::default())),
            attempts: watch::Sender::new(0),
            wanted: Notify::new(),
            demanded: AtomicBool::new(false),
        }
    }
}

impl Cell {
    /// Publishes the outcome of an attempt to all who read or wait.
    pub fn publish(&self, outcome: Result<Token, Failure>) {
        match outcome {
            Ok(token) => self.state.store(Arc::new(State {
                token: Some(Arc::new(token)),
                failure: None,
                is_refused: false,
            })),
            // A token that a worker forgets at this very moment must not come back.
            Err(failure) => drop(self.state.rcu(|state| State {
                token: state.token.clone(),
                failure: Some(failure.clone()),
                is_refused: false,
            })),
        }
        self.note_attempt();
    }

    /// An attempt has been made; whoever waits looks again.
    pub fn note_attempt(&self) {
        self.attempts
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Returns once a first attempt has been made, whatever came of it.
    pub async fn attempted(&self) {
        let mut attempts = self.attempts.subscribe();
        // The sender lives in this very cell, so the channel cannot be closed.
        let _ = attempts.wait_for(|count| *count > 0).await;
    }

    /// A target has refused this header value. Forgets the token that it is made of, and no newer
    /// one: of all the requests that were under way with it, the first has it renewed. Where the
    /// last attempt to renew it failed, the next one still waits for its time.
    pub fn refuse(&self, value: &HeaderValue, now: Moment) -> Refused {
        let is_it = |token: &Arc<Token>| token.value.as_bytes() == value.as_bytes();
        let mut refused = Refused::Replaced;
        self.state.rcu(|state| match &state.token {
            Some(token) if is_it(token) && !token.minted.after(TRUSTED).reached(now) => {
                refused = Refused::TooSoon;
                Arc::clone(state)
            }
            Some(token) if is_it(token) => {
                refused = Refused::Forgotten;
                Arc::new(State {
                    token: None,
                    failure: state.failure.clone(),
                    is_refused: true,
                })
            }
            _ => {
                refused = Refused::Replaced;
                Arc::clone(state)
            }
        });
        if refused == Refused::Forgotten {
            self.wanted.notify_one();
        }
        refused
    }

    /// Whether the present token is the one that this header value is made of.
    #[must_use]
    pub fn has(&self, value: &HeaderValue) -> bool {
        let state = self.state.load();
        let token = state.token.as_ref();
        token.is_some_and(|it| it.value.as_bytes() == value.as_bytes())
    }

    /// Forgets the token that this header value is made of, however new it is: it was a try.
    pub fn forget(&self, value: &HeaderValue) {
        self.state.rcu(|state| match &state.token {
            Some(token) if token.value.as_bytes() == value.as_bytes() => Arc::default(),
            _ => Arc::clone(state),
        });
        self.wanted.notify_one();
    }

    /// Has the next token got now, whatever the present one is worth.
    pub fn demand(&self) {
        self.demanded.store(true, Ordering::Release);
        self.wanted.notify_one();
    }

    /// Whether there was such a demand since the last call.
    pub fn take_demand(&self) -> bool {
        self.demanded.swap(false, Ordering::Acquire)
    }

    /// What is known now.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// A worker's own view.
    #[must_use]
    pub fn view(&self) -> View {
        View {
            state: Cache::new(Arc::clone(&self.state)),
            own: None,
        }
    }

    /// Whether no token and no failure is known, so that the next token is due now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let state = self.state.load();
        state.token.is_none() && state.failure.is_none()
    }

    /// Waits for the attempt under way, or the next one.
    ///
    /// # Errors
    ///
    /// The failure of that attempt, or of the last one as long as it keeps the next one back.
    pub async fn wait(&self, clock: &Clock) -> Result<HeaderValue, Failure> {
        // Subscribed before the state is read: an outcome published in between is not missed.
        let mut attempts = self.attempts.subscribe();
        loop {
            let (state, now) = (self.state(), clock.now());
            if let Some(token) = state.good_at(now) {
                return Ok(token.value.clone());
            }
            if let Some(failure) = &state.failure
                && !failure.until.reached(now)
            {
                return Err(failure.clone());
            }
            self.wanted.notify_one();
            // The sender lives in this very cell, so the channel cannot be closed.
            let _ = attempts.changed().await;
        }
    }

    /// Returns when a request wants a token, or wanted one since the last call.
    pub async fn is_wanted(&self) {
        self.wanted.notified().await;
    }
}

/// A worker's view of a cell. The header value is the worker's own copy, so that no request
/// touches a reference count that another thread touches.
#[derive(Debug)]
pub struct View {
    state: Cache<Arc<ArcSwap<State>>, Arc<State>>,
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    token: Arc<Token>,
    value: HeaderValue,
}

impl View {
    /// The header value, if the token is good at `now`. A token that is due for renewal is still
    /// good, and the renewal is reminded: its timer may have slept through a suspend.
    pub fn good_at(&mut self, now: Moment, cell: &Cell) -> Option<HeaderValue> {
        let token = self.state.load().good_at(now)?;
        if token.renew_at.reached(now) {
            cell.wanted.notify_one();
        }
        let is_known = self
            .own
            .as_ref()
            .is_some_and(|own| Arc::ptr_eq(&own.token, token));
        if !is_known {
            let mut value = HeaderValue::from_bytes(token.value.as_bytes()).ok()?;
            value.set_sensitive(true);
            self.own = Some(Own {
                token: Arc::clone(token),
                value,
            });
        }
        self.own.as_ref().map(|own| own.value.clone())
    }
}
