//! How many callers there are at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts callers for all workers. Only a connection's beginning and end touch it.
#[derive(Debug, Default)]
pub struct Room(AtomicUsize);

impl Room {
    /// Takes a seat, if fewer than `seats` are taken.
    #[must_use]
    pub fn take(self: &Arc<Self>, seats: usize) -> Option<Taken> {
        let taken = Taken(Arc::clone(self));
        // Counted first: two who look at the last seat at once must not both have it.
        (self.0.fetch_add(1, Relaxed) < seats).then_some(taken)
    }
}

/// One seat, given back when it is dropped.
#[derive(Debug)]
pub struct Taken(Arc<Room>);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}
