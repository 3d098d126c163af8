//! The end of connections that were let in together, told within one worker: a connection looks at
//! this whenever it wakes, so it must not touch what other threads touch.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::{Instant, sleep_until};

use super::Busy;

/// Something that comes to pass once.
#[derive(Debug, Default)]
pub struct Signal {
    begun: Cell<Option<Instant>>,
    announced: Notify,
}

impl Signal {
    /// Announces it.
    pub fn begin(&self) {
        self.begun.set(Some(Instant::now()));
        self.announced.notify_waiters();
    }

    /// Whether it was announced.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.begun.get().is_some()
    }

    /// Waits for it; gives when that was.
    async fn begun(&self) -> Instant {
        let announced = self.announced.notified();
        if !self.has_begun() {
            announced.await;
        }
        self.begun.get().unwrap_or_else(Instant::now)
    }
}

/// Tells connections that the end was announced.
#[derive(Debug)]
pub struct Ending {
    /// How long they may take after it.
    drain: Duration,
    signal: Signal,
    cut_off: Cell<usize>,
}

impl Ending {
    /// One that is not announced, and leaves connections so long when it is.
    #[must_use]
    pub fn new(drain: Duration) -> Self {
        Self {
            drain,
            signal: Signal::default(),
            cut_off: Cell::new(0),
        }
    }

    /// Announces the end.
    pub fn begin(&self) {
        self.signal.begin();
    }

    /// Whether the end was announced.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.signal.has_begun()
    }

    /// Notes a connection that did not end in time by itself.
    pub fn cut_one_off(&self) {
        self.cut_off.set(self.cut_off.get() + 1);
    }

    /// How many did not.
    #[must_use]
    pub fn cut_off(&self) -> usize {
        self.cut_off.get()
    }
}

/// One who is to hear of the end, once. Only the first look takes a lock, to be woken.
#[derive(Debug)]
pub struct Notice<'a> {
    ending: &'a Ending,
    announced: Pin<Box<Notified<'a>>>,
    is_waiting: bool,
    is_heard: bool,
}

impl<'a> Notice<'a> {
    /// One who has not heard of it.
    #[must_use]
    pub fn new(ending: &'a Ending) -> Self {
        Self {
            ending,
            announced: Box::pin(ending.signal.announced.notified()),
            is_waiting: false,
            is_heard: false,
        }
    }

    /// Whether the end was announced since the last look.
    pub fn is_news(&mut self, context: &mut Context<'_>) -> bool {
        if self.is_heard {
            return false;
        }
        if !self.is_waiting {
            self.is_waiting = true;
            let _ = self.announced.as_mut().poll(context);
        }
        self.is_heard = self.ending.has_begun();
        self.is_heard
    }
}

/// What ties whatever a connection becomes after HTTP to those it came in with: their end waits for
/// it, and it has to heed their end.
#[derive(Clone, Debug)]
pub struct Tie {
    ending: Rc<Ending>,
    _busy: Busy,
}

impl Tie {
    /// Ties it.
    #[must_use]
    pub fn new(ending: Rc<Ending>, busy: Busy) -> Self {
        Self {
            ending,
            _busy: busy,
        }
    }

    /// Returns when it has to have ended, and notes that it has not. That is some time after the end
    /// was announced, or `turned` has come to pass.
    pub async fn cut(&self, turned: &Signal) {
        let begun = tokio::select! {
            begun = self.ending.signal.begun() => begun,
            begun = turned.begun() => begun,
        };
        sleep_until(begun + self.ending.drain).await;
        self.ending.cut_one_off();
    }
}
