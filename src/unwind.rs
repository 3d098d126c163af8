//! What a panic ends: the one request that it happened in. What the process cannot do without begins
//! again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

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

/// How long it takes until what a panic has ended begins again: a bug that strikes each time must cost
/// next to nothing.
const PAUSE: Duration = Duration::from_millis(500);

/// Runs a task that the process cannot do without, and once more whenever it panics. `name` is for the
/// log: "accepting connections".
pub async fn again<F: Future>(name: &str, mut begin: impl FnMut() -> F) -> F::Output {
    loop {
        if let Some(output) = caught(pin!(begin())).await {
            return output;
        }
        tracing::error!(task = name, "a bug has ended it; it begins again");
        tokio::time::sleep(PAUSE).await;
    }
}

/// How many requests or tasks a panic has ended since the process began.
#[must_use]
pub fn count() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test]
    async fn what_cannot_be_done_without_begins_again_and_is_counted() {
        let (begun, before) = (Cell::new(0), count());
        let output = again("failing twice", || async {
            begun.set(begun.get() + 1);
            assert!(begun.get() > 2, "a bug");
            begun.get()
        });
        assert_eq!(output.await, 3);
        assert!(count() >= before + 2);
    }
}
