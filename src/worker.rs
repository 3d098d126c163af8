//! One thread of the data plane: its own runtime, its own sockets, its own connections. A request
//! never leaves the worker that accepted it.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::{Builder, LocalOptions};
use tokio::task::spawn_local;

use crate::caller::{self, Callers};
use crate::dial::resolver::Resolver;
use crate::gateway::Gateway;
use crate::listener::bind::{Acceptor, Listening};
use crate::listener::door::Complaints;
use crate::plan::Plan;
use crate::shutdown::{Busy, Drain, guards};

/// How often free connections to upstreams are looked through.
const SWEEP: Duration = Duration::from_secs(5);

/// How long a worker waits when the system has no file descriptor left for a connection: long
/// enough not to spin, short enough that the next one that is freed is used at once.
const NO_DESCRIPTOR: Duration = Duration::from_millis(50);

/// What a worker shares with the rest of the process.
#[derive(Debug)]
pub struct Shared {
    /// The plan in force.
    pub plans: Arc<ArcSwap<Plan>>,
    /// Looks names up.
    pub resolver: Resolver,
    /// Hears of the end.
    pub drain: Drain,
}

/// Serves until the end is announced and what was under way is finished, or its time is up.
/// `sockets` are in the order of the plan's listeners, each with whether it outlives this process.
///
/// # Errors
///
/// If the runtime or a socket cannot be set up.
pub fn run(
    sockets: Vec<(Listening, bool)>,
    config: caller::Config,
    shared: Shared,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())?;
    runtime.block_on(serve(sockets, config, shared))
}

async fn serve(
    sockets: Vec<(Listening, bool)>,
    config: caller::Config,
    mut shared: Shared,
) -> io::Result<()> {
    let gateway = Rc::new(Gateway::new(shared.plans, shared.resolver));
    let (busy, all_idle) = guards();
    let callers = Rc::new(Callers::new(Rc::clone(&gateway), config));
    let mut accepting = Vec::new();
    for (listener, (socket, outlives)) in sockets.into_iter().enumerate() {
        let socket = Acceptor::new(socket)?;
        let drain = shared.drain.clone();
        let callers = Rc::clone(&callers);
        let accepting_here = accept(socket, outlives, listener, callers, drain, busy.clone());
        accepting.push(spawn_local(accepting_here));
    }
    drop(busy);
    let sweeping = spawn_local(sweep(gateway));
    shared.drain.begun().await;
    for task in accepting {
        // Each ends by itself once it has taken in what was waiting.
        let _ = task.await;
    }
    callers.end();
    sweeping.abort();
    if tokio::time::timeout(config.drain, all_idle.wait())
        .await
        .is_err()
    {
        tracing::warn!(after = ?config.drain, "requests under way were cut off");
    }
    Ok(())
}

async fn sweep(gateway: Rc<Gateway>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        gateway.sweep();
    }
}

/// Takes connections in until the end. A socket that goes with this process is emptied first:
/// closing it would lose those that wait. One that outlives it is left to the process that comes
/// next, which they wait for.
async fn accept(
    socket: Acceptor,
    outlives: bool,
    listener: usize,
    callers: Rc<Callers>,
    mut drain: Drain,
    busy: Busy,
) {
    let complaints = Rc::new(Complaints::default());
    loop {
        let accepted = if outlives {
            tokio::select! {
                biased;
                () = drain.begun() => return,
                accepted = socket.accept() => accepted,
            }
        } else {
            tokio::select! {
                biased;
                accepted = socket.accept() => accepted,
                () = drain.begun() => return,
            }
        };
        match accepted {
            // In a task of its own, so that whoever is slow to shake hands holds up nobody.
            Ok(socket) => {
                let (callers, complaints) = (Rc::clone(&callers), Rc::clone(&complaints));
                spawn_local(callers.receive(listener, socket, complaints, busy.clone()));
            }
            Err(error) => wait_after(&error).await,
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
