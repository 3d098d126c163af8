//! The tasks that keep credentials fresh, from one plan to the next.

use std::sync::{Arc, Weak};

use tokio::task::JoinSet;

use crate::credential::call::Tools;
use crate::credential::{self, Credential, renewal, secrets};
use crate::plan::Plan;

/// All credentials that are kept fresh.
pub(super) struct Renewals {
    tools: Tools,
    running: Vec<Renewal>,
}

/// One credential, and what ends with it.
struct Renewal {
    credential: Arc<Credential>,
    _tasks: JoinSet<()>,
    /// The last plan that it was in, if it is not in the one in force.
    last: Option<Weak<Plan>>,
}

impl Renewals {
    pub(super) fn new(tools: Tools) -> Self {
        Self {
            tools,
            running: Vec::new(),
        }
    }

    /// Keeps a credential fresh from now on.
    pub(super) fn begin(&mut self, credential: &Arc<Credential>) {
        let mut tasks = JoinSet::new();
        tasks.spawn_local(secrets::watch(Arc::clone(credential)));
        tasks.spawn_local(renewal::keep(Arc::clone(credential), self.tools.clone()));
        self.running.push(Renewal {
            credential: Arc::clone(credential),
            _tasks: tasks,
            last: None,
        });
    }

    /// The credential that there is already with this identity, with its token and all it has
    /// learnt, or else a new one. One that has just gone and comes back is the same one, so that
    /// nothing is ever renewed by two.
    pub(super) fn succeed(&mut self, config: credential::Config) -> Arc<Credential> {
        let mut running = self.running.iter();
        if let Some(same) = running.find(|it| *it.credential.identity() == config.identity) {
            return Arc::clone(&same.credential);
        }
        let new = Credential::new(config, self.tools.clock.clone());
        let before = self.running.iter().map(|it| &*it.credential);
        let new = Arc::new(before.fold(new, Credential::beside));
        self.begin(&new);
        new
    }

    /// Tells those that are in `plan` from those that were last in `before`.
    pub(super) fn sort(&mut self, plan: &Plan, before: &Arc<Plan>) {
        for renewal in &mut self.running {
            let is_in_force = plan
                .credentials
                .iter()
                .any(|it| Arc::ptr_eq(it, &renewal.credential));
            if is_in_force {
                renewal.last = None;
            } else if renewal.last.is_none() {
                tracing::info!(credential = renewal.credential.name(), "is in use no more");
                renewal.last = Some(Arc::downgrade(before));
            }
        }
    }

    /// Ends those that no request can need any more: the last plan that they were in is gone with
    /// the last request that was served by it.
    pub(super) fn prune(&mut self) {
        let is_needed = |last: &Weak<Plan>| last.strong_count() > 0;
        self.running
            .retain(|it| it.last.as_ref().is_none_or(is_needed));
    }
}
