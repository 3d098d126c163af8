//! Builds what serves from a configuration, starts it, and ends it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::{Builder, LocalOptions};
use tokio::task::spawn_local;

use crate::caller::seats::{self, Room, Rooms};
use crate::clock::Clock;
use crate::credential::call::Tools;
use crate::credential::{self, Credential, renewal};
use crate::dial::resolver::{self, Lookups};
use crate::listener::{self, BindError, Bound};
use crate::plan::{Plan, Route, Target};
use crate::router::Table;
use crate::shutdown::{self, Drain, Shutdown};
use crate::{body, caller, normalize, worker};

/// All that a configuration says, in the types of the stages that it is for.
#[derive(Debug)]
pub struct Config {
    /// How many threads serve requests.
    pub workers: usize,
    /// What the connections of callers may do.
    pub caller: caller::Config,
    /// The most callers at once; as many as there are descriptors for if `None`.
    pub connections: Option<usize>,
    /// Limits on a request's head.
    pub normalize: normalize::Config,
    /// Limits on a request's body.
    pub body: body::Config,
    /// What is logged.
    pub log: crate::telemetry::Config,
    /// Where requests come in.
    pub listeners: Vec<listener::Config>,
    /// What is put on them.
    pub credentials: Vec<credential::Config>,
    /// Where they go.
    pub targets: Vec<Target>,
    /// Which go where.
    pub routes: Table<Route>,
}

/// Why nothing could be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system gave no thread, timer or socket.
    #[error("the system does not let a thread start")]
    System(#[from] io::Error),
}

/// A running proxy. Dropping it ends it at once; [`Running::drain`] ends it properly.
#[derive(Debug)]
pub struct Running {
    listeners: Vec<(String, SocketAddr)>,
    plans: Arc<ArcSwap<Plan>>,
    shutdown: Shutdown,
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    /// The listeners' names and the addresses they are bound to.
    #[must_use]
    pub fn listeners(&self) -> &[(String, SocketAddr)] {
        &self.listeners
    }

    /// The plan in force.
    #[must_use]
    pub fn plan(&self) -> Arc<Plan> {
        self.plans.load_full()
    }

    /// Stops accepting, finishes what is under way within the configured time, and returns when
    /// every thread has ended.
    pub fn drain(mut self) {
        self.shutdown.begin();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so on its way; the others are still waited for.
            let _ = thread.join();
        }
    }
}

/// Starts everything: the listeners accept when this returns, and the first tokens are on their
/// way.
///
/// # Errors
///
/// [`StartError`]; nothing is left running then.
pub fn start(config: Config, clock: Clock) -> Result<Running, StartError> {
    let workers = config.workers;
    let caller_config = config.caller;
    let rooms = rooms(&config);
    let bound = bind(&config.listeners, workers)?;
    let listeners = addresses(&config.listeners, &bound);
    let plans = Arc::new(ArcSwap::from_pointee(plan(config, clock.clone())));
    let (shutdown, drain) = shutdown::channel();
    let (resolver, lookups) = resolver::channel();

    let mut running = Running {
        listeners,
        plans: Arc::clone(&plans),
        shutdown,
        threads: Vec::new(),
    };
    for (number, sockets) in spread(bound, workers).into_iter().enumerate() {
        let shared = worker::Shared {
            plans: Arc::clone(&plans),
            resolver: resolver.clone(),
            drain: drain.clone(),
            rooms: rooms.clone(),
        };
        running
            .threads
            .push(spawn(format!("worker-{number}"), move || {
                worker::run(sockets, caller_config, shared)
            })?);
    }
    let tools = Tools { clock, resolver };
    running.threads.push(spawn("control".into(), move || {
        control(&plans, lookups, &tools, drain)
    })?);
    Ok(running)
}

/// The rooms of each listener. What the system allows is raised first: it is what the default stands
/// on.
fn rooms(config: &Config) -> Vec<Rooms> {
    seats::raise_descriptor_limit();
    let process = Rooms::new(config.connections.unwrap_or_else(seats::most));
    let listeners = config.listeners.iter();
    listeners
        .map(|listener| process.with(listener.connections.map(Room::new)))
        .collect()
}

fn bind(listeners: &[listener::Config], workers: usize) -> Result<Vec<Bound>, BindError> {
    // Sockets are set up by the runtime's types and need one to be around, idle as it is.
    let runtime = Builder::new_current_thread().enable_io().build();
    let _context = runtime.as_ref().map(tokio::runtime::Runtime::enter).ok();
    listeners
        .iter()
        .map(|listener| listener::bind(listener.address, workers))
        .collect()
}

fn addresses(listeners: &[listener::Config], bound: &[Bound]) -> Vec<(String, SocketAddr)> {
    let named = listeners.iter().zip(bound);
    named
        .map(|(listener, bound)| (listener.name.clone(), bound.address))
        .collect()
}

/// Gives each worker one socket of every listener, in the listeners' order.
fn spread(bound: Vec<Bound>, workers: usize) -> Vec<Vec<std::net::TcpListener>> {
    let mut spread: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
    for listener in bound {
        for (worker, socket) in spread.iter_mut().zip(listener.sockets) {
            worker.push(socket);
        }
    }
    spread
}

fn plan(config: Config, clock: Clock) -> Plan {
    let credentials = config
        .credentials
        .into_iter()
        .map(|credential| Arc::new(Credential::new(credential, clock.clone())))
        .collect();
    Plan {
        listeners: config.listeners,
        routes: config.routes,
        targets: config.targets,
        credentials,
        normalize: config.normalize,
        body: config.body,
        log_requests: config.log.requests,
    }
}

fn spawn(
    name: String,
    run: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.clone()).spawn(move || {
        if let Err(error) = run() {
            tracing::error!(thread = name, %error, "a thread could not start");
        }
    })
}

/// The control thread: everything that is slow or rare.
fn control(
    plans: &ArcSwap<Plan>,
    lookups: Lookups,
    tools: &Tools,
    mut drain: Drain,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())?;
    let plan = plans.load_full();
    runtime.block_on(async {
        spawn_local(lookups.serve());
        for credential in &plan.credentials {
            spawn_local(renewal::watch(Arc::clone(credential)));
            spawn_local(renewal::keep(Arc::clone(credential), tools.clone()));
        }
        // The first tokens go before the authorities, which take tens of milliseconds to read.
        tokio::task::yield_now().await;
        load_authorities(&plan);
        drain.begun().await;
    });
    // A look-up that hangs in the system's resolver must not hold up the end.
    runtime.shutdown_timeout(Duration::ZERO);
    Ok(())
}

/// Reads the authorities now rather than in the first request. What is wrong with them is told to
/// that request, too.
fn load_authorities(plan: &Plan) {
    for target in &plan.targets {
        if let Err(error) = target.endpoints[0].verification.config() {
            tracing::error!(target = target.name, %error, "cannot verify this target");
        }
    }
}
