//! What is wrong with the members of targets, as workers have seen it.
//!
//! A worker writes here when a member fails and when it is well again, never when it answers as it
//! did before; the lock is held by nobody else but a reader of the counts.

use std::collections::BTreeMap;
use std::sync::Mutex;

use tokio::time::Instant;

use super::locked;

/// What has been wrong with one member since it last answered.
#[derive(Clone, Debug)]
pub struct Ailment {
    /// When it failed first.
    pub since: Instant,
    /// Until when it is passed over; `None` while it is given requests.
    pub until: Option<Instant>,
    /// When it failed last, and how.
    pub last: Instant,
    /// What went wrong then.
    pub error: String,
    /// How many workers have seen it.
    pub workers: usize,
}

/// Those of a target, by the members' names.
#[derive(Debug, Default)]
pub struct Ailments(Mutex<BTreeMap<String, Ailment>>);

impl Ailments {
    /// It has failed, and is passed over until then.
    pub fn failed(&self, member: &str, until: Option<Instant>, error: String) {
        let now = Instant::now();
        let mut all = locked(&self.0);
        let since = all.get(member).map_or(now, |it| it.since);
        let ailment = Ailment {
            since,
            until,
            last: now,
            error,
            workers: 1,
        };
        all.insert(member.to_owned(), ailment);
    }

    /// It is no longer passed over. Whether it is well is for a request to find out.
    pub fn connected(&self, member: &str) {
        if let Some(ailment) = locked(&self.0).get_mut(member) {
            ailment.until = None;
        }
    }

    /// It is well.
    pub fn recovered(&self, member: &str) {
        locked(&self.0).remove(member);
    }

    /// What is wrong with a member.
    #[must_use]
    pub fn of(&self, member: &str) -> Option<Ailment> {
        locked(&self.0).get(member).cloned()
    }

    /// Adds what another worker has seen.
    pub(super) fn absorb(&self, other: &Self) {
        let others = locked(&other.0).clone();
        let mut all = locked(&self.0);
        for (member, theirs) in others {
            let Some(own) = all.get_mut(&member) else {
                all.insert(member, theirs);
                continue;
            };
            own.since = own.since.min(theirs.since);
            own.until = own.until.max(theirs.until);
            own.workers += theirs.workers;
            if own.last < theirs.last {
                (own.last, own.error) = (theirs.last, theirs.error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_workers_have_seen_is_put_together() {
        let (one, other, sum) = (
            Ailments::default(),
            Ailments::default(),
            Ailments::default(),
        );
        let later = Instant::now() + Duration::from_secs(60);
        one.failed("a.example", None, "the first".into());
        other.failed("a.example", Some(later), "the second".into());
        other.failed("b.example", None, "another".into());
        other.recovered("b.example");
        sum.absorb(&other);
        sum.absorb(&one);
        let ailment = sum.of("a.example").expect("two have seen it");
        assert_eq!((ailment.until, ailment.workers), (Some(later), 2));
        assert_eq!(ailment.error, "the second");
        assert!(sum.of("b.example").is_none());
        other.connected("a.example");
        assert_eq!(other.of("a.example").and_then(|it| it.until), None);
    }
}
