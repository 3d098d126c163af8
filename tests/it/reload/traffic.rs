//! Callers who go on calling, on connections that they keep and on new ones.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::Caller;

/// How long each caller waits between two calls: a few hundred a second from all of them.
const PAUSE: Duration = Duration::from_millis(10);

/// The callers.
pub(super) struct Traffic {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    callers: Vec<JoinHandle<Vec<String>>>,
}

impl Traffic {
    /// Calls this path until it is told to end.
    pub(super) fn at(address: SocketAddr, path: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let callers = (0..4)
            .map(|number| {
                let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
                let keeps = number > 0;
                thread::spawn(move || call(address, path, keeps, &stop, &answered))
            })
            .collect();
        Self {
            stop,
            answered,
            callers,
        }
    }

    /// How many calls were answered with 200 so far.
    pub(super) fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }

    /// Ends, and gives what went wrong.
    pub(super) fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        let joined = self.callers.into_iter().map(JoinHandle::join);
        joined.flat_map(|it| it.expect("a caller")).collect()
    }
}

fn call(
    address: SocketAddr,
    path: &str,
    keeps: bool,
    stop: &AtomicBool,
    answered: &AtomicUsize,
) -> Vec<String> {
    let mut failed = Vec::new();
    let mut kept: Option<Caller> = None;
    while !stop.load(Ordering::SeqCst) {
        let mut caller = kept.take().unwrap_or_else(|| Caller::connect(address));
        caller.write(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        match caller.try_read() {
            Ok(answer) if answer.status == 200 => {
                answered.fetch_add(1, Ordering::SeqCst);
                let closes = answer.header("connection") == Some("close");
                kept = (keeps && !closes).then_some(caller);
            }
            Ok(answer) => failed.push(answer.text()),
            Err(error) => failed.push(error.to_string()),
        }
        thread::park_timeout(PAUSE);
    }
    failed
}
