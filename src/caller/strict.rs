//! Reads requests along with the server side, and more closely.
//!
//! The server side resolves before anybody can see it: a length beside `chunked`, a fragment in
//! the target, lines that end in a bare LF, and anything at all in a chunk's extension. [`Strict`]
//! stands between it and the socket and follows where heads, chunks and bodies begin. At the first
//! byte that must not be, it hands on a zero byte in its place and then the end of the stream: no
//! zero byte is allowed anywhere but in a body's data, so that the server side answers 400, or
//! breaks the body off, and closes. Data is counted and not looked at.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much of a line is kept: enough for the two headers that frame a body.
const KEPT: usize = 64;

/// A caller's connection, read closely.
#[derive(Debug)]
pub struct Strict<S> {
    inner: S,
    watch: Watch,
    switched: Switched,
}

/// Tells whether a connection has left HTTP, so that there is nothing more to read along.
#[derive(Clone, Debug, Default)]
pub struct Switched(Arc<AtomicBool>);

impl Switched {
    /// From here on it is another protocol.
    pub fn switch(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl<S> Strict<S> {
    /// Reads a connection from its beginning.
    pub fn new(inner: S, switched: Switched) -> Self {
        Self {
            inner,
            watch: Watch::default(),
            switched,
        }
    }
}

/// Where in the stream of requests the next byte is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    RequestLine,
    Headers,
    /// So many bytes of a body with a length.
    Body(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    /// What must not be has been.
    Over,
}

/// Follows the framing.
#[derive(Debug, Default)]
struct Watch {
    place: Place,
    /// The beginning of the line so far, and its length.
    line: Vec<u8>,
    line_length: usize,
    last: u8,
    length: Option<u64>,
    is_chunked: bool,
}

impl Watch {
    /// Looks at the next bytes; gives the place of the first that must not be.
    fn follow(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            at += match &mut self.place {
                Place::Body(left) | Place::ChunkData(left) => {
                    let step = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= step as u64;
                    match self.place {
                        Place::Body(0) => self.place = Place::RequestLine,
                        Place::ChunkData(0) => self.place = Place::ChunkEnd,
                        _ => {}
                    }
                    step
                }
                Place::Over => return Some(at),
                _ => match self.follow_line(rest) {
                    Ok(step) => step,
                    Err(step) => {
                        self.place = Place::Over;
                        return Some(at + step);
                    }
                },
            };
        }
        None
    }

    /// Looks at a line or a part of one; gives how much that was, or where it goes wrong.
    fn follow_line(&mut self, bytes: &[u8]) -> Result<usize, usize> {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let part = &bytes[..end.unwrap_or(bytes.len())];
        let refused = |byte: &u8| match self.place {
            Place::RequestLine => *byte == b'#',
            Place::ChunkSize => !matches!(byte, b'\t' | b'\r' | b' '..=b'~'),
            _ => false,
        };
        if let Some(at) = part.iter().position(refused) {
            return Err(at);
        }
        let kept = part.len().min(KEPT.saturating_sub(self.line.len()));
        self.line.extend_from_slice(&part[..kept]);
        self.line_length += part.len();
        self.last = part.last().copied().unwrap_or(self.last);
        let Some(end) = end else {
            return Ok(part.len());
        };
        if self.line_length == 0 || self.last != b'\r' || self.end_line().is_none() {
            return Err(end);
        }
        self.line.clear();
        self.line_length = 0;
        Ok(end + 1)
    }

    /// Takes in a line that ended as it should; `None` if there must be none like it.
    fn end_line(&mut self) -> Option<()> {
        let is_empty = self.line_length == 1;
        self.place = match self.place {
            // Empty lines in front of a request are allowed (RFC 9112 section 2.2).
            Place::RequestLine if is_empty => Place::RequestLine,
            Place::RequestLine => {
                (self.length, self.is_chunked) = (None, false);
                Place::Headers
            }
            Place::Headers if !is_empty => {
                self.header()?;
                Place::Headers
            }
            Place::Headers if self.is_chunked => Place::ChunkSize,
            Place::Headers => match self.length {
                None | Some(0) => Place::RequestLine,
                Some(length) => Place::Body(length),
            },
            Place::ChunkSize => match self.chunk_size()? {
                0 => Place::Trailers,
                size => Place::ChunkData(size),
            },
            Place::ChunkEnd if is_empty => Place::ChunkSize,
            Place::Trailers if is_empty => Place::RequestLine,
            Place::Trailers => Place::Trailers,
            _ => return None,
        };
        Some(())
    }

    /// Takes in a header; `None` if it makes a second framing.
    fn header(&mut self) -> Option<()> {
        let colon = self.line.iter().position(|byte| *byte == b':');
        let (name, value) = self.line.split_at(colon.unwrap_or(self.line.len()));
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits = value.get(1..)?.trim_ascii();
            let is_whole = self.line_length <= KEPT && digits.iter().all(u8::is_ascii_digit);
            let length = str::from_utf8(digits).ok()?.parse().ok()?;
            let is_first = self.length.is_none_or(|other| other == length);
            self.length = Some(length);
            return (is_whole && is_first && !self.is_chunked).then_some(());
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.is_chunked = true;
            return self.length.is_none().then_some(());
        }
        Some(())
    }

