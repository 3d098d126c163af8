//! What is refused so that the rest stays fast: requests beyond those that may be under way at
//! once, and requests beyond a rate.
//!
//! Nothing waits here: who comes too much is told at once, and told when to come back. A limit is
//! one atomic that all workers share, touched only where a limit is set.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// What a target takes, or the whole process. `None` is no limit.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// How many requests may be under way at once.
    pub requests: Option<Arc<InFlight>>,
    /// How many may come in a time.
    pub rate: Option<Arc<Rate>>,
}

/// Why a request is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    /// As many are under way as may be.
    #[error("{limit} requests are under way, as many as are taken at once")]
    Busy {
        /// The limit.
        limit: usize,
    },
    /// They come faster than they may.
    #[error("requests come faster than they are taken")]
    Rate {
        /// When the next one may come.
        after: Duration,
    },
}

impl Limits {
    /// Goes on with the counts of the same target's limits before a reload, where they say the same.
    pub fn carry_on(&mut self, before: &Self) {
        if let (Some(own), Some(before)) = (&mut self.requests, &before.requests)
            && own.limit == before.limit
        {
            *own = Arc::clone(before);
        }
        if let (Some(own), Some(before)) = (&mut self.rate, &before.rate)
            && (own.interval, own.tolerance) == (before.interval, before.tolerance)
        {
            *own = Arc::clone(before);
        }
    }

    /// Takes a request in.
    ///
    /// # Errors
    ///
    /// [`Exceeded`], and then nothing has been counted against the rate.
    pub fn admit(&self, now: impl FnOnce() -> Duration) -> Result<Option<Permit>, Exceeded> {
        let permit = self.requests.as_ref().map(InFlight::admit).transpose()?;
        if let Some(rate) = &self.rate {
            rate.take(now())?;
        }
        Ok(permit)
    }
}

/// How many requests are under way, and how many may be.
#[derive(Debug)]
pub struct InFlight {
    limit: usize,
    count: AtomicUsize,
}

/// A request under way, until this is dropped.
#[derive(Debug)]
pub struct Permit(Arc<InFlight>);

impl InFlight {
    /// None under way, and so many allowed.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            count: AtomicUsize::new(0),
        }
    }

    /// How many may be under way.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    fn admit(self: &Arc<Self>) -> Result<Permit, Exceeded> {
        // Each worker that is refused takes back what it added, so the count is never below the
        // number of permits: it may refuse one too many in a race, and never lets one in.
        if self.count.fetch_add(1, Ordering::Relaxed) < self.limit {
            return Ok(Permit(Arc::clone(self)));
        }
        self.count.fetch_sub(1, Ordering::Relaxed);
        Err(Exceeded::Busy { limit: self.limit })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A rate, as the generic cell rate algorithm counts it (ITU-T I.371, annex A): one number, the
/// time at which the next request would come if all came evenly. A token bucket gives the same
/// verdicts and needs two numbers.
#[derive(Debug)]
pub struct Rate {
    /// So many requests …
    pub requests: u32,
    /// … in so much time.
    pub per: Duration,
    /// How many may come at once.
    pub burst: u32,
    /// Nanoseconds from one request to the next when they come evenly.
    interval: u64,
    /// How much earlier than evenly one may come.
    tolerance: u64,
    /// The theoretical arrival time of the next request, in nanoseconds since the boot.
    next: AtomicU64,
}

impl Rate {
    /// So many `requests` in each `per`, of which `burst` may come at once.
    #[must_use]
    pub fn new(requests: u32, per: Duration, burst: u32) -> Self {
        let interval = (nanoseconds(per) / u64::from(requests.max(1))).max(1);
        Self {
            requests,
            per,
            burst,
            interval,
            tolerance: interval.saturating_mul(u64::from(burst.max(1)) - 1),
            next: AtomicU64::new(0),
        }
    }

    /// Takes one request at the time `now` since the boot.
    ///
    /// # Errors
    ///
    /// [`Exceeded::Rate`] with how long it takes until the next one may come.
    pub fn take(&self, now: Duration) -> Result<(), Exceeded> {
        let now = nanoseconds(now);
        let step = |next: u64| {
            let is_early = next.saturating_sub(self.tolerance) > now;
            (!is_early).then(|| next.max(now).saturating_add(self.interval))
        };
        let taken = self
            .next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        match taken {
            Ok(_) => Ok(()),
            Err(next) => Err(Exceeded::Rate {
                after: Duration::from_nanos(next.saturating_sub(self.tolerance) - now),
            }),
        }
    }
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::ScopedJoinHandle;

    const START: Duration = Duration::from_secs(1_000);

    #[test]
    fn a_burst_is_taken_at_once_and_then_one_for_each_interval() {
        let rate = Rate::new(10, Duration::from_secs(1), 3);
        let late = Err(Exceeded::Rate {
            after: Duration::from_millis(100),
        });
        for _ in 0..3 {
            assert_eq!(rate.take(START), Ok(()));
        }
        assert_eq!(rate.take(START), late);
        let then = START + Duration::from_millis(100);
        assert_eq!(rate.take(then), Ok(()));
        assert_eq!(rate.take(then), late);
    }

    #[test]
    fn what_is_refused_does_not_count() {
        let rate = Rate::new(1, Duration::from_secs(1), 1);
        assert_eq!(rate.take(START), Ok(()));
        for _ in 0..100 {
            assert!(rate.take(START).is_err());
        }
        assert_eq!(rate.take(START + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn a_long_silence_gives_no_more_than_the_burst() {
        let rate = Rate::new(10, Duration::from_secs(1), 2);
        assert_eq!(rate.take(START), Ok(()));
        let later = START + Duration::from_secs(3_600);
        let taken = (0..100).filter(|_| rate.take(later).is_ok()).count();
        assert_eq!(taken, 2);
    }

    #[test]
    fn no_more_requests_are_under_way_than_may_be_whatever_the_race() {
        let limit = Arc::new(InFlight::new(3));
        let permits: Vec<_> = std::thread::scope(|scope| {
            let admit = || limit.admit().ok();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(admit)).collect();
            threads.into_iter().map(ScopedJoinHandle::join).collect()
        });
        let inside = permits
            .iter()
            .filter(|it| matches!(it, Ok(Some(_))))
            .count();
        assert!(inside <= 3, "{inside}");
        drop(permits);
        assert_eq!(limit.count.load(Ordering::Relaxed), 0);
        assert!(limit.admit().is_ok());
    }
}
