//! Counts of what happens on the workers, and how they are added up.
//!
//! Each worker has counters of its own, in cache lines of their own, and nobody else writes them:
//! counting is a load and a store, without a lock and without a cache line that moves between
//! cores. The control thread reads all of them when somebody asks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;

mod ailments;

pub use ailments::{Ailment, Ailments};

/// A number that one thread writes and others may read.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Counts `more`; wraps around after 2^64.
    pub fn add(&self, more: u64) {
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(more);
        self.0.store(sum, Ordering::Relaxed);
    }

    /// Counts one more.
    pub fn up(&self) {
        self.add(1);
    }

    /// Takes back one [`Count::up`], for what is counted while it lasts.
    pub fn down(&self) {
        self.add(u64::MAX);
    }

    /// The number now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The upper bounds of the durations that are told apart, in milliseconds; what takes longer is
/// counted above the last. The coarse steps of 1, 2.5 and 5 that dashboards expect.
pub const BOUNDS: [u64; 13] = [
    5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000,
];

/// How long things took, by steps.
#[derive(Debug, Default)]
pub struct Durations {
    steps: [Count; BOUNDS.len() + 1],
    nanoseconds: Count,
}

impl Durations {
    /// Counts one.
    pub fn note(&self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let step = BOUNDS.partition_point(|bound| bound * 1_000_000 < nanoseconds);
        self.steps[step].up();
        self.nanoseconds.add(nanoseconds);
    }

    /// How many fell into each step, in the order of [`BOUNDS`] and with those above at the end.
    pub fn steps(&self) -> impl Iterator<Item = u64> {
        self.steps.iter().map(Count::get)
    }

    /// All of them together, in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        Duration::from_nanos(self.nanoseconds.get()).as_secs_f64()
    }
}

/// What became of a request, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered, by the target or by a refusal.
    Answered(StatusCode),
    /// The caller was gone before there was an answer.
    Aborted,
}

impl Outcome {
    /// The words for outcomes: the classes of status codes, and the one without an answer.
    pub const WORDS: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "aborted"];

    fn index(self) -> usize {
        match self {
            // hyper lets no status below 100 through, and an unknown class counts as the target's fault.
            Self::Answered(status) => usize::from(status.as_u16() / 100).clamp(1, 5) - 1,
            Self::Aborted => 5,
        }
    }
}

/// What one worker counts of one target. The alignment keeps two workers' counters out of each
/// other's cache lines, which processors fetch in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Target {
    /// Requests under way, to the last byte of their answers.
    pub active: Count,
    /// Requests by [`Outcome`].
    outcomes: [Count; Outcome::WORDS.len()],
    /// From a request's head to the head of its answer.
    pub took: Durations,
    /// Bytes of answers' bodies that were handed on to callers.
    pub sent: Count,
    /// Connections to the target that were opened.
    pub opened: Count,
    /// Requests that went out on a connection that had been used before.
    pub reused: Count,
    /// Connections to the target that could not be opened.
    pub failed: Count,
    /// Requests sent again because their connection had been closed.
    pub retried: Count,
    /// Requests sent again with a renewed token after a 401.
    pub replayed: Count,
    /// Answers that repeated our token in a header.
    pub echoes: Count,
    /// What is wrong with its members.
    pub ailments: Ailments,
    refusals: Mutex<BTreeMap<&'static str, u64>>,
}

impl Target {
    /// Counts a request that is over.
    pub fn end(&self, outcome: Outcome) {
        self.outcomes[outcome.index()].up();
    }

    /// How many requests had each outcome, in the order of [`Outcome::WORDS`].
    pub fn outcomes(&self) -> impl Iterator<Item = u64> {
        self.outcomes.iter().map(Count::get)
    }

    /// Counts a refusal of ours. This takes a lock that only a reader of the counts ever holds,
    /// and no request that is answered comes here.
    pub fn refuse(&self, code: &'static str) {
        *locked(&self.refusals).entry(code).or_default() += 1;
    }

