//! HTTP/1.1 to an upstream (RFC 9112), on a connection that one request has at a time.
//!
//! A request is sent and its answer read by whoever asked for it: no task stands between, so that an
//! answer costs no more wake-ups than the socket's own, and what a slow caller has not taken waits in
//! the socket and not here. One case has a task of its own: an answer that begins before its request
//! is whole. Both go on then, whichever of them the caller looks at first.

use std::future::poll_fn;
use std::io::Cursor;
use std::mem;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::header::HeaderValue;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use tokio::io::{
    self, AsyncRead, AsyncReadExt, AsyncWrite, Chain, Join, ReadBuf, ReadHalf, WriteHalf,
};
use tokio::net::TcpStream;
use tokio::task::unconstrained;
use tokio_rustls::client::TlsStream;

use super::broken::Broken;
use super::pool::HEAD;
use crate::body::Fault;

mod aside;
mod chunked;
mod head;
mod sending;

pub use aside::Aside;
use chunked::Found;
use head::{Extent, Head};
pub use sending::Sending;

/// How much is read at a time: a record of TLS (RFC 8446 section 5.1).
const RECORD: usize = 16 * 1024;

/// How much room there has to be for more to be read.
const ROOM: usize = 4 * 1024;

/// How much of a buffer is kept for the next request.
const KEPT: usize = 16 * 1024;

/// An open connection.
#[derive(Debug)]
pub struct Connection<L = TlsStream<TcpStream>> {
    line: L,
    /// What has come and is still to be read.
    come: BytesMut,
    /// Kept from one request to the next.
    out: Vec<u8>,
    title_case: bool,
    /// Whether another request may follow.
    is_kept: bool,
}

/// A connection that has left HTTP, with what had come on it by then.
pub type Line =
    Join<Chain<Cursor<Bytes>, ReadHalf<TlsStream<TcpStream>>>, WriteHalf<TlsStream<TcpStream>>>;

/// The rest of an answer, behind its head.
#[derive(Debug)]
pub struct Reading {
    extent: Extent,
}

/// What an answer's body comes from.
#[derive(Debug)]
pub enum Coming {
    /// The connection itself.
    Reading(Reading),
    /// A task that still sends the request.
    Aside(Aside),
}

impl<L: AsyncRead + AsyncWrite + Unpin + 'static> Connection<L> {
    /// HTTP on an open connection.
    #[must_use]
    pub fn new(line: L, title_case: bool) -> Box<Self> {
        Box::new(Self {
            line,
            come: BytesMut::new(),
            out: Vec::new(),
            title_case,
            is_kept: true,
        })
    }

    /// Whether it can carry another request: the other side has not closed it, and has said nothing
    /// that was not asked.
    pub fn is_ready(&mut self) -> bool {
        // Whoever uses it next waits for it anew.
        let mut context = Context::from_waker(Waker::noop());
        let mut byte = [0];
        let mut byte = ReadBuf::new(&mut byte);
        // A task that has had its turn is told that nothing has come, whatever has.
        let read = pin!(unconstrained(poll_fn(|context| {
            Pin::new(&mut self.line).poll_read(context, &mut byte)
        })));
        let is_silent = read.poll(&mut context).is_pending();
        self.is_kept && self.come.is_empty() && is_silent
    }

    /// Sends a request to the member of this authority, and waits for the head of the answer. The
    /// connection is taken by a task that sends the rest of the request, if there is any when the
    /// answer comes.
    ///
    /// # Errors
    ///
    /// A [`Broken`]; the connection carries nothing more.
    pub async fn send<T, B>(
        mut self: Box<Self>,
        request: &Request<T>,
        authority: &HeaderValue,
        body: B,
    ) -> Result<(Response<Coming>, Option<Box<Self>>), Broken>
    where
        B: Body<Data = Bytes, Error = Fault> + Unpin + 'static,
    {
        let out = mem::take(&mut self.out);
        let mut sending = Sending::begin(request, authority, body, self.title_case, out);
        let (mut sent, mut looked_at) = (None, 0);
        let head = poll_fn(|context| {
            if sent.is_none()
                && let Poll::Ready(outcome) = sending.poll(&mut self.line, context)
            {
                if let Err(error @ Broken::Body(_)) = outcome {
                    return Poll::Ready(Err(error));
                }
                sent = Some(outcome);
            }
            // A server that does not want the whole of a request may answer and then break the
            // connection off: what was said by then is still to be read.
            let head = ready!(self.poll_head(request.method(), &mut looked_at, context));
            Poll::Ready(head.map_err(|error| match sent.take() {
                Some(Err(failure)) if error.is_closed_early() => failure,
                _ => error,
            }))
        })
        .await?;
        let Head {
            answer,
            extent,
            is_kept,
        } = head;
        self.is_kept = is_kept;
        let reading = Reading { extent };
        if let Some(Ok(())) = sent {
            self.keep(sending.into_buffer());
            return Ok((answer.map(|()| Coming::Reading(reading)), Some(self)));
        }
        let aside = Aside::begin(self, sending, reading);
        Ok((answer.map(|()| Coming::Aside(aside)), None))
    }

    /// Whether another request may follow, now that the answer has been read to its end.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        self.is_kept && self.come.is_empty()
    }

    fn keep(&mut self, mut out: Vec<u8>) {
        out.clear();
        if out.capacity() <= KEPT {
            self.out = out;
        }
    }

    /// The head of the answer. What is between (RFC 9110 section 15.2) ends here: a caller that
    /// waits to go on is told by the one who reads its request.
    fn poll_head(
        &mut self,
        method: &Method,
        looked_at: &mut usize,
        context: &mut Context<'_>,
    ) -> Poll<Result<Head, Broken>> {
        loop {
            while let Some(end) = head::end(&self.come, *looked_at) {
                *looked_at = 0;
                if end > HEAD {
                    return Poll::Ready(Err(Broken::Malformed("its head is too long")));
                }
                let head = head::read(&mut self.come, end, method)?;
                let status = head.answer.status();
                if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                    return Poll::Ready(Ok(head));
                }
            }
            if self.come.len() > HEAD {
                return Poll::Ready(Err(Broken::Malformed("its head is too long")));
            }
            // What is no head may never have an end. It is looked at when it begins, and whenever
            // there is twice as much of it.
            if self.come.len() >= 2 * *looked_at && !self.come.is_empty() {
                head::begin(&self.come)?;
            }
            *looked_at = self.come.len();
            let end = match ready!(self.poll_fill(context)) {
                Ok(0) => Broken::Closed,
                Ok(_) => continue,
                Err(error) => Broken::Io(error),
            };
            return Poll::Ready(Err(match self.come.is_empty() {
                true => end,
                false => Broken::Truncated,
            }));
        }
    }

    /// Reads what there is; nothing at the end.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.come.capacity() - self.come.len() < ROOM {
            self.come.reserve(RECORD);
        }
        pin!(self.line.read_buf(&mut self.come)).poll(context)
    }
}

