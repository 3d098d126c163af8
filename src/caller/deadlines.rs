//! The deadlines of a connection, by one timer that is set anew as seldom as can be.
//!
//! A deadline moves with every request, and setting a timer takes a lock. So the timer stays where
//! it is as long as it fires early enough; when it does, it is looked at what is due by then.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::pace::{Pace, Place};

/// How long it takes to notice that a caller is gone whose connection is not being read: half of
/// what the caller's going away may cost upstream.
const LOOK: Duration = Duration::from_millis(500);

/// How slow a caller may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// From the first byte of a request's head to its last.
    pub head: Duration,
    /// From the end of an answer, or from the beginning, to the first byte of the next request.
    pub keep_alive: Duration,
    /// Without a byte of an answer being taken.
    pub send: Duration,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The head of a request has taken too long.
    Head,
    /// Nothing has been asked for too long.
    Idle,
    /// Nothing of an answer has been taken for too long.
    Send,
    /// The caller may be gone and nobody would notice.
    Look,
    /// The connection must have ended.
    End,
}

/// What has begun when, on one connection.
#[derive(Debug)]
pub(super) struct Deadlines {
    config: Config,
    turn: u32,
    /// Since when nothing is being answered.
    idle: Option<Instant>,
    /// When the first byte of the head came that is not complete.
    head: Option<Instant>,
    /// Since when nothing is taken, after how many pieces that were.
    stalled: Option<(u32, Instant)>,
    /// Since when nobody would notice that the caller is gone.
    blind: Option<Instant>,
    /// When the connection must have ended.
    end: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadlines {
    /// Begins with a connection that nothing has been asked on since `idle`.
    pub(super) fn new(config: Config, idle: Option<Instant>) -> Self {
        Self {
            config,
            turn: 0,
            idle,
            head: None,
            stalled: None,
            blind: None,
            end: None,
            timer: None,
        }
    }

    /// Closes a connection that nothing is asked on after so long, from now on.
    pub(super) fn expect_the_end(&mut self, keep_alive: Duration) {
        self.config.keep_alive = keep_alive;
        self.idle = None;
    }

    /// Ends the connection after so long, from now on.
    pub(super) fn end_within(&mut self, span: Duration) {
        self.end = Some(Instant::now() + span);
    }

    /// Since when nothing is being answered.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.idle
    }

    /// Ready with what is due. Else the task is woken in time to ask again.
    pub(super) fn poll(&mut self, pace: &Pace, context: &mut Context<'_>) -> Poll<Due> {
        loop {
            let Some((until, due)) = self.next(pace) else {
                return Poll::Pending;
            };
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(sleep_until(until)));
            if timer.deadline() > until || timer.is_elapsed() {
                timer.as_mut().reset(until);
            }
            ready!(timer.as_mut().poll(context));
            if Instant::now() >= until {
                if due == Due::Look {
                    self.blind = None;
                }
                return Poll::Ready(due);
            }
        }
    }

    /// What is due next. The clock is read only where something has begun.
    fn next(&mut self, pace: &Pace) -> Option<(Instant, Due)> {
        if self.turn != pace.turn() {
            self.turn = pace.turn();
            (self.idle, self.head) = (None, None);
        }
        let stalled = self.stalled(pace);
        let asked = if pace.answering() > 0 {
            self.unseen(pace)
        } else {
            self.blind = None;
            // While the end of an answer is on its way, that is what is waited for.
            stalled.is_none().then(|| self.unasked(pace))
        };
        let end = self.end.map(|until| (until, Due::End));
        let all = [stalled, asked, end];
        all.into_iter().flatten().min_by_key(|it| it.0)
    }

    fn stalled(&mut self, pace: &Pace) -> Option<(Instant, Due)> {
        if !pace.is_stalled() {
            self.stalled = None;
            return None;
        }
        let written = pace.written();
        let since = match self.stalled {
            Some((count, since)) if count == written => since,
            _ => Instant::now(),
        };
        self.stalled = Some((written, since));
        Some((since + self.config.send, Due::Send))
    }

    fn unseen(&mut self, pace: &Pace) -> Option<(Instant, Due)> {
        if pace.is_reading() {
            self.blind = None;
            return None;
        }
        let since = *self.blind.get_or_insert_with(Instant::now);
        Some((since + LOOK, Due::Look))
    }

    fn unasked(&mut self, pace: &Pace) -> (Instant, Due) {
        match pace.place() {
            // Empty lines in front of a request are the beginning of a head and then are not: the
            // first byte counts for all that follows.
            Place::Head => {
                let since = *self.head.get_or_insert_with(Instant::now);
                (since + self.config.head, Due::Head)
            }
            Place::Between | Place::Body => {
                let since = *self.idle.get_or_insert_with(Instant::now);
                (since + self.config.keep_alive, Due::Idle)
            }
        }
    }
}
