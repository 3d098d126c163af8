//! Faults on demand: what a test wants to go wrong, and how often.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};

use super::lock;

/// What goes wrong with a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Effect {
    /// It gets this answer, whoever asks.
    Answer(Response<Bytes>),
    /// It waits for this long and is then answered as ever.
    Delay(Duration),
    /// The connection is closed without an answer.
    Close,
    /// It is answered as ever, but the connection is closed one byte before the answer's end.
    Truncate,
}

impl Effect {
    /// An empty answer with this status.
    pub fn status(status: StatusCode) -> Self {
        let mut response = Response::default();
        *response.status_mut() = status;
        Effect::Answer(response)
    }
}

/// The faults still to come; its clones share them.
///
/// Each request is struck by one fault at most: the oldest whose path prefix it has.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    queue: Arc<Mutex<VecDeque<Fault>>>,
}

#[derive(Debug)]
struct Fault {
    prefix: String,
    times: usize,
    effect: Effect,
}

impl Faults {
    /// Strikes this many requests to come.
    pub fn next(&self, times: usize, effect: Effect) {
        self.next_at("/", times, effect);
    }

    /// Strikes this many requests to come whose path begins with `prefix`.
    pub fn next_at(&self, prefix: &str, times: usize, effect: Effect) {
        lock(&self.queue).push_back(Fault {
            prefix: prefix.to_owned(),
            times,
            effect,
        });
    }

    /// Lets the rest of the requests be.
    pub fn clear(&self) {
        lock(&self.queue).clear();
    }

    /// Takes the fault, if any, that strikes a request for this path.
    pub(super) fn take(&self, path: &str) -> Option<Effect> {
        let mut queue = lock(&self.queue);
        queue.retain(|fault| fault.times > 0);
        let fault = queue
            .iter_mut()
            .find(|fault| path.starts_with(&fault.prefix))?;
        fault.times -= 1;
        Some(fault.effect.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_as_often_as_asked_and_only_where_asked() {
        let faults = Faults::default();
        faults.next_at("/auth", 2, Effect::Close);
        assert!(faults.take("/api").is_none());
        assert!(faults.take("/auth/token").is_some());
        assert!(faults.take("/auth").is_some());
        assert!(faults.take("/auth").is_none());
    }

    #[test]
    fn cleared_faults_strike_no_more() {
        let faults = Faults::default();
        faults.next(1, Effect::Close);
        faults.clear();
        assert!(faults.take("/").is_none());
    }
}
