//! What an emulator received, and what became of it.

use std::collections::VecDeque;
use std::sync::Mutex;

use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, header};

use super::{Head, lock};

/// One request that came in.
#[derive(Clone, Debug)]
pub struct Received {
    /// The connection it came on, counted from 1 in the order of TLS handshakes.
    pub connection: u64,
    /// Its method.
    pub method: Method,
    /// Its target as it stood in the request line: path and query.
    pub target: String,
    /// Its headers as the server understood them. `Authorization` is whole, but hidden from `Debug`.
    pub headers: HeaderMap,
    /// Its head as it stood on the wire, unless it could not be told from what came before it.
    pub head: Option<Head>,
    /// What became of it.
    pub outcome: Outcome,
}

impl Received {
    /// A header's only value, where it has one value and that is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// No answer yet.
    UnderWay,
    /// Answered.
    Answered {
        /// With this status.
        status: StatusCode,
        /// And this code for what the emulator disliked, if anything.
        reason: Option<&'static str>,
    },
    /// The connection was closed in place of an answer, as a test had asked.
    Closed,
    /// The caller went away before the answer.
    Abandoned,
}

/// The latest requests.
#[derive(Debug)]
pub(super) struct Log {
    keep: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// How many entries have been dropped: the number of the first that is left.
    first: usize,
    entries: VecDeque<Received>,
}

impl Log {
    pub(super) fn new(keep: usize) -> Self {
        Log {
            keep,
            kept: Mutex::default(),
        }
    }

    pub(super) fn entries(&self) -> Vec<Received> {
        lock(&self.kept).entries.iter().cloned().collect()
    }

    /// Whether there is any point in telling it more than it must know.
    pub(super) fn keeps_any(&self) -> bool {
        self.keep > 0
    }

    /// Notes a request when it arrives, so that one that is never answered is seen too.
    pub(super) fn open(&self, parts: &Parts, head: Option<Head>, connection: u64) -> Entry<'_> {
        if !self.keeps_any() {
            return Entry {
                log: self,
                number: 0,
                outcome: Outcome::Abandoned,
            };
        }
        let received = received(parts, head, connection);
        let mut kept = lock(&self.kept);
        if kept.entries.len() == self.keep {
            kept.entries.pop_front();
            kept.first += 1;
        }
        kept.entries.push_back(received);
        Entry {
            log: self,
            number: kept.first + kept.entries.len() - 1,
            outcome: Outcome::Abandoned,
        }
    }

    fn settle(&self, number: usize, outcome: Outcome) {
        let mut kept = lock(&self.kept);
        let entry = number
            .checked_sub(kept.first)
            .and_then(|index| kept.entries.get_mut(index));
        if let Some(entry) = entry {
            entry.outcome = outcome;
        }
    }
}

fn received(parts: &Parts, head: Option<Head>, connection: u64) -> Received {
    let mut headers = parts.headers.clone();
    for (name, value) in &mut headers {
        if name == header::AUTHORIZATION {
            value.set_sensitive(true);
        }
    }
    Received {
        connection,
        method: parts.method.clone(),
        target: parts.uri.to_string(),
        headers,
        head,
        outcome: Outcome::UnderWay,
    }
}

/// A request that is being answered. Dropped unsettled, it was abandoned.
pub(super) struct Entry<'a> {
    log: &'a Log,
    number: usize,
    outcome: Outcome,
}

impl Entry<'_> {
    pub(super) fn settle(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.log.settle(self.number, self.outcome);
    }
}
