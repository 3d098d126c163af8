//! One thread of the data plane: its own runtime, its own sockets, its own connections. A request
//! never leaves the worker that accepted it.

use std::io;
use std::net::TcpListener as Socket;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions};
use tokio::task::spawn_local;

use crate::caller::{self, Callers, converse};
use crate::dial::resolver::Resolver;
use crate::gateway::{Entrance, Gateway};
use crate::metrics;
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
    /// What this worker counts.
    pub counts: Arc<metrics::Worker>,
    /// Hears of the end.
    pub drain: Drain,
}

/// Serves until the end is announced and what was under way is finished, or its time is up.
/// `sockets` are in the order of the plan's listeners.
///
/// # Errors
///
/// If the runtime or a socket cannot be set up.
pub fn run(sockets: Vec<Socket>, config: caller::Config, shared: Shared) -> io::Result<()> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())?;
    runtime.block_on(serve(sockets, config, shared))
}

async fn serve(sockets: Vec<Socket>, config: caller::Config, mut shared: Shared) -> io::Result<()> {
    let gateway = Rc::new(Gateway::new(
        shared.plans,
        shared.resolver,
        Arc::clone(&shared.counts),
    ));
    let (busy, all_idle) = guards();
    let callers = Rc::new(Callers::new(Rc::clone(&gateway), config, shared.counts));
    let mut accepting = Vec::new();
    for (listener, socket) in sockets.into_iter().enumerate() {
        socket.set_nonblocking(true)?;
        let socket = TcpListener::from_std(socket)?;
        let drain = shared.drain.clone();
        accepting.push(spawn_local(accept(
            socket,
            listener,
            Rc::clone(&callers),
            drain,
            busy.clone(),
        )));
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

async fn accept(
    socket: TcpListener,
    listener: usize,
    callers: Rc<Callers>,
    mut drain: Drain,
    busy: Busy,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = socket.accept() => accepted,
            // Only when nothing waits to be accepted: closing first would lose those connections.
            () = drain.begun() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Ok(local) = stream.local_addr() {
                    let entrance = Entrance {
                        listener,
                        local: local.ip(),
                        peer: peer.ip(),
                    };
                    spawn_local(converse(
                        stream,
                        entrance,
                        Rc::clone(&callers),
                        busy.clone(),
                    ));
                }
            }
            Err(error) => {
                callers.counts.accept_errors.up();
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
