//! HTTP/2 to an upstream (RFC 9113): a connection that many requests share.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::time::Duration;

use http::uri::{Authority, Parts, Scheme};
use http::{Request, Uri, Version, header};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::pool::{BUFFER, HEAD};
use crate::body::RequestBody;

/// The most requests that a connection carries at once, whatever the other side would take: the
/// least that RFC 9113 section 6.5.2 wants servers to allow, and few enough that a lost packet does
/// not hold up a thousand callers.
pub(super) const STREAMS: usize = 100;

/// How much of an answer may be under way unread: at 100 ms to the other side, 5 MB a second. The
/// connection's own window is that of all its streams together, so that callers who do not read
/// their answers hold up nobody else's.
const WINDOW: u32 = 512 * 1024;
const ALL_WINDOWS: u32 = 100 * WINDOW;

/// After how long a silence the other side is asked whether it is still there, while requests wait
/// for it. Servers of gRPC take more than one such question in 5 minutes for abuse and end the
/// connection; a request's own deadlines are shorter, and retire the connection when they pass.
const PING: Duration = Duration::from_secs(310);
const PONG: Duration = Duration::from_secs(20);

/// What stands for the other side's limit until its SETTINGS have come; theirs has 32 bits.
const UNKNOWN: usize = usize::MAX - 1;

type Task = http2::Connection<TokioIo<TlsStream<TcpStream>>, RequestBody, Local>;

/// A connection that many requests share.
#[derive(Debug)]
pub(super) struct Shared {
    sender: SendRequest<RequestBody>,
    /// Knows how many streams the other side allows; gone when the connection is.
    task: Weak<RefCell<Task>>,
    streams: Cell<usize>,
    has_carried: Cell<bool>,
    is_retired: Cell<bool>,
    idle_since: Cell<Instant>,
    ends: Instant,
}

/// Whether a connection takes another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// It does.
    Free,
    /// Not before one of its requests is done.
    Full,
    /// The other side has not said yet how many it takes.
    Unsettled,
    /// It takes no more.
    Gone,
}

impl Shared {
    /// Begins HTTP/2 on a connection. `changed` is told whenever something has moved on it.
    ///
    /// # Errors
    ///
    /// If the connection breaks at once.
    pub(super) async fn begin(
        stream: TlsStream<TcpStream>,
        ends: Instant,
        changed: &Rc<Notify>,
    ) -> hyper::Result<Rc<Self>> {
        let (sender, task) = http2::Builder::new(Local(Rc::clone(changed)))
            .timer(TokioTimer::new())
            .initial_max_send_streams(UNKNOWN)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(ALL_WINDOWS)
            .max_header_list_size(u32::try_from(HEAD).unwrap_or(u32::MAX))
            .max_send_buf_size(BUFFER)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .handshake(TokioIo::new(stream))
            .await?;
        let task = Rc::new(RefCell::new(task));
        let shared = Self {
            sender,
            task: Rc::downgrade(&task),
            streams: Cell::new(0),
            has_carried: Cell::new(false),
            is_retired: Cell::new(false),
            idle_since: Cell::new(Instant::now()),
            ends,
        };
        // The task ends with the connection, and when nobody can send on it any more.
        spawn_local(async move {
            let ended = std::future::poll_fn(|context| pin!(&mut *task.borrow_mut()).poll(context));
            if let Err(error) = ended.await {
                tracing::trace!(%error, "an upstream connection ended");
            }
        });
        Ok(Rc::new(shared))
    }

    /// Whether it takes another request.
    pub(super) fn room(&self) -> Room {
        if self.is_retired.get() || self.sender.is_closed() || self.ends <= Instant::now() {
            return Room::Gone;
        }
        let Some(task) = self.task.upgrade() else {
            return Room::Gone;
        };
        match task.borrow().current_max_send_streams() {
            UNKNOWN => Room::Unsettled,
            most if self.streams.get() < most.min(STREAMS) => Room::Free,
            _ => Room::Full,
        }
    }

    /// How many requests it takes, as far as that is known.
    pub(super) fn most(&self) -> usize {
        let most = self
            .task
            .upgrade()
            .map(|it| it.borrow().current_max_send_streams());
        most.unwrap_or(STREAMS).clamp(1, STREAMS)
    }

    /// Whether it has been without requests since then.
    pub(super) fn is_idle_since(&self, then: Instant) -> bool {
        self.streams.get() == 0 && self.idle_since.get() <= then
    }
}

/// The place of one request on a connection.
#[derive(Debug)]
pub(super) struct Stream(Rc<Shared>);

impl Stream {
    /// Takes a place; gives whether the connection has carried a request before.
    pub(super) fn take(shared: &Rc<Shared>) -> (Self, bool) {
        shared.streams.set(shared.streams.get() + 1);
        (Self(Rc::clone(shared)), shared.has_carried.replace(true))
    }

    /// What sends the request.
    pub(super) fn sender(&self) -> SendRequest<RequestBody> {
        self.0.sender.clone()
    }

    /// Lets the connection carry no further request.
    pub(super) fn retire(&self) {
        self.0.is_retired.set(true);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let left = self.0.streams.get() - 1;
        self.0.streams.set(left);
        if left == 0 {
            self.0.idle_since.set(Instant::now());
        }
    }
}

/// A request in the words of HTTP/2: `:authority` in place of `Host`, and frames in place of chunks
/// (RFC 9113 sections 8.2.2 and 8.3.1).
pub(super) fn put<A, B>(request: &Request<A>, authority: &Authority, body: B) -> Request<B> {
    let mut parts = Parts::default();
    parts.scheme = Some(Scheme::HTTPS);
    parts.authority = Some(authority.clone());
    parts.path_and_query = request.uri().path_and_query().cloned();
    let mut put = Request::new(body);
    *put.method_mut() = request.method().clone();
    *put.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    *put.version_mut() = Version::HTTP_2;
    *put.headers_mut() = request.headers().clone();
    let headers = put.headers_mut();
    headers.remove(header::HOST);
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove(header::UPGRADE);
    headers.remove(header::CONNECTION);
    put
}

/// Runs what a connection consists of on this worker, and tells of every step: what the other side
/// allows comes in one of them, and nothing else tells.
#[derive(Clone, Debug)]
struct Local(Rc<Notify>);

impl<F: Future + 'static> Executor<F> for Local {
    fn execute(&self, future: F) {
        let changed = Rc::clone(&self.0);
        spawn_local(async move {
            let mut future = pin!(future);
            std::future::poll_fn(|context| {
                let polled = future.as_mut().poll(context).map(drop);
                changed.notify_waiters();
                polled
            })
            .await;
        });
    }
}
