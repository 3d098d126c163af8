//! The connections of one upstream, of one worker: how they come, wait and go.
//!
//! Over HTTP/1 a connection is lent to one request at a time; over HTTP/2 requests share it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use http::{Request, Response, header};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::UpstreamError;
use super::broken::Broken;
use super::exclusive::Exclusive;
use super::health::Health;
use super::http1::{self, Connection};
use super::incoming::Source;
use super::opening::Opening;
use super::shared::{self, Room, Shared, Stream};
use crate::backoff::between;
use crate::body::RequestBody;
use crate::dial::resolver::Resolver;
use crate::dial::{self, Endpoint, Protocol};
use crate::metrics;

/// The largest head of an answer.
pub(super) const HEAD: usize = 64 * 1024;

/// How much of a message is held at a time, at most: hyper would go up to 400 KiB for each
/// connection. Larger pieces save few system calls and let one caller keep the others waiting.
pub(super) const BUFFER: usize = 128 * 1024;

/// The part of their age that connections may be short of, so that those opened together do not
/// all end together.
const JITTER: f64 = 0.2;

/// The connections of one upstream, of one worker.
#[derive(Debug)]
pub struct Pool {
    endpoint: Arc<Endpoint>,
    /// The endpoint's authority, parsed on this worker: requests take a reference to it.
    authority: Option<Authority>,
    resolver: Resolver,
    counts: Arc<metrics::Target>,
    idle: RefCell<Vec<Idle>>,
    shared: RefCell<Vec<Rc<Shared>>>,
    opening: Opening,
    /// Kept with the connections: a reload makes no member well.
    pub(super) health: Health,
}

/// A connection for HTTP/1 that is free.
#[derive(Debug)]
struct Idle {
    connection: Exclusive,
    until: Instant,
}

/// A connection in use, or a part in one. Dropped, it is closed; released, it is free again.
#[derive(Debug)]
pub struct Lease {
    line: Line,
    is_reused: bool,
    pub(super) pool: Rc<Pool>,
}

#[derive(Debug)]
enum Line {
    Exclusive(Exclusive),
    Shared(Stream),
}

impl Pool {
    /// A pool without connections.
    #[must_use]
    pub fn new(endpoint: Arc<Endpoint>, resolver: Resolver, counts: Arc<metrics::Target>) -> Self {
        let is_shared = endpoint.protocol != Protocol::Http1;
        let name = String::from_utf8_lossy(endpoint.authority.as_bytes());
        Self {
            health: Health::new(name.into_owned(), Arc::clone(&counts)),
            authority: Authority::try_from(endpoint.authority.as_bytes()).ok(),
            endpoint,
            resolver,
            counts,
            idle: RefCell::default(),
            shared: RefCell::default(),
            opening: Opening::new(is_shared),
        }
    }

    /// Whether its connections are as good as new ones to this endpoint: they lead to the same
    /// place on the same terms. What they are verified by may have been renewed in its files
    /// meanwhile, which is no difference.
    #[must_use]
    pub fn serves(&self, endpoint: &Endpoint) -> bool {
        *self.endpoint == *endpoint
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
        match self.take() {
            Some(lease) => {
                self.counts.reused.up();
                Ok(lease)
            }
            // What it takes to open a connection is large, and a request that finds one shall not
            // carry it around.
            None => Box::pin(self.wait_or_open()).await,
        }
    }

    async fn wait_or_open(self: &Rc<Self>) -> Result<Lease, UpstreamError> {
        if self.endpoint.protocol != Protocol::Http1 {
            let coming = self.opening.wait(|| self.take(), || self.unsettled()).await;
            if let Some(lease) = coming {
                self.counts.reused.up();
                return Ok(lease);
            }
        }
        self.open().await
    }

