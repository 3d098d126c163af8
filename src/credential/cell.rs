//! Where a token stands while it is good: written by the control thread, read by the workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
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
    /// Tells it apart from others without telling anything about it.
    pub fingerprint: String,
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
    /// When it was.
    pub at: Moment,
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
    /// Since when there has always been a good token.
    pub good_since: Option<Moment>,
    /// Since when every attempt has failed.
    pub failing_since: Option<Moment>,
    /// Whether a target has refused the last token, and it is not known yet how to go on.
    pub is_refused: bool,
}

impl State {
    /// The token, if it is good at `now`.
    #[must_use]
    pub fn good_at(&self, now: Moment) -> Option<&Arc<Token>> {
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
    minted: AtomicU64,
    failed: AtomicU64,
    /// Requests that wait for a token.
    waiting: AtomicUsize,
    /// How many seconds the endpoint's clock is ahead of ours.
    offset: AtomicI64,
}

impl Default for Cell {
    fn default() -> Self {
        Self {
            state: Arc::new(ArcSwap::from_pointee(State::default())),
            attempts: watch::Sender::new(0),
            wanted: Notify::new(),
            demanded: AtomicBool::new(false),
            minted: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            offset: AtomicI64::new(0),
        }
    }
}

impl Cell {
    /// Publishes the outcome of an attempt to all who read or wait.
    pub fn publish(&self, outcome: Result<Token, Failure>) {
        match outcome {
            Ok(token) => {
                self.minted.fetch_add(1, Ordering::Relaxed);
                let before = self.state();
                let has_lasted = before.good_at(token.minted).is_some();
                self.state.store(Arc::new(State {
                    good_since: before
                        .good_since
                        .filter(|_| has_lasted)
                        .or(Some(token.minted)),
                    token: Some(Arc::new(token)),
                    ..State::default()
                }));
            }
            Err(failure) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                // A token that a worker forgets at this very moment must not come back.
                drop(self.state.rcu(|state| State {
                    token: state.token.clone(),
                    failure: Some(failure.clone()),
                    good_since: state.good_since,
                    failing_since: state.failing_since.or(Some(failure.at)),
                    is_refused: false,
                }));
            }
        }
        self.note_attempt();
    }

    /// An attempt has been made; whoever waits looks again.
    fn note_attempt(&self) {
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
                    good_since: None,
                    failing_since: state.failing_since.or(Some(now)),
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

    /// Publishes that the workers can sign for themselves, since `now` or longer.
    pub fn publish_sound(&self, now: Moment) {
        self.state.rcu(|state| State {
            good_since: state
                .good_since
                .filter(|_| state.failure.is_none())
                .or(Some(now)),
            ..State::default()
        });
        self.note_attempt();
    }

    /// Whether an attempt is over, however it ended.
    #[must_use]
    pub fn was_tried(&self) -> bool {
        *self.attempts.borrow() > 0
    }

    /// How many tokens came since the start.
    #[must_use]
    pub fn minted(&self) -> u64 {
        self.minted.load(Ordering::Relaxed)
    }

    /// How many attempts since the start gave none.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// How many requests wait for a token.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Notes how many seconds the endpoint's clock is ahead of ours.
    pub fn note_offset(&self, seconds: i64) {
        self.offset.store(seconds, Ordering::Relaxed);
    }

    /// How many seconds the endpoint's clock was ahead of ours last.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.offset.load(Ordering::Relaxed)
    }

    /// Returns when an attempt is over that was not over before.
    pub async fn next_attempt(&self) {
        // The sender lives in this very cell, so the channel cannot be closed.
        let _ = self.attempts.subscribe().changed().await;
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
        let _waiting = Waiting::begin(&self.waiting);
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

/// Counts one who waits, however the wait ends.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
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
