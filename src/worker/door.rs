//! One listener at one worker: the socket, and the connections that came in there.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener as Socket};
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::Instant;

use crate::caller::{Callers, converse};
use crate::gateway::Entrance;
use crate::listener;
use crate::listener::manners::Protocols;
use crate::shutdown::{self, AllIdle, Busy, Drain, Shutdown, guards};

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
    pub(super) fn open(id: listener::Id, socket: Socket, callers: Rc<Callers>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let socket = TcpListener::from_std(socket)?;
        let callers = Rc::new(RefCell::new(callers));
        let (stop, drain) = shutdown::channel();
        let (busy, all_idle) = guards();
        let accepting = spawn_local(accept(socket, id, Rc::clone(&callers), drain, busy));
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
        // Those that nobody else holds have no connection left.
        self.former.retain(|it| Rc::strong_count(it) > 1);
        if !drains && self.callers.borrow().config() == next.config() {
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
        // Ends by itself. A panic in it has been told already.
        let _ = self.accepting.await;
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

async fn accept(
    socket: TcpListener,
    listener: listener::Id,
    callers: Rc<RefCell<Rc<Callers>>>,
    mut drain: Drain,
    busy: Busy,
) {
    let mut complained = None;
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = socket.accept() => accepted,
            // Only when nothing waits to be accepted: closing first would lose those connections.
            () = drain.begun() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let callers = Rc::clone(&callers.borrow());
                let_in(stream, peer, listener, callers, &busy);
            }
            Err(error) => {
                callers.borrow().counts().accept_errors.up();
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

fn let_in(
    stream: TcpStream,
    peer: SocketAddr,
    listener: listener::Id,
    callers: Rc<Callers>,
    busy: &Busy,
) {
    let protocols = callers.manners().protocols;
    let Some(seat) = callers.seat(busy.clone()) else {
        // What HTTP/2 takes for an answer would have to be asked for first.
        if protocols != Protocols::Http2 {
            spawn_local(async move { callers.seats().turn_away(stream).await });
        }
        return;
    };
    // An answer is written in one piece wherever it can be; nothing is won by waiting.
    let _ = stream.set_nodelay(true);
    if let Ok(local) = stream.local_addr() {
        let entrance = Entrance {
            listener,
            local: local.ip(),
            peer: peer.ip(),
        };
        spawn_local(converse(stream, entrance, protocols, callers, seat));
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
