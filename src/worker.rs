//! One thread of the data plane: its own runtime, its own sockets, its own connections. A request
//! never leaves the worker that accepted it.

use std::io;
use std::net::{SocketAddr, TcpListener as Socket};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::task::spawn_local;
use tokio::time::Instant;

use crate::caller::seats::Rooms;
use crate::caller::{self, Callers, converse};
use crate::dial::resolver::Resolver;
use crate::gateway::{Entrance, Gateway};
use crate::listener::manners::{Manners, Protocols};
use crate::plan::Plan;
use crate::shutdown::{Busy, Drain, guards};

/// How often free connections to upstreams are looked through.
const SWEEP: Duration = Duration::from_secs(5);

/// How long a worker waits when the system has no file descriptor left for a connection: long
/// enough not to spin, short enough that the next one that is freed is soon used.
const NO_DESCRIPTOR: Duration = Duration::from_millis(500);

/// How often it says so.
const COMPLAINT: Duration = Duration::from_secs(10);

/// What a worker shares with the rest of the process.
#[derive(Debug)]
pub struct Shared {
    /// The plan in force.
    pub plans: Arc<ArcSwap<Plan>>,
    /// Looks names up.
    pub resolver: Resolver,
    /// Hears of the end.
    pub drain: Drain,
    /// Where callers sit, in the order of the plan's listeners.
    pub rooms: Vec<Rooms>,
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
    let plan = shared.plans.load_full();
    let gateway = Rc::new(Gateway::new(shared.plans, shared.resolver));
    let (busy, all_idle) = guards();
    let callers = Rc::new(Callers::new(Rc::clone(&gateway), config));
    let mut accepting = Vec::new();
    for (listener, (socket, rooms)) in sockets.into_iter().zip(shared.rooms).enumerate() {
        socket.set_nonblocking(true)?;
        let door = Door {
            socket: TcpListener::from_std(socket)?,
            listener,
            manners: plan.listeners[listener].manners,
            rooms,
        };
        let drain = shared.drain.clone();
        accepting.push(spawn_local(accept(
            door,
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

/// Where a worker lets callers of one listener in.
struct Door {
    socket: TcpListener,
    listener: usize,
    manners: Manners,
    rooms: Rooms,
}

async fn accept(door: Door, callers: Rc<Callers>, mut drain: Drain, busy: Busy) {
    let mut complained = None;
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = door.socket.accept() => accepted,
            // Only when nothing waits to be accepted: closing first would lose those connections.
            () = drain.begun() => return,
        };
        match accepted {
            Ok((stream, peer)) => door.let_in(stream, peer, &callers, &busy),
            Err(error) if is_its_own(&error) => {}
            Err(error) => {
                // The listening socket stays ready as long as somebody waits, so that without a
                // pause this would fail again at once, and for everybody.
                if complained.is_none_or(|at: Instant| at.elapsed() >= COMPLAINT) {
                    tracing::error!(%error, "cannot accept a connection; tried again twice a second");
                    complained = Some(Instant::now());
                }
                tokio::time::sleep(NO_DESCRIPTOR).await;
            }
        }
    }
}

impl Door {
    fn let_in(&self, stream: TcpStream, peer: SocketAddr, callers: &Rc<Callers>, busy: &Busy) {
        let Some(seat) = self.rooms.enter(busy.clone()) else {
            // What HTTP/2 takes for an answer would have to be asked for first.
            if self.manners.protocols != Protocols::Http2 {
                let rooms = self.rooms.clone();
                spawn_local(async move { rooms.turn_away(stream).await });
            }
            return;
        };
        // An answer is written in one piece wherever it can be; nothing is won by waiting.
        let _ = stream.set_nodelay(true);
        if let Ok(local) = stream.local_addr() {
            let entrance = Entrance {
                listener: self.listener,
                local: local.ip(),
                peer: peer.ip(),
            };
            spawn_local(converse(
                stream,
                entrance,
                self.manners,
                Rc::clone(callers),
                seat,
            ));
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
