//! One connection of a caller, from the moment it was accepted to its end.
//!
//! A connection that nothing is asked on is a `Waiting`, which takes next to no memory. One that
//! is being served belongs to `http1` or `http2`, whose timer sees to its deadlines.

use std::fmt::Display;
use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, sleep_until, timeout};

use crate::gateway::{Entrance, Gateway};
use crate::listener::Peer;
use crate::listener::complaints::Complaints;
use crate::listener::door::Turned;
use crate::listener::manners::{Manners, Protocols};
use crate::listener::room::Room;
use crate::listener::stream::Socket;
use crate::plan::Listener;
use crate::shutdown::Busy;
use crate::shutdown::ending::{Ending, Notice, Tie};
use crate::{listener, metrics, respond};

mod answering;
pub mod deadlines;
mod framing;
mod http1;
mod http2;
mod pace;
pub mod seats;
pub mod strict;

use seats::{Seat, Seats};

/// What a connection in HTTP/2 begins with (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long the other side of TLS has to hear that a connection is closed.
const CLOSING: Duration = Duration::from_secs(1);

/// What the connections of callers may do. A connection keeps to what held when it was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The largest head of a request, in bytes.
    pub head: usize,
    /// The most headers of a request.
    pub headers: usize,
    /// How slow a caller may be.
    pub deadlines: deadlines::Config,
    /// How long requests under way may take after the end was announced.
    pub drain: Duration,
}

/// What connections of callers have in common: those that one worker has accepted at one listener
/// under one rule.
#[derive(Debug)]
pub struct Callers {
    gateway: Rc<Gateway>,
    config: Config,
    manners: Manners,
    seats: Seats,
    room: Arc<Room>,
    /// The most of them at this listener.
    most: Option<usize>,
    /// Whether they speak HTTP from the first byte.
    is_plain: bool,
    complaints: Complaints,
    ending: Rc<Ending>,
}

impl Callers {
    /// Those of a worker, while the end is not announced.
    #[must_use]
    pub fn new(gateway: Rc<Gateway>, config: Config, listener: &Listener, seats: Seats) -> Self {
        Self {
            gateway,
            config,
            manners: listener.config.manners,
            seats,
            room: Arc::clone(&listener.room),
            most: listener.config.connections,
            is_plain: listener.config.tls.is_none() && listener.config.senders.is_none(),
            complaints: Complaints::new(&listener.config.name),
            ending: Rc::new(Ending::new(config.drain)),
        }
    }

    /// What they may do.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// A seat for one more, if there is any.
    #[must_use]
    pub fn seat(&self, busy: Busy) -> Option<Seat> {
        self.seats.take(&self.room, self.most, busy)
    }

    /// What the worker counts.
    pub(crate) fn counts(&self) -> &metrics::Worker {
        self.gateway.counts()
    }

    /// Serves what has been accepted, if it is let in.
    pub async fn receive(self: Rc<Self>, listener: listener::Id, socket: Socket, seat: Seat) {
        match self.gateway.open(listener, socket).await {
            Ok((stream, entrance)) => {
                let mut protocols = self.manners.protocols;
                if entrance.is_tls {
                    protocols = protocols.agreed(stream.negotiated());
                }
                converse(stream, entrance, protocols, self, seat).await;
            }
            Err(turned) => self.turn(turned).await,
        }
    }

    /// Whether those who come in under the other find everything as it is here.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        self.config == other.config && self.complaints.listener() == other.complaints.listener()
    }

    /// Notes why a connection was not let in, and says it where that is understood.
    async fn turn(&self, turned: Turned) {
        match turned.refusal() {
            Some((peer, code)) => self.refuse(peer, code, &turned),
            None => tracing::debug!("{turned}"),
        }
        if let Turned::Plain { socket, .. } = turned {
            self.seats.tell(socket, &respond::takes_tls()).await;
        }
    }

    /// Tells a caller that there is no room, where that is known to be understood: before TLS, a
    /// PROXY header and the beginning of HTTP/2 it is not.
    pub async fn turn_away(self: Rc<Self>, socket: Socket) {
        if self.is_plain && self.manners.protocols != Protocols::Http2 {
            self.seats.turn_away(socket).await;
        }
    }

    /// Announces the end: every connection closes once it has answered what it is at, and after
    /// [`Config::drain`] in any case.
    pub fn end(&self) {
        self.ending.begin();
    }

    /// Whether any connection has to be told of the end yet, in HTTP or after it.
    #[must_use]
    pub fn are_there(self: &Rc<Self>) -> bool {
        Rc::strong_count(self) > 1 || Rc::strong_count(&self.ending) > 1
    }

    /// How many connections did not end in time by themselves.
    #[must_use]
    pub fn cut_off(&self) -> usize {
        self.ending.cut_off()
    }

    /// Counts and notes who was refused before anybody could tell where a request should go.
    fn refuse(&self, peer: Peer, code: &'static str, causes: &dyn Display) {
        self.counts().target("").refuse(code);
        self.complaints.note(peer, code, causes);
    }

    /// Ties what a connection becomes to the others.
    fn tie(&self, seat: &Seat) -> Tie {
        Tie::new(Rc::clone(&self.ending), seat.busy())
    }
}

