//! What a panic ends: the one request that it happened in.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Runs a future; `None` if it panics. It must not be run any further then. It is lent, since a future
/// that is given away is copied as a whole, twice.
pub async fn caught<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        // Nothing of a future that has panicked is looked at again.
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        polled.map_or_else(
            |_| {
                PANICS.fetch_add(1, Ordering::Relaxed);
                Poll::Ready(None)
            },
            |poll| poll.map(Some),
        )
    })
    .await
}

/// How many requests a panic has ended since the process began.
#[must_use]
pub fn count() -> u64 {
    PANICS.load(Ordering::Relaxed)
}
