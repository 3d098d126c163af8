//! The keys that sign: one in use, and one that follows it on the day when the other side changes
//! over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use super::MintError;
use crate::clock::Moment;
use crate::jws::SigningKey;
use crate::secret::material::Material;

/// The key in use, and the one that will follow it once the other side knows it.
#[derive(Debug)]
pub struct Keys {
    /// The key in use.
    present: Box<Material<SigningKey>>,
    /// The key that follows.
    next: Option<Box<Material<SigningKey>>>,
    /// Whether the next key is the one that signs.
    is_next: AtomicBool,
    /// Whether that was decided on trial, and nothing is known yet of what came of it.
    is_trial: AtomicBool,
    /// When the one in use was taken for good, in seconds since the machine booted; 0 for at
    /// the start.
    taken: AtomicU32,
}

/// How long after a key was taken requests are still refused that the one before had signed.
const SETTLED: Duration = Duration::from_secs(30);

impl Keys {
    /// Begins with the present key.
    #[must_use]
    pub fn new(present: Material<SigningKey>, next: Option<Material<SigningKey>>) -> Self {
        Self {
            present: Box::new(present),
            next: next.map(Box::new),
            is_next: AtomicBool::new(false),
            is_trial: AtomicBool::new(false),
            taken: AtomicU32::new(0),
        }
    }

    /// Takes the other key from now on, if there is one: the other side has refused what this one
    /// signed, so perhaps it has changed over. Gives whether there is another.
    pub fn change_over(&self) -> bool {
        let is_other = self.next.is_some();
        if is_other {
            self.is_next.fetch_xor(true, Ordering::Relaxed);
        }
        is_other
    }

    /// Takes the other key on trial.
    pub(super) fn try_other(&self) {
        // Set first: what the other key signs is never seen without it.
        self.is_trial.store(self.next.is_some(), Ordering::Release);
        self.change_over();
    }

    /// What the key on trial signed was refused, too: the one before was not to blame, and is back
    /// in use. Gives whether there was a trial; of several who call, one is told.
    pub(super) fn go_back(&self) -> bool {
        let was_trial = self.is_trial.swap(false, Ordering::AcqRel);
        if was_trial {
            self.change_over();
        }
        was_trial
    }

    /// What the key on trial signed was taken: it stays.
    pub(super) fn stay(&self) {
        self.is_trial.store(false, Ordering::Release);
    }

    /// The key to try for a request whose signature was refused, as whether it is the next one:
    /// the one that is not in use, or the one in use if it has only just come into it. `None` if
    /// there is but one.
    pub(super) fn other(&self, now: Moment) -> Option<bool> {
        self.next.as_ref()?;
        let taken = Duration::from_secs(self.taken.load(Ordering::Relaxed).into());
        let is_new = !taken.is_zero() && now.boot < taken + SETTLED;
        Some(self.is_next() == is_new)
    }

    /// Takes the next key, or the present one, from now on.
    pub(super) fn take(&self, is_next: bool, now: Moment) {
        if self.is_next.swap(is_next, Ordering::Relaxed) != is_next {
            let seconds = u32::try_from(now.boot.as_secs()).unwrap_or(u32::MAX);
            self.taken.store(seconds, Ordering::Relaxed);
        }
    }

    /// Whether the next key is the one that signs.
    pub(super) fn is_next(&self) -> bool {
        self.is_next.load(Ordering::Relaxed)
    }

    /// The next key, or the present one.
    ///
    /// # Errors
    ///
    /// [`MintError::NoSecret`] if its command has not run yet.
    pub(super) fn signing(&self, is_next: bool) -> Result<Arc<SigningKey>, MintError> {
        let material = match &self.next {
            Some(next) if is_next => next,
            _ => &self.present,
        };
        material
            .get()
            .ok_or_else(|| MintError::NoSecret(material.reference().to_string()))
    }

    /// Both of them.
    pub fn all(&self) -> impl Iterator<Item = &Material<SigningKey>> {
        std::iter::once(&*self.present).chain(self.next.as_deref())
    }
}
