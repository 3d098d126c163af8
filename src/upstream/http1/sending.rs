//! A request on its way to an upstream (RFC 9112 sections 3 and 6).

use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Request};
use http_body::Body;
use tokio::io::AsyncWrite;

use crate::body::{Fault, RequestBody};
use crate::upstream::broken::Broken;

/// A piece of a body that is smaller goes out with what is in front of it: a copy costs less than a
/// TLS record of its own.
const SMALL: usize = 4 * 1024;

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    Chunked,
}

/// A request on its way, from its first byte to its last.
#[derive(Debug)]
pub struct Sending<B = RequestBody> {
    /// What goes out next: the head, or the line in front of a chunk.
    out: Vec<u8>,
    written: usize,
    /// How much has gone, of all of it.
    sent: u64,
    /// Whether all that was written has left: TLS may hold it back where the socket is full.
    is_flushed: bool,
    /// A piece of the body that goes out behind that.
    piece: Bytes,
    /// What goes out behind the piece.
    tail: &'static [u8],
    /// What the rest of the body comes from; gone when all of it has come.
    body: Option<B>,
    framing: Framing,
}

impl<B: Body<Data = Bytes, Error = Fault> + Unpin> Sending<B> {
    /// Begins to send to the member of this authority. `out` is an empty buffer to write into.
    #[must_use]
    pub fn begin<T>(
        request: &Request<T>,
        authority: &HeaderValue,
        body: B,
        title_case: bool,
        mut out: Vec<u8>,
    ) -> Self {
        let headers = request.headers();
        let framing = framing(headers, &body);
        out.extend_from_slice(request.method().as_str().as_bytes());
        out.push(b' ');
        let target = request.uri().path_and_query().map_or("/", |it| it.as_str());
        out.extend_from_slice(target.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        for (name, value) in headers {
            let value = match *name {
                header::HOST => authority,
                // For a connection of its own (RFC 9110 section 10.1.4), and meant for HTTP/2.
                header::TE => continue,
                _ => value,
            };
            put(&mut out, name, value, title_case);
        }
        match framing {
            Framing::Length(length)
                if length > 0 && !headers.contains_key(header::CONTENT_LENGTH) =>
            {
                let length = HeaderValue::from(length);
                put(&mut out, &header::CONTENT_LENGTH, &length, title_case);
            }
            _ => {}
        }
        out.extend_from_slice(b"\r\n");
        Self {
            out,
            written: 0,
            sent: 0,
            is_flushed: true,
            piece: Bytes::new(),
            tail: b"",
            body: Some(body),
            framing,
        }
    }

    /// Sends what can be sent now. Ready when all of it has gone.
    ///
    /// # Errors
    ///
    /// A [`Broken`]. The request is not whole, and the connection carries nothing more.
    pub fn poll(
        &mut self,
        line: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        loop {
            let comes = self.take_in(context)?;
            if self.is_written() && self.is_flushed {
                return comes.map(Ok);
            }
            while !self.is_written() {
                self.is_flushed = false;
                ready!(self.write(line, context)).map_err(Broken::Io)?;
            }
            self.out.clear();
            self.written = 0;
            // Each piece goes out before the next one is taken: TLS would hold several back.
            ready!(Pin::new(&mut *line).poll_flush(context)).map_err(Broken::Io)?;
            self.is_flushed = true;
        }
    }

    /// How many bytes have gone.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// The buffer, for another request.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.out
    }

