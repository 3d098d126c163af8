//! The body of an upstream's answer, with the connection that it comes over.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::broken::Broken;
use super::http1::{Aside, Coming, Line, Reading};
use super::pool::{Lease, Pool};
use crate::body::Upstream;

/// The body of an answer. Read to its end, it gives its connection back; dropped before that, it
/// closes it, or its stream.
#[derive(Debug)]
pub struct Incoming {
    source: Source,
    lease: Option<Lease>,
    pool: Rc<Pool>,
}

/// Where it comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// A connection for HTTP/1.
    Exclusive(Reading),
    /// One whose request is still being sent.
    Aside(Aside),
    /// A stream of HTTP/2.
    Shared(hyper::body::Incoming),
}

impl From<Coming> for Source {
    fn from(coming: Coming) -> Self {
        match coming {
            Coming::Reading(reading) => Self::Exclusive(reading),
            Coming::Aside(aside) => Self::Aside(aside),
        }
    }
}

impl Incoming {
    /// What comes over a connection.
    pub(super) fn new(source: Source, lease: Lease) -> Self {
        Self {
            source,
            pool: Rc::clone(&lease.pool),
            lease: Some(lease),
        }
    }

    /// The connection itself, behind a switch to another protocol.
    pub(super) fn take_line(&mut self) -> Option<Line> {
        self.lease.take()?.into_line()
    }
}

impl Upstream for Incoming {
    fn may_have_trailers(&self) -> bool {
        match &self.source {
            Source::Exclusive(reading) => reading.may_have_trailers(),
            Source::Aside(_) => true,
            Source::Shared(body) => !body.is_end_stream(),
        }
    }

    fn has_hidden(&self) {
        self.pool.counts().echoes.up();
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if self.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.release();
        }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Self { source, lease, .. } = &mut *self;
        match source {
            Source::Exclusive(reading) => match lease.as_mut().and_then(Lease::connection) {
                Some(connection) => reading.poll_frame(connection, context),
                None if reading.is_over() => Poll::Ready(None),
                None => Poll::Ready(Some(Err(Broken::Truncated))),
            },
            Source::Aside(aside) => aside.poll_frame(context),
            Source::Shared(body) => Pin::new(body).poll_frame(context).map_err(Broken::Shared),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Exclusive(reading) => reading.is_over(),
            Source::Aside(aside) => aside.is_over(),
            Source::Shared(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Exclusive(reading) => reading
                .left()
                .map_or_else(SizeHint::default, SizeHint::with_exact),
            Source::Aside(_) => SizeHint::default(),
            Source::Shared(body) => body.size_hint(),
        }
    }
}
