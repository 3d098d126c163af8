//! The only place that reads a clock or sleeps for the life of a token.
//!
//! Two clocks are read together. The wall clock is what a token's `exp` is written in, and it can
//! be stepped. The boot-time clock cannot be stepped and, unlike the monotonic clock behind
//! [`std::time::Instant`], it goes on counting while the machine is suspended. A moment is reached
//! as soon as either of them says so: a token must never be used past its end on either.
//!
//! Socket deadlines are not taken from here; they are the runtime's own timers.

use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;

/// The longest the system clock sleeps without looking again. The runtime's timers stand still in
/// suspend, so this bounds how late a renewal can be after the machine wakes up.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// A point in time on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Time since the Unix epoch.
    pub wall: Duration,
    /// Time since the machine booted, suspend included.
    pub boot: Duration,
}

impl Moment {
    /// The moment that lies `span` after this one, on both clocks.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self {
            wall: self.wall.saturating_add(span),
            boot: self.boot.saturating_add(span),
        }
    }

    /// The moment that lies `span` before this one, on both clocks.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self {
            wall: self.wall.saturating_sub(span),
            boot: self.boot.saturating_sub(span),
        }
    }

    /// Whether either clock has come to this moment by `now`.
    #[must_use]
    pub fn reached(self, now: Self) -> bool {
        now.wall >= self.wall || now.boot >= self.boot
    }

    /// How long it still takes from `now` until this moment is reached; zero once it is.
    #[must_use]
    pub fn left(self, now: Self) -> Duration {
        let wall = self.wall.saturating_sub(now.wall);
        let boot = self.boot.saturating_sub(now.boot);
        wall.min(boot)
    }

    /// The wall clock's time as RFC 3339 has it, to the second, in UTC.
    #[must_use]
    pub fn rfc3339(self) -> String {
        let (days, second) = (self.unix() / 86_400, self.unix() % 86_400);
        let (year, month, day) = civil(days);
        format!(
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
            second / 3_600,
            second / 60 % 60,
            second % 60
        )
    }

    /// Whole seconds since the Unix epoch: a JWT's `NumericDate` (RFC 7519 section 2).
    #[must_use]
    pub fn unix(self) -> u64 {
        self.wall.as_secs()
    }
}

/// Where the time comes from: the system, or a test's hand.
#[derive(Clone, Debug)]
pub struct Clock(Kind);

#[derive(Clone, Debug)]
enum Kind {
    System,
    Manual(Arc<watch::Sender<Moment>>),
}

impl Clock {
    /// The clocks of this machine.
    #[must_use]
    pub fn system() -> Self {
        Self(Kind::System)
    }

    /// A clock that stands at `start` until its hand moves it.
    #[must_use]
    pub fn manual(start: Moment) -> (Self, Hand) {
        let sender = Arc::new(watch::Sender::new(start));
        (Self(Kind::Manual(Arc::clone(&sender))), Hand(sender))
    }

    /// What both clocks show now.
    #[must_use]
    pub fn now(&self) -> Moment {
        match &self.0 {
            Kind::System => Moment {
                wall: read(ClockId::Realtime),
                boot: read(ClockId::Boottime),
            },
            Kind::Manual(moment) => *moment.borrow(),
        }
    }

    /// Returns once `moment` is reached on either clock.
    pub async fn sleep_until(&self, moment: Moment) {
        match &self.0 {
            Kind::System => loop {
                let left = moment.left(self.now());
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(LOOK_AGAIN)).await;
            },
            Kind::Manual(sender) => {
                let mut hand = sender.subscribe();
                // The sender is held by this very clock, so the channel cannot be closed.
                let _ = hand.wait_for(|now| moment.reached(*now)).await;
            }
        }
    }
}

/// The year, month and day that lie so many days after 1970-01-01, in the Gregorian calendar. Years
/// are counted from March, so that the leap day is the last one.
fn civil(days: u64) -> (u64, u64, u64) {
    // Days since 0000-03-01, in cycles of 400 years.
    let days = days + 719_468;
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (cycle * 400 + year + carry, month, day)
}

/// The processor time that this process has used.
#[must_use]
pub fn processor_time() -> Duration {
    read(ClockId::ProcessCPUTime)
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    // Both fields are non-negative on a machine whose clock is set after 1970.
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// Moves a manual clock. What sleeps on that clock wakes when its moment is reached.
#[derive(Debug)]
pub struct Hand(Arc<watch::Sender<Moment>>);

impl Hand {
    /// Lets `span` pass on both clocks.
    pub fn advance(&self, span: Duration) {
        self.0.send_modify(|now| *now = now.after(span));
    }

    /// Steps the wall clock alone, as an operator or NTP would.
    pub fn set_wall(&self, wall: Duration) {
        self.0.send_modify(|now| now.wall = wall);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Moment = Moment {
        wall: Duration::from_secs(1_000_000),
        boot: Duration::from_secs(500),
    };

    #[test]
    fn a_moment_is_reached_by_whichever_clock_comes_first() {
        let end = START.after(Duration::from_secs(60));
        let stepped = Moment {
            wall: end.wall,
            ..START
        };
        let suspended = Moment {
            boot: end.boot,
            ..START
        };
        assert!(!end.reached(START));
        assert!(end.reached(stepped));
        assert!(end.reached(suspended));
    }

    #[test]
    fn a_wall_clock_set_back_does_not_lengthen_what_is_left() {
        let end = START.after(Duration::from_secs(60));
        let back = Moment {
            wall: START.wall - Duration::from_secs(7200),
            boot: START.boot + Duration::from_secs(50),
        };
        assert_eq!(end.left(back), Duration::from_secs(10));
    }

    #[test]
    fn moments_are_written_as_rfc_3339_has_them() {
        for (unix, written) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_798_761_599, "2026-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            let moment = Moment {
                wall: Duration::from_secs(unix),
                ..START
            };
            assert_eq!(moment.rfc3339(), written);
        }
    }

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_hand_reaches_its_moment() {
        let (clock, hand) = Clock::manual(START);
        let end = START.after(Duration::from_secs(10));
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(end).await }
        });
        hand.advance(Duration::from_secs(9));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        hand.advance(Duration::from_secs(1));
        sleeper.await.expect("the sleeper ends");
    }

    #[test]
    fn the_system_clocks_move_forward() {
        let clock = Clock::system();
        let before = clock.now();
        let after = clock.now();
        assert!(after.boot >= before.boot);
        assert!(before.unix() > 1_600_000_000);
    }
}
