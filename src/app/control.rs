//! The control thread: everything that is slow or rare. It renews tokens, looks names up, and
//! changes what is in force.

use std::cell::RefCell;
use std::io;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::timeout;

use super::reload::{Ask, Origin, Reading, Reload, ReloadError, Report};
use super::renewals::Renewals;
use super::succession::{
    Fixed, bound_requests, follow_certificates, keep_endpoints, keep_limits, load_authorities, plan,
};
use super::watch::{Watched, watch};
use super::{Config, expiry, listeners};
use crate::admin::{self, Admin};
use crate::confine::Beyond;
use crate::credential::Credential;
use crate::credential::call::Tools;
use crate::dial::resolver::Lookups;
use crate::listener;
use crate::plan::{Listener, Plan};
use crate::shutdown::Drain;
use crate::supervisor::{self, State};
use crate::worker::Turn;
use crate::{confine, telemetry, unwind};

/// How long a thread that reads files waits for the next ones. Each has a heap of its own, and what it
/// has read stays there: threads that came and went would leave a heap behind each time.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// How long a reload waits for the first tokens of new credentials. What has none by then is in
/// force without: the state of the network makes no configuration wrong.
const FIRST_TOKENS: Duration = Duration::from_secs(10);

/// How long workers may take to go by a new plan. They do so between two requests.
const TURN: Duration = Duration::from_secs(5);

/// How often credentials are looked for that nobody needs any more.
const PRUNE: Duration = Duration::from_secs(1);

/// What is in force, and what changes it.
pub(super) struct Control {
    plans: Arc<ArcSwap<Plan>>,
    workers: Vec<mpsc::UnboundedSender<Turn>>,
    tools: Tools,
    fixed: Fixed,
}

/// What it is asked to do, and by whom.
pub(super) struct Duties {
    /// Names to look up.
    pub(super) lookups: Lookups,
    /// For those who ask for a reload from here.
    pub(super) reload: Reload,
    /// Those who have asked.
    pub(super) asks: mpsc::UnboundedReceiver<Ask>,
    /// What there is to reload.
    pub(super) origin: Option<Origin>,
    /// The admin pages.
    pub(super) pages: Option<(listener::Bound, Admin)>,
}

impl Control {
    pub(super) fn new(
        plans: Arc<ArcSwap<Plan>>,
        workers: Vec<mpsc::UnboundedSender<Turn>>,
        tools: Tools,
        fixed: Fixed,
    ) -> Self {
        Self {
            plans,
            workers,
            tools,
            fixed,
        }
    }

    /// Runs until it is over. `ready` is told when requests can rely on it.
    pub(super) fn run(
        self,
        duties: Duties,
        mut over: Drain,
        ready: oneshot::Sender<()>,
    ) -> io::Result<()> {
        let Duties {
            lookups,
            reload,
            asks,
            origin,
            pages,
        } = duties;
        let runtime = Builder::new_current_thread()
            .enable_all()
            .thread_keep_alive(KEPT)
            .build_local(LocalOptions::default())?;
        runtime.block_on(async {
            let looking_up = spawn_local(lookups.serve());
            let plan = self.plans.load_full();
            let mut renewals = Renewals::new(self.tools.clone());
            for credential in &plan.credentials {
                renewals.begin(credential);
            }
            watch_listeners(&plan);
            if let Some((bound, admin)) = pages {
                spawn_local(async move {
                    let Err(error) = admin::serve(bound, Rc::new(admin)).await;
                    tracing::error!(%error, "there are no admin pages");
                });
            }
            let _ = ready.send(());
            follow_certificates(&plan);
            // The first tokens go before the authorities, which take tens of milliseconds to read.
            tokio::task::yield_now().await;
            load_authorities(&plan.targets);
            expiry::warn(&plan, &self.tools.clock);
            spawn_local(expiry::watch(
                Arc::clone(&self.plans),
                self.tools.clock.clone(),
            ));
            drop(plan);
            tokio::select! {
                biased;
                () = over.begun() => {}
                // No upstream could be reached without: the thread breaks, and all that hangs on it.
                Err(panic) = looking_up => resume_unwind(panic.into_panic()),
                () = self.answer(asks, reload, origin, renewals) => {}
            }
        });
        // A look-up that hangs in the system's resolver must not hold up the end.
        runtime.shutdown_timeout(Duration::ZERO);
        Ok(())
    }

