//! Says why callers came no further than the way in, and not for each of a flood of them.

use std::cell::Cell;
use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;

use super::Peer;

/// How many lines may follow each other: whoever tries something out sees what becomes of it.
const AT_ONCE: u32 = 10;

/// How long it takes until one more may be said. A flood fills some ten megabytes a day.
const PAUSE: Duration = Duration::from_secs(2);

/// What one worker says of the callers at one listener. Those that it keeps quiet about are counted
/// in the next line.
#[derive(Debug)]
pub struct Complaints {
    listener: String,
    left: Cell<u32>,
    since: Cell<Instant>,
    unsaid: Cell<u64>,
}

impl Complaints {
    /// None so far.
    #[must_use]
    pub fn new(listener: &str) -> Self {
        Self {
            listener: listener.to_owned(),
            left: Cell::new(AT_ONCE),
            since: Cell::new(Instant::now()),
            unsaid: Cell::new(0),
        }
    }

    /// The listener's name.
    #[must_use]
    pub fn listener(&self) -> &str {
        &self.listener
    }

    /// Notes that a caller was refused before there was a request of its.
    pub fn note(&self, peer: Peer, code: &'static str, causes: &dyn Display) {
        if !self.may_speak(Instant::now()) {
            self.unsaid.set(self.unsaid.get() + 1);
            return;
        }
        let unsaid = self.unsaid.take();
        tracing::info!(
            listener = self.listener,
            %peer,
            code,
            causes = causes.to_string(),
            unsaid = (unsaid > 0).then_some(unsaid),
            "refused at the door"
        );
    }

    fn may_speak(&self, now: Instant) -> bool {
        let earned = (now - self.since.get()).as_secs() / PAUSE.as_secs();
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(AT_ONCE);
            self.left
                .set(self.left.get().saturating_add(earned).min(AT_ONCE));
            self.since.set(now);
        }
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_of_in_a_few_lines_and_then_in_one_at_a_time() {
        let (complaints, begin) = (Complaints::new("local"), Instant::now());
        let say = |after| {
            let tries = (0..100).filter(|_| complaints.may_speak(begin + after));
            tries.count()
        };
        assert_eq!(say(Duration::ZERO), AT_ONCE as usize);
        assert_eq!(say(PAUSE), 1);
        assert_eq!(say(PAUSE * 1000), AT_ONCE as usize);
    }
}
