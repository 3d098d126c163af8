//! One connection of a caller, from the moment it was accepted to its end.

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Notify;

use crate::gateway::{Entrance, Gateway};
use crate::listener::door::Complaints;
use crate::listener::stream::{Socket, Stream};
use crate::shutdown::Busy;

pub mod strict;

use strict::Strict;

/// What the connections of callers may do; fixed while the process runs.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The largest head of a request, in bytes.
    pub head: usize,
    /// The most headers of a request.
    pub headers: usize,
    /// From the moment a connection is free until the next request's head is there.
    pub head_timeout: Duration,
    /// How long requests under way may take after the end was announced.
    pub drain: Duration,
}

/// What the connections of callers have in common.
#[derive(Debug)]
pub struct Callers {
    gateway: Rc<Gateway>,
    config: Config,
    ending: Ending,
}

impl Callers {
    /// Those of a worker, while the end is not announced.
    #[must_use]
    pub fn new(gateway: Rc<Gateway>, config: Config) -> Self {
        Self {
            gateway,
            config,
            ending: Ending::default(),
        }
    }

    /// Serves what has been accepted, if it is let in.
    pub async fn receive(
        self: Rc<Self>,
        listener: usize,
        socket: Socket,
        complaints: Rc<Complaints>,
        busy: Busy,
    ) {
        match self.gateway.open(listener, socket).await {
            Ok((stream, entrance)) => converse(stream, entrance, self, busy).await,
            Err(turned) => complaints.note(&turned),
        }
    }

    /// Announces the end: every connection closes once it has answered what it is at.
    pub fn end(&self) {
        self.ending.begin();
    }
}

/// Tells the connections of one worker that the end was announced. A connection looks at this
/// whenever it wakes, so it must not touch what other threads touch.
#[derive(Debug, Default)]
struct Ending {
    begun: Cell<bool>,
    announced: Notify,
}

impl Ending {
    fn begin(&self) {
        self.begun.set(true);
        self.announced.notify_waiters();
    }

    async fn begun(&self) {
        let announced = self.announced.notified();
        // A connection that was accepted last may not have run before the announcement.
        if !self.begun.get() {
            announced.await;
        }
    }
}

/// Serves one connection of a caller.
async fn converse(stream: Stream, entrance: Entrance, callers: Rc<Callers>, busy: Busy) {
    let gateway = Rc::clone(&callers.gateway);
    let seen = entrance.clone();
    let service = service_fn(move |request| {
        let (gateway, entrance) = (Rc::clone(&gateway), seen.clone());
        async move { Ok::<_, Infallible>(gateway.handle(request, entrance).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(callers.config.head_timeout)
        .max_headers(callers.config.headers)
        .max_header_size(callers.config.head)
        // The size above is looked at when a head is complete; this bounds one that never is.
        .max_buf_size(callers.config.head.max(8192).saturating_add(1))
        .serve_connection(TokioIo::new(Strict::new(stream)), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = callers.ending.begun() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %entrance.peer, %error, "a caller's connection ended early");
    }
    drop(busy);
}
