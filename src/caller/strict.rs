//! Reads requests along with the server side, and more closely.
//!
//! The server side resolves before anybody can see it: a length beside `chunked`, a fragment in
//! the target, lines that end in a bare LF, and anything at all in a chunk's extension. [`Strict`]
//! stands between it and the socket and follows where heads, chunks and bodies begin. At the first
//! byte that must not be, it hands on a zero byte in its place and then the end of the stream: no
//! zero byte is allowed anywhere but in a body's data, so that the server side answers 400, or
//! breaks the body off, and closes.
//!
//! It is also where a connection's `Pace` is noted, and where three things are held back from the
//! server side: what follows a request for another protocol, until that is answered; a caller's
//! having no more to say, where that does not mean that it is gone; and the socket itself, once
//! another protocol is spoken on it.

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::framing::{Fault, Followed, Watch};
use super::pace::{Order, Pace, Place};
use super::seats::Seat;
use crate::listener::manners::HalfClose;
use crate::respond;

/// A caller's connection, read closely.
#[derive(Debug)]
pub struct Strict<S> {
    inner: S,
    watch: Watch,
    /// What was taken from the socket and is still to be read.
    ahead: Bytes,
    half_close: HalfClose,
    is_gone: fn(&S, HalfClose) -> bool,
    pace: Arc<Pace>,
    /// Given up with the socket, wherever that may have gone by then.
    seat: Option<Seat>,
}

impl<S> Strict<S> {
    /// Reads a connection that nothing else is known of.
    pub fn alone(inner: S) -> Self {
        Self {
            inner,
            watch: Watch::default(),
            ahead: Bytes::new(),
            half_close: HalfClose::Abort,
            is_gone: |_, _| false,
            pace: Arc::default(),
            seat: None,
        }
    }

    /// Whether the caller is gone, for all that the system knows.
    fn is_caller_gone(&self) -> bool {
        (self.is_gone)(&self.inner, self.half_close)
    }

    /// Reads a connection from the beginning of a request.
    pub(super) fn new(
        inner: S,
        ahead: Bytes,
        half_close: HalfClose,
        pace: Arc<Pace>,
        seat: Seat,
    ) -> Self
    where
        S: AsFd,
    {
        Self {
            inner,
            watch: Watch::default(),
            ahead,
            half_close,
            is_gone,
            pace,
            seat: Some(seat),
        }
    }

    /// The connection, which nothing is being asked on.
    pub(super) fn into_inner(self) -> Option<(S, Bytes, Seat)> {
        Some((self.inner, self.ahead, self.seat?))
    }

    /// Whether the caller has closed its side and is still to be answered.
    fn waits_for_its_answer(&self) -> bool {
        self.half_close == HalfClose::Serve
            && self.watch.place() == Place::Between
            && !self.pace.is_settled()
    }

    /// Follows bytes; gives how many of them are the server side's, or where they go wrong.
    fn follow(&mut self, bytes: &[u8]) -> Result<usize, usize> {
        let followed = self.watch.follow(bytes);
        self.pace.has_read(self.watch.place());
        match followed {
            Followed::Whole => Ok(bytes.len()),
            Followed::Undecided(at) => Ok(at),
            Followed::Wrong(at) => {
                if let Some(fault) = self.watch.fault() {
                    self.pace.has_found(fault);
                }
                Err(at)
            }
        }
    }

    fn read_ahead(&mut self, buffer: &mut ReadBuf<'_>) {
        let length = self.ahead.len().min(buffer.remaining());
        let bytes = self.ahead.slice(..length);
        let whole = if self.pace.is_switched() {
            Ok(length)
        } else {
            self.follow(&bytes)
        };
        let (Ok(end) | Err(end)) = whole;
        buffer.put_slice(&bytes[..end]);
        self.ahead.advance(end);
        if whole.is_err() && !self.is_tls() {
            buffer.put_slice(&[0]);
        }
    }

    /// Whether the connection is none for the server side: to it, it ends before its first byte.
    fn is_tls(&self) -> bool {
        self.watch.fault() == Some(Fault::Tls)
    }
}