    /// The size in a chunk's line, which has at most an extension behind it.
    fn chunk_size(&self) -> Option<u64> {
        let line = self.line.trim_ascii_end();
        let end = line.iter().position(|byte| *byte == b';');
        let (size, extension) = line.split_at(end.unwrap_or(line.len()));
        let size = size.trim_ascii_end();
        let is_whole = size.iter().all(u8::is_ascii_hexdigit) && extension != b";";
        let size = u64::from_str_radix(str::from_utf8(size).ok()?, 16).ok()?;
        is_whole.then_some(size)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Strict<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.switched.is_over() {
            return Pin::new(&mut this.inner).poll_read(context, buffer);
        }
        if this.watch.place == Place::Over {
            // No more bytes: the end of the stream.
            return Poll::Ready(Ok(()));
        }
        let start = buffer.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
        if let Some(at) = this.watch.follow(&buffer.filled()[start..]) {
            buffer.filled_mut()[start + at] = 0;
            buffer.set_filled(start + at + 1);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Strict<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the bytes go wrong, the same however they are cut.
    fn wrong_at(bytes: &str) -> Option<usize> {
        let whole = Watch::default().follow(bytes.as_bytes());
        for cut in 0..=bytes.len() {
            let (first, second) = bytes.as_bytes().split_at(cut);
            let mut watch = Watch::default();
            let found = watch
                .follow(first)
                .or_else(|| watch.follow(second).map(|at| at + cut));
            assert_eq!(found, whole, "cut at {cut}: {bytes:?}");
        }
        whole
    }

    #[test]
    fn requests_in_a_row_are_followed_from_one_to_the_next() {
        let sized = "POST / HTTP/1.1\r\nHost: a\r\ncontent-LENGTH: \t05 \r\n\r\n#\n\0#\n";
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
            5\r\n#\n\0#\n\r\n00a ; x=\"y\"\r\n0123456789\r\n0\r\nX: y\r\n\r\n";
        let empty = "\r\nGET /?x HTTP/1.1\r\nX: #\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(
            wrong_at(&[sized, chunked, empty, chunked, sized].concat()),
            None
        );
        let wrong = [sized, chunked, empty].concat();
        assert_eq!(wrong_at(&format!("{wrong}GET /#")), Some(wrong.len() + 5));
    }

    #[test]
    fn what_the_server_side_would_resolve_is_wrong_where_it_shows() {
        for (right, wrong) in [
            ("", "\n"),
            ("GET /", "#x HTTP/1.1\r\n"),
            ("GET / HTTP/1.1", "\n"),
            ("GET / HTTP/1.1\r\nA: b", "\nB: c\r\n\r\n"),
            ("GET / HTTP/1.1\r\nA: b\r\n", "\n"),
            (
                "GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r",
                "\n",
            ),
            (
                "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r",
                "\n",
            ),
            (
                "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r",
                "\n",
            ),
            ("GET / HTTP/1.1\r\nContent-Length: +1\r", "\n"),
            ("A\r\nTransfer-Encoding: chunked\r\n\r\n5;", "\0\r\n"),
            ("A\r\nTransfer-Encoding: chunked\r\n\r\n5;\r", "\n"),
            ("A\r\nTransfer-Encoding: chunked\r\n\r\n5", "\nhello"),
            ("A\r\nTransfer-Encoding: chunked\r\n\r\n\r", "\n"),
            ("A\r\nTransfer-Encoding: chunked\r\n\r\n+5\r", "\n"),
            ("A\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r", "\n"),
            ("A\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na", "\n"),
            ("A\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y", "\n"),
        ] {
            assert_eq!(
                wrong_at(&format!("{right}{wrong}")),
                Some(right.len()),
                "{right:?}"
            );
        }
    }
}
