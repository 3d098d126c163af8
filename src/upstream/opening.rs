//! Connections on their way, and the requests that wait for one that another request opens.
//!
//! Over HTTP/2 one connection serves many requests, so that of many first requests one opens it and
//! the others wait; over HTTP/1 each opens its own. Which it will be is known when the first
//! handshake is done, and from then on.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::shared::STREAMS;

/// How long a request waits for another one's connection before it opens its own: longer than a
/// handshake across an ocean takes, and no longer than a lost packet is waited for.
const HOLD: Duration = Duration::from_secs(1);

/// What is known of connections that are on their way.
#[derive(Debug)]
pub(super) struct Opening {
    under_way: Cell<usize>,
    waiting: Cell<usize>,
    failures: Cell<u64>,
    /// How many requests a new connection will probably carry.
    carries: Cell<usize>,
    changed: Rc<Notify>,
}

impl Opening {
    /// Nothing on its way. `carries` is how many requests a connection can be expected to carry.
    pub(super) fn new(is_shared: bool) -> Self {
        Self {
            under_way: Cell::new(0),
            waiting: Cell::new(0),
            failures: Cell::new(0),
            carries: Cell::new(if is_shared { STREAMS } else { 1 }),
            changed: Rc::default(),
        }
    }

    /// Who is told when something has changed.
    pub(super) fn changed(&self) -> &Rc<Notify> {
        &self.changed
    }

    /// Learns how many requests a connection carries at once.
    pub(super) fn learn(&self, carries: usize) {
        self.carries.set(carries);
    }

    /// Notes that a connection is on its way, until the guard is dropped.
    pub(super) fn begin(&self) -> UnderWay<'_> {
        self.under_way.set(self.under_way.get() + 1);
        UnderWay(self)
    }

    /// Waits until `take` finds something, as long as the connections on their way will probably
    /// serve this request too. `unsettled` is how many are open and not yet known well enough.
    pub(super) async fn wait<T>(
        &self,
        take: impl Fn() -> Option<T>,
        unsettled: impl Fn() -> usize,
    ) -> Option<T> {
        let deadline = Instant::now() + HOLD;
        let failures = self.failures.get();
        loop {
            // Each connection on its way serves the request that opens it, and others.
            let coming = self.under_way.get() + unsettled();
            let served = coming * (self.carries.get() - 1);
            if self.waiting.get() >= served || self.failures.get() != failures {
                return None;
            }
            let waiting = Waiting::begin(&self.waiting);
            let is_late = timeout_at(deadline, self.changed.notified()).await.is_err();
            drop(waiting);
            if let Some(taken) = take() {
                return Some(taken);
            }
            if is_late {
                return None;
            }
        }
    }
}

/// A connection on its way. Whoever waits looks again when it has arrived, failed or been given up.
#[derive(Debug)]
pub(super) struct UnderWay<'a>(&'a Opening);

impl UnderWay<'_> {
    /// It has come to nothing: those who wait try for themselves, and each hears why.
    pub(super) fn fail(&self) {
        self.0.failures.set(self.0.failures.get() + 1);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get() - 1);
        self.0.changed.notify_waiters();
    }
}

struct Waiting<'a>(&'a Cell<usize>);

impl<'a> Waiting<'a> {
    fn begin(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
