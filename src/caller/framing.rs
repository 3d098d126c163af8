//! Follows requests byte by byte: where heads, chunks and bodies begin, and the first byte that must
//! not be. Data is counted and not looked at.

use super::pace;
use crate::listener::door::HANDSHAKE;

/// How much of a line is kept: enough for the two headers that frame a body.
const KEPT: usize = 64;

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
    /// Behind a request that asks for another protocol: what follows is HTTP only if that is not
    /// agreed to.
    Undecided,
    /// What must not be has been.
    Over,
}

/// How far bytes could be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Followed {
    /// To their end.
    Whole,
    /// The byte at this place must not be.
    Wrong(usize),
    /// What begins at this place belongs to nobody yet.
    Undecided(usize),
}

/// Why the head of a request is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// The connection begins as one of TLS does.
    #[error("this listener takes plain HTTP, and this is TLS: was https:// written for http://?")]
    Tls,
    /// `#`.
    #[error("a fragment (`#`) in the target of a request")]
    Fragment,
    /// RFC 9112 section 2.2 lets a server take it for the end of a line, and not every server does.
    #[error("a line of a request's head ends in LF alone, and not in CR LF")]
    BareLf,
    /// Two lengths, a length beside `chunked`, or a length that is no number.
    #[error("a body whose length can be read in two ways, or in none")]
    Framing,
}

/// Follows the framing.
#[derive(Debug, Default)]
pub(super) struct Watch {
    place: Place,
    /// Whether a line has been read.
    is_begun: bool,
    fault: Option<Fault>,
    /// The beginning of the line so far, and its length.
    line: Vec<u8>,
    line_length: usize,
    last: u8,
    length: Option<u64>,
    is_chunked: bool,
    asks_to_switch: bool,
}

impl Watch {
    /// What the connection stands at, for its deadlines.
    pub(super) fn place(&self) -> pace::Place {
        match self.place {
            Place::RequestLine if self.line_length == 0 => pace::Place::Between,
            Place::RequestLine | Place::Headers => pace::Place::Head,
            Place::Undecided => pace::Place::Between,
            _ => pace::Place::Body,
        }
    }

    /// Whether what must not be has been.
    pub(super) fn is_over(&self) -> bool {
        self.place == Place::Over
    }

    /// What is wrong, if that is the head of a request.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Whether nothing can be followed until a request for another protocol is answered.
    pub(super) fn is_undecided(&self) -> bool {
        self.place == Place::Undecided
    }

    /// No other protocol was agreed to: what follows is HTTP.
    pub(super) fn stay(&mut self) {
        self.place = Place::RequestLine;
    }

