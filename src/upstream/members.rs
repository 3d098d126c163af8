//! The places that a target is at, and which of them the next request goes to.

use std::cell::Cell;
use std::rc::Rc;

use super::UpstreamError;
use super::pool::{Lease, Pool};

/// The members of a cluster, or the one place that a target is.
#[derive(Debug)]
pub(super) struct Members {
    pools: Vec<Rc<Pool>>,
    /// The one in use: that which could be connected to last.
    current: Cell<usize>,
}

impl Members {
    /// The members, by their pools.
    pub(super) fn new(pools: Vec<Rc<Pool>>) -> Self {
        Self {
            pools,
            current: Cell::new(0),
        }
    }

    /// Their pools.
    pub(super) fn pools(&self) -> &[Rc<Pool>] {
        &self.pools
    }

    /// Drops connections that have been idle for too long.
    pub(super) fn sweep(&self) {
        self.pools.iter().for_each(|pool| pool.sweep());
    }

    /// A connection to the member in use, or to the next one that can be connected to. Nothing has
    /// been sent to those that cannot.
    pub(super) async fn lease(&self) -> Result<Lease, UpstreamError> {
        let first = self.current.get();
        let mut last = None;
        for step in 0..self.pools.len() {
            let index = (first + step) % self.pools.len();
            match self.pools[index].lease().await {
                Err(UpstreamError::Dial(error)) => last = Some(error),
                leased => {
                    self.current.set(index);
                    return leased;
                }
            }
        }
        Err(last.expect("there is a member").into())
    }
}
