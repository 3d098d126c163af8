//! Bodies on their way through: streamed, counted and timed, never collected.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

/// How large and how slow a request's body may be.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The most bytes it may have; unlimited if `None`.
    pub limit: Option<u64>,
    /// How long may pass without a byte of it.
    pub idle: Duration,
}

/// What a caller did wrong while sending a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is larger than the limit.
    #[error("the request body is larger than {0} bytes")]
    TooLarge(u64),
    /// Nothing of it came for too long.
    #[error("no byte of the request body came for too long")]
    TooSlow,
    /// The connection it came on broke, or its framing did.
    #[error("the request body broke off")]
    BrokeOff,
}

/// A request's body on its way to the upstream. Trailers are dropped: a caller could put anything
/// into them that was checked in the headers.
#[derive(Debug)]
pub struct RequestBody {
    /// `None` for a request without a body.
    incoming: Option<Incoming>,
    config: Config,
    sent: u64,
    idle: Option<Pin<Box<Sleep>>>,
    progress: Progress,
}

/// What is known about a request's body while another task sends it.
#[derive(Clone, Debug)]
pub struct Progress(Rc<Cell<State>>);

#[derive(Clone, Copy, Debug)]
struct State {
    last: Instant,
    fault: Option<Fault>,
}

impl Progress {
    /// When the last piece of the body was handed on.
    #[must_use]
    pub fn last(&self) -> Instant {
        self.0.get().last
    }

    /// Whether nobody sends the body any more, because all of it was handed on or it broke off.
    #[must_use]
    pub fn is_over(&self) -> bool {
        Rc::strong_count(&self.0) == 1
    }

    /// What the caller did wrong, if anything.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.0.get().fault
    }
}

impl RequestBody {
    /// Wraps what a connection delivers.
    ///
    /// # Errors
    ///
    /// [`Fault::TooLarge`] if it is declared to be larger than the limit.
    pub fn new(incoming: Incoming, config: Config) -> Result<Self, Fault> {
        if let Some(limit) = config.limit
            && incoming.size_hint().lower() > limit
        {
            return Err(Fault::TooLarge(limit));
        }
        let progress = Progress(Rc::new(Cell::new(State {
            last: Instant::now(),
            fault: None,
        })));
        let incoming = Some(incoming).filter(|incoming| !incoming.is_end_stream());
        Ok(Self {
            incoming,
            config,
            sent: 0,
            idle: None,
            progress,
        })
    }

    /// A body of no bytes, for the second copy of a request that has none.
    #[must_use]
    pub fn empty(&self) -> Self {
        let progress = Progress(Rc::new(Cell::new(State {
            last: Instant::now(),
            fault: None,
        })));
        Self {
            incoming: None,
            config: self.config,
            sent: 0,
            idle: None,
            progress,
        }
    }

    /// A view of how far it is, for whoever waits for the answer.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    fn fail(&self, fault: Fault) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let state = self.progress.0.get();
        self.progress.0.set(State {
            fault: Some(fault),
            ..state
        });
        Poll::Ready(Some(Err(fault)))
    }

    fn pass(&mut self, data: Bytes) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        self.idle = None;
        self.sent = self.sent.saturating_add(data.len() as u64);
        if let Some(limit) = self.config.limit
            && self.sent > limit
        {
            return self.fail(Fault::TooLarge(limit));
        }
        self.progress.0.set(State {
            last: Instant::now(),
            fault: None,
        });
        Poll::Ready(Some(Ok(Frame::data(data))))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        loop {
            let Some(incoming) = &mut self.incoming else {
                return Poll::Ready(None);
            };
            match Pin::new(incoming).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return self.pass(data);
                    }
                }
                Poll::Ready(Some(Err(_))) => return self.fail(Fault::BrokeOff),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    let span = self.config.idle;
                    ready!(poll_idle(&mut self.idle, span, context));
                    return self.fail(Fault::TooSlow);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// Ready when nothing has moved for `span`. The timer is made when a body first has to wait, so
/// that one which is there at once costs none.
fn poll_idle(
    timer: &mut Option<Pin<Box<Sleep>>>,
    span: Duration,
    context: &mut Context<'_>,
) -> Poll<()> {
    timer
        .get_or_insert_with(|| Box::pin(tokio::time::sleep(span)))
        .as_mut()
        .poll(context)
}

/// What went wrong while an answer's body was on its way. The caller's connection is broken off,
/// so that a part is never taken for the whole.
#[derive(Debug, thiserror::Error)]
pub enum AnswerFault {
    /// The upstream broke off.
    #[error("the upstream broke off in the middle of its answer")]
    BrokeOff(#[source] hyper::Error),
    /// The upstream went silent.
    #[error("no byte of the answer came for {0:?}")]
    TooSlow(Duration),
}

/// What holds the upstream's connection while the body of an answer is read from it.
pub trait Lease: Unpin {
    /// The body has been read to its end; the connection is free again.
    fn release(self);
}

/// The body of an answer: the upstream's, or one of ours.
#[derive(Debug)]
pub struct ResponseBody<L> {
    content: Content<L>,
    idle: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
enum Content<L> {
    Own(Option<Bytes>),
    Upstream {
        incoming: Incoming,
        lease: Option<L>,
    },
}

impl<L: Lease> ResponseBody<L> {
    /// A body of ours.
    #[must_use]
    pub fn own(bytes: Bytes) -> Self {
        Self {
            content: Content::Own(Some(bytes)),
            idle: Duration::ZERO,
            timer: None,
        }
    }

    /// The upstream's body, which gives its connection back at the end and may be silent for so
    /// long.
    #[must_use]
    pub fn upstream(incoming: Incoming, lease: L, idle: Duration) -> Self {
        let mut lease = Some(lease);
        if incoming.is_end_stream()
            && let Some(lease) = lease.take()
        {
            lease.release();
        }
        Self {
            content: Content::Upstream { incoming, lease },
            idle,
            timer: None,
        }
    }
}

impl<L: Lease> Body for ResponseBody<L> {
    type Data = Bytes;
    type Error = AnswerFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
        let Self {
            content,
            idle,
            timer,
        } = &mut *self;
        let (incoming, lease) = match content {
            Content::Own(bytes) => {
                let bytes = bytes.take().filter(|bytes| !bytes.is_empty());
                return Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))));
            }
            Content::Upstream { incoming, lease } => (incoming, lease),
        };
        let frame = match Pin::new(&mut *incoming).poll_frame(context) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                ready!(poll_idle(timer, *idle, context));
                return Poll::Ready(Some(Err(AnswerFault::TooSlow(*idle))));
            }
        };
        *timer = None;
        let at_end = match &frame {
            None => true,
            Some(Ok(_)) => incoming.is_end_stream(),
            Some(Err(_)) => false,
        };
        if at_end && let Some(lease) = lease.take() {
            lease.release();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(AnswerFault::BrokeOff)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Own(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Content::Upstream { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Own(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64)
            }
            Content::Upstream { incoming, .. } => incoming.size_hint(),
        }
    }
}
