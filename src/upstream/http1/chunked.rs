//! A body in chunks, as an upstream sends it (RFC 9112 section 7.1).

use std::mem;

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use memchr::memchr;

use super::head;
use crate::upstream::broken::Broken;

/// The longest line in front of a chunk, with what extends it.
const LINE: usize = 4 * 1024;

/// The most bytes of trailers.
const TRAILERS: usize = 16 * 1024;

/// What is the last of a body without trailers, behind the data of a chunk.
const END: &[u8] = b"\r\n0\r\n\r\n";

/// Where in a body the next byte is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Size,
    /// So many bytes of a chunk.
    Data(u64),
    DataEnd,
    Trailers,
    End,
}

/// Reads a body that comes in chunks.
#[derive(Debug, Default)]
pub(super) struct Chunked {
    place: Place,
    /// How long a line stood in front of what comes next.
    line: usize,
}

/// What was found.
#[derive(Debug, PartialEq)]
pub(super) enum Found {
    /// A piece of the body.
    Data(Bytes),
    /// What follows it.
    Trailers(HeaderMap),
    /// Its end.
    End,
    /// Nothing, before more has come.
    Nothing,
}

impl Chunked {
    /// Takes the next piece from what has come.
    ///
    /// # Errors
    ///
    /// [`Broken::Malformed`] where it is no body in chunks.
    pub(super) fn take(&mut self, come: &mut BytesMut) -> Result<Found, Broken> {
        loop {
            match self.place {
                Place::Size => {
                    let Some(line) = line(come)? else {
                        return Ok(Found::Nothing);
                    };
                    self.place = match size(&line)? {
                        0 => Place::Trailers,
                        size => Place::Data(size),
                    };
                    self.line = line.len();
                }
                Place::Data(left) => {
                    let there = come.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    if there == 0 {
                        return Ok(Found::Nothing);
                    }
                    let mut data = come.split_to(there);
                    // A byte behind a long line would keep the whole buffer for as long as somebody
                    // takes to read it.
                    if there < mem::take(&mut self.line) {
                        data = BytesMut::from(&data[..]);
                    }
                    let data = data.freeze();
                    self.place = match left - there as u64 {
                        0 => Place::DataEnd,
                        left => Place::Data(left),
                    };
                    // Found now, the end costs no further look.
                    if self.place == Place::DataEnd && come.starts_with(END) {
                        come.advance(END.len());
                        self.place = Place::End;
                    }
                    return Ok(Found::Data(data));
                }
                Place::DataEnd => {
                    if come.len() < 2 {
                        return Ok(Found::Nothing);
                    }
                    if !come.starts_with(b"\r\n") {
                        return Err(Broken::Malformed("a chunk is longer than it says"));
                    }
                    come.advance(2);
                    self.place = Place::Size;
                }
                Place::Trailers => return self.trailers(come),
                Place::End => return Ok(Found::End),
            }
        }
    }

    /// Whether all of it has been taken.
    pub(super) fn is_over(&self) -> bool {
        self.place == Place::End
    }

    fn trailers(&mut self, come: &mut BytesMut) -> Result<Found, Broken> {
        if come.starts_with(b"\r\n") {
            come.advance(2);
            self.place = Place::End;
            return Ok(Found::End);
        }
        match head::end(come, 0) {
            Some(end) if end <= TRAILERS => {
                let trailers = head::trailers(come.split_to(end).freeze())?;
                self.place = Place::End;
                Ok(Found::Trailers(trailers))
            }
            None if come.len() <= TRAILERS => Ok(Found::Nothing),
            _ => Err(Broken::Malformed("its trailers are too long")),
        }
    }
}

/// The next line, without its end.
fn line(come: &mut BytesMut) -> Result<Option<BytesMut>, Broken> {
    match memchr(b'\n', come) {
        Some(end) if end <= LINE => {
            let mut line = come.split_to(end + 1);
            if !line.ends_with(b"\r\n") {
                return Err(Broken::Malformed("a chunk's size does not end in CRLF"));
            }
            line.truncate(end - 1);
            Ok(Some(line))
        }
        None if come.len() <= LINE => Ok(None),
        _ => Err(Broken::Malformed("a chunk's size is too long a line")),
    }
}

