//! How long to wait before something that failed is tried again.

use std::time::Duration;

/// The first wait, if nothing else is said.
const FIRST: Duration = Duration::from_millis(500);
/// The longest.
const LONGEST: Duration = Duration::from_secs(30);

/// Waits that double, each shortened by up to a half: whoever failed together shall not come back
/// together. In the first minute this makes at most nine tries, later at most four.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(FIRST, LONGEST)
    }
}

impl Backoff {
    /// With another first and another longest wait.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            failures: 0,
        }
    }

    /// The wait after one more failure.
    pub fn fail(&mut self) -> Duration {
        let doubled = self
            .first
            .saturating_mul(1 << self.failures.min(10))
            .min(self.longest);
        self.failures = self.failures.saturating_add(1);
        doubled.mul_f64(between(0.5, 1.0))
    }

    /// Forgets the failures.
    pub fn succeed(&mut self) {
        self.failures = 0;
    }
}

/// A random number between two others.
#[must_use]
pub fn between(least: f64, most: f64) -> f64 {
    let random = f64::from(getrandom::u32().unwrap_or(u32::MAX)) / f64::from(u32::MAX);
    least + (most - least) * random
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_half_a_minute_and_stay_there() {
        let mut backoff = Backoff::default();
        let waits: Vec<Duration> = (0..20).map(|_| backoff.fail()).collect();
        assert!(waits[0] <= FIRST && waits[0] >= FIRST / 2);
        assert!(
            waits[10..]
                .iter()
                .all(|it| *it <= LONGEST && *it >= LONGEST / 2)
        );
        backoff.succeed();
        assert!(backoff.fail() <= FIRST);
    }

    #[test]
    fn no_minute_has_more_than_twenty_tries() {
        for _ in 0..100 {
            let mut backoff = Backoff::default();
            let mut passed = Duration::ZERO;
            let mut tries = 0;
            while passed < Duration::from_secs(60) {
                passed += backoff.fail();
                tries += 1;
            }
            assert!(tries <= 10, "{tries}");
        }
    }
}
