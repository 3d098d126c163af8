//! The body of an answer, on its way from the upstream to the caller.

use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::poll_idle;
use crate::headers;

/// What went wrong while an answer's body was on its way. The caller's connection is broken off,
/// so that a part is never taken for the whole.
#[derive(Debug, thiserror::Error)]
pub enum AnswerFault {
    /// The upstream broke off.
    #[error("the upstream broke off in the middle of its answer")]
    BrokeOff(#[source] Box<dyn Error + Send + Sync>),
    /// The upstream went silent.
    #[error("no byte of the answer came for {0:?}")]
    TooSlow(Duration),
    /// The whole exchange took too long.
    #[error("the answer was not whole in all the time that the request had")]
    OverTime,
}

/// What an upstream sends behind the head of its answer.
pub trait Upstream: Body<Data = Bytes, Error: Error + Send + Sync + 'static> + Unpin {
    /// Whether trailers may follow.
    fn may_have_trailers(&self) -> bool;

    /// Something was taken out of the trailers that had to be hidden.
    fn has_hidden(&self);
}

/// The body of an answer: the upstream's, or one of ours.
#[derive(Debug)]
pub struct ResponseBody<U> {
    content: Content<U>,
    idle: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    /// The end of all its time, if it has one.
    end: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
enum Content<U> {
    Own(Option<Bytes>),
    Upstream {
        incoming: U,
        kept_back: Rc<[HeaderName]>,
        hidden: Option<(HeaderValue, Hide)>,
    },
}

/// Takes something out of headers; whether it was there.
type Hide = fn(&mut HeaderMap, &HeaderValue) -> bool;

impl<U: Upstream> ResponseBody<U> {
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

    /// The upstream's body, which may be silent for so long. Trailers of these names do not pass.
    #[must_use]
    pub fn upstream(incoming: U, idle: Duration, kept_back: Rc<[HeaderName]>) -> Self {
        Self {
            content: Content::Upstream {
                incoming,
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
        if let Content::Upstream {
            hidden, incoming, ..
        } = &mut self.content
            && incoming.may_have_trailers()
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

impl<U: Upstream> Body for ResponseBody<U> {
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
        let (incoming, kept_back, hidden) = match content {
            Content::Own(bytes) => {
                let bytes = bytes.take().filter(|bytes| !bytes.is_empty());
                return Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))));
            }
            Content::Upstream {
                incoming,
                kept_back,
                hidden,
            } => (incoming, kept_back, hidden),
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
            {
                incoming.has_hidden();
            }
        }
        Poll::Ready(frame.map(|frame| frame.map_err(|error| AnswerFault::BrokeOff(error.into()))))
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