    /// Reloads when asked to, one after the other.
    async fn answer(
        &self,
        mut asks: mpsc::UnboundedReceiver<Ask>,
        reload: Reload,
        origin: Option<Origin>,
        mut renewals: Renewals,
    ) {
        let watched = Rc::new(RefCell::new(Watched::default()));
        if let Some(origin) = &origin {
            watched.borrow_mut().files = origin.trail.files();
            let (watched, reload) = (Rc::clone(&watched), reload.clone());
            spawn_local(async move {
                let look = || watch(Rc::clone(&watched), reload.clone());
                unwind::again("looking for changes of the configuration", look).await;
            });
        }
        let mut said = None;
        loop {
            let mut waiting = Vec::new();
            tokio::select! {
                // One reading answers all who have asked before it began.
                _ = asks.recv_many(&mut waiting, usize::MAX) => {}
                () = tokio::time::sleep(PRUNE) => {
                    renewals.prune();
                    continue;
                }
            }
            let is_explicit = waiting.iter().any(|ask| ask.is_explicit);
            let outcome = match &origin {
                Some(origin) => {
                    supervisor::tell(State::Reloading);
                    let outcome = self.reload(origin, &watched, &mut renewals).await;
                    supervisor::tell(State::Ready);
                    reload.tally().note(outcome.is_err());
                    outcome
                }
                None => Err(ReloadError::NoFile),
            };
            let outcome = outcome.map_err(Arc::new);
            let text = outcome.as_ref().err().map(ToString::to_string);
            // A file that is saved again with the same faults has been complained about.
            if is_explicit || text.is_none() || text != said {
                say(&outcome);
            }
            said = text;
            for ask in waiting {
                if let Some(answer) = ask.answer {
                    let _ = answer.send(outcome.clone());
                }
            }
        }
    }

    /// Reads the configuration, and puts it in force if all of it can be.
    async fn reload(
        &self,
        origin: &Origin,
        watched: &RefCell<Watched>,
        renewals: &mut Renewals,
    ) -> Result<Report, ReloadError> {
        let before = self.plans.load_full();
        let (read, known) = (Arc::clone(&origin.read), Arc::clone(&before));
        let reading = spawn_blocking(move || prepare(read(), &known)).await;
        let reading = reading.map_err(|_| ReloadError::Ending)?;
        *watched.borrow_mut() = Watched {
            files: reading.trail.files(),
            is_refused: reading.outcome.is_err(),
        };
        let (config, warnings) = reading.outcome.map_err(ReloadError::Faults)?;
        self.put_in_force(*config, warnings, &before, renewals)
            .await
    }

