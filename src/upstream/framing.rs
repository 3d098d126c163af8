//! Whether an answer's body has one end.
//!
//! The client side takes `chunked` where a length stands beside it, equal lengths for one, and the
//! last of several codings for all of them. A server that sends such a head is broken or attacked,
//! and whoever reads it next may see another end of the body than we did.

use http::header::{self, HeaderMap, HeaderValue};

/// Whether the head says at most once, and in plain words, where the body ends (RFC 9112
/// sections 6.1 to 6.3).
pub(super) fn is_plain(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    match (codings.next(), lengths.next()) {
        (None, None) => true,
        (Some(coding), None) => {
            codings.next().is_none() && coding.as_bytes().eq_ignore_ascii_case(b"chunked")
        }
        (None, Some(length)) => lengths.next().is_none() && is_number(length),
        (Some(_), Some(_)) => false,
    }
}

/// Nobody checks the length in an answer without a body, to HEAD above all, and it is passed on.
fn is_number(value: &HeaderValue) -> bool {
    let digits = value.as_bytes();
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(lines: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        is_plain(&headers)
    }

    #[test]
    fn one_framing_or_none_is_plain() {
        assert!(verdict(&[]));
        assert!(verdict(&[("content-length", "5")]));
        assert!(verdict(&[("transfer-encoding", "Chunked")]));
    }

    #[test]
    fn what_the_next_reader_could_read_differently_is_not() {
        let (length, chunked) = (("content-length", "5"), ("transfer-encoding", "chunked"));
        for lines in [
            &[length, chunked][..],
            &[length, length],
            &[chunked, chunked],
            &[("content-length", "5, 5")],
            &[("content-length", "+5")],
            &[("content-length", "")],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", "gzip")],
            &[("transfer-encoding", "")],
        ] {
            assert!(!verdict(lines), "{lines:?}");
        }
    }
}
