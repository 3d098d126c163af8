//! How many callers there may be at once.
//!
//! Each connection of a caller takes a descriptor, and may need another one to an upstream. A
//! process that lets in more than that leaves none for tokens, and then nobody is served.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::Line;
use crate::listener::room::{Room, Taken};
use crate::respond;
use crate::shutdown::Busy;

/// The most callers where the system would let in any number: beyond that, memory is what runs out.
const MOST: u64 = 65_536;

/// How many callers are told at once why they are not let in. Whoever comes beyond that finds the
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

/// The seats of the whole process.
#[derive(Clone, Debug)]
pub struct Seats {
    most: usize,
    process: Arc<Room>,
    told: Arc<Room>,
}

impl Seats {
    /// So many, and none taken.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            most,
            process: Arc::default(),
            told: Arc::default(),
        }
    }

    /// Takes one, and one of the listener's, which may have fewer; `None` if there is none.
    #[must_use]
    pub fn take(&self, listener: &Arc<Room>, most: Option<usize>, busy: Busy) -> Option<Seat> {
        Some(Seat {
            _listener: listener.take(most.unwrap_or(usize::MAX))?,
            _process: self.process.take(self.most)?,
            busy,
        })
    }

    /// Tells a caller in plain HTTP/1 that there is no room: an answer at once serves it better than
    /// waiting to be let in, and it knows when to come again. It is not told where that would take a
    /// TLS handshake first.
    pub async fn turn_away(&self, line: impl Line) {
        self.tell(line, &respond::no_room(RETRY_AFTER)).await;
    }

    /// Says the last words to a caller, and closes the connection without losing them.
    pub(super) async fn tell(&self, mut line: impl Line, words: &[u8]) {
        let Some(_told) = self.told.take(TOLD) else {
            return;
        };
        let telling = async {
            line.write_all(words).await?;
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
    _listener: Taken,
    busy: Busy,
}

impl Seat {
    /// For what goes on after the connection has left HTTP.
    pub(super) fn busy(&self) -> Busy {
        self.busy.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shutdown::guards;

    #[test]
    fn a_seat_is_free_again_when_its_connection_ends() {
        let (busy, _all_idle) = guards();
        let seats = Seats::new(2);
        let (small, large) = (Arc::default(), Arc::default());
        let first = seats
            .take(&small, Some(1), busy.clone())
            .expect("the first");
        assert!(seats.take(&small, Some(1), busy.clone()).is_none());
        let _second = seats.take(&large, None, busy.clone()).expect("the second");
        assert!(seats.take(&large, None, busy.clone()).is_none());
        drop(first);
        let third = seats.take(&small, Some(1), busy.clone());
        assert!(third.is_some());
        assert!(seats.take(&large, None, busy).is_none());
    }
}