impl Connection {
    /// What is left once HTTP is over: what has come already, and what comes.
    pub(super) fn into_line(self) -> Line {
        let (read, write) = io::split(self.line);
        io::join(Cursor::new(self.come.freeze()).chain(read), write)
    }
}

impl Reading {
    /// Whether all of the answer has been read.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.extent.is_over()
    }

    /// How much is still to come, if that is known.
    pub(super) fn left(&self) -> Option<u64> {
        match &self.extent {
            Extent::Length(left) => Some(*left),
            Extent::Chunked(_) | Extent::Close => None,
        }
    }

    /// Whether trailers may follow.
    pub(super) fn may_have_trailers(&self) -> bool {
        matches!(self.extent, Extent::Chunked(_))
    }

    /// The next piece of the answer.
    ///
    /// # Errors
    ///
    /// A [`Broken`] in place of the rest of the answer; the connection carries nothing more.
    pub fn poll_frame<L: AsyncRead + AsyncWrite + Unpin + 'static>(
        &mut self,
        connection: &mut Connection<L>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            if let Some(frame) = self.take(&mut connection.come)? {
                return Poll::Ready(Some(Ok(frame)));
            }
            if self.is_over() {
                return Poll::Ready(None);
            }
            if ready!(connection.poll_fill(context)).map_err(Broken::Io)? == 0 {
                if let Extent::Close = self.extent {
                    self.extent = Extent::Length(0);
                    return Poll::Ready(None);
                }
                return Poll::Ready(Some(Err(Broken::Truncated)));
            }
        }
    }

    /// The next piece of what has come.
    fn take(&mut self, come: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Broken> {
        let most = match &mut self.extent {
            Extent::Chunked(chunked) => {
                return Ok(match chunked.take(come)? {
                    Found::Data(data) => Some(Frame::data(data)),
                    Found::Trailers(trailers) => Some(Frame::trailers(trailers)),
                    Found::End | Found::Nothing => None,
                });
            }
            Extent::Length(left) => usize::try_from(*left).unwrap_or(usize::MAX),
            Extent::Close => usize::MAX,
        };
        let data = come.split_to(most.min(come.len())).freeze();
        if let Extent::Length(left) = &mut self.extent {
            *left -= data.len() as u64;
        }
        Ok((!data.is_empty()).then(|| Frame::data(data)))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_came_unasked_is_seen_by_a_task_that_has_had_its_turn() {
        let (near, mut far) = duplex(64);
        let mut connection = Connection::new(near, false);
        assert!(connection.is_ready());
        far.write_all(b"HTTP/1.1 200 OK").await.expect("a line");
        let is_ready = poll_fn(|context| {
            // The turn is over when what is there is not read.
            let (mut busy, mut other) = duplex(1024);
            assert!(pin!(other.write_all(&[0; 1024])).poll(context).is_ready());
            let mut byte = [0];
            while pin!(busy.read_exact(&mut byte)).poll(context).is_ready() {}
            Poll::Ready(connection.is_ready())
        });
        assert!(!is_ready.await);
    }
}
