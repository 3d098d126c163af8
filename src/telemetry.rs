//! What is said about the running process, and where: lines on standard error.

use tracing::level_filters::LevelFilter;

/// What is logged.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The least important messages that are still written.
    pub level: LevelFilter,
    /// Whether each request is.
    pub requests: bool,
}

/// Starts logging. A second call changes nothing: a process logs to one place.
pub fn start(config: Config) {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(config.level)
        .with_writer(std::io::stderr)
        .with_target(false)
        .finish();
    let _ = tracing::subscriber::set_global_default(subscriber);
}
