//! Answers of upstreams: the same however they are cut, and a connection carries another request only
//! where the strictest reading of what came leaves nothing over.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use countersign::body::Fault;
use countersign::upstream::Broken;
use countersign::upstream::http1::{Coming, Connection};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response};
use http_body::{Body, Frame};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::LocalSet;

use crate::driver::{Driver, Random};

const WORDS: &[&str] = &[
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\n\n",
    "\r",
    "0\r\n\r\n",
    "0\r\n",
    "5\r\nhello\r\n",
    "1;x=y\r\na\r\n",
    "00000000000000001",
    "ffffffffffffffff\r\n",
    "10000000000000000\r\n",
    "X: y\r\n",
    "X:\r\n",
    " folded\r\n",
    "HTTP/1.1 ",
    "HTTP/1.0 ",
    "HTTP/1.1 103 Early Hints\r\n\r\n",
    "HTTP/1.1 100\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    "HTTP/1.1 204 No Content\r\n",
    "HTTP/1.1 304 Not Modified\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: +5\r\n",
    "Content-Length: 5, 5\r\n",
    "Content-Length: 9223372036854775808\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive\r\n",
    "Connection: x, Close\r\n",
];

/// A connection on which pieces come, one at a time, and then its end.
struct Line {
    pieces: std::vec::IntoIter<Bytes>,
    /// Whether it stays open behind them.
    is_open: Rc<Cell<bool>>,
    rest: Bytes,
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            match self.pieces.next() {
                Some(piece) => self.rest = piece,
                None if self.is_open.get() => return Poll::Pending,
                None => {}
            }
        }
        let length = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, it: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(it.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A request's body: none, or one that never comes.
struct Sent(bool);

impl Body for Sent {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match self.0 {
            true => Poll::Ready(None),
            false => Poll::Pending,
        }
    }
}

/// What was made of an answer.
#[derive(Debug, PartialEq)]
struct Outcome {
    /// `None` if there was none.
    head: Option<String>,
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    /// How the body came to a bad end, if it did.
    end: Option<&'static str>,
    is_reusable: bool,
    /// Whether its head is refused by whoever gets it: two framings, or none that is known.
    is_refused: bool,
}

async fn outcome(pieces: Vec<Bytes>, method: &Method, is_whole: bool) -> Outcome {
    let is_open = Rc::new(Cell::new(false));
    let line = Line {
        pieces: pieces.into_iter(),
        is_open: Rc::clone(&is_open),
        rest: Bytes::new(),
    };
    let request = Request::builder().method(method).header(header::HOST, "x");
    let request = request.body(()).expect("a request");
    let mut outcome = Outcome {
        head: None,
        data: Vec::new(),
        trailers: None,
        end: None,
        is_reusable: false,
        is_refused: false,
    };
    let authority = HeaderValue::from_static("x");
    let connection = Connection::new(line, false);
    let sent = connection.send(&request, &authority, Sent(is_whole)).await;
    let Ok((answer, mut connection)) = sent else {
        return outcome;
    };
    let (head, mut coming) = answer.into_parts();
    let framings = [header::TRANSFER_ENCODING, header::CONTENT_LENGTH];
    let framings = framings.map(|it| head.headers.get_all(it).iter().collect::<Vec<_>>());
    outcome.is_refused = framings.concat().len() > 1
        || framings[0]
            .iter()
            .any(|it| !it.as_bytes().eq_ignore_ascii_case(b"chunked"));
    outcome.head = Some(format!("{:?}", Response::from_parts(head, ())));
    loop {
        let frame = poll_fn(|context| match (&mut coming, &mut connection) {
            (Coming::Reading(reading), Some(connection)) => reading.poll_frame(connection, context),
            (Coming::Aside(aside), None) => aside.poll_frame(context),
            _ => panic!("an answer comes from one of the two"),
        });
        match frame.await.map(|it| it.map(Frame::into_data)) {
            None => break,
            Some(Ok(Ok(data))) => outcome.data.extend(data),
            Some(Ok(Err(frame))) => outcome.trailers = frame.into_trailers().ok(),
            Some(Err(Broken::Malformed(_))) => {
                outcome.end = Some("malformed");
                break;
            }
            Some(Err(Broken::Truncated)) => {
                outcome.end = Some("truncated");
                break;
            }
            Some(Err(error)) => panic!("{error:?}"),
        }
    }
    let is_over = match &coming {
        Coming::Reading(reading) => reading.is_over(),
        Coming::Aside(aside) => aside.is_over(),
    };
    assert_eq!(is_over, outcome.end.is_none());
    is_open.set(true);
    outcome.is_reusable =
        is_over && connection.is_some_and(|mut it| it.is_reusable() && it.is_ready());
    outcome
}

/// A line without its end, and what is behind it.
fn line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| *byte == b'\n')?;
    let line = &text[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), &text[end + 1..]))
}

/// Names in lower case, each with its value.
type Fields = Vec<(String, String)>;

