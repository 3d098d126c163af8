//! One listener at one worker: the socket, and the connections that came in there.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_local, yield_now};
use tokio::time::Instant;

use crate::caller::Callers;
use crate::listener;
use crate::listener::bind::{Acceptor, Listening};
use crate::shutdown::{self, AllIdle, Busy, Drain, Shutdown, guards};
use crate::unwind;

/// How long a worker waits when the system has no file descriptor left for a connection: long
/// enough not to spin, short enough that the next one that is freed is soon used.
const NO_DESCRIPTOR: Duration = Duration::from_millis(500);

/// How often it says so.
const COMPLAINT: Duration = Duration::from_secs(10);

/// The door itself.
pub(super) struct Door {
    id: listener::Id,
    /// Those who come in from now on.
    callers: Rc<RefCell<Rc<Callers>>>,
    /// Those who came in while other limits held.
    former: Vec<Rc<Callers>>,
    accepting: JoinHandle<()>,
    stop: Shutdown,
    all_idle: AllIdle,
}

impl Door {
    /// Begins to accept.
    pub(super) fn open(
        id: listener::Id,
        socket: Listening,
        callers: Rc<Callers>,
    ) -> io::Result<Self> {
        let socket = Acceptor::new(socket)?;
        let callers = Rc::new(RefCell::new(callers));
        let (stop, drain) = shutdown::channel();
        let (busy, all_idle) = guards();
        let waiting = Waiting {
            socket,
            listener: id,
            callers: Rc::clone(&callers),
            busy,
        };
        // A listener whose socket nobody looks at would take connections and answer none.
        let accepting = spawn_local(async move {
            unwind::again("accepting connections", || waiting.accept(drain.clone())).await;
        });
        Ok(Self {
            id,
            callers,
            former: Vec::new(),
            accepting,
            stop,
            all_idle,
        })
    }

    pub(super) fn id(&self) -> listener::Id {
        self.id
    }

    /// Lets in under other limits from now on. Connections that are there end if `drains`, and keep
    /// to their own limits else.
    pub(super) fn admit(&mut self, next: Rc<Callers>, drains: bool) {
        self.former.retain(Callers::are_there);
        if !drains && self.callers.borrow().is_like(&next) {
            return;
        }
        self.former.push(self.callers.replace(next));
        if drains {
            self.former.iter().for_each(|it| it.end());
        }
    }

    /// Accepts what waits, closes the socket, and returns when the last connection has ended.
    pub(super) async fn close(mut self) {
        self.stop.begin();
        // Ends by itself.
        let _ = self.accepting.await;
        // What those asked who came in last may lie in their sockets: they are served once to read it,
        // which takes asking the system what there is.
        yield_now().await;
        let last = Rc::clone(&self.callers.borrow());
        self.former.push(last);
        self.former.iter().for_each(|it| it.end());
        self.all_idle.wait().await;
        let cut_off: usize = self.former.iter().map(|it| it.cut_off()).sum();
        if cut_off > 0 {
            let after = self.callers.borrow().config().drain;
            tracing::warn!(
                connections = cut_off,
                ?after,
                "requests under way were cut off"
            );
        }
    }
}

/// What accepts connections.
struct Waiting {
    socket: Acceptor,
    listener: listener::Id,
    /// Those who come in.
    callers: Rc<RefCell<Rc<Callers>>>,
    busy: Busy,
}

impl Waiting {
    async fn accept(&self, mut drain: Drain) {
        let mut complained = None;
        let mut has_asked = false;
        loop {
            let accepted = if self.socket.outlives() {
                tokio::select! {
                    biased;
                    // At once: those that wait are served by the process that comes next.
                    () = drain.begun() => return,
                    accepted = self.socket.accept() => accepted,
                }
            } else {
                tokio::select! {
                    biased;
                    accepted = self.socket.accept() => accepted,
                    // Only when nothing waits to be accepted: closing first would lose those
                    // connections. What waits is known once the system was asked again.
                    () = drain.begun() => {
                        if has_asked {
                            return;
                        }
                        has_asked = true;
                        yield_now().await;
                        continue;
                    }
                }
            };
            match accepted {
                // In a task of its own, so that whoever is slow to shake hands holds up nobody.
                Ok(socket) => {
                    let callers = Rc::clone(&self.callers.borrow());
                    let Some(seat) = callers.seat(self.busy.clone()) else {
                        spawn_local(callers.turn_away(socket));
                        continue;
                    };
                    spawn_local(callers.receive(self.listener, socket, seat));
                }
                Err(error) => {
                    self.callers.borrow().counts().accept_errors.up();
                    if is_its_own(&error) {
                        continue;
                    }
                    if complained.is_none_or(|at: Instant| at.elapsed() >= COMPLAINT) {
                        tracing::error!(%error, "cannot accept a connection; tried again twice a second");
                        complained = Some(Instant::now());
                    }
                    // The socket stays ready as long as somebody waits: without a pause this would
                    // fail again at once, and for ever.
                    tokio::time::sleep(NO_DESCRIPTOR).await;
                }
            }
        }
    }
}

/// Connections that were gone before they were accepted are nobody's trouble.
fn is_its_own(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
