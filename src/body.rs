//! Bodies on their way through: streamed, counted and timed, never collected.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

use crate::headers;

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

/// The largest body of which a copy is kept, so that the request can be sent again.
const KEPT: u64 = 64 * 1024;

/// A request's body on its way to the upstream. Trailers are dropped: a caller could put anything
/// into them that was checked in the headers.
#[derive(Debug)]
pub struct RequestBody {
    content: Sent,
    config: Config,
    sent: u64,
    idle: Option<Pin<Box<Sleep>>>,
    progress: Progress,
}

/// What is sent.
#[derive(Debug)]
enum Sent {
    /// Nothing.
    Empty,
    /// What the caller sends, and perhaps a copy of it.
    Incoming(Incoming, Option<Rc<Copy>>),
    /// What was kept of it.
    Copy { copy: Rc<Copy>, next: usize },
}

/// The pieces of a small body, kept while they pass.
#[derive(Debug, Default)]
struct Copy {
    pieces: RefCell<Vec<Bytes>>,
    is_whole: Cell<bool>,
    ended: Notify,
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
    fn begin(now: Instant) -> Self {
        Self(Rc::new(Cell::new(State {
            last: now,
            fault: None,
        })))
    }

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
    /// Wraps what a connection delivers, at the time `now`.
    ///
    /// # Errors
    ///
    /// [`Fault::TooLarge`] if it is declared to be larger than the limit.
    pub fn new(incoming: Incoming, config: Config, now: Instant) -> Result<Self, Fault> {
        if let Some(limit) = config.limit
            && incoming.size_hint().lower() > limit
        {
            return Err(Fault::TooLarge(limit));
        }
        let content = if incoming.is_end_stream() {
            Sent::Empty
        } else {
            Sent::Incoming(incoming, None)
        };
        Ok(Self::of(content, config, now))
    }

    fn of(content: Sent, config: Config, now: Instant) -> Self {
        Self {
            content,
            config,
            sent: 0,
            idle: None,
            progress: Progress::begin(now),
        }
    }

    /// A view of how far it is, for whoever waits for the answer.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Begins to count anew how long nothing has moved: the copy of a request is sent later than
    /// it is made.
    pub fn restart(&self) {
        let state = self.progress.0.get();
        self.progress.0.set(State {
            last: Instant::now(),
            ..state
        });
    }

    /// A second body with the same content: of none, and of a small one, whose pieces are kept
    /// from now on while they pass. Of a large one there is no copy.
    #[must_use]
    pub fn copy(&mut self) -> Option<Self> {
        let content = match &mut self.content {
            Sent::Empty => Sent::Empty,
            Sent::Incoming(incoming, kept) => {
                incoming.size_hint().upper().filter(|size| *size <= KEPT)?;
                let copy = kept.get_or_insert_with(Rc::default);
                Sent::Copy {
                    copy: Rc::clone(copy),
                    next: 0,
                }
            }
            Sent::Copy { copy, .. } => Sent::Copy {
                copy: Rc::clone(copy),
                next: 0,
            },
        };
        // Its time begins when it is sent: with `restart`.
        Some(Self::of(content, self.config, self.progress.last()))
    }

    /// Whether a copy has all of the content.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        match &self.content {
            Sent::Empty => true,
            Sent::Incoming(..) => false,
            Sent::Copy { copy, .. } => copy.is_whole.get(),
        }
    }

    /// Waits until a copy has all of the content. Gives whether it ever will: the rest comes no
    /// more when the body itself is gone.
    pub async fn whole(&self) -> bool {
        let Sent::Copy { copy, .. } = &self.content else {
            return self.is_whole();
        };
        let ended = copy.ended.notified();
        // The copy's own handle is the only one left when the body is gone.
        if !copy.is_whole.get() && Rc::strong_count(copy) > 1 {
            ended.await;
        }
        copy.is_whole.get()
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
        if let Sent::Incoming(incoming, Some(copy)) = &self.content {
            copy.pieces.borrow_mut().push(data.clone());
            if incoming.is_end_stream() {
                copy.end();
            }
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }
}

impl Copy {
    fn end(&self) {
        self.is_whole.set(true);
        self.ended.notify_waiters();
    }
}

