//! The head of an upstream's answer (RFC 9112 sections 4 to 6), and its trailers.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode, Version};
use hyper::ext::ReasonPhrase;
use memchr::memchr_iter;

use super::chunked::Chunked;
use crate::upstream::broken::Broken;

/// The most headers of an answer.
const HEADERS: usize = 128;

/// The head of an answer that is there.
#[derive(Debug)]
pub(super) struct Head {
    /// What it says.
    pub(super) answer: Response<()>,
    /// What follows it.
    pub(super) extent: Extent,
    /// Whether another request may follow on the connection.
    pub(super) is_kept: bool,
}

/// How much of an answer's body is still to come.
#[derive(Debug)]
pub(super) enum Extent {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunked),
    /// All that comes before the other side closes.
    Close,
}

impl Extent {
    /// Whether nothing more is to come.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.is_over(),
            Self::Close => false,
        }
    }
}

/// Where a head that has come so far ends, if it does: behind an empty line. What is before `from` has
/// been looked at.
pub(super) fn end(come: &[u8], from: usize) -> Option<usize> {
    let from = from.saturating_sub(2);
    memchr_iter(b'\n', &come[from..]).find_map(|at| match &come[from + at + 1..] {
        [b'\n', ..] => Some(from + at + 2),
        [b'\r', b'\n', ..] => Some(from + at + 3),
        _ => None,
    })
}

/// Whether this may be the beginning of a head: what is none can be known before its end.
///
/// # Errors
///
/// [`Broken::Malformed`] if it cannot.
pub(super) fn begin(come: &[u8]) -> Result<(), Broken> {
    parse(come, |_| Ok(())).map(drop)
}

/// Reads a head that is whole.
///
/// # Errors
///
/// [`Broken::Malformed`] if it is none.
pub(super) fn read(come: &mut BytesMut, end: usize, method: &Method) -> Result<Head, Broken> {
    let head = come.split_to(end).freeze();
    let answer = parse(&head, |parsed| {
        let code = StatusCode::from_u16(parsed.code.unwrap_or_default());
        let code = code.map_err(|_| Broken::Malformed("its status is out of range"))?;
        let mut answer = Response::new(());
        let reason = parsed.reason.unwrap_or_default();
        if code.canonical_reason() != Some(reason)
            && let Ok(phrase) = ReasonPhrase::try_from(reason.as_bytes())
        {
            answer.extensions_mut().insert(phrase);
        }
        *answer.status_mut() = code;
        *answer.version_mut() = match parsed.version {
            Some(1) => Version::HTTP_11,
            _ => Version::HTTP_10,
        };
        *answer.headers_mut() = headers(&head, parsed.headers)?;
        Ok(answer)
    })?;
    let answer = answer.ok_or(Broken::Malformed("its head has no end"))?;
    let extent = extent(&answer, method)?;
    let is_kept = is_kept(&answer) && !matches!(extent, Extent::Close);
    Ok(Head {
        answer,
        extent,
        is_kept,
    })
}

/// Reads trailers that are whole.
///
/// # Errors
///
/// [`Broken::Malformed`] if they are none.
pub(super) fn trailers(come: Bytes) -> Result<HeaderMap, Broken> {
    let mut parsed = [httparse::EMPTY_HEADER; HEADERS];
    match httparse::parse_headers(&come, &mut parsed).map_err(malformed)? {
        httparse::Status::Complete((end, parsed)) if end == come.len() => headers(&come, parsed),
        _ => Err(Broken::Malformed("its trailers have no end")),
    }
}