/// What a caller's connection is made of: a socket, or TLS on one. It gives its descriptor, for the
/// system to be asked whether the other side is gone, and may move to another task with all it has
/// left to say when the protocol is switched.
pub trait Line: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static> Line for S {}

/// A connection that nothing is being asked on.
#[derive(Debug)]
struct Waiting<S> {
    line: S,
    /// What was read of what comes next.
    ahead: Bytes,
    seat: Seat,
    since: Instant,
}

/// Serves one connection of a caller. `protocols` are the listener's, or what TLS agreed on, where
/// there is TLS.
pub async fn converse(
    line: impl Line,
    entrance: Entrance,
    mut protocols: Protocols,
    callers: Rc<Callers>,
    seat: Seat,
) {
    let _open = callers.counts().open();
    let mut waiting = Waiting {
        line,
        ahead: Bytes::new(),
        seat,
        since: Instant::now(),
    };
    loop {
        // What serves is kept in a place of its own: waiting, a connection has none of it.
        let served = match protocols {
            Protocols::Http2 => {
                return Box::pin(http2::serve(waiting, &entrance, &callers)).await;
            }
            Protocols::Http1 => Box::pin(http1::serve(waiting, &entrance, &callers)).await,
            Protocols::Either => Some(waiting),
        };
        let Some(served) = served else { return };
        let Some(heard) = hear(served, protocols, &callers).await else {
            return;
        };
        waiting = heard;
        protocols = match protocols {
            Protocols::Either if waiting.ahead.starts_with(PREFACE) => Protocols::Http2,
            _ => Protocols::Http1,
        };
    }
}

/// Waits until something is asked, or else closes the connection.
async fn hear<S: Line>(
    mut waiting: Waiting<S>,
    protocols: Protocols,
    callers: &Callers,
) -> Option<Waiting<S>> {
    let config = &callers.config.deadlines;
    let mut until = waiting.since + config.keep_alive;
    loop {
        let mut notice = Notice::new(&callers.ending);
        let heard = tokio::select! {
            biased;
            heard = read_some(&mut waiting.line) => heard.unwrap_or_default(),
            () = poll_fn(|context| match notice.is_news(context) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }) => Bytes::new(),
            () = sleep_until(until) => Bytes::new(),
        };
        if heard.is_empty() {
            // TLS says goodbye; without it this is no more than closing.
            let _ = timeout(CLOSING, waiting.line.shutdown()).await;
            return None;
        }
        if waiting.ahead.is_empty() {
            until = Instant::now() + config.head;
        }
        let mut ahead = BytesMut::from(waiting.ahead);
        ahead.extend_from_slice(&heard);
        waiting.ahead = ahead.freeze();
        let is_open = protocols == Protocols::Either
            && waiting.ahead.len() < PREFACE.len()
            && PREFACE.starts_with(&waiting.ahead);
        if !is_open {
            return Some(waiting);
        }
    }
}

/// Reads what there is, into memory that is only taken when there is something.
async fn read_some(line: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Bytes> {
    poll_fn(|context| {
        let mut space = [MaybeUninit::uninit(); 1024];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut *line).poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(Bytes::copy_from_slice(buffer.filled())))
    })
    .await
}

/// Has the system forget what a caller has not taken, and tell it so.
fn reset(line: &impl AsFd) {
    let at_once = Some(Duration::ZERO);
    // A socket that has no such thing is closed in the ordinary way.
    let _ = rustix::net::sockopt::set_socket_linger(line, at_once);
}
