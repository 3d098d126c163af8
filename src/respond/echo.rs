//! Answers that show our own token: some servers repeat the request they were sent.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::header::{HeaderMap, HeaderValue};
use memchr::memmem::{self, Finder};
use memchr::{memchr, memrchr};
use tokio::time::Instant;

use crate::normalize::decode_fully;

/// What stands in the token's place.
const REDACTED: &[u8] = b"REDACTED";

/// A token that is shorter could stand in a header by chance.
const SHORTEST: usize = 8;

/// How often at most it is said, in seconds.
const SAID_EVERY: u64 = 60;

/// When it was last said that a target's answers show our token. They are rare, so that threads may
/// share it.
#[derive(Debug)]
pub struct Echoes {
    began: Instant,
    /// In seconds since then, and one more; 0 for never.
    said: AtomicU64,
}

impl Default for Echoes {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            said: AtomicU64::new(0),
        }
    }
}

impl Echoes {
    /// Says so, once a minute.
    pub fn say(&self, target: &str) {
        let now = self.began.elapsed().as_secs() + 1;
        let said = self.said.load(Ordering::Relaxed);
        if said == 0 || now >= said + SAID_EVERY {
            self.said.store(now, Ordering::Relaxed);
            tracing::warn!(
                target,
                "the target repeats our token in a header of its answer; it was taken out, and what the body shows was not looked at"
            );
        }
    }
}

/// Takes the token out of an answer's headers, wherever in a value it stands; whether it was there.
/// `credential` is what was put on the request. Most tokens are longer than any header of an answer,
/// so that nothing is searched at all.
#[must_use]
pub fn redact(headers: &mut HeaderMap, credential: &HeaderValue) -> bool {
    let credential = credential.as_bytes();
    let scheme = memrchr(b' ', credential);
    let token = &credential[scheme.map_or(0, |at| at + 1)..];
    // What was encoded for a query may come back as it was.
    let plain = match memchr(b'%', token) {
        Some(_) => Cow::Owned(decode_fully(token)),
        None => Cow::Borrowed(token),
    };
    let mut found = take_out(headers, token);
    if plain.len() < token.len() {
        found |= take_out(headers, &plain);
    }
    found |= take_out_encoded(headers, &plain);
    if let Some(pair) = basic_pair(credential) {
        let password = memchr(b':', &pair).map_or(&[][..], |at| &pair[at + 1..]);
        let unpadded = without_padding(token);
        for shown in [&pair[..], password, unpadded] {
            found |= take_out(headers, shown) | take_out_encoded(headers, shown);
        }
    }
    found
}

/// The user and the password of a credential (RFC 7617), joined by a colon, if it is one of these:
/// a server shows them more readily than what they are encoded to.
fn basic_pair(credential: &[u8]) -> Option<Vec<u8>> {
    let (scheme, encoded) = credential.split_at_checked("Basic ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Basic ")
        .then(|| STANDARD_NO_PAD.decode(without_padding(encoded)).ok())?
}

fn without_padding(mut encoded: &[u8]) -> &[u8] {
    while let [rest @ .., b'='] = encoded {
        encoded = rest;
    }
    encoded
}

/// Takes the token out in other encodings than the one it was sent in: a URL in the query of another
/// one, as redirects to a login have it, is encoded once more. Where in such a value it ends is not
/// worth finding out, so that none of it is kept.
fn take_out_encoded(headers: &mut HeaderMap, token: &[u8]) -> bool {
    let mut found = false;
    if token.len() < SHORTEST {
        return found;
    }
    let is_long = |it: &&mut HeaderValue| it.len() > token.len();
    for value in headers.values_mut().filter(is_long) {
        let is_encoded = memchr(b'%', value.as_bytes()).is_some();
        if is_encoded && memmem::find(&decode_fully(value.as_bytes()), token).is_some() {
            *value = HeaderValue::from_static("REDACTED");
            found = true;
        }
    }
    found
}

fn take_out(headers: &mut HeaderMap, token: &[u8]) -> bool {
    let (mut finder, mut found) = (None, false);
    if token.len() < SHORTEST {
        return false;
    }
    for value in headers.values_mut().filter(|it| it.len() >= token.len()) {
        let finder = finder.get_or_insert_with(|| Finder::new(token));
        if finder.find(value.as_bytes()).is_some() {
            *value = without(value.as_bytes(), finder);
            found = true;
        }
    }
    found
}

