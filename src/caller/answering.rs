//! Has a request answered, and notes when its answer begins, is asked for and ends.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::Callers;
use super::pace::{Answering, Pace};
use crate::gateway::{Content, Entrance};
use crate::shutdown::ending::Tie;

/// Has the gateway answer. The answer counts as begun when this is called: on its connection, and
/// on its stream where it has one of its own.
pub(super) fn answer(
    callers: &Rc<Callers>,
    request: Request<Incoming>,
    entrance: Entrance,
    tie: &Rc<Tie>,
    connection: &Arc<Pace>,
    stream: Option<&Arc<Pace>>,
) -> impl Future<Output = Result<Response<Noted>, Infallible>> + use<> {
    let (callers, tie) = (Rc::clone(callers), Rc::clone(tie));
    let mut begun = Begun {
        connection: Answering::begin(connection),
        stream: stream.map(Answering::begin),
        is_over: false,
    };
    async move {
        let answer = callers.gateway.handle(request, entrance, &tie).await;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            begun.connection.pace().switch();
        }
        Ok(answer.map(|body| {
            begun.is_over = body.is_end_stream();
            Noted { body, begun }
        }))
    }
}

/// An answer that has begun. Dropped before it is over, it was cancelled: one that has a connection
/// to itself ends with it, and one that has a stream of its own may be followed by any number.
#[derive(Debug)]
struct Begun {
    connection: Answering,
    stream: Option<Answering>,
    is_over: bool,
}

impl Drop for Begun {
    fn drop(&mut self) {
        if self.stream.is_some() && !self.is_over {
            self.connection.pace().cancel();
        }
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Noted {
    body: Content,
    begun: Begun,
}

impl Body for Noted {
    type Data = <Content as Body>::Data;
    type Error = <Content as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let Some(stream) = &self.begun.stream {
            if frame.is_ready() {
                // A stream asks for the next frame when the caller has room for it.
                stream.pace().has_written();
                stream.pace().stall();
            } else {
                stream.pace().has_flushed();
            }
            // An answer that breaks off is the upstream's doing.
            let is_last = matches!(&frame, Poll::Ready(None | Some(Err(_))));
            self.begun.is_over = is_last || self.body.is_end_stream();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
