//! The places that a target is at, and which of them the next request goes to.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::UpstreamError;
use super::pool::{Lease, Pool};
use crate::dial::Endpoint;
use crate::dial::resolver::Resolver;
use crate::metrics;

/// The members of a cluster, or the one place that a target is.
#[derive(Debug)]
pub(super) struct Members {
    pools: Vec<Rc<Pool>>,
    /// The one in use: that which could be connected to last.
    current: Cell<usize>,
}

impl Members {
    /// The members without connections.
    pub(super) fn new(
        endpoints: &[Arc<Endpoint>],
        resolver: &Resolver,
        counts: Arc<metrics::Target>,
    ) -> Self {
        let pool = |endpoint: &Arc<Endpoint>| {
            let (endpoint, counts) = (Arc::clone(endpoint), Arc::clone(&counts));
            Rc::new(Pool::new(endpoint, resolver.clone(), counts))
        };
        Self {
            pools: endpoints.iter().map(pool).collect(),
            current: Cell::new(0),
        }
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
