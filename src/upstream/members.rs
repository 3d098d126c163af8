//! The places that a target is at, and which of them the next request goes to.

use std::cell::Cell;
use std::rc::Rc;

use super::UpstreamError;
use super::pool::{Lease, Pool};
use crate::dial::DialError;

/// Which of several members requests go to, as long as all of them are well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spread {
    /// Each in its turn.
    #[default]
    RoundRobin,
    /// The first; the others stand in for it.
    First,
}

/// The members of a cluster, or the one place that a target is.
#[derive(Debug)]
pub(super) struct Members {
    all: Vec<Rc<Member>>,
    spread: Spread,
    /// Whose turn it is.
    next: Cell<usize>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Member {
    pool: Rc<Pool>,
}

impl Members {
    /// The members, by their pools.
    pub(super) fn new(pools: Vec<Rc<Pool>>, spread: Spread) -> Self {
        let member = |pool| Rc::new(Member { pool });
        Self {
            all: pools.into_iter().map(member).collect(),
            spread,
            next: Cell::new(0),
        }
    }

    /// Their pools.
    pub(super) fn pools(&self) -> impl Iterator<Item = &Rc<Pool>> {
        self.all.iter().map(|member| &member.pool)
    }

    /// Drops connections that have been idle for too long.
    pub(super) fn sweep(&self) {
        self.all.iter().for_each(|member| member.pool.sweep());
    }

    /// A connection to the member whose turn it is, or to the next one that can be connected to.
    /// Nothing has been sent to those that cannot. None is refused without having tried all.
    pub(super) async fn lease(&self) -> Result<(Lease, &Member), UpstreamError> {
        if let [only] = self.all.as_slice() {
            let leased = only.pool.lease().await;
            if let Err(error @ UpstreamError::Dial(_)) = &leased {
                only.pool.health.note(error);
            }
            return Ok((leased?, only));
        }
        self.try_those_due();
        let found = self.lease_besides(&mut Vec::new()).await?;
        Ok(found.expect("there is a member"))
    }

    /// Another connection for a request that this one was lost with: to the same member, or else to
    /// the next one that can be connected to.
    pub(super) async fn lease_again<'a>(
        &'a self,
        lost: &Lease,
        member: &'a Member,
    ) -> Result<(Lease, &'a Member), UpstreamError> {
        match lost.another().await {
            Ok(lease) => Ok((lease, member)),
            Err(UpstreamError::Dial(error)) if self.all.len() > 1 && !is_ours(&error) => {
                member.pool.health.failed(&error);
                let is_it = |it: &Rc<Member>| std::ptr::eq(&raw const **it, member);
                let mut tried: Vec<usize> = self.all.iter().position(is_it).into_iter().collect();
                let found = self.lease_besides(&mut tried).await?;
                found.ok_or_else(|| error.into())
            }
            Err(error) => Err(error),
        }
    }

    /// A connection to one of those that were not tried; `None` if there are none left to try.
    async fn lease_besides(
        &self,
        tried: &mut Vec<usize>,
    ) -> Result<Option<(Lease, &Member)>, UpstreamError> {
        let mut last = None;
        while let Some(index) = self.choose(tried) {
            let member = &self.all[index];
            match member.pool.lease().await {
                Ok(lease) => {
                    member.pool.health.connected();
                    return Ok(Some((lease, member)));
                }
                Err(UpstreamError::Dial(error)) if !is_ours(&error) => {
                    member.pool.health.failed(&error);
                    tried.push(index);
                    last = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        last.map_or(Ok(None), |error| Err(error.into()))
    }

    /// The member whose turn it is among those that are well, else the one that has been left alone
    /// for longest of what it was to be.
    fn choose(&self, tried: &[usize]) -> Option<usize> {
        let count = self.all.len();
        let first = match self.spread {
            Spread::RoundRobin => self.next.get(),
            Spread::First => 0,
        };
        let in_turn = (0..count).map(|step| (first + step) % count);
        let mut untried = in_turn.filter(|index| !tried.contains(index));
        let until = |index: &usize| self.all[*index].pool.health.until();
        let chosen = untried
            .clone()
            .find(|index| until(index).is_none())
            .or_else(|| untried.by_ref().min_by_key(until))?;
        self.next.set((chosen + 1) % count);
        Some(chosen)
    }

    /// Opens a connection to each member that has been left alone for long enough. It is done beside
    /// the request, which has no reason to wait for it as long as there are others.
    fn try_those_due(&self) {
        if self.all.iter().all(|it| it.pool.health.until().is_some()) {
            return;
        }
        for member in self.all.iter().filter(|it| it.pool.health.begin_trial()) {
            let member = Rc::clone(member);
            tokio::task::spawn_local(async move {
                match member.pool.open().await {
                    Ok(lease) => {
                        member.pool.health.connected();
                        lease.release();
                    }
                    Err(error) => member.pool.health.failed(&error),
                }
            });
        }
    }
}

impl Member {
    /// Notes that it has answered a request.
    pub(super) fn answered(&self) {
        self.pool.health.answered();
    }

    /// Notes what came of a request.
    pub(super) fn note<T>(&self, outcome: &Result<T, UpstreamError>) {
        match outcome {
            Ok(_) => self.answered(),
            Err(error @ UpstreamError::Reset(_)) => self.pool.health.hung_up(error),
            Err(_) => {}
        }
    }
}

/// Whether the fault is on this side, where another member is no way out.
fn is_ours(error: &DialError) -> bool {
    matches!(error, DialError::Exhausted { .. } | DialError::Roots(_))
}