/// Asks the system whether a caller is gone.
fn is_gone(line: &impl AsFd, half_close: HalfClose) -> bool {
    let gone = match half_close {
        HalfClose::Abort => PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR,
        HalfClose::Serve => PollFlags::HUP | PollFlags::ERR,
    };
    let mut asked = [PollFd::new(line, PollFlags::RDHUP)];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut asked, Some(&at_once)).is_ok() && asked[0].revents().intersects(gone)
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Strict<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.pace.is_switched() {
            if this.ahead.is_empty() {
                return Pin::new(&mut this.inner).poll_read(context, buffer);
            }
            this.read_ahead(buffer);
            return Poll::Ready(Ok(()));
        }
        if this.watch.is_over() {
            // No more bytes: the end of the stream.
            return Poll::Ready(Ok(()));
        }
        if this.pace.obeys(Order::Late) {
            // Nothing else is on its way, and this much fits into any socket. What does not go now
            // is not worth waiting for.
            let _ = Pin::new(&mut this.inner).poll_write(context, &respond::head_too_late());
            return Poll::Ready(Ok(()));
        }
        if this.watch.is_undecided() {
            if !this.pace.is_settled() {
                this.pace.hold();
                return Poll::Pending;
            }
            this.watch.stay();
        }
        if !this.ahead.is_empty() {
            this.read_ahead(buffer);
            return Poll::Ready(Ok(()));
        }
        let start = buffer.filled().len();
        if Pin::new(&mut this.inner)
            .poll_read(context, buffer)?
            .is_pending()
        {
            this.pace.waits_to_read();
            return Poll::Pending;
        }
        if buffer.filled().len() == start && this.waits_for_its_answer() {
            this.pace.hold();
            return Poll::Pending;
        }
        match this.follow(&buffer.filled()[start..]) {
            Ok(end) if start + end < buffer.filled().len() => {
                this.ahead = Bytes::copy_from_slice(&buffer.filled()[start + end..]);
                buffer.set_filled(start + end);
            }
            Ok(_) => {}
            Err(_) if this.is_tls() => buffer.set_filled(start),
            Err(wrong) => {
                buffer.filled_mut()[start + wrong] = 0;
                buffer.set_filled(start + wrong + 1);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Strict<S> {
    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Pending => self.pace.stall(),
            Poll::Ready(_) => self.pace.has_written(),
        }
        written
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Strict<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.inner).poll_write(context, bytes);
        this.note(written)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // The server side flushes whenever it is looked at, even where it does not read.
        if this.pace.obeys(Order::Look) && this.is_caller_gone() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let flushed = Pin::new(&mut this.inner).poll_flush(context);
        match &flushed {
            Poll::Pending => this.pace.stall(),
            Poll::Ready(_) => this.pace.has_flushed(),
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_tls() {
            // There is something left to say, and not for the server side.
            return Poll::Ready(Ok(()));
        }
        let shut = Pin::new(&mut this.inner).poll_shutdown(context);
        if shut.is_pending() {
            this.pace.stall();
        }
        shut
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.inner).poll_write_vectored(context, slices);
        this.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::pace::Answering;
    use crate::caller::seats::Seats;
    use crate::shutdown::guards;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    const SWITCH: &[u8] =
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n";
    /// Nothing that HTTP/1 could take for a request.
    const OTHER: &[u8] = b"\0#\n\x81\x05other";

    fn strict(half_close: HalfClose) -> (UnixStream, Strict<UnixStream>, Arc<Pace>) {
        let (caller, line) = UnixStream::pair().expect("two sockets");
        let pace = Arc::new(Pace::default());
        let seat = Seats::new(1)
            .take(&Arc::default(), None, guards().0)
            .expect("a seat");
        let strict = Strict::new(line, Bytes::new(), half_close, Arc::clone(&pace), seat);
        (caller, strict, pace)
    }

    async fn read(strict: &mut Strict<UnixStream>) -> Vec<u8> {
        let mut bytes = vec![0; 1000];
        let length = strict.read(&mut bytes).await.expect("bytes");
        bytes.truncate(length);
        bytes
    }

    fn is_held(strict: &mut Strict<UnixStream>) -> bool {
        let mut bytes = [0; 10];
        let mut buffer = ReadBuf::new(&mut bytes);
        let mut context = Context::from_waker(std::task::Waker::noop());
        Pin::new(strict)
            .poll_read(&mut context, &mut buffer)
            .is_pending()
    }

    #[tokio::test]
    async fn what_follows_a_request_for_another_protocol_waits_and_is_passed_as_it_is() {
        let (mut caller, mut strict, pace) = strict(HalfClose::Abort);
        caller
            .write_all(&[SWITCH, OTHER].concat())
            .await
            .expect("taken");
        assert_eq!(read(&mut strict).await, SWITCH);
        let answering = Answering::begin(&pace);
        assert!(is_held(&mut strict));
        pace.switch();
        drop(answering);
        assert_eq!(read(&mut strict).await, OTHER);
        caller.write_all(OTHER).await.expect("taken");
        assert_eq!(read(&mut strict).await, OTHER);
    }

    #[tokio::test]
    async fn what_follows_a_request_whose_protocol_was_not_agreed_to_is_a_request() {
        let (mut caller, mut strict, pace) = strict(HalfClose::Abort);
        let next = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\nGET /#";
        caller
            .write_all(&[SWITCH, next].concat())
            .await
            .expect("taken");
        assert_eq!(read(&mut strict).await, SWITCH);
        let answering = Answering::begin(&pace);
        assert!(is_held(&mut strict));
        drop(answering);
        assert!(pace.release(), "whoever held it back is told");
        let (mut wanted, last) = (next.to_vec(), next.len() - 1);
        wanted[last] = 0;
        assert_eq!(read(&mut strict).await, wanted);
    }

    #[tokio::test]
    async fn a_caller_with_no_more_to_say_is_noticed_once_it_is_answered() {
        let (mut caller, mut strict, pace) = strict(HalfClose::Serve);
        caller
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .expect("taken");
        caller.shutdown().await.expect("half closed");
        assert!(read(&mut strict).await.starts_with(b"GET"));
        let answering = Answering::begin(&pace);
        assert!(is_held(&mut strict));
        assert!(!strict.is_caller_gone());
        assert!(!pace.release());
        drop(answering);
        assert!(pace.release());
        assert_eq!(read(&mut strict).await, b"");
        drop(caller);
        assert!(strict.is_caller_gone());
    }

    #[tokio::test]
    async fn the_server_side_hands_on_a_connection_whose_protocol_is_switched() {
        let (mut caller, strict, pace) = strict(HalfClose::Abort);
        let service = hyper::service::service_fn(move |request| {
            let answering = Answering::begin(&pace);
            tokio::spawn(async move {
                let upgraded = hyper::upgrade::on(request).await.expect("switched");
                let mut upgraded = hyper_util::rt::TokioIo::new(upgraded);
                let mut bytes = vec![0; OTHER.len()];
                upgraded.read_exact(&mut bytes).await.expect("bytes");
                upgraded.write_all(&bytes).await.expect("taken");
            });
            answering.pace().switch();
            let answer = http::Response::builder()
                .status(101)
                .body(http_body_util::Empty::<Bytes>::new());
            async move { answer }
        });
        let serving = hyper::server::conn::http1::Builder::new()
            .serve_connection(hyper_util::rt::TokioIo::new(strict), service)
            .with_upgrades();
        let serving = tokio::spawn(serving);
        caller
            .write_all(&[SWITCH, &OTHER[..4]].concat())
            .await
            .expect("taken");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(caller.read_u8().await.expect("a head"));
        }
        assert!(head.starts_with(b"HTTP/1.1 101"));
        caller.write_all(&OTHER[4..]).await.expect("taken");
        let mut echo = vec![0; OTHER.len()];
        caller.read_exact(&mut echo).await.expect("an echo");
        assert_eq!(echo, OTHER);
        serving.await.expect("no panic").expect("it went well");
    }
}
