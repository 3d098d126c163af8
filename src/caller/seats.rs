//! How many callers there may be at once.
//!
//! Each connection of a caller takes a descriptor, and may need another one to an upstream. A
//! process that lets in more than that leaves none for tokens, and then nobody is served.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::Line;
use crate::respond;
use crate::shutdown::Busy;

/// The most callers where the system would let in any number: beyond that, memory is what runs out.
const MOST: u64 = 65_536;

/// How many callers are told at once that there is no room. Whoever comes beyond that finds the
/// connection closed.
const TOLD: usize = 64;

/// How long a caller has to take that in.
const TELLING: Duration = Duration::from_secs(1);

/// When a caller for whom there is no room should try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Raises the limit of open descriptors as far as the system lets it be raised. The lower limit it
/// starts with is for programs that use `select`, which this is not.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "cannot raise the limit of open descriptors (RLIMIT_NOFILE)");
    }
}

/// The most callers of this process: half of its descriptors, so that each finds one to go on with.
#[must_use]
pub fn most() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from((descriptors / 2).clamp(8, MOST)).unwrap_or(usize::MAX)
}

/// A number of seats, shared by all workers. Only a connection's beginning and end touch it.
#[derive(Debug)]
pub struct Room {
    seats: usize,
    taken: AtomicUsize,
}

impl Room {
    /// A room with so many seats.
    #[must_use]
    pub fn new(seats: usize) -> Arc<Self> {
        Arc::new(Self {
            seats,
            taken: AtomicUsize::new(0),
        })
    }

    fn take(self: &Arc<Self>) -> Option<Taken> {
        let taken = Taken(Arc::clone(self));
        // Counted first: two who look at the last seat at once must not both have it.
        (self.taken.fetch_add(1, Relaxed) < self.seats).then_some(taken)
    }
}

/// One seat, given back when it is dropped.
#[derive(Debug)]
struct Taken(Arc<Room>);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Relaxed);
    }
}

/// The rooms that a caller of one listener needs a seat in.
#[derive(Clone, Debug)]
pub struct Rooms {
    process: Arc<Room>,
    listener: Option<Arc<Room>>,
    told: Arc<Room>,
}

impl Rooms {
    /// The rooms of the whole process.
    #[must_use]
    pub fn new(seats: usize) -> Self {
        Self {
            process: Room::new(seats),
            listener: None,
            told: Room::new(TOLD),
        }
    }

    /// The same with one more, for a listener that has a limit of its own.
    #[must_use]
    pub fn with(&self, listener: Option<Arc<Room>>) -> Self {
        Self {
            listener,
            ..self.clone()
        }
    }

    /// Takes a seat in each; `None` if one of them is full.
    #[must_use]
    pub fn enter(&self, busy: Busy) -> Option<Seat> {
        let listener = match &self.listener {
            Some(room) => Some(room.take()?),
            None => None,
        };
        Some(Seat {
            _process: self.process.take()?,
            _listener: listener,
            _busy: busy,
        })
    }

    /// Tells a caller in plain HTTP/1 that there is no room: an answer at once serves it better than
    /// waiting to be let in, and it knows when to come again. It is not told where that would take a
    /// TLS handshake first.
    pub async fn turn_away(&self, mut line: impl Line) {
        let Some(_told) = self.told.take() else {
            return;
        };
        let telling = async {
            line.write_all(&respond::no_room(RETRY_AFTER)).await?;
            line.shutdown().await?;
            // To close with a request unread would be a reset, which can overtake the answer.
            while line.read(&mut [0; 512]).await? > 0 {}
            Ok::<_, std::io::Error>(())
        };
        // Whatever goes wrong with this: the caller is not let in.
        let _ = timeout(TELLING, telling).await;
    }
}

/// What a connection holds as long as it lives: its seats, and the drain's attention.
#[derive(Debug)]
pub struct Seat {
    _process: Taken,
    _listener: Option<Taken>,
    _busy: Busy,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shutdown::guards;

    #[test]
    fn a_seat_is_free_again_when_its_connection_ends() {
        let (busy, _all_idle) = guards();
        let house = Rooms::new(2);
        let small = house.with(Some(Room::new(1)));
        let seat = small.enter(busy.clone()).expect("the first");
        assert!(small.enter(busy.clone()).is_none());
        let _second = house.enter(busy.clone()).expect("the second of the house");
        assert!(house.enter(busy.clone()).is_none());
        drop(seat);
        let third = small.enter(busy.clone());
        assert!(third.is_some());
        assert!(house.enter(busy).is_none());
    }
}
