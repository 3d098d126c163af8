//! One connection of a caller, from the moment it was accepted to its end.

use std::cell::Cell;
use std::convert::Infallible;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use http::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::gateway::{Entrance, Gateway};
use crate::listener::door::Complaints;
use crate::listener::stream::Socket;
use crate::shutdown::Busy;
use crate::{listener, metrics};

pub mod strict;

use strict::{Strict, Switched};

/// What the connections of callers may do. A connection keeps to what held when it was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// What connections of callers have in common: those that one worker has accepted at one listener
/// under one rule.
#[derive(Debug)]
pub struct Callers {
    gateway: Rc<Gateway>,
    config: Config,
    ending: Ending,
    cut_off: Cell<usize>,
}

impl Callers {
    /// Those of a worker, while the end is not announced.
    #[must_use]
    pub fn new(gateway: Rc<Gateway>, config: Config) -> Self {
        Self {
            gateway,
            config,
            ending: Ending::default(),
            cut_off: Cell::new(0),
        }
    }

    /// What they may do.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What the worker counts.
    pub(crate) fn counts(&self) -> &metrics::Worker {
        self.gateway.counts()
    }

    /// Serves what has been accepted, if it is let in.
    pub async fn receive(
        self: Rc<Self>,
        listener: listener::Id,
        socket: Socket,
        complaints: Rc<Complaints>,
        busy: Busy,
    ) {
        match self.gateway.open(listener, socket).await {
            Ok((stream, entrance)) => converse(stream, entrance, self, busy).await,
            Err(turned) => complaints.note(&turned),
        }
    }

    /// Announces the end: every connection closes once it has answered what it is at, and after
    /// [`Config::drain`] in any case.
    pub fn end(&self) {
        self.ending.begin();
    }

    /// How many connections did not end in time by themselves.
    #[must_use]
    pub fn cut_off(&self) -> usize {
        self.cut_off.get()
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

/// What a caller's connection is made of: a socket, or TLS on one. It gives its descriptor, for the
/// system to be asked whether the other side is gone, and may move to another task with all it has
/// left to say when the protocol is switched.
pub trait Line: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static> Line for S {}

/// Serves one connection of a caller.
pub async fn converse(line: impl Line, entrance: Entrance, callers: Rc<Callers>, busy: Busy) {
    let _open = callers.counts().open();
    let gateway = Rc::clone(&callers.gateway);
    let busy = Rc::new(busy);
    let switched = Switched::default();
    let (noted, peer) = (switched.clone(), entrance.peer);
    let service = service_fn(move |request| {
        let (gateway, busy) = (Rc::clone(&gateway), Rc::clone(&busy));
        let (switched, entrance) = (noted.clone(), entrance.clone());
        async move {
            let answer = gateway.handle(request, entrance, &busy).await;
            if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
                switched.switch();
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(callers.config.head_timeout)
        .max_headers(callers.config.headers)
        .max_header_size(callers.config.head)
        // The size above is looked at when a head is complete; this bounds one that never is.
        .max_buf_size(callers.config.head.max(8192).saturating_add(1))
        .serve_connection(TokioIo::new(Strict::new(line, switched)), service)
        .with_upgrades();
    // The service holds `busy` until here, and what it has started holds it on.
    tokio::pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = callers.ending.begun() => {
            connection.as_mut().graceful_shutdown();
            let Ok(ended) = timeout(callers.config.drain, connection).await else {
                callers.cut_off.set(callers.cut_off.get() + 1);
                return;
            };
            ended
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a caller's connection ended early");
    }
}