    /// A connection for HTTP/1 that is ready, whatever else the endpoint speaks: for a request that
    /// wants to leave HTTP. `None` if the endpoint is one for HTTP/2 alone.
    ///
    /// # Errors
    ///
    /// [`UpstreamError::Dial`] if a new one is needed and cannot be opened.
    async fn lease_http1(self: &Rc<Self>) -> Result<Option<Lease>, UpstreamError> {
        if self.endpoint.protocol == Protocol::Http2 {
            return Ok(None);
        }
        if let Some(lease) = self.take_idle() {
            return Ok(Some(lease));
        }
        let endpoint = Endpoint {
            protocol: Protocol::Http1,
            ..Endpoint::clone(&self.endpoint)
        };
        let stream = self.dial(&endpoint).await?;
        Ok(Some(self.begin_http1(stream)))
    }

    /// A part in a connection that is open, or one that is free.
    fn take(self: &Rc<Self>) -> Option<Lease> {
        let shared = self.shared.borrow();
        let with_room = shared.iter().find(|it| it.room() == Room::Free);
        match with_room {
            Some(shared) => Some(self.join(shared)),
            None => self.take_idle(),
        }
    }

    fn join(self: &Rc<Self>, shared: &Rc<Shared>) -> Lease {
        self.opening.learn(shared.most());
        let (stream, is_reused) = Stream::take(shared);
        Lease {
            line: Line::Shared(stream),
            is_reused,
            pool: Rc::clone(self),
        }
    }

    fn unsettled(&self) -> usize {
        let shared = self.shared.borrow();
        let unsettled = shared.iter().filter(|it| it.room() == Room::Unsettled);
        unsettled.count()
    }

    /// The connection that was freed last: it is the least likely to have been closed meanwhile,
    /// and the others get old enough to be dropped.
    fn take_idle(self: &Rc<Self>) -> Option<Lease> {
        let mut idle = self.idle.borrow_mut();
        // Most pools of HTTP/2 never have any.
        let now = idle.last().map(|_| Instant::now())?;
        while let Some(Idle {
            mut connection,
            until,
        }) = idle.pop()
        {
            if now < until && connection.is_ready() {
                return Some(Lease {
                    line: Line::Exclusive(connection),
                    is_reused: true,
                    pool: Rc::clone(self),
                });
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
        let under_way = self.opening.begin();
        let opened = self.begin().await;
        if opened.is_err() {
            under_way.fail();
        }
        opened
    }

    async fn dial(&self, endpoint: &Endpoint) -> Result<TlsStream<TcpStream>, UpstreamError> {
        let dialled = dial::dial(endpoint, &self.resolver).await;
        match &dialled {
            Ok(_) => self.counts.opened.up(),
            Err(_) => self.counts.failed.up(),
        }
        Ok(dialled?)
    }

    async fn begin(self: &Rc<Self>) -> Result<Lease, UpstreamError> {
        let stream = self.dial(&self.endpoint).await?;
        if stream.get_ref().1.alpn_protocol() != Some(dial::HTTP2) {
            self.opening.learn(1);
            return Ok(self.begin_http1(stream));
        }
        let ends = Instant::now() + self.age();
        let shared = Shared::begin(stream, ends, self.opening.changed()).await;
        let shared = shared.map_err(|error| UpstreamError::Reset(error.into()))?;
        self.shared.borrow_mut().push(Rc::clone(&shared));
        let (stream, is_reused) = Stream::take(&shared);
        Ok(Lease {
            line: Line::Shared(stream),
            is_reused,
            pool: Rc::clone(self),
        })
    }

    fn begin_http1(self: &Rc<Self>, stream: TlsStream<TcpStream>) -> Lease {
        let ends = Instant::now() + self.age();
        let title_case = self.endpoint.keep.title_case;
        Lease {
            line: Line::Exclusive(Exclusive::new(stream, ends, title_case)),
            is_reused: false,
            pool: Rc::clone(self),
        }
    }

    /// How old a new connection may become.
    fn age(&self) -> Duration {
        self.endpoint.keep.age.mul_f64(between(1.0 - JITTER, 1.0))
    }

    fn put(&self, connection: Exclusive) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.endpoint.keep.most_idle {
            let until = connection.idle_until(self.endpoint.keep.idle);
            idle.push(Idle { connection, until });
        }
    }

    /// Drops what has been idle for too long or was closed by the other side.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.idle
            .borrow_mut()
            .retain_mut(|it| now < it.until && it.connection.is_ready());
        let oldest = now.checked_sub(self.endpoint.keep.idle);
        self.shared.borrow_mut().retain(|it| {
            it.room() != Room::Gone && !oldest.is_some_and(|oldest| it.is_idle_since(oldest))
        });
    }
}

