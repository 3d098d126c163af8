//! Builds what serves from a configuration, starts it, changes it while it runs, and ends it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use arc_swap::ArcSwap;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};

use crate::admin::{self, Admin};
use crate::caller::seats::{self, Seats};
use crate::clock::Clock;
use crate::credential::call::Tools;
use crate::credential::{self, Credential};
use crate::dial::resolver;
use crate::limits::Limits;
use crate::listener::{self, Address, BindError};
use crate::metrics::Metrics;
use crate::plan::{Plan, Route, Target};
use crate::router::Table;
use crate::shutdown::{self, Drain, Shutdown};
use crate::worker::{self, Turn};
use crate::{body, caller, confine, normalize};

mod control;
mod expiry;
mod listeners;
pub mod reload;
mod renewals;
mod succession;
mod watch;

use control::{Control, Duties};
use reload::{Origin, Reload};

/// All that a configuration says, in the types of the stages that it is for.
#[derive(Debug)]
pub struct Config {
    /// How many threads serve requests; fixed while the process runs.
    pub workers: usize,
    /// What the connections of callers may do.
    pub caller: caller::Config,
    /// The most callers at once, as many as there are descriptors for if `None`; fixed while the
    /// process runs.
    pub connections: Option<usize>,
    /// Limits on a request's head.
    pub normalize: normalize::Config,
    /// Limits on a request's body.
    pub body: body::Config,
    /// Whom names are asked of.
    pub dns: resolver::Config,
    /// How many requests are taken, for all targets together.
    pub limits: Limits,
    /// What is logged.
    pub log: crate::telemetry::Config,
    /// Where the admin pages are, if anywhere; fixed while the process runs.
    pub admin: Option<admin::Config>,
    /// What the process denies itself.
    pub confine: confine::Config,
    /// Where requests come in.
    pub listeners: Vec<listener::Config>,
    /// What is put on them.
    pub credentials: Vec<credential::Config>,
    /// Where they go.
    pub targets: Vec<Target>,
    /// Which go where.
    pub routes: Table<Route>,
    /// Which requests for a whole URL go where.
    pub forwards: Table<Route>,
}

/// Why nothing could be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The address of the admin pages could not be bound.
    #[error("{0}, for the admin pages")]
    Admin(BindError),
    /// The system gave no thread, timer or socket.
    #[error("the system does not let a thread start")]
    System(#[from] io::Error),
}

/// A running proxy. Dropping it ends it at once; [`Running::drain`] ends it properly.
#[derive(Debug)]
pub struct Running {
    admin: Option<Address>,
    plans: Arc<ArcSwap<Plan>>,
    reload: Reload,
    /// Ends the workers.
    shutdown: Shutdown,
    workers: Vec<JoinHandle<()>>,
    /// Ends the control thread, which workers need for as long as they have something to finish.
    last: Shutdown,
    control: Option<JoinHandle<()>>,
    /// Hears of a thread that ended too soon.
    broken: Drain,
}

impl Running {
    /// The listeners' names and the addresses they are bound to.
    #[must_use]
    pub fn listeners(&self) -> Vec<(String, Address)> {
        let plan = self.plan();
        let named = |it: &crate::plan::Listener| (it.config.name.clone(), it.bound.clone());
        plan.listeners.iter().map(named).collect()
    }

    /// Where the admin pages are, if anywhere.
    #[must_use]
    pub fn admin(&self) -> Option<&Address> {
        self.admin.as_ref()
    }

    /// How many threads serve requests.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// The plan in force.
    #[must_use]
    pub fn plan(&self) -> Arc<Plan> {
        self.plans.load_full()
    }

    /// What has the configuration read again.
    #[must_use]
    pub fn reload(&self) -> &Reload {
        &self.reload
    }

    /// Returns if a bug ends one of the threads. Half a proxy answers some requests and lets others
    /// hang: the process does better to end, and to be started again.
    pub async fn broken(&self) {
        self.broken.clone().begun().await;
    }

    /// Stops accepting, finishes what is under way within the configured time, and returns when
    /// every thread has ended.
    pub fn drain(mut self) {
        for file in self
            .plan()
            .listeners
            .iter()
            .filter_map(|it| it.file.as_ref())
        {
            file.remove();
        }
        self.shutdown.begin();
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
        self.last.begin();
        if let Some(control) = self.control.take() {
            let _ = control.join();
        }
    }
}

/// Starts everything: the listeners accept when this returns, and the first tokens are on their
/// way. What runs then stays as it is.
///
/// # Errors
///
/// [`StartError`]; nothing is left running then.
pub fn start(config: Config, clock: Clock) -> Result<Running, StartError> {
    run(config, None, clock)
}