    /// How many refusals of ours had each code.
    #[must_use]
    pub fn refusals(&self) -> BTreeMap<&'static str, u64> {
        locked(&self.refusals).clone()
    }

    /// Adds another worker's counts to these.
    fn absorb(&self, other: &Self) {
        let pairs = [
            (&self.active, &other.active),
            (&self.took.nanoseconds, &other.took.nanoseconds),
            (&self.sent, &other.sent),
            (&self.opened, &other.opened),
            (&self.reused, &other.reused),
            (&self.failed, &other.failed),
            (&self.retried, &other.retried),
            (&self.replayed, &other.replayed),
            (&self.echoes, &other.echoes),
        ];
        let outcomes = self.outcomes.iter().zip(&other.outcomes);
        let steps = self.took.steps.iter().zip(&other.took.steps);
        for (sum, count) in pairs.into_iter().chain(outcomes).chain(steps) {
            sum.add(count.get());
        }
        self.ailments.absorb(&other.ailments);
        for (code, count) in other.refusals() {
            *locked(&self.refusals).entry(code).or_default() += count;
        }
    }
}

/// What one worker counts.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Worker {
    /// Callers' connections that are open.
    pub connections: Count,
    /// Callers' connections since the start.
    pub accepted: Count,
    /// Connections that could not be accepted.
    pub accept_errors: Count,
    targets: Mutex<BTreeMap<String, Arc<Target>>>,
}

impl Worker {
    /// Counts a connection of a caller until the guard is dropped.
    #[must_use]
    pub fn open(&self) -> Open<'_> {
        self.accepted.up();
        self.connections.up();
        Open(self)
    }

    /// The counts of the target of that name; of the requests that come to no target if it is
    /// empty. They go on where they stood if the target has been known before.
    #[must_use]
    pub fn target(&self, name: &str) -> Arc<Target> {
        let mut targets = locked(&self.targets);
        Arc::clone(targets.entry(name.to_owned()).or_default())
    }
}

/// A connection of a caller that is open.
#[derive(Debug)]
pub struct Open<'a>(&'a Worker);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.connections.down();
    }
}

/// What the process counts.
#[derive(Debug)]
pub struct Metrics {
    workers: Vec<Arc<Worker>>,
}

impl Metrics {
    /// Counts of so many workers, all 0.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            workers: (0..workers).map(|_| Arc::default()).collect(),
        }
    }

    /// Each worker's own counts.
    #[must_use]
    pub fn workers(&self) -> &[Arc<Worker>] {
        &self.workers
    }

    /// The counts of all workers together, by the target's name.
    #[must_use]
    pub fn targets(&self) -> BTreeMap<String, Target> {
        let mut sums: BTreeMap<String, Target> = BTreeMap::new();
        for worker in &self.workers {
            for (name, target) in locked(&worker.targets).iter() {
                sums.entry(name.clone()).or_default().absorb(target);
            }
        }
        sums
    }

    /// One count of all workers together.
    pub fn sum(&self, count: impl Fn(&Worker) -> &Count) -> u64 {
        let counts = self.workers.iter().map(|worker| count(worker).get());
        counts.fold(0, u64::wrapping_add)
    }
}

/// Counts stay right when a thread panics while it holds them: each change is one addition.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_step_that_it_is_not_above() {
        let durations = Durations::default();
        for millis in [0, 5, 6, 60_000, 60_001] {
            durations.note(Duration::from_millis(millis));
        }
        let steps: Vec<u64> = durations.steps().collect();
        assert_eq!(steps[..2], [2, 1]);
        assert_eq!(steps[BOUNDS.len() - 1..], [1, 1]);
        assert!((durations.seconds() - 120.012).abs() < 1e-6);
    }

    #[test]
    fn workers_are_added_up_by_the_names_of_targets() {
        let metrics = Metrics::new(2);
        for worker in metrics.workers() {
            let target = worker.target("acme");
            target.active.up();
            target.end(Outcome::Answered(StatusCode::NOT_FOUND));
            target.refuse("no-route");
            worker.accepted.up();
        }
        metrics.workers()[0].target("acme").active.down();
        let targets = metrics.targets();
        let acme = &targets["acme"];
        assert_eq!(acme.active.get(), 1);
        assert_eq!(acme.outcomes().collect::<Vec<_>>(), [0, 0, 0, 2, 0, 0]);
        assert_eq!(acme.refusals()["no-route"], 2);
        assert_eq!(metrics.sum(|worker| &worker.accepted), 2);
    }

    #[test]
    fn counts_go_on_where_a_target_of_the_same_name_comes_back() {
        let worker = Worker::default();
        worker.target("acme").sent.add(7);
        assert_eq!(worker.target("acme").sent.get(), 7);
    }
}
