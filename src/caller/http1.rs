//! A caller's connection while HTTP/1 is spoken on it.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use hyper::server::conn::http1::{Builder, UpgradeableConnection};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::answering::answer;
use super::deadlines::{self, Deadlines, Due};
use super::framing::Fault;
use super::pace::{Order, Pace, Place};
use super::strict::Strict;
use super::{Callers, Line, Waiting};
use crate::gateway::Entrance;
use crate::respond;
use crate::shutdown::ending::Notice;

/// How long a connection that nothing is asked on keeps all that it takes to be served: its buffers
/// are ten times what a connection costs that only waits.
const READY: Duration = Duration::from_secs(2);

/// The most headers of a request that the server side takes if it is not told: it has room for these
/// without asking for memory, and none for any number that it is told, this one included.
const DEFAULT_HEADERS: usize = 100;

/// Why a connection is no longer served.
enum End {
    /// It came to its end, or its protocol was switched.
    Over(hyper::Result<()>),
    /// Nothing is being asked on it.
    Idle,
    /// Its caller is too slow.
    Slow,
    /// The time is up that requests have to finish.
    CutOff,
}

/// Serves a connection until it ends, or until nothing is asked on it; gives it back then.
pub(super) async fn serve<S: Line>(
    waiting: Waiting<S>,
    entrance: &Entrance,
    callers: &Rc<Callers>,
) -> Option<Waiting<S>> {
    let pace = Arc::new(Pace::default());
    let config = deadlines::Config {
        keep_alive: callers.config.deadlines.keep_alive.min(READY),
        ..callers.config.deadlines
    };
    let mut deadlines = Deadlines::new(config, Some(waiting.since));
    let (tie, way) = (Rc::new(callers.tie(&waiting.seat)), entrance.clone());
    let strict = Strict::new(
        waiting.line,
        waiting.ahead,
        callers.manners.half_close,
        Arc::clone(&pace),
        waiting.seat,
    );
    let (own, noted) = (Rc::clone(callers), Arc::clone(&pace));
    let service = service_fn(move |request| answer(&own, request, way.clone(), &tie, &noted, None));
    let mut builder = Builder::new();
    if callers.config.headers != DEFAULT_HEADERS {
        builder.max_headers(callers.config.headers);
    }
    let mut connection = builder
        .max_header_size(callers.config.head)
        // The size above is looked at when a head is complete; this bounds one that never is.
        .max_buf_size(callers.config.head.max(8192).saturating_add(1))
        // Not to read while it answers: it would take a second buffer each time, since the head is
        // still in the first. Whether the caller is gone is looked at by `Due::Look`.
        .half_close(true)
        .serve_connection(TokioIo::new(strict), service)
        .with_upgrades();

    let mut notice = Notice::new(&callers.ending);
    let mut is_late = false;
    let end = poll_fn(|context| {
        if notice.is_news(context) {
            // What was asked before that is answered, though nobody may have read it yet.
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(context) {
                return Poll::Ready(End::Over(ended));
            }
            Pin::new(&mut connection).graceful_shutdown();
            deadlines.end_within(callers.config.drain);
        }
        loop {
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(context) {
                return Poll::Ready(End::Over(ended));
            }
            if pace.release() {
                continue;
            }
            match ready!(deadlines.poll(&pace, context)) {
                Due::Look => pace.order(Order::Look),
                Due::Head if !is_late => {
                    is_late = true;
                    callers.refuse(entrance.peer, "request-timeout", &"a head came too slowly");
                    pace.order(Order::Late);
                }
                Due::Idle if pace.place() == Place::Between => return Poll::Ready(End::Idle),
                Due::End => return Poll::Ready(End::CutOff),
                Due::Head | Due::Idle | Due::Send => return Poll::Ready(End::Slow),
            }
        }
    })
    .await;
    match end {
        End::Over(ended) => {
            let fault = pace.fault();
            match (fault, &ended) {
                (Some(fault), _) => callers.refuse(entrance.peer, "bad-request", &fault),
                (None, Err(error)) if error.is_parse_too_large() => {
                    let causes = "a head above `limits.head` or `limits.headers`";
                    callers.refuse(entrance.peer, "too-large", &causes);
                }
                (None, Err(error)) if error.is_parse() => {
                    callers.refuse(entrance.peer, "bad-request", error);
                }
                _ => {}
            }
            if let Err(error) = ended {
                tracing::debug!(peer = %entrance.peer, %error, "a caller's connection ended early");
            }
            if fault == Some(Fault::Tls)
                && let Some(waiting) = take_apart(connection, Instant::now())
            {
                let words = respond::takes_no_tls();
                callers.seats.tell(waiting.line, &words).await;
            }
            None
        }
        End::CutOff => {
            callers.ending.cut_one_off();
            None
        }
        End::Slow => {
            tracing::debug!(peer = %entrance.peer, "a caller was too slow");
            if let Some(waiting) = take_apart(connection, Instant::now()) {
                super::reset(&waiting.line);
            }
            None
        }
        End::Idle => take_apart(
            connection,
            deadlines.idle_since().unwrap_or_else(Instant::now),
        ),
    }
}

fn take_apart<S: Line, H>(
    connection: UpgradeableConnection<TokioIo<Strict<S>>, H>,
    since: Instant,
) -> Option<Waiting<S>>
where
    H: HttpService<hyper::body::Incoming>,
    H::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    H::ResBody: 'static,
    <H::ResBody as hyper::body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let parts = connection.into_parts()?;
    let (line, ahead, seat) = parts.io.into_inner().into_inner()?;
    Some(Waiting {
        line,
        // Only empty lines can be in there, for nothing has been asked.
        ahead: [parts.read_buf, ahead].concat().into(),
        seat,
        since,
    })
}
