//! Lines on their way to somebody who may not be reading.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// How many lines wait at most, and how many bytes they may have together: minutes of an ordinary
/// log, and a second of one with a line for each request.
const LINES: usize = 8192;
const BYTES: usize = 2 * 1024 * 1024;

/// A bounded queue in front of a thread that writes.
#[derive(Debug)]
pub(super) struct Queue {
    items: SyncSender<Item>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The bytes that wait.
    waiting: AtomicUsize,
    /// Lines that were lost, and how many of them nobody has been told of.
    lost: AtomicU64,
    untold: AtomicU64,
}

#[derive(Debug)]
enum Item {
    Line(Box<[u8]>),
    Flush(SyncSender<()>),
}

impl Queue {
    /// A queue whose lines are written to `out`.
    ///
    /// # Errors
    ///
    /// If the system gives no thread.
    pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (items, received) = sync_channel(LINES);
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::Builder::new()
            .name("log".into())
            .spawn(move || write(&received, &shared, out))?;
        Ok(Self { items, state })
    }

    /// Takes a line, or loses it if too much is waiting. Never waits.
    pub(super) fn push(&self, line: &[u8]) {
        let waiting = self.state.waiting.fetch_add(line.len(), Ordering::Relaxed);
        let fits = waiting + line.len() <= BYTES;
        if !fits || self.items.try_send(Item::Line(line.into())).is_err() {
            self.state.waiting.fetch_sub(line.len(), Ordering::Relaxed);
            self.state.lose();
        }
    }

    /// Waits until all that was pushed before is written, for `patience` at most.
    pub(super) fn flush(&self, patience: Duration) {
        let (done, is_done) = sync_channel(1);
        if self.items.try_send(Item::Flush(done)).is_ok() {
            let _ = is_done.recv_timeout(patience);
        }
    }

    /// How many lines were lost.
    pub(super) fn lost(&self) -> u64 {
        self.state.lost.load(Ordering::Relaxed)
    }
}

impl State {
    fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        self.untold.fetch_add(1, Ordering::Relaxed);
    }
}

fn write(items: &Receiver<Item>, state: &State, mut out: impl Write) {
    while let Ok(item) = items.recv() {
        let line = match item {
            Item::Line(line) => line,
            Item::Flush(done) => {
                let _ = done.try_send(());
                continue;
            }
        };
        let written = out.write_all(&line);
        state.waiting.fetch_sub(line.len(), Ordering::Relaxed);
        if written.is_err() {
            state.lose();
            continue;
        }
        // Only now that lines get through: where they do not, this one would not either.
        let untold = state.untold.swap(0, Ordering::Relaxed);
        if untold > 0 {
            tracing::warn!(
                lines = untold,
                "lines of this log were lost: they came faster than they could be written"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Writes as far as it is let.
    #[derive(Clone, Default)]
    struct Slow {
        written: Arc<Mutex<Vec<u8>>>,
        gate: Arc<Mutex<()>>,
    }

    impl Write for Slow {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let _open = self.gate.lock().expect("no panic");
            self.written.lock().expect("no panic").extend(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn whoever_pushes_is_not_held_up_by_whoever_does_not_read() {
        let slow = Slow::default();
        let queue = Queue::start(slow.clone()).expect("a thread");
        let closed = slow.gate.lock().expect("no panic");
        for _ in 0..LINES + 100 {
            queue.push(b"a line\n");
        }
        assert!((99..=100).contains(&queue.lost()), "{}", queue.lost());
        drop(closed);
        // The end is written as soon as there is a place in the queue.
        while slow.written.lock().expect("no panic").is_empty() {
            thread::yield_now();
        }
        queue.flush(PATIENCE);
        queue.push(b"the end\n");
        queue.flush(PATIENCE);
        let written = slow.written.lock().expect("no panic").clone();
        assert!(written.ends_with(b"the end\n"));
    }

    #[test]
    fn what_waits_is_bounded_in_bytes_too() {
        let slow = Slow::default();
        let queue = Queue::start(slow.clone()).expect("a thread");
        let closed = slow.gate.lock().expect("no panic");
        let line = vec![b'x'; BYTES / 4];
        for _ in 0..10 {
            queue.push(&line);
        }
        assert_eq!(queue.lost(), 6);
        drop(closed);
        queue.flush(PATIENCE);
        assert_eq!(slow.written.lock().expect("no panic").len(), BYTES);
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_no_end() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let queue = Queue::start(Full).expect("a thread");
        queue.push(b"a line\n");
        queue.push(b"a line\n");
        queue.flush(PATIENCE);
        assert_eq!(queue.lost(), 2);
    }
}
