//! What is said about the running process, and where: lines on standard error.

use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Registry, reload};

/// What is logged.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The least important messages that are still written.
    pub level: LevelFilter,
    /// Whether each request is.
    pub requests: bool,
}

/// Changes what is logged by the process that has started to.
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// Starts logging. A second call changes nothing: a process logs to one place.
pub fn start(config: Config) {
    let (level, handle) = reload::Layer::new(config.level);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false);
    let subscriber = tracing_subscriber::registry().with(level).with(lines);
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        let _ = LEVEL.set(handle);
    }
}

/// Logs by another level from now on.
pub fn set_level(level: LevelFilter) {
    if let Some(handle) = LEVEL.get() {
        // Fails if logging has ended, and then there is nothing to change.
        let _ = handle.reload(level);
    }
}
