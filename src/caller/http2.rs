//! A caller's connection while HTTP/2 is spoken on it (RFC 9113).

use std::cell::Cell;
use std::error::Error;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use hyper::rt::Executor;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::spawn_local;
use tokio::time::Instant;

use super::answering::answer;
use super::deadlines::{self, Deadlines, Due};
use super::pace::Pace;
use super::strict::Strict;
use super::{Callers, Line, Waiting};
use crate::gateway::Entrance;
use crate::listener::manners::HalfClose;
use crate::shutdown::ending::Notice;

/// Requests at once on one connection.
const STREAMS: u32 = 100;
/// Bytes of one request's body that a caller may send before they are asked for.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same for all requests of a connection.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of one answer that are held for a caller who does not take them.
const SEND_BUFFER: usize = 64 * 1024;
/// Requests that a caller may cancel before they were looked at, and those that were wrong in
/// themselves, before the connection is ended: nobody needs that many, and each costs something.
const RESET_STREAMS: usize = 100;
/// Requests that a caller may cancel while they are being answered, within [`CALM`], before the
/// connection is ended. Whoever leaves a page cancels what one connection carries, a hundred at
/// most; whoever cancels all that it asks has us, and the target, work for nothing (CVE-2023-44487).
const CANCELLED: u32 = 500;
/// How long it takes until as many may be cancelled again.
const CALM: Duration = Duration::from_secs(10);
/// How often a caller is asked whether it is still there, and how long it has to say so.
const PING: Duration = Duration::from_secs(30);
const PONG: Duration = Duration::from_secs(20);
/// How long a caller has to close a connection that it was told is at its end.
const GOODBYE: Duration = Duration::from_secs(1);

/// Serves a connection to its end.
pub(super) async fn serve<S: Line>(
    waiting: Waiting<S>,
    entrance: &Entrance,
    callers: &Rc<Callers>,
) {
    let pace = Arc::new(Pace::default());
    // Frames are the server side's own business, and it never stops reading them.
    pace.switch();
    pace.waits_to_read();
    let mut deadlines = Deadlines::new(callers.config.deadlines, Some(waiting.since));
    let (tie, way) = (Rc::new(callers.tie(&waiting.seat)), entrance.clone());
    let line = Strict::new(
        waiting.line,
        waiting.ahead,
        HalfClose::Abort,
        Arc::clone(&pace),
        waiting.seat,
    );
    let streams = Streams::new(callers.config.deadlines);
    let (own, noted, begun) = (Rc::clone(callers), Arc::clone(&pace), streams.clone());
    let service = service_fn(move |request| {
        answer(
            &own,
            request,
            way.clone(),
            &tie,
            &noted,
            Some(&begun.begin()),
        )
    });
    let head = u32::try_from(callers.config.head).unwrap_or(u32::MAX);
    let mut connection = pin!(
        Builder::new(streams)
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_pending_accept_reset_streams(RESET_STREAMS)
            .max_local_error_reset_streams(RESET_STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(head)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .serve_connection(TokioIo::new(line), service)
    );

    let mut notice = Notice::new(&callers.ending);
    let mut is_told = false;
    let mut temper = Temper::new();
    let ended = poll_fn(|context| {
        if notice.is_news(context) {
            connection.as_mut().graceful_shutdown();
            deadlines.expect_the_end(GOODBYE);
            deadlines.end_within(callers.config.drain);
            is_told = true;
        }
        loop {
            if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                return Poll::Ready(Some(ended));
            }
            if temper.is_lost(pace.cancelled()) {
                tracing::info!(peer = %entrance.peer, "a caller cancelled too many requests");
                connection.as_mut().graceful_shutdown();
                // What it is told is written here, or never.
                return Poll::Ready(match connection.as_mut().poll(context) {
                    Poll::Ready(ended) => Some(ended),
                    Poll::Pending => None,
                });
            }
            match ready!(deadlines.poll(&pace, context)) {
                Due::Idle if !is_told => {
                    connection.as_mut().graceful_shutdown();
                    deadlines.expect_the_end(GOODBYE);
                    is_told = true;
                }
                Due::End => {
                    callers.ending.cut_one_off();
                    return Poll::Ready(None);
                }
                _ => return Poll::Ready(None),
            }
        }
    })
    .await;
    if let Some(Err(error)) = ended {
        let cause = error.source().and_then(|it| it.downcast_ref::<h2::Error>());
        // What this side found wrong, not what the other said or the network did.
        if cause.is_some_and(h2::Error::is_library) {
            callers.refuse(entrance.peer, "bad-request", &said(&error));
        }
        tracing::debug!(peer = %entrance.peer, %error, "a caller's connection ended early");
    }
}

/// An error with its cause, which HTTP/2 puts what went wrong in.
fn said(error: &hyper::Error) -> String {
    let cause = error.source().map(ToString::to_string);
    format!("{error}: {}", cause.unwrap_or_default())
}

/// How much cancelling a caller is forgiven.
#[derive(Debug)]
struct Temper {
    forgiven: u32,
    since: Instant,
}

impl Temper {
    fn new() -> Self {
        Self {
            forgiven: 0,
            since: Instant::now(),
        }
    }

    /// Whether that many are too many. The clock is asked once for [`CANCELLED`] of them.
    fn is_lost(&mut self, cancelled: u32) -> bool {
        if cancelled.wrapping_sub(self.forgiven) <= CANCELLED {
            return false;
        }
        if self.since.elapsed() < CALM {
            return true;
        }
        (self.forgiven, self.since) = (cancelled, Instant::now());
        false
    }
}

/// Runs the streams of one connection on its worker, each with a deadline of its own for a caller
/// that does not take its answer.
#[derive(Clone)]
struct Streams {
    config: deadlines::Config,
    /// Where the stream stands that begins: the server side has a request answered and then asks
    /// for that to be run.
    next: Rc<Cell<Option<Arc<Pace>>>>,
}

impl Streams {
    fn new(config: deadlines::Config) -> Self {
        Self {
            config,
            next: Rc::default(),
        }
    }

    fn begin(&self) -> Arc<Pace> {
        let pace = Arc::new(Pace::default());
        pace.waits_to_read();
        self.next.set(Some(Arc::clone(&pace)));
        pace
    }
}

impl<F: Future<Output = ()> + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let Some(pace) = self.next.take() else {
            spawn_local(stream);
            return;
        };
        let mut deadlines = Deadlines::new(self.config, None);
        spawn_local(async move {
            let mut stream = pin!(stream);
            poll_fn(|context| {
                if stream.as_mut().poll(context).is_ready() {
                    return Poll::Ready(());
                }
                // Given up, a stream is reset.
                deadlines.poll(&pace, context).map(|_| ())
            })
            .await;
        });
    }
}
