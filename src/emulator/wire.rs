//! Request heads as they stand on the wire.
//!
//! The HTTP server shows neither the case of names, nor the order of different ones, nor what it
//! sets right by itself, such as a `Content-Length` beside a `Transfer-Encoding`. A test of what a
//! proxy sends wants to see just that, so connections are read through a [`Tap`].

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use http::request::Parts;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::lock;

/// How much is held before bodies are dropped from it: more than any head that the server takes.
const HELD: usize = 1024 * 1024;

/// A request's head: its first line and its headers. It holds the token, so `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Head(String);

impl Head {
    /// The lines, without their ends: the request line first.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.split("\r\n")
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head").finish_non_exhaustive()
    }
}

/// What was read from a connection, from the end of the latest head onwards.
#[derive(Clone, Debug, Default)]
pub(super) struct Tape(Arc<Mutex<Vec<u8>>>);

impl Tape {
    fn record(&self, bytes: &[u8]) {
        let mut tape = lock(&self.0);
        tape.extend_from_slice(bytes);
        if tape.len() > 2 * HELD {
            let excess = tape.len() - HELD;
            tape.drain(..excess);
        }
    }

    /// Takes the head of the request that the server has just read.
    ///
    /// It is found by its request line, behind what is left of the body before it. A body that
    /// contains the very request line that follows it leads astray, which a test can avoid.
    pub(super) fn take_head(&self, parts: &Parts) -> Option<Head> {
        let first = format!("{} {} HTTP/1.", parts.method, parts.uri);
        let mut tape = lock(&self.0);
        let start = find(&tape, first.as_bytes())?;
        let length = find(&tape[start..], b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&tape[start..start + length]).into_owned();
        tape.drain(..start + length);
        Some(Head(head))
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

/// A stream that records what is read from it.
pub(super) struct Tap<S> {
    stream: S,
    /// Nothing is recorded without one.
    tape: Option<Tape>,
}

impl<S> Tap<S> {
    pub(super) fn new(stream: S, tape: Option<Tape>) -> Self {
        Tap { stream, tape }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if let Some(tape) = &self.tape {
            tape.record(&buffer.filled()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