/// Fields up to an empty line, and what is behind it.
fn fields(mut text: &[u8]) -> Option<(Fields, &[u8])> {
    let mut fields = Vec::new();
    loop {
        let (field, rest) = line(text)?;
        text = rest;
        if field.is_empty() {
            return Some((fields, text));
        }
        let colon = field.iter().position(|byte| *byte == b':')?;
        let (name, value) = (&field[..colon], &field[colon + 1..]);
        let is_token =
            |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        let is_text = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
        if name.is_empty() || !name.iter().all(is_token) || !value.iter().all(is_text) {
            return None;
        }
        let value = String::from_utf8_lossy(value);
        fields.push((
            String::from_utf8_lossy(name).to_ascii_lowercase(),
            value.trim_matches([' ', '\t']).to_owned(),
        ));
    }
}

fn all<'a>(fields: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    let named = fields.iter().filter(|it| it.0 == name);
    named.map(|it| it.1.as_str()).collect()
}

/// The body of the only answer that these bytes are, from the first to the last, if they are one
/// behind which another may follow: RFC 9112 read as it stands, with single LFs for the ends of lines
/// in heads (section 2.2) and nothing else that it merely lets pass.
fn reference(text: &[u8], method: &Method) -> Option<Vec<u8>> {
    let mut rest = text;
    while let Some((b"", behind)) = line(rest) {
        rest = behind;
    }
    let (first, behind) = line(rest)?;
    let (version, status) = (first.get(..9)?, first.get(9..12)?);
    if !status.iter().all(u8::is_ascii_digit) || first.get(12).is_some_and(|it| *it != b' ') {
        return None;
    }
    let is_new = match version {
        b"HTTP/1.1 " => true,
        b"HTTP/1.0 " => false,
        _ => return None,
    };
    let (fields, rest) = fields(behind)?;
    let options: Vec<String> = all(&fields, "connection")
        .iter()
        .flat_map(|it| it.split(','))
        .map(|it| it.trim_matches([' ', '\t']).to_ascii_lowercase())
        .collect();
    let says = |option: &str| options.iter().any(|it| it == option);
    match status {
        b"101" => return None,
        [b'1', ..] => return reference(rest, method),
        _ if says("close") || !(is_new || says("keep-alive")) => return None,
        b"204" | b"304" => return rest.is_empty().then(Vec::new),
        _ if method == Method::HEAD => return rest.is_empty().then(Vec::new),
        _ => {}
    }
    if let [coding] = all(&fields, "transfer-encoding")[..] {
        return (is_new && coding.eq_ignore_ascii_case("chunked")).then(|| chunks(rest))?;
    }
    let [length] = all(&fields, "content-length")[..] else {
        return None;
    };
    let is_number = !length.is_empty() && length.bytes().all(|it| it.is_ascii_digit());
    (is_number && length.parse() == Ok(rest.len())).then(|| rest.to_vec())
}

fn chunks(mut text: &[u8]) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    loop {
        let end = text.windows(2).position(|it| it == b"\r\n")?;
        let (size, rest) = (&text[..end], &text[end + 2..]);
        let extension = size.iter().position(|it| *it == b';').unwrap_or(size.len());
        if size.iter().any(|it| matches!(it, b'\r' | b'\n')) {
            return None;
        }
        let size = std::str::from_utf8(&size[..extension]).ok()?;
        let size = size.trim_end_matches([' ', '\t']);
        if size.starts_with('+') {
            return None;
        }
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            let (_, rest) = fields(rest)?;
            return rest.is_empty().then_some(data);
        }
        data.extend(rest.get(..size)?);
        text = rest[size..].strip_prefix(b"\r\n")?;
    }
}

/// The input in pieces of at most so many bytes, a different number each time, or in one.
fn cut(input: &Bytes, most: usize, random: &mut Random) -> Vec<Bytes> {
    let mut rest = input.clone();
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let length = match most {
            0 => rest.len(),
            most => (1 + random.below(most)).min(rest.len()),
        };
        pieces.push(rest.split_to(length));
    }
    pieces
}

#[test]
fn an_answer_is_the_same_however_it_is_cut_and_nothing_is_left_of_it_where_another_follows() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut random = Random::seeded(7);
    let (mut answers, mut reusable) = (0, 0);
    Driver::new("upstreams", WORDS).run(20_000, |input| {
        let input = Bytes::copy_from_slice(input);
        for method in [Method::GET, Method::HEAD] {
            let run = |pieces, is_whole| {
                LocalSet::new().block_on(&runtime, outcome(pieces, &method, is_whole))
            };
            let whole = run(cut(&input, 0, &mut random), true);
            assert!(whole.data.len() <= input.len());
            answers += usize::from(whole.end.is_none() && whole.head.is_some());
            if whole.is_reusable && !whole.is_refused {
                reusable += 1;
                let body = reference(&input, &method);
                assert_eq!(body.as_deref(), Some(&whole.data[..]), "{whole:?}");
            }
            for most in [1, 3, 100] {
                assert_eq!(run(cut(&input, most, &mut random), true), whole, "{most}");
            }
            // Its request is still under way: a task reads it, and keeps the connection.
            let aside = run(cut(&input, 10, &mut random), false);
            let whole = Outcome {
                is_reusable: false,
                ..whole
            };
            assert_eq!(aside, whole);
        }
    });
    assert!(
        answers > 1_000 && reusable > 500,
        "only {answers} answers, {reusable} of them with nothing behind"
    );
}