    async fn put_in_force(
        &self,
        config: Config,
        warnings: Vec<String>,
        before: &Arc<Plan>,
        renewals: &mut Renewals,
    ) -> Result<Report, ReloadError> {
        confine::allows(&config.confine).map_err(ReloadError::Beyond)?;
        let configs = config.listeners.clone();
        let bound = listeners::succeed(configs, &before.listeners, self.fixed.workers())
            .map_err(ReloadError::Bind)?;
        // Nothing can go wrong from here on.
        let takes_restart = self.fixed.differences(&config);
        let (caller, level) = (config.caller, config.log.level);
        let (plan, _) = plan(config, bound.listeners, |it| renewals.succeed(it));
        listeners::set_modes(&plan.listeners, &before.listeners);
        let is_new = |it: &&Arc<Credential>| !contains(&before.credentials, it);
        let new: Vec<_> = plan.credentials.iter().filter(is_new).cloned().collect();
        wait_for_first_tokens(&new).await;

        let report = Report {
            kept: plan.credentials.len() - new.len(),
            new: names(&new, |_| true),
            without_token: names(&new, lacks_token),
            opened: missing(&plan.listeners, &before.listeners),
            closed: missing(&before.listeners, &plan.listeners),
            warnings,
            takes_restart,
        };
        let plan = Arc::new(plan);
        self.plans.store(Arc::clone(&plan));
        watch_listeners(&plan);
        for gone in gone(&before.listeners, &plan.listeners) {
            gone.file.iter().for_each(|file| file.remove());
        }
        telemetry::set_level(level);
        let mut turns = Vec::new();
        for (worker, opened) in self.workers.iter().zip(bound.opened) {
            let (done, is_done) = oneshot::channel();
            // Fails if the worker has ended, as all do in the end.
            let _ = worker.send(Turn {
                plan: Arc::clone(&plan),
                caller,
                opened,
                drained: bound.drained.clone(),
                done,
            });
            turns.push(is_done);
        }
        renewals.sort(&plan, before);
        follow_certificates(&plan);
        expiry::warn(&plan, &self.tools.clock);
        for is_done in turns {
            if timeout(TURN, is_done).await.is_err() {
                tracing::error!("a worker takes long to go by the new configuration");
            }
        }
        Ok(report)
    }
}

/// What is slow about a configuration that was read: whoever is trusted is loaded, too.
fn prepare(mut reading: Reading, before: &Plan) -> Reading {
    if let Ok((config, _)) = &mut reading.outcome {
        keep_endpoints(&mut config.targets, before);
        bound_requests(config);
        keep_limits(config, before);
        load_authorities(&config.targets);
    }
    reading
}

async fn wait_for_first_tokens(new: &[Arc<Credential>]) {
    let all = async {
        for credential in new {
            credential.attempted().await;
        }
    };
    // Who has none by now is named in the report.
    let _ = timeout(FIRST_TOKENS, all).await;
}

fn lacks_token(credential: &Credential) -> bool {
    !credential.is_for_each_request() && credential.state().token.is_none()
}

fn contains(all: &[Arc<Credential>], credential: &Arc<Credential>) -> bool {
    all.iter().any(|it| Arc::ptr_eq(it, credential))
}

fn names(of: &[Arc<Credential>], which: impl Fn(&Credential) -> bool) -> Vec<String> {
    let chosen = of.iter().filter(|it| which(it));
    chosen.map(|it| it.name().to_owned()).collect()
}

/// The names of listeners that are in one list and not in the other.
fn missing(here: &[Listener], there: &[Listener]) -> Vec<String> {
    let missing = gone(here, there);
    missing.map(|it| it.config.name.clone()).collect()
}

/// The listeners that are in one list and not in the other.
fn gone<'a>(here: &'a [Listener], there: &'a [Listener]) -> impl Iterator<Item = &'a Listener> {
    here.iter()
        .filter(|it| !there.iter().any(|other| other.id == it.id))
}

/// Has certificates and secrets of listeners read again when they change, for as long as the plan
/// lives.
fn watch_listeners(plan: &Plan) {
    for listener in &plan.listeners {
        spawn_local(listener::watch(listener.config.clone()));
    }
}

fn say(outcome: &Result<Report, Arc<ReloadError>>) {
    match outcome {
        Ok(report) => {
            for warning in &report.warnings {
                tracing::warn!("{warning}");
            }
            for key in &report.takes_restart {
                tracing::warn!("`{key}` has changed, which takes a restart to be in force");
            }
            tracing::info!("the configuration was read again and is in force; {report}");
        }
        Err(error) => {
            match &**error {
                ReloadError::Faults(faults) => {
                    faults.iter().for_each(|it| tracing::error!("{it}"));
                }
                ReloadError::Beyond(Beyond(lacks)) => {
                    lacks.iter().for_each(|it| tracing::error!("{it}"));
                }
                error => tracing::error!("{error}"),
            }
            tracing::error!(
                "the configuration was read again and cannot be used; what was in force stays in force"
            );
        }
    }
}
