//! Having the configuration read again, while everything runs: who may ask, and what comes of it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};

use super::Config;
use crate::admin;
use crate::confine::Beyond;
use crate::listener::BindError;
use crate::secret::trail::Trail;

/// Where a configuration comes from.
pub struct Origin {
    /// Reads it. It may take its time, and is called on a thread where that holds up nobody.
    pub read: Arc<dyn Fn() -> Reading + Send + Sync>,
    /// The files that it was made of when it was read first.
    pub trail: Trail,
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("trail", &self.trail)
            .finish_non_exhaustive()
    }
}

/// A configuration that was read again.
#[derive(Debug)]
pub struct Reading {
    /// The configuration with what is probably not meant in it, or all that is wrong with it: each
    /// a text with its place and the way out.
    pub outcome: Result<(Box<Config>, Vec<String>), Vec<String>>,
    /// The files that it is made of.
    pub trail: Trail,
}

/// What a reload has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many credentials stay with their tokens.
    pub kept: usize,
    /// The names of credentials that are new.
    pub new: Vec<String>,
    /// Those of them that have no token yet.
    pub without_token: Vec<String>,
    /// The names of listeners that were opened.
    pub opened: Vec<String>,
    /// The names of listeners that were closed.
    pub closed: Vec<String>,
    /// What is probably not meant.
    pub warnings: Vec<String>,
    /// Keys that have changed and hold from the next start on.
    pub takes_restart: Vec<&'static str>,
}

impl fmt::Display for Report {
    /// One line for the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "credentials: {} kept", self.kept)?;
        let lists = [
            ("new", &self.new),
            ("without a token", &self.without_token),
            ("listeners opened", &self.opened),
            ("listeners closed", &self.closed),
        ];
        for (what, names) in lists.into_iter().filter(|(_, names)| !names.is_empty()) {
            write!(f, "; {what}: {}", names.join(", "))?;
        }
        Ok(())
    }
}

/// Why a reload changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The configuration cannot be used: all that is wrong with it.
    #[error("{}", .0.join("\n"))]
    Faults(Vec<String>),
    /// An address of it could not be bound.
    #[error("{0}{why}", why = source_of(.0))]
    Bind(BindError),
    /// It needs what the process has denied itself for as long as it runs.
    #[error("{0}")]
    Beyond(Beyond),
    /// What runs was not read from a file.
    #[error("this configuration was not read from a file, so that it cannot be read again")]
    NoFile,
    /// There is no point any more.
    #[error("the process is about to end")]
    Ending,
}

fn source_of(error: &dyn std::error::Error) -> String {
    let source = error.source();
    source.map_or_else(String::new, |it| format!(": {it}"))
}

/// Has the configuration read again. Whoever asks while it is being read is answered by the next
/// reading: what the files say last is in force in the end.
#[derive(Clone, Debug)]
pub struct Reload {
    asks: mpsc::UnboundedSender<Ask>,
    tally: Arc<Tally>,
}

/// Who wants a reload, and how they hear of it.
#[derive(Debug)]
pub(super) struct Ask {
    /// Whether somebody has asked for it, and not a file's change.
    pub(super) is_explicit: bool,
    pub(super) answer: Option<oneshot::Sender<Result<Report, Arc<ReloadError>>>>,
}

/// How reloads went.
#[derive(Debug, Default)]
pub(super) struct Tally {
    succeeded: AtomicU64,
    refused: AtomicU64,
    is_refused: AtomicBool,
}

impl Tally {
    pub(super) fn note(&self, is_refused: bool) {
        let count = if is_refused {
            &self.refused
        } else {
            &self.succeeded
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.is_refused.store(is_refused, Ordering::Relaxed);
    }
}

/// Makes the two sides.
pub(super) fn channel() -> (Reload, mpsc::UnboundedReceiver<Ask>) {
    let (asks, receiver) = mpsc::unbounded_channel();
    let tally = Arc::default();
    (Reload { asks, tally }, receiver)
}

impl Reload {
    /// Reads the configuration and puts it in force, or changes nothing. All workers go by it when
    /// this returns.
    ///
    /// # Errors
    ///
    /// [`ReloadError`] with all that is wrong.
    pub async fn reload(&self) -> Result<Report, Arc<ReloadError>> {
        let (answer, answered) = oneshot::channel();
        let _ = self.asks.send(Ask {
            is_explicit: true,
            answer: Some(answer),
        });
        answered
            .await
            .unwrap_or_else(|_| Err(Arc::new(ReloadError::Ending)))
    }

    /// The same for those who do not wait for it: a signal. The log says what came of it.
    pub fn request(&self) {
        self.ask(true);
    }

    pub(super) fn ask(&self, is_explicit: bool) {
        // Nobody listens when the end has come.
        let _ = self.asks.send(Ask {
            is_explicit,
            answer: None,
        });
    }

    /// How many reloads have changed what is in force.
    #[must_use]
    pub fn succeeded(&self) -> u64 {
        self.tally.succeeded.load(Ordering::Relaxed)
    }

    /// How many have changed nothing, because the configuration could not be used.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.tally.refused.load(Ordering::Relaxed)
    }

    /// Whether the last one was refused: what is in force is not what the file says.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.tally.is_refused.load(Ordering::Relaxed)
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }
}

impl admin::Reload for Reload {
    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<String, String>>>> {
        let reload = self.clone();
        Box::pin(async move {
            let outcome = Self::reload(&reload).await;
            outcome
                .map(|report| report.to_string())
                .map_err(|error| error.to_string())
        })
    }

    fn counts(&self) -> (u64, u64) {
        (self.succeeded(), self.refused())
    }

    fn is_refused(&self) -> bool {
        Self::is_refused(self)
    }
}
