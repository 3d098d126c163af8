//! How an end is announced to everybody, and how one waits until the last has noticed.

use tokio::sync::{mpsc, watch};

pub mod ending;

/// Announces the end.
#[derive(Debug)]
pub struct Shutdown(watch::Sender<bool>);

/// Hears of the end.
#[derive(Clone, Debug)]
pub struct Drain(watch::Receiver<bool>);

/// Makes the two sides.
#[must_use]
pub fn channel() -> (Shutdown, Drain) {
    let (sender, receiver) = watch::channel(false);
    (Shutdown(sender), Drain(receiver))
}

impl Shutdown {
    /// Announces the end. Doing it twice changes nothing.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }
}

impl Drain {
    /// Whether the end has been announced.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once the end has been announced, or the one who could announce it is gone.
    pub async fn begun(&mut self) {
        // An error means that the sender was dropped: nobody is left to serve for.
        let _ = self.0.wait_for(|begun| *begun).await;
    }
}

impl Drain {
    /// Whether the end has been announced.
    #[must_use]
    pub fn is_begun(&self) -> bool {
        *self.0.borrow()
    }
}

/// Held by whatever must be finished before the end. Purposefully without a method: being dropped
/// is all it does.
#[derive(Clone, Debug)]
pub struct Busy {
    _sender: mpsc::Sender<()>,
}

/// Waits for the last [`Busy`].
#[derive(Debug)]
pub struct AllIdle(mpsc::Receiver<()>);

/// Makes the first of the guards, and the one who waits for all of them.
#[must_use]
pub fn guards() -> (Busy, AllIdle) {
    let (sender, receiver) = mpsc::channel(1);
    (Busy { _sender: sender }, AllIdle(receiver))
}

impl AllIdle {
    /// Returns when every guard has been dropped.
    pub async fn wait(mut self) {
        let nothing_is_ever_sent = self.0.recv().await;
        debug_assert!(nothing_is_ever_sent.is_none());
    }
}