fn without(value: &[u8], finder: &Finder<'_>) -> HeaderValue {
    let (mut kept, mut rest) = (Vec::with_capacity(value.len()), value);
    while let Some(at) = finder.find(rest) {
        kept.extend_from_slice(&rest[..at]);
        kept.extend_from_slice(REDACTED);
        rest = &rest[at + finder.needle().len()..];
    }
    kept.extend_from_slice(rest);
    HeaderValue::try_from(kept).expect("pieces of a valid value")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    fn redacted(value: &'static str, credential: &'static str) -> (bool, String) {
        let mut headers = HeaderMap::new();
        headers.insert("x-other", HeaderValue::from_static("left alone"));
        headers.insert("x-echo", HeaderValue::from_static(value));
        let found = redact(&mut headers, &HeaderValue::from_static(credential));
        assert_eq!(headers["x-other"], "left alone");
        (found, headers["x-echo"].to_str().expect("text").to_owned())
    }

    /// `robot` with `open sesame`.
    const BASIC: &str = "basic cm9ib3Q6b3BlbiBzZXNhbWU=";

    #[test]
    fn the_token_is_taken_out_wherever_it_stands() {
        for (value, credential, left) in [
            ("abcdefgh", "Bearer abcdefgh", "REDACTED"),
            ("Bearer abcdefgh", "Bearer abcdefgh", "Bearer REDACTED"),
            (
                "\"abcdefgh\", abcdefgh!",
                "abcdefgh",
                "\"REDACTED\", REDACTED!",
            ),
            (
                "https://x/?k=abc%2Fdefgh",
                "abc%2Fdefgh",
                "https://x/?k=REDACTED",
            ),
            ("abc/defgh", "abc%2Fdefgh", "REDACTED"),
            ("/a?k=abc%2fdefgh", "abc%2Fdefgh", "REDACTED"),
            ("/in?to=%2Fa%3Fk%3Dabc%252Fdefgh", "abc%2Fdefgh", "REDACTED"),
            (
                "/in?to=%2Fa%3Fk%3Dabc%2Bdefgh%3D",
                "Bearer abc+defgh=",
                "REDACTED",
            ),
            ("robot:open sesame", BASIC, "REDACTED"),
            ("login=robot:open sesame;", BASIC, "login=REDACTED;"),
            ("/?p=robot%3Aopen%20sesame", BASIC, "REDACTED"),
            ("pass open sesame", BASIC, "pass REDACTED"),
            ("cm9ib3Q6b3BlbiBzZXNhbWU=", BASIC, "REDACTED"),
            ("cm9ib3Q6b3BlbiBzZXNhbWU!", BASIC, "REDACTED!"),
        ] {
            assert_eq!(redacted(value, credential), (true, left.to_owned()));
        }
    }

    #[test]
    fn what_only_looks_like_it_stays() {
        for (value, credential) in [
            ("abcdefg", "Bearer abcdefgh"),
            ("Bearer abcdefgx", "Bearer abcdefgh"),
            ("short", "Bearer short"),
            ("abc%2fdefg&x=h", "Bearer abc/defgh"),
            ("robot", BASIC),
            ("robot:open sesame", "Basic !!!!!!!!"),
        ] {
            assert_eq!(redacted(value, credential), (false, value.to_owned()));
        }
    }

    /// Run with `cargo test --release -- --ignored --nocapture what_a_look`.
    #[test]
    #[ignore = "a measurement, of use in a release build alone"]
    fn what_a_look_for_the_token_costs() {
        for (length, what) in [(700, "a JWT"), (40, "a key")] {
            let token = HeaderValue::try_from("t".repeat(length)).expect("a value");
            let mut headers = HeaderMap::new();
            for index in 0..16 {
                let name = HeaderName::try_from(format!("x-header-{index}")).expect("a name");
                let value = HeaderValue::try_from("abcdefgh".repeat(8)).expect("a value");
                headers.insert(name, value);
            }
            let (rounds, began) = (1_000_000, Instant::now());
            for _ in 0..rounds {
                std::hint::black_box(redact(&mut headers, std::hint::black_box(&token)));
            }
            println!("{what}, 1 KiB of headers: {:?}", began.elapsed() / rounds);
        }
    }
}
