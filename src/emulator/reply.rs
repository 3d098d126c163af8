//! An answer: what the caller gets, and what the log says about it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Frame, SizeHint};
use serde_json::Value;

use super::Outcome;
use super::spelling::Spelling;

/// An answer to one request.
#[derive(Clone, Debug)]
pub struct Reply {
    response: Response<Bytes>,
    reason: Option<&'static str>,
}

impl Reply {
    /// A JSON document.
    pub fn json(status: StatusCode, value: &Value) -> Self {
        Self::document(status, "application/json", value.to_string())
    }

    /// A document of this media type.
    pub fn document(status: StatusCode, media_type: &'static str, body: String) -> Self {
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status;
        Reply::from(response).header(header::CONTENT_TYPE, HeaderValue::from_static(media_type))
    }

    /// Adds the code for what was disliked, for the log.
    pub fn because(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Sets a header.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.response.headers_mut().insert(name, value);
        self
    }

    /// Sets a header whose name goes out as it is spelled here, while those of others are lower-case.
    pub(super) fn spelled(mut self, spelling: &Spelling, value: HeaderValue) -> Self {
        spelling.apply(&mut self.response);
        self.header(spelling.name().clone(), value)
    }

    pub(super) fn outcome(&self) -> Outcome {
        Outcome::Answered {
            status: self.response.status(),
            reason: self.reason,
        }
    }

    /// The answer for the wire; the clock that dates it is the emulator's, not the server's.
    pub(super) fn into_response(mut self, date: &str) -> Response<Body> {
        if let Ok(date) = HeaderValue::from_str(date) {
            self.response
                .headers_mut()
                .entry(header::DATE)
                .or_insert(date);
        }
        self.response.map(Body::from)
    }
}

impl From<Response<Bytes>> for Reply {
    fn from(response: Response<Bytes>) -> Self {
        Reply {
            response,
            reason: None,
        }
    }
}

/// The connection is cut on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cut off on purpose")]
pub(super) struct Cut;

/// A body in one piece, which may end in a cut.
#[derive(Debug)]
pub(super) struct Body {
    data: Bytes,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Whole,
    /// The last byte is withheld; before the cut there is a pause in which the rest is sent.
    Pause,
    Cut,
}

impl Body {
    /// The same body, cut off one byte before its end.
    pub(super) fn truncated(mut self) -> Self {
        self.end = End::Pause;
        self
    }

    fn held_back(&self) -> usize {
        usize::from(self.end != End::Whole).min(self.data.len())
    }
}

impl From<Bytes> for Body {
    fn from(data: Bytes) -> Self {
        Body {
            data,
            end: End::Whole,
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let ready = self.data.len() - self.held_back();
        if ready > 0 {
            let data = self.data.split_to(ready);
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match self.end {
            End::Whole => Poll::Ready(None),
            End::Pause => {
                self.end = End::Cut;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            End::Cut => Poll::Ready(Some(Err(Cut))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty() && self.end == End::Whole
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.data.len()).unwrap_or(u64::MAX))
    }
}
