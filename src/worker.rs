//! One thread of the data plane: its own runtime, its own sockets, its own connections. A request
//! never leaves the worker that accepted it.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;

use crate::caller::Callers;
use crate::caller::seats::Seats;
use crate::clock::Clock;
use crate::dial::resolver::Resolver;
use crate::gateway::Gateway;
use crate::listener::bind::Listening;
use crate::metrics;
use crate::plan::{Listener, Plan};
use crate::shutdown::{Busy, Drain, guards};
use crate::{caller, listener, unwind};

mod door;

use door::Door;

/// How often free connections to upstreams are looked through.
const SWEEP: Duration = Duration::from_secs(5);

/// How much longer than their own deadline connections are waited for, should one not keep it.
const GRACE: Duration = Duration::from_millis(100);

/// What a worker shares with the rest of the process.
#[derive(Debug)]
pub struct Shared {
    /// Looks names up.
    pub resolver: Resolver,
    /// What this worker counts.
    pub counts: Arc<metrics::Worker>,
    /// What rates are measured with.
    pub clock: Clock,
    /// Hears of the end.
    pub drain: Drain,
    /// Where callers sit, of all workers.
    pub seats: Seats,
}

/// What a worker goes by from now on, all of it at once: no request sees a part.
#[derive(Debug)]
pub struct Turn {
    /// The plan. A listener that is not in it is closed, and its connections end.
    pub plan: Arc<Plan>,
    /// What connections may do that are accepted from now on.
    pub caller: caller::Config,
    /// This worker's sockets of listeners that are new.
    pub opened: Vec<(listener::Id, Listening)>,
    /// Listeners that stay and let in other callers than before: their connections end.
    pub drained: Vec<listener::Id>,
    /// Told when it has been done.
    pub done: oneshot::Sender<()>,
}

/// Serves until the end is announced and what was under way is finished, or its time is up.
/// The channel brings what it goes by: the first of it at once.
///
/// # Errors
///
/// If the runtime cannot be set up.
pub fn run(turns: mpsc::UnboundedReceiver<Turn>, shared: Shared) -> io::Result<()> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())?;
    runtime.block_on(serve(turns, shared));
    Ok(())
}

async fn serve(mut turns: mpsc::UnboundedReceiver<Turn>, mut shared: Shared) {
    let Some(first) = turns.recv().await else {
        return;
    };
    let (busy, all_idle) = guards();
    let gateway = Rc::new(Gateway::new(
        Arc::clone(&first.plan),
        shared.resolver,
        shared.counts,
        shared.clock,
    ));
    let mut worker = Worker {
        gateway: Rc::clone(&gateway),
        doors: Vec::new(),
        seats: shared.seats,
        busy,
    };
    let mut drain = worker.turn(first);
    let sweeping = spawn_local(async move {
        unwind::again("closing idle connections", || sweep(&gateway)).await;
    });
    loop {
        tokio::select! {
            biased;
            () = shared.drain.begun() => break,
            turn = turns.recv() => match turn {
                Some(turn) => drain = worker.turn(turn),
                // Nobody is left to serve for.
                None => break,
            },
        }
    }
    worker.end();
    if tokio::time::timeout(drain + GRACE, all_idle.wait())
        .await
        .is_err()
    {
        // Those that have left HTTP know of no end but their own.
        tracing::warn!(after = ?drain, "requests under way were cut off");
    }
    sweeping.abort();
}

/// The worker's listeners, and what serves their requests.
struct Worker {
    gateway: Rc<Gateway>,
    doors: Vec<Door>,
    seats: Seats,
    busy: Busy,
}

impl Worker {
    /// Does what a turn says; gives how long connections may take to end from now on.
    fn turn(&mut self, turn: Turn) -> Duration {
        let Turn { plan, caller, .. } = turn;
        self.gateway.follow(Arc::clone(&plan));
        let doors = std::mem::take(&mut self.doors);
        for mut door in doors {
            let Some(place) = plan.listener(door.id()) else {
                self.close(door);
                continue;
            };
            let drains = turn.drained.contains(&door.id());
            let callers = self.callers(&plan.listeners[place], caller);
            door.admit(callers, drains);
            self.doors.push(door);
        }
        for (id, socket) in turn.opened {
            let Some(place) = plan.listener(id) else {
                continue;
            };
            let callers = self.callers(&plan.listeners[place], caller);
            match Door::open(id, socket, callers) {
                Ok(door) => self.doors.push(door),
                Err(error) => tracing::error!(%error, "a worker cannot take part in a listener"),
            }
        }
        // Whoever waited for it may have gone away.
        let _ = turn.done.send(());
        caller.drain
    }

    /// Those who come in at a listener from now on.
    fn callers(&self, listener: &Listener, config: caller::Config) -> Rc<Callers> {
        let (gateway, seats) = (Rc::clone(&self.gateway), self.seats.clone());
        Rc::new(Callers::new(gateway, config, listener, seats))
    }

    /// Closes a listener. Its connections are waited for by a task of their own.
    fn close(&self, door: Door) {
        let (gateway, busy) = (Rc::clone(&self.gateway), self.busy.clone());
        spawn_local(async move {
            let id = door.id();
            door.close().await;
            gateway.forget(id);
            drop(busy);
        });
    }

    fn end(mut self) {
        for door in std::mem::take(&mut self.doors) {
            self.close(door);
        }
    }
}

async fn sweep(gateway: &Gateway) {
    loop {
        tokio::time::sleep(SWEEP).await;
        gateway.sweep();
    }
}