/// The same for a configuration that is read again when asked for, and whenever it changes.
///
/// # Errors
///
/// [`StartError`]; nothing is left running then.
pub fn follow(config: Config, origin: Origin, clock: Clock) -> Result<Running, StartError> {
    run(config, Some(origin), clock)
}

fn run(mut config: Config, origin: Option<Origin>, clock: Clock) -> Result<Running, StartError> {
    let workers = config.workers;
    let caller = config.caller;
    let dns = config.dns.clone();
    // What the system allows is raised first: it is what the default stands on.
    seats::raise_descriptor_limit();
    let seats = Seats::new(config.connections.unwrap_or_else(seats::most));
    succession::bound_requests(&mut config);
    let (bound, pages) = {
        // Sockets are set up by the runtime's types and need one to be around, idle as it is.
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let _context = runtime.enter();
        let bound = listeners::succeed(config.listeners.clone(), &[], workers)?;
        let pages = match &config.admin {
            Some(config) => {
                let bound = admin::bind(config).map_err(StartError::Admin)?;
                Some((config.clone(), bound))
            }
            None => None,
        };
        (bound, pages)
    };
    let mut made: Vec<Arc<Credential>> = Vec::new();
    let new = |config| {
        let new = Credential::new(config, clock.clone());
        let new = Arc::new(made.iter().fold(new, |new, other| new.beside(other)));
        made.push(Arc::clone(&new));
        new
    };
    let (plan, fixed) = succession::plan(config, bound.listeners, new);
    let plan = Arc::new(plan);
    let plans = Arc::new(ArcSwap::new(Arc::clone(&plan)));
    let (shutdown, drain) = shutdown::channel();
    let (last, over) = shutdown::channel();
    let (broken, is_broken) = shutdown::channel();
    let broken = Arc::new(broken);
    let (resolver, lookups) = resolver::channel(dns);
    let (reload, asks) = reload::channel();
    let metrics = Arc::new(Metrics::new(workers));

    let mut running = Running {
        admin: pages.as_ref().map(|(_, bound)| bound.address.clone()),
        plans: Arc::clone(&plans),
        reload: reload.clone(),
        shutdown,
        workers: Vec::new(),
        last,
        control: None,
        broken: is_broken,
    };
    let (mut turns, mut first_turns) = (Vec::new(), Vec::new());
    for (number, opened) in bound.opened.into_iter().enumerate() {
        let shared = worker::Shared {
            resolver: resolver.clone(),
            counts: Arc::clone(&metrics.workers()[number]),
            clock: clock.clone(),
            drain: drain.clone(),
            seats: seats.clone(),
        };
        let (sender, receiver) = mpsc::unbounded_channel();
        let (done, is_done) = oneshot::channel();
        let run = move || worker::run(receiver, shared);
        running
            .workers
            .push(spawn(format!("worker-{number}"), &broken, run)?);
        let _ = sender.send(Turn {
            plan: Arc::clone(&plan),
            caller,
            opened,
            drained: Vec::new(),
            done,
        });
        turns.push(sender);
        first_turns.push(is_done);
    }
    drop(plan);
    let pages = pages.map(|(config, bound)| {
        let admin = Admin {
            config,
            plans: Arc::clone(&plans),
            metrics,
            started: clock.now(),
            clock: clock.clone(),
            drain,
            reload: Box::new(reload.clone()),
        };
        (bound, admin)
    });
    let (ready, is_ready) = oneshot::channel();
    let control = Control::new(plans, turns, Tools { clock, resolver }, fixed);
    let duties = Duties {
        lookups,
        reload,
        asks,
        origin,
        pages,
    };
    let run = move || control.run(duties, over, ready);
    running.control = Some(spawn("control".into(), &broken, run)?);
    let broken = || StartError::System(io::Error::other("a thread has ended at once"));
    for is_done in first_turns.into_iter().chain([is_ready]) {
        is_done.blocking_recv().map_err(|_| broken())?;
    }
    Ok(running)
}

/// Starts a thread that the process cannot do without.
fn spawn(
    name: String,
    broken: &Arc<Shutdown>,
    run: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let broken = Arc::clone(broken);
    thread::Builder::new().name(name.clone()).spawn(move || {
        // Nothing of what it had is looked at again.
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(thread = name, %error, "a thread could not start"),
            Err(_) => {
                tracing::error!(thread = name, "a bug has ended a thread");
                broken.begin();
            }
        }
    })
}
