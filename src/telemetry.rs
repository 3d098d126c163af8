//! What is said about the running process, and where: lines on standard error.
//!
//! Who logs never waits: lines go through a bounded [`queue`] to a thread that writes them. A
//! reader that has stopped reading, a full disk or a closed pipe costs lines and not requests.

use std::io::{self, Write};
use std::panic;
use std::sync::OnceLock;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

mod json;
mod queue;

use queue::Queue;

/// What is logged.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The least important messages that are still written.
    pub level: LevelFilter,
    /// How lines are written.
    pub format: Format,
    /// Whether each request is.
    pub requests: bool,
}

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

/// The one queue of the process; none before logging starts.
static QUEUE: OnceLock<Queue> = OnceLock::new();

/// How long the end waits for what is still to be written. A reader that takes nothing within it
/// will not take it later.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Starts logging. A second call changes nothing: a process logs to one place.
pub fn start(config: Config) {
    if let Ok(queue) = Queue::start(io::stderr()) {
        let _ = QUEUE.set(queue);
    }
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(config.level)
        .with_writer(|| Line)
        .with_target(false)
        .log_internal_errors(false);
    let _ = match config.format {
        Format::Text => tracing::subscriber::set_global_default(subscriber.finish()),
        Format::Json => {
            let subscriber = subscriber.event_format(json::Json);
            tracing::subscriber::set_global_default(subscriber.finish())
        }
    };
    // The standard hook would write by itself, and block a worker where nobody reads.
    panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a bug")));
}

/// Says one line outside of the log's own format, as the program does when it ends.
pub fn say(line: &str) {
    deliver(format!("{line}\n").as_bytes());
}

/// Waits until everything said so far is written, or for a second.
pub fn finish() {
    if let Some(queue) = QUEUE.get() {
        queue.flush(LAST_WORDS);
    }
}

/// How many lines have been lost, because nobody took them in time or they could not be written.
#[must_use]
pub fn lost() -> u64 {
    QUEUE.get().map_or(0, Queue::lost)
}

fn deliver(line: &[u8]) {
    match QUEUE.get() {
        Some(queue) => queue.push(line),
        // Nobody is served yet who could be kept waiting.
        None => drop(io::stderr().write_all(line)),
    }
}

/// Takes one line at a time: that is how the subscriber writes.
struct Line;

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        deliver(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