/// The headers of a head, which they stay parts of.
fn headers(head: &Bytes, parsed: &[httparse::Header<'_>]) -> Result<HeaderMap, Broken> {
    let mut headers = HeaderMap::with_capacity(parsed.len());
    for header in parsed {
        let name = HeaderName::from_bytes(header.name.as_bytes())
            .map_err(|_| Broken::Malformed("it has a header without a name"))?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(header.value))
            .map_err(|_| Broken::Malformed("it has a header with a value that is none"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// Parses a head, and gives what `take` makes of it if it is whole.
fn parse<T>(
    come: &[u8],
    take: impl FnOnce(&httparse::Response<'_, '_>) -> Result<T, Broken>,
) -> Result<Option<T>, Broken> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut parsed, come, &mut headers) {
        Ok(httparse::Status::Complete(_)) => take(&parsed).map(Some),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(error) => Err(malformed(error)),
    }
}

fn malformed(error: httparse::Error) -> Broken {
    Broken::Malformed(match error {
        httparse::Error::HeaderName => "it has a header with a name that is none",
        httparse::Error::HeaderValue => "it has a header with a value that is none",
        httparse::Error::NewLine => "it has a line without an end",
        httparse::Error::Status => "its status is none",
        httparse::Error::TooManyHeaders => "it has too many headers",
        httparse::Error::Version => "it is in another protocol",
        httparse::Error::Token => "it does not begin like an answer",
    })
}

/// How much follows the head (RFC 9112 section 6.3). A head that says it twice is refused by whoever
/// gets it, whatever is made of it here.
fn extent(answer: &Response<()>, method: &Method) -> Result<Extent, Broken> {
    let status = answer.status();
    let has_no_body = status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || method == Method::HEAD;
    if has_no_body {
        return Ok(Extent::Length(0));
    }
    let headers = answer.headers();
    if headers.contains_key(header::TRANSFER_ENCODING) {
        if answer.version() == Version::HTTP_10 {
            return Err(Broken::Malformed("it is in HTTP/1.0, which has no codings"));
        }
        return Ok(Extent::Chunked(Chunked::default()));
    }
    let Some(length) = headers.get(header::CONTENT_LENGTH) else {
        return Ok(Extent::Close);
    };
    // What has no place in a signed number is read in many ways, and is no length of anything.
    let length: Option<i64> = length.to_str().ok().and_then(|it| {
        let is_number = it.bytes().all(|byte| byte.is_ascii_digit());
        it.parse().ok().filter(|_| is_number)
    });
    match length.map(u64::try_from) {
        Some(Ok(length)) => Ok(Extent::Length(length)),
        _ => Err(Broken::Malformed("its length is no number")),
    }
}

/// Whether the other side keeps the connection for HTTP (RFC 9112 section 9.3).
fn is_kept(answer: &Response<()>) -> bool {
    let names = |option: &[u8]| {
        let values = answer.headers().get_all(header::CONNECTION).iter();
        let mut options = values.flat_map(|it| it.as_bytes().split(|byte| *byte == b','));
        options.any(|it| it.trim_ascii().eq_ignore_ascii_case(option))
    };
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return false;
    }
    let is_by_default = answer.version() == Version::HTTP_11;
    (is_by_default || names(b"keep-alive")) && !names(b"close")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str, method: &Method) -> Result<Head, Broken> {
        let mut come = BytesMut::from(text);
        let end = end(&come, 0).expect("it is whole");
        let head = read(&mut come, end, method)?;
        assert_eq!(come, "body");
        Ok(head)
    }

    fn get(lines: &str) -> Result<Head, Broken> {
        head(&format!("HTTP/1.1 200 OK\r\n{lines}\r\nbody"), &Method::GET)
    }

    #[test]
    fn a_head_ends_behind_the_first_empty_line_however_it_comes() {
        for (text, length) in [
            ("HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody", 25),
            ("HTTP/1.1 200 OK\nA: b\n\nbody", 22),
        ] {
            for come in 0..=text.len() {
                let expected = (come >= length).then_some(length);
                for from in 0..come.min(length) {
                    assert_eq!(
                        end(&text.as_bytes()[..come], from),
                        expected,
                        "{come} {from}"
                    );
                }
                begin(&text.as_bytes()[..come]).expect("the beginning of a head");
            }
        }
        begin(b"SSH-2.0-OpenSSH_9.2").expect_err("another protocol");
    }

    #[test]
    fn what_it_says_is_kept_as_it_is() {
        let text =
            "HTTP/1.0 299 So Be It\r\nX-A: one\r\nSet-Cookie: a=b\r\nset-cookie:  c=é \r\n\r\nbody";
        let head = head(text, &Method::GET).expect("a head");
        let answer = head.answer;
        assert_eq!(answer.status().as_u16(), 299);
        assert_eq!(answer.version(), Version::HTTP_10);
        let phrase = answer.extensions().get::<ReasonPhrase>().expect("its own");
        assert_eq!(phrase.as_bytes(), b"So Be It");
        let cookies: Vec<&[u8]> = answer
            .headers()
            .get_all("set-cookie")
            .iter()
            .map(HeaderValue::as_bytes)
            .collect();
        assert_eq!(cookies, [b"a=b".as_slice(), "c=é".as_bytes()]);
    }

    #[test]
    fn its_extent_is_what_the_request_the_status_and_the_headers_say() {
        let extent = |text: &str, method| head(text, &method).expect("a head").extent;
        let ok = "HTTP/1.1 200 OK\r\n";
        let length = "Content-Length: 4\r\n\r\nbody";
        let none = |extent| matches!(extent, Extent::Length(0));
        assert!(matches!(
            extent(&format!("{ok}{length}"), Method::GET),
            Extent::Length(4)
        ));
        assert!(none(extent(&format!("{ok}{length}"), Method::HEAD)));
        assert!(none(extent(
            &format!("HTTP/1.1 304 Not Modified\r\n{length}"),
            Method::GET
        )));
        assert!(none(extent(
            "HTTP/1.1 204 No Content\r\n\r\nbody",
            Method::GET
        )));
        assert!(none(extent(
            "HTTP/1.1 101 Switching Protocols\r\n\r\nbody",
            Method::GET
        )));
        assert!(matches!(
            extent(&format!("{ok}\r\nbody"), Method::GET),
            Extent::Close
        ));
        let chunked = format!("{ok}Transfer-Encoding: chunked\r\n\r\nbody");
        assert!(matches!(extent(&chunked, Method::POST), Extent::Chunked(_)));
        for lines in [
            "Content-Length: 9223372036854775808\r\n",
            "Content-Length: +4\r\n",
            "Content-Length: \r\n",
            "Content-Length: 4, 4\r\n",
        ] {
            assert!(matches!(get(lines), Err(Broken::Malformed(_))), "{lines}");
        }
        let old = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nbody";
        assert!(matches!(head(old, &Method::GET), Err(Broken::Malformed(_))));
    }

    #[test]
    fn a_connection_is_kept_by_default_and_unless_close_is_said() {
        let kept = |lines: &str| {
            get(&format!("Content-Length: 4\r\n{lines}"))
                .expect("a head")
                .is_kept
        };
        assert!(kept(""));
        assert!(kept("Connection: x, Keep-Alive\r\n"));
        assert!(!kept("Connection: keep-alive\r\nConnection: x , CLOSE\r\n"));
        let old = |lines: &str| {
            let text = format!("HTTP/1.0 200 OK\r\nContent-Length: 4\r\n{lines}\r\nbody");
            head(&text, &Method::GET).expect("a head").is_kept
        };
        assert!(!old(""));
        assert!(old("Connection: keep-alive\r\n"));
        assert!(!get("").expect("a head").is_kept);
        let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nbody";
        assert!(!head(switch, &Method::GET).expect("a head").is_kept);
    }

    #[test]
    fn what_is_no_head_is_refused() {
        let many = "X: y\r\n".repeat(HEADERS + 1);
        for lines in [
            "X y\r\n",
            "X : y\r\n",
            ": y\r\n",
            "X: \0\r\n",
            " folded\r\n",
            "X: y\r\n z\r\n",
            &many,
        ] {
            assert!(
                matches!(get(lines), Err(Broken::Malformed(_))),
                "{lines:.40}"
            );
        }
        for line in [
            "\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 20\r\n\r\n",
            "HTTP/1.1 099 No\r\n\r\n",
        ] {
            let mut come = BytesMut::from(line);
            let end = end(&come, 0).expect("an empty line");
            read(&mut come, end, &Method::GET).expect_err(line);
        }
    }
}
