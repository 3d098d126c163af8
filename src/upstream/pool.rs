//! The connections of one upstream that are free, and how they come and go.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, header};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::UpstreamError;
use crate::body::{self, RequestBody};
use crate::dial::resolver::Resolver;
use crate::dial::{self, Endpoint};
use crate::metrics;

/// How long a free connection is kept. Servers close theirs after 60 s or more as a rule, and a
/// connection that is closed while a request is on its way costs a retry at best.
const IDLE: Duration = Duration::from_secs(30);

/// The most free connections a worker keeps to one upstream; more than its callers need at once
/// is never reached, this bounds what a burst leaves behind.
const MOST_IDLE: usize = 256;

/// The largest head of an answer, and the most headers in it.
const HEAD: usize = 64 * 1024;
const HEADERS: usize = 128;

/// How much of an answer is read at a time, at most: hyper would go up to 400 KiB for each
/// connection. Larger pieces save few system calls and let one caller keep the others waiting.
const BUFFER: usize = 128 * 1024;

/// The connections of one upstream, of one worker.
#[derive(Debug)]
pub struct Pool {
    endpoint: Arc<Endpoint>,
    resolver: Resolver,
    counts: Arc<metrics::Target>,
    idle: RefCell<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<RequestBody>,
    since: Instant,
}

/// A connection in use. Dropped, it is closed; released, it is free again.
#[derive(Debug)]
pub struct Lease {
    pub(super) sender: SendRequest<RequestBody>,
    /// Whether it has carried a request before.
    pub(super) is_reused: bool,
    /// Whether it must not carry another request after this one.
    is_used_up: bool,
    pub(super) pool: Rc<Pool>,
}

impl Pool {
    /// A pool without connections.
    #[must_use]
    pub fn new(endpoint: Arc<Endpoint>, resolver: Resolver, counts: Arc<metrics::Target>) -> Self {
        Self {
            endpoint,
            resolver,
            counts,
            idle: RefCell::default(),
        }
    }

    /// Where its connections lead.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// What is counted of it.
    #[must_use]
    pub fn counts(&self) -> &Arc<metrics::Target> {
        &self.counts
    }

    /// A connection that is ready: a free one if there is any, else a new one.
    ///
    /// # Errors
    ///
    /// [`UpstreamError::Dial`] if a new one is needed and cannot be opened.
    pub async fn lease(self: &Rc<Self>) -> Result<Lease, UpstreamError> {
        match self.take_idle() {
            Some(sender) => {
                self.counts.reused.up();
                Ok(Lease {
                    sender,
                    is_reused: true,
                    is_used_up: false,
                    pool: Rc::clone(self),
                })
            }
            None => self.open().await,
        }
    }

    /// The connection that was freed last: it is the least likely to have been closed meanwhile,
    /// and the others get old enough to be dropped.
    fn take_idle(&self) -> Option<SendRequest<RequestBody>> {
        let mut idle = self.idle.borrow_mut();
        let oldest = Instant::now().checked_sub(IDLE);
        while let Some(connection) = idle.pop() {
            let is_fresh = oldest.is_none_or(|oldest| connection.since > oldest);
            if is_fresh && connection.sender.is_ready() {
                return Some(connection.sender);
            }
        }
        None
    }

    /// A new connection.
    ///
    /// # Errors
    ///
    /// [`UpstreamError::Dial`] if it cannot be opened.
    pub async fn open(self: &Rc<Self>) -> Result<Lease, UpstreamError> {
        let stream = dial::dial(&self.endpoint, &self.resolver)
            .await
            .inspect_err(|_| self.counts.failed.up())?;
        self.counts.opened.up();
        let (sender, connection) = http1::Builder::new()
            .max_headers(HEADERS)
            .max_header_size(HEAD)
            .max_buf_size(BUFFER)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(UpstreamError::Reset)?;
        // The task ends with the connection, and with the worker's runtime at the latest. What
        // goes wrong on it is told to the request that is on it.
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::trace!(%error, "an upstream connection ended");
            }
        });
        Ok(Lease {
            sender,
            is_reused: false,
            is_used_up: false,
            pool: Rc::clone(self),
        })
    }

    fn put(&self, sender: SendRequest<RequestBody>) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < MOST_IDLE {
            idle.push(Idle {
                sender,
                since: Instant::now(),
            });
        }
    }

    /// Drops what has been idle for too long or was closed by the other side.
    pub fn sweep(&self) {
        if let Some(oldest) = Instant::now().checked_sub(IDLE) {
            self.idle
                .borrow_mut()
                .retain(|connection| connection.since > oldest && !connection.sender.is_closed());
        }
    }
}

impl Lease {
    /// Addresses a request to the member that the connection leads to.
    pub(super) fn address<B>(&self, request: &mut Request<B>) {
        let authority = &self.pool.endpoint.authority;
        if request.headers().get(header::HOST) != Some(authority) {
            request
                .headers_mut()
                .insert(header::HOST, authority.clone());
        }
    }

    /// Takes the connection out of the pool for good: it has left HTTP (RFC 9110 section 7.8), and
    /// what comes over it belongs to whoever asked for that.
    pub fn leave(self) {}

    /// Closes the connection after this request.
    pub(super) fn used_up(mut self) -> Self {
        self.is_used_up = true;
        self
    }
}

impl body::Lease for Lease {
    fn release(mut self) {
        if self.is_used_up {
            return;
        }
        if self.sender.is_ready() {
            self.pool.put(self.sender);
            return;
        }
        // The answer has been read, but the connection's task has perhaps not run since. It ends by itself if the connection does.
        tokio::task::spawn_local(async move {
            if self.sender.ready().await.is_ok() {
                self.pool.put(self.sender);
            }
        });
    }
}