impl Drop for RequestBody {
    /// Wakes whoever waits for the rest of a body that is gone.
    fn drop(&mut self) {
        if let Sent::Incoming(_, Some(copy)) = &self.content {
            copy.ended.notify_waiters();
        }
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
            let incoming = match &mut self.content {
                Sent::Empty => return Poll::Ready(None),
                Sent::Copy { copy, next } => {
                    let piece = copy.pieces.borrow().get(*next).cloned();
                    *next += 1;
                    return Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))));
                }
                Sent::Incoming(incoming, _) => incoming,
            };
            match Pin::new(incoming).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return self.pass(data);
                    }
                }
                Poll::Ready(Some(Err(_))) => return self.fail(Fault::BrokeOff),
                Poll::Ready(None) => {
                    if let Sent::Incoming(_, Some(copy)) = &self.content {
                        copy.end();
                    }
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    let span = self.config.idle;
                    ready!(poll_idle(&mut self.idle, span, context));
                    return self.fail(Fault::TooSlow);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Sent::Empty => true,
            Sent::Incoming(incoming, _) => incoming.is_end_stream(),
            Sent::Copy { copy, next } => *next >= copy.pieces.borrow().len(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Sent::Empty => SizeHint::with_exact(0),
            Sent::Incoming(incoming, _) => incoming.size_hint(),
            Sent::Copy { copy, next } => {
                let left = copy
                    .pieces
                    .borrow()
                    .iter()
                    .skip(*next)
                    .map(Bytes::len)
                    .sum::<usize>();
                SizeHint::with_exact(left as u64)
            }
        }
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
    /// The whole exchange took too long.
    #[error("the answer was not whole in all the time that the request had")]
    OverTime,
}

/// What holds the upstream's connection while the body of an answer is read from it.
pub trait Lease: Unpin {
    /// The body has been read to its end; the connection is free again.
    fn release(self);

    /// Something was taken out of the trailers that had to be hidden.
    fn has_hidden(&self) {}
}

/// The body of an answer: the upstream's, or one of ours.
#[derive(Debug)]
pub struct ResponseBody<L> {
    content: Content<L>,
    idle: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    /// The end of all its time, if it has one.
    end: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
enum Content<L> {
    Own(Option<Bytes>),
    Upstream {
        incoming: Incoming,
        lease: Option<L>,
        kept_back: Rc<[HeaderName]>,
        hidden: Option<(HeaderValue, Hide)>,
    },
}

/// Takes something out of headers; whether it was there.
type Hide = fn(&mut HeaderMap, &HeaderValue) -> bool;

impl<L: Lease> ResponseBody<L> {
    /// A body of ours.
    #[must_use]
    pub fn own(bytes: Bytes) -> Self {
        Self {
            content: Content::Own(Some(bytes)),
            idle: Duration::ZERO,
            timer: None,
            end: None,
        }
    }

    /// The upstream's body, which gives its connection back at the end and may be silent for so
    /// long. Trailers of these names do not pass.
    #[must_use]
    pub fn upstream(
        incoming: Incoming,
        lease: L,
        idle: Duration,
        kept_back: Rc<[HeaderName]>,
    ) -> Self {
        let mut lease = Some(lease);
        if incoming.is_end_stream()
            && let Some(lease) = lease.take()
        {
            lease.release();
        }
        Self {
            content: Content::Upstream {
                incoming,
                lease,
                kept_back,
                hidden: None,
            },
            idle,
            timer: None,
            end: None,
        }
    }

    /// Has something taken out of the upstream's trailers as well.
    pub fn hide(&mut self, what: &HeaderValue, hide: Hide) {
        if let Content::Upstream { hidden, lease, .. } = &mut self.content
            && lease.is_some()
        {
            *hidden = Some((what.clone(), hide));
        }
    }

    /// The same, broken off at a certain time however much of it there is.
    #[must_use]
    pub fn until(mut self, end: Instant) -> Self {
        self.end = Some(Box::pin(tokio::time::sleep_until(end)));
        self
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
            end,
        } = &mut *self;
        let (incoming, lease, kept_back, hidden) = match content {
            Content::Own(bytes) => {
                let bytes = bytes.take().filter(|bytes| !bytes.is_empty());
                return Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))));
            }
            Content::Upstream {
                incoming,
                lease,
                kept_back,
                hidden,
            } => (incoming, lease, kept_back, hidden),
        };
        if let Some(end) = end
            && end.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Some(Err(AnswerFault::OverTime)));
        }
        let mut frame = match Pin::new(&mut *incoming).poll_frame(context) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                ready!(poll_idle(timer, *idle, context));
                return Poll::Ready(Some(Err(AnswerFault::TooSlow(*idle))));
            }
        };
        *timer = None;
        let at_end = match &frame {
            None => true,
            Some(Ok(frame)) => frame.is_trailers() || incoming.is_end_stream(),
            Some(Err(_)) => false,
        };
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            // What ends here or is withheld in the head would otherwise come by the back door.
            headers::remove(trailers, |name| {
                headers::is_hop_by_hop(name)
                    || *name == header::AUTHORIZATION
                    || *name == header::CONTENT_LENGTH
                    || kept_back.contains(name)
            });
            if let Some((what, hide)) = hidden
                && hide(trailers, what)
                && let Some(lease) = lease
            {
                lease.has_hidden();
            }
        }
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