    /// Looks at the next bytes.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> Followed {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            at += match &mut self.place {
                Place::Body(left) | Place::ChunkData(left) => {
                    let step = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= step as u64;
                    match self.place {
                        Place::Body(0) => self.place = self.behind(),
                        Place::ChunkData(0) => self.place = Place::ChunkEnd,
                        _ => {}
                    }
                    step
                }
                Place::Over => return Followed::Wrong(at),
                Place::Undecided => return Followed::Undecided(at),
                _ => match self.follow_line(rest) {
                    Ok(step) => step,
                    Err((step, fault)) => {
                        let is_head = matches!(self.place, Place::RequestLine | Place::Headers);
                        self.fault = is_head.then_some(fault);
                        self.place = Place::Over;
                        return Followed::Wrong(at + step);
                    }
                },
            };
        }
        Followed::Whole
    }

    /// Where the next byte is behind a request.
    fn behind(&self) -> Place {
        if self.asks_to_switch {
            Place::Undecided
        } else {
            Place::RequestLine
        }
    }

    /// Looks at a line or a part of one; gives how much that was, or where it goes wrong.
    fn follow_line(&mut self, bytes: &[u8]) -> Result<usize, (usize, Fault)> {
        if !self.is_begun && self.line_length == 0 && bytes[0] == HANDSHAKE {
            return Err((0, Fault::Tls));
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let part = &bytes[..end.unwrap_or(bytes.len())];
        let refused = |byte: &u8| match self.place {
            Place::RequestLine => *byte == b'#',
            Place::ChunkSize => !matches!(byte, b'\t' | b'\r' | b' '..=b'~'),
            _ => false,
        };
        if let Some(at) = part.iter().position(refused) {
            return Err((at, Fault::Fragment));
        }
        let kept = part.len().min(KEPT.saturating_sub(self.line.len()));
        self.line.extend_from_slice(&part[..kept]);
        self.line_length += part.len();
        self.last = part.last().copied().unwrap_or(self.last);
        let Some(end) = end else {
            return Ok(part.len());
        };
        if self.line_length == 0 || self.last != b'\r' {
            return Err((end, Fault::BareLf));
        }
        self.end_line().ok_or((end, Fault::Framing))?;
        self.is_begun = true;
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
                (self.length, self.is_chunked, self.asks_to_switch) = (None, false, false);
                Place::Headers
            }
            Place::Headers if !is_empty => {
                self.header()?;
                Place::Headers
            }
            Place::Headers if self.is_chunked => Place::ChunkSize,
            Place::Headers => match self.length {
                None | Some(0) => self.behind(),
                Some(length) => Place::Body(length),
            },
            Place::ChunkSize => match self.chunk_size()? {
                0 => Place::Trailers,
                size => Place::ChunkData(size),
            },
            Place::ChunkEnd if is_empty => Place::ChunkSize,
            Place::Trailers if is_empty => self.behind(),
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
        // Without `Connection: upgrade` beside it this means nothing, and waiting costs nothing.
        self.asks_to_switch |= name.eq_ignore_ascii_case(b"upgrade");
        Some(())
    }

    /// The size in a chunk's line, which has at most an extension behind it.
    fn chunk_size(&self) -> Option<u64> {
        let line = self.line.trim_ascii_end();
        let end = line.iter().position(|byte| *byte == b';');
        // Digits that were not kept would count for the server side.
        let is_kept = end.is_some() || self.line_length <= KEPT;
        let (size, extension) = line.split_at(end.unwrap_or(line.len()));
        let size = size.trim_ascii_end();
        let is_whole = is_kept && size.iter().all(u8::is_ascii_hexdigit) && extension != b";";
        let size = u64::from_str_radix(str::from_utf8(size).ok()?, 16).ok()?;
        is_whole.then_some(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the bytes go wrong, the same however they are cut.
    fn ends(bytes: &str) -> Followed {
        let whole = Watch::default().follow(bytes.as_bytes());
        for cut in 0..=bytes.len() {
            let (first, second) = bytes.as_bytes().split_at(cut);
            let mut watch = Watch::default();
            let found = match watch.follow(first) {
                Followed::Whole => match watch.follow(second) {
                    Followed::Wrong(at) => Followed::Wrong(at + cut),
                    Followed::Undecided(at) => Followed::Undecided(at + cut),
                    Followed::Whole => Followed::Whole,
                },
                other => other,
            };
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
            ends(&[sized, chunked, empty, chunked, sized].concat()),
            Followed::Whole
        );
        let wrong = [sized, chunked, empty].concat();
        assert_eq!(
            ends(&format!("{wrong}GET /#")),
            Followed::Wrong(wrong.len() + 5)
        );
    }

    #[test]
    fn what_follows_a_request_for_another_protocol_is_not_looked_at() {
        let head = "GET / HTTP/1.1\r\nConnection: upgrade\r\nUPGRADE: websocket\r\n";
        let alone = format!("{head}\r\n");
        let sized = format!("{head}Content-Length: 2\r\n\r\nab");
        let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
        for request in [alone, sized, chunked] {
            assert_eq!(ends(&request), Followed::Whole);
            let undecided = Followed::Undecided(request.len());
            assert_eq!(ends(&format!("{request}\x01#\n")), undecided);
            let mut watch = Watch::default();
            watch.follow(request.as_bytes());
            assert!(watch.is_undecided());
            watch.stay();
            assert_eq!(watch.follow(b"GET /#"), Followed::Wrong(5));
        }
    }

    #[test]
    fn the_size_of_a_chunk_is_read_whole_or_not_at_all() {
        let head = "A\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunk = |line: &str| format!("{head}{line}\r\nhello\r\n0\r\n\r\n");
        let zeros = "0".repeat(KEPT - 2);
        assert_eq!(ends(&chunk(&format!("{zeros}5"))), Followed::Whole);
        assert_eq!(
            ends(&chunk(&format!("5;{}", "x".repeat(1000)))),
            Followed::Whole
        );
        for before in [KEPT - 1, KEPT, 1000] {
            let line = format!("{}5", "0".repeat(before));
            let end = head.len() + line.len() + 1;
            assert_eq!(ends(&chunk(&line)), Followed::Wrong(end), "{before}");
        }
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
                ends(&format!("{right}{wrong}")),
                Followed::Wrong(right.len()),
                "{right:?}"
            );
        }
    }
}
