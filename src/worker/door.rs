//! One listener at one worker: the socket, and the connections that came in there.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_local};

use crate::caller::{self, Callers};
use crate::gateway::Gateway;
use crate::listener;
use crate::listener::bind::{Acceptor, Listening};
use crate::listener::door::Complaints;
use crate::shutdown::{self, AllIdle, Busy, Drain, Shutdown, guards};

/// How long a worker waits when the system has no file descriptor left for a connection: long
/// enough not to spin, short enough that the next one that is freed is used at once.
const NO_DESCRIPTOR: Duration = Duration::from_millis(50);

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
        gateway: &Rc<Gateway>,
        config: caller::Config,
    ) -> io::Result<Self> {
        let socket = Acceptor::new(socket)?;
        let callers = Rc::new(Callers::new(Rc::clone(gateway), config));
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
    pub(super) fn admit(&mut self, gateway: &Rc<Gateway>, config: caller::Config, drains: bool) {
        // Those that nobody else holds have no connection left.
        self.former.retain(|it| Rc::strong_count(it) > 1);
        if !drains && *self.callers.borrow().config() == config {
            return;
        }
        let next = Rc::new(Callers::new(Rc::clone(gateway), config));
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
    socket: Acceptor,
    listener: listener::Id,
    callers: Rc<RefCell<Rc<Callers>>>,
    mut drain: Drain,
    busy: Busy,
) {
    let complaints = Rc::new(Complaints::default());
    loop {
        let accepted = if socket.outlives() {
            tokio::select! {
                biased;
                // At once: those that wait are served by the process that comes next.
                () = drain.begun() => return,
                accepted = socket.accept() => accepted,
            }
        } else {
            tokio::select! {
                biased;
                accepted = socket.accept() => accepted,
                // Only when nothing waits to be accepted: closing first would lose those
                // connections.
                () = drain.begun() => return,
            }
        };
        match accepted {
            // In a task of its own, so that whoever is slow to shake hands holds up nobody.
            Ok(socket) => {
                let callers = Rc::clone(&callers.borrow());
                let complaints = Rc::clone(&complaints);
                spawn_local(callers.receive(listener, socket, complaints, busy.clone()));
            }
            Err(error) => {
                callers.borrow().counts().accept_errors.up();
                wait_after(&error).await;
            }
        }
    }
}

/// Connections that were gone before they were accepted are nobody's trouble; a lack of
/// descriptors passes when connections end.
async fn wait_after(error: &io::Error) {
    if matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    ) {
        return;
    }
    tracing::error!(%error, "cannot accept a connection");
    tokio::time::sleep(NO_DESCRIPTOR).await;
}
