//! The body of a request, on its way from the caller to the upstream.

use std::cell::{Cell, RefCell};
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

use super::poll_idle;

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
    /// What was taken, and not kept.
    Gone,
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
        Ok(Self {
            content,
            config,
            sent: 0,
            idle: None,
            progress: Progress::begin(now),
        })
    }

    /// A view of how far it is, for whoever waits for the answer.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Begins to count anew how long nothing has moved: it is sent later than it is made.
    pub fn restart(&self) {
        self.progress.0.set(State {
            last: Instant::now(),
            fault: None,
        });
    }

    /// The body, for the one who sends it. In its place stays one with the same content: of none, and
    /// of a small one, whose pieces are kept from now on while they pass. Of a large one nothing stays.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let left = match &mut self.content {
            Sent::Empty => Sent::Empty,
            Sent::Incoming(incoming, kept) => {
                match incoming
                    .size_hint()
                    .upper()
                    .is_some_and(|size| size <= KEPT)
                {
                    true => Sent::Copy {
                        copy: Rc::clone(kept.get_or_insert_with(Rc::default)),
                        next: 0,
                    },
                    false => Sent::Gone,
                }
            }
            Sent::Copy { copy, .. } => Sent::Copy {
                copy: Rc::clone(copy),
                next: 0,
            },
            Sent::Gone => Sent::Gone,
        };
        Self {
            content: mem::replace(&mut self.content, left),
            config: self.config,
            sent: 0,
            idle: None,
            progress: self.progress.clone(),
        }
    }

    /// Whether it can be sent, now or once the rest of it has come.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        !matches!(self.content, Sent::Gone)
    }

    /// Whether all of its content is here.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        match &self.content {
            Sent::Empty => true,
            Sent::Incoming(..) | Sent::Gone => false,
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
                Sent::Gone => return self.fail(Fault::BrokeOff),
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
            Sent::Gone => false,
            Sent::Incoming(incoming, _) => incoming.is_end_stream(),
            Sent::Copy { copy, next } => *next >= copy.pieces.borrow().len(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Sent::Empty | Sent::Gone => SizeHint::with_exact(0),
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