impl Lease {
    /// Whether the connection has carried a request before.
    pub(super) fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// The same, or one for HTTP/1 where the request asks for another protocol: HTTP/2 has no way to
    /// ask (RFC 9113 section 8.6), and where nothing else is spoken the request goes without.
    pub(super) async fn fit_for<B>(self, request: &Request<B>) -> Result<Self, UpstreamError> {
        if matches!(self.line, Line::Shared(_)) && request.headers().contains_key(header::UPGRADE) {
            let other = Box::pin(self.pool.lease_http1()).await?;
            return Ok(other.unwrap_or(self));
        }
        Ok(self)
    }

    /// Whether it can carry a request now.
    pub(super) fn is_ready(&mut self) -> bool {
        match &mut self.line {
            Line::Exclusive(connection) => connection.is_ready(),
            Line::Shared(stream) => stream.sender().is_ready(),
        }
    }

    /// Sends a request to the member that the connection leads to, in the words of the connection's
    /// protocol, and waits for the head of the answer.
    ///
    /// # Errors
    ///
    /// What went wrong, and the body if nothing of the request was written.
    pub(super) async fn send<B>(
        &mut self,
        request: &Request<B>,
        body: RequestBody,
    ) -> Result<Response<Source>, (Broken, Option<RequestBody>)> {
        let endpoint = &self.pool.endpoint;
        match (&mut self.line, &self.pool.authority) {
            (Line::Exclusive(connection), _) => {
                let sent = connection.send(request, &endpoint.authority, body).await;
                let answer = sent.map_err(|error| (error, None))?;
                Ok(answer.map(Source::from))
            }
            (Line::Shared(stream), Some(authority)) => {
                let request = shared::put(request, authority, body);
                let sending = stream.sender().try_send_request(request);
                match Box::pin(sending).await {
                    Ok(answer) => Ok(answer.map(Source::Shared)),
                    Err(mut failure) => {
                        let unsent = failure.take_message().map(Request::into_body);
                        Err((failure.into_error().into(), unsent))
                    }
                }
            }
            (Line::Shared(_), None) => Err((Broken::Malformed("its name is none"), None)),
        }
    }

    /// What an answer over HTTP/1 is read from.
    pub(super) fn connection(&mut self) -> Option<&mut Connection> {
        match &mut self.line {
            Line::Exclusive(connection) => connection.connection(),
            Line::Shared(_) => None,
        }
    }

    /// The connection without HTTP on it, where it is no other request's.
    pub(super) fn into_line(self) -> Option<http1::Line> {
        match self.line {
            Line::Exclusive(connection) => connection.into_line(),
            Line::Shared(_) => None,
        }
    }

    /// Another connection for a request that this one has failed: one that nobody has used, where
    /// that can be had for one request.
    pub(super) async fn another(&self) -> Result<Self, UpstreamError> {
        match &self.line {
            Line::Exclusive(_) => self.pool.open().await,
            Line::Shared(_) => self.pool.lease().await,
        }
    }

    /// Has no further request sent over the connection: something is wrong with it.
    pub(super) fn retire(&self) {
        if let Line::Shared(stream) = &self.line {
            stream.retire();
        }
    }

    /// The answer has been read to its end; the connection is free again.
    pub(super) fn release(self) {
        if let Line::Exclusive(connection) = self.line
            && connection.is_reusable()
        {
            self.pool.put(connection);
        }
    }
}
