//! What is said about the running process, and where: lines on standard error.
//!
//! Who logs never waits: lines go through a bounded [`queue`] to a thread that writes them. A
//! reader that has stopped reading, a full disk or a closed pipe costs lines and not requests.

use std::io::{self, Write};
use std::panic;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::Layer;
use tracing_subscriber::fmt::format::{self, DefaultFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Registry, reload};

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

/// Changes what is logged by the process that has started to.
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// How long the end waits for what is still to be written. A reader that takes nothing within it
/// will not take it later.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Starts logging. A second call changes nothing: a process logs to one place.
pub fn start(config: Config) {
    if let Ok(queue) = Queue::start(io::stderr()) {
        let _ = QUEUE.set(queue);
    }
    let is_json = config.format == Format::Json;
    let (level, handle) = reload::Layer::new(config.level);
    let subscriber = tracing_subscriber::registry()
        .with(level)
        .with((!is_json).then(lines))
        .with(is_json.then(|| lines().event_format(json::Json)));
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        let _ = LEVEL.set(handle);
    }
    // The standard hook would write by itself, and block a worker where nobody reads.
    panic::set_hook(Box::new(|panic| {
        let (panic, thread) = (panic.to_string(), thread::current());
        tracing::error!(panic, thread = thread.name(), "a bug");
    }));
}

fn lines<S: Subscriber + for<'a> LookupSpan<'a>>()
-> Layer<S, DefaultFields, format::Format, fn() -> Line> {
    Layer::default()
        .with_writer((|| Line) as fn() -> Line)
        .with_target(false)
        .log_internal_errors(false)
}

/// Logs by another level from now on.
pub fn set_level(level: LevelFilter) {
    if let Some(handle) = LEVEL.get() {
        // Fails if logging has ended, and then there is nothing to change.
        let _ = handle.reload(level);
    }
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