    /// Takes pieces of the body as long as they are small. Ready if there are no more.
    fn take_in(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        while self.piece.is_empty() && self.tail.is_empty() && self.out.len() < 2 * SMALL {
            let Some(body) = &mut self.body else {
                return Poll::Ready(Ok(()));
            };
            if body.is_end_stream() {
                self.end()?;
                continue;
            }
            match ready!(Pin::new(body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.add(data)?;
                    }
                }
                Some(Err(fault)) => return Poll::Ready(Err(Broken::Body(fault))),
                None => self.end()?,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn add(&mut self, data: Bytes) -> Result<(), Broken> {
        // A chunk without data would be the last one.
        if data.is_empty() {
            return Ok(());
        }
        let mut tail: &[u8] = b"";
        match &mut self.framing {
            Framing::Length(left) => {
                let rest = left.checked_sub(data.len() as u64);
                *left = rest.ok_or(Broken::Body(Fault::BrokeOff))?;
            }
            Framing::Chunked => {
                write!(self.out, "{:x}\r\n", data.len()).map_err(Broken::Io)?;
                tail = b"\r\n";
            }
        }
        if data.len() <= SMALL {
            self.out.extend_from_slice(&data);
            self.out.extend_from_slice(tail);
        } else {
            (self.piece, self.tail) = (data, tail);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Broken> {
        self.body = None;
        match self.framing {
            Framing::Length(0) => {}
            // What is missing would be taken from the next request.
            Framing::Length(_) => return Err(Broken::Body(Fault::BrokeOff)),
            Framing::Chunked => self.out.extend_from_slice(b"0\r\n\r\n"),
        }
        Ok(())
    }

    fn is_written(&self) -> bool {
        self.written == self.out.len() && self.piece.is_empty() && self.tail.is_empty()
    }

    fn write(
        &mut self,
        line: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = &self.out[self.written..];
        let sent = if self.piece.is_empty() && self.tail.is_empty() {
            Pin::new(line).poll_write(context, rest)
        } else {
            let parts = [rest, &self.piece, self.tail].map(IoSlice::new);
            Pin::new(line).poll_write_vectored(context, &parts)
        };
        let mut sent = ready!(sent)?;
        if sent == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.sent += sent as u64;
        let step = sent.min(rest.len());
        self.written += step;
        sent -= step;
        let step = sent.min(self.piece.len());
        self.piece.advance(step);
        sent -= step;
        self.tail = &self.tail[sent..];
        Poll::Ready(Ok(()))
    }
}

/// A head says itself how its body is framed, and where it does not, the body does.
fn framing(headers: &HeaderMap, body: &impl Body) -> Framing {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return Framing::Chunked;
    }
    Framing::Length(body.size_hint().lower())
}

fn put(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue, title_case: bool) {
    let start = out.len();
    out.extend_from_slice(name.as_str().as_bytes());
    if title_case {
        let mut is_first = true;
        for byte in &mut out[start..] {
            if is_first {
                byte.make_ascii_uppercase();
            }
            is_first = *byte == b'-';
        }
    }
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use std::time::Duration;

    use http_body_util::{BodyExt, Full};
    use tokio::io::{AsyncReadExt, BufWriter, duplex};
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn what_was_written_is_not_held_back_where_the_line_was_full() {
        for size in [10, 5_000, 40_000] {
            let body = vec![b'x'; size];
            // A line that holds back what it has taken, before a narrow one.
            let (near, mut far) = duplex(64);
            let mut line = BufWriter::with_capacity(16 * 1024, near);
            let request = Request::post("/").header("host", "x").body(());
            let request = request.expect("a request");
            let authority = HeaderValue::from_static("x");
            let body = Full::from(body).map_err(|_| Fault::BrokeOff);
            let mut sending = Sending::begin(&request, &authority, body, false, Vec::new());
            let sent = poll_fn(|context| sending.poll(&mut line, context));
            let mut came = Vec::new();
            let head = async {
                while came.len() < size || !came[..came.len() - size].ends_with(b"\r\n\r\n") {
                    assert!(far.read_buf(&mut came).await.expect("a line") > 0);
                }
            };
            let both = async { tokio::join!(sent, head) };
            let both = timeout(Duration::from_secs(20), both).await;
            both.expect("all of it arrives").0.expect("it is sent");
        }
    }
}