/// The size in a chunk's line. What extends it (RFC 9112 section 7.1.1) means nothing here.
fn size(line: &[u8]) -> Result<u64, Broken> {
    let end = memchr(b';', line).unwrap_or(line.len());
    if line[end..].contains(&b'\r') {
        return Err(Broken::Malformed("a chunk's extension has a bare CR"));
    }
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let length = line[..end].iter().rposition(|byte| !is_space(byte));
    let digits = &line[..length.map_or(0, |last| last + 1)];
    let malformed = Broken::Malformed("a chunk's size is no number");
    // `from_str_radix` would take a sign.
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(malformed);
    }
    let digits = str::from_utf8(digits).unwrap_or_default();
    u64::from_str_radix(digits, 16).map_err(|_| malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All data and trailers of a body that comes in these pieces, and what is left behind it.
    fn read<'a>(
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(Vec<u8>, usize, Vec<u8>), Broken> {
        let (mut chunked, mut come) = (Chunked::default(), BytesMut::new());
        let (mut data, mut trailers) = (Vec::new(), 0);
        for piece in pieces {
            come.extend_from_slice(piece);
            loop {
                match chunked.take(&mut come)? {
                    Found::Data(piece) => data.extend(piece),
                    Found::Trailers(headers) => trailers = headers.len(),
                    Found::Nothing | Found::End => break,
                }
            }
        }
        assert!(chunked.is_over());
        Ok((data, trailers, come.to_vec()))
    }

    #[test]
    fn a_body_is_the_same_however_it_is_cut() {
        let body = b"5\r\nhello\r\n00A ;x=\"y\"\r\n0123456789\r\n0\r\nX: y\r\nZ: 1\r\n\r\nrest";
        let whole = read([body.as_slice()]).expect("a body");
        assert_eq!(whole, (b"hello0123456789".to_vec(), 2, b"rest".to_vec()));
        for cut in 0..body.len() {
            let (first, second) = body.split_at(cut);
            assert_eq!(
                read([first, second]).expect("a body"),
                whole,
                "cut at {cut}"
            );
        }
        let bytes = body.iter().map(std::slice::from_ref);
        assert_eq!(read(bytes).expect("a body"), whole);
        let plain = read([b"1\r\na\r\n0\r\n\r\n".as_slice()]).expect("a body");
        assert_eq!(plain, (b"a".to_vec(), 0, Vec::new()));
    }

    #[test]
    fn small_chunks_behind_long_lines_keep_no_buffer_alive() {
        let chunk = format!("1;{}\r\na\r\n", "x".repeat(LINE - 10));
        let (mut chunked, mut come) = (Chunked::default(), BytesMut::new());
        let mut taken = Vec::new();
        for _ in 0..100 {
            come.reserve(chunk.len());
            come.extend_from_slice(chunk.as_bytes());
            match chunked.take(&mut come).expect("a chunk") {
                Found::Data(data) => taken.push(data),
                other => panic!("{other:?}"),
            }
            assert_eq!(chunked.take(&mut come).expect("its end"), Found::Nothing);
        }
        // Nobody else has a part of the buffer.
        assert!(
            come.try_reclaim(LINE / 2),
            "{} pieces are held",
            taken.len()
        );
    }

    #[test]
    fn what_is_no_body_in_chunks_is_refused() {
        let long = format!("1;{}\r\na\r\n", "x".repeat(LINE));
        let endless = format!("0\r\nX: {}", "x".repeat(TRAILERS));
        for body in [
            "1\na\r\n0\r\n\r\n",
            "\r\n",
            "+1\r\na\r\n",
            "0x1\r\na\r\n",
            "1 1\r\na\r\n",
            "1\r\r\na\r\n",
            "1\x0c\r\na\r\n",
            "1;x\ry\r\na\r\n",
            "1\r\na\r\n0\r\n\n\n",
            "1\r\na\r\n0\r\n\n\r\n",
            "10000000000000000\r\n",
            "1\r\nab\r\n",
            "1\r\na\n0\r\n\r\n",
            "0\r\nno trailer\r\n\r\n",
            "0\r\nX : y\r\n\r\n",
            long.as_str(),
            endless.as_str(),
        ] {
            let mut chunked = Chunked::default();
            let mut come = BytesMut::from(body);
            while let Ok(Found::Data(_)) = chunked.take(&mut come) {}
            assert!(!chunked.is_over(), "{body:.40}");
            let refused = read([body.as_bytes()]);
            assert!(
                matches!(refused, Err(Broken::Malformed(_))),
                "{body:.40}: {refused:?}"
            );
        }
    }
}
