//! A JSON web token taken apart, or put together (RFC 7515, compact form). Nothing is verified
//! here: whose key it must be, and what the claims must say, differs from vendor to vendor.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// From here on a time in seconds is more than three thousand years away, and in milliseconds is
/// one that clients send by mistake.
const MILLISECONDS: i64 = 100_000_000_000;

/// A token's parts.
#[derive(Debug)]
pub(super) struct Jwt<'a> {
    pub(super) header: Map<String, Value>,
    pub(super) claims: Map<String, Value>,
    /// The text that is signed: header and claims as they were sent.
    pub(super) signed: &'a str,
    pub(super) signature: Vec<u8>,
}

/// Why a text is no token: its text is for people, its code for tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("a token has three segments between dots, and this has {0}")]
    Segments(usize),
    #[error("the token's {0} is not base64url without padding")]
    Base64(&'static str),
    #[error("the token's {0} is not a JSON object")]
    Json(&'static str),
}

impl Malformed {
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Segments(_) => "not-three-segments",
            Self::Base64(_) => "not-base64url",
            Self::Json(_) => "not-json",
        }
    }
}

impl<'a> Jwt<'a> {
    pub(super) fn parse(token: &'a str) -> Result<Self, Malformed> {
        let segments: Vec<&str> = token.split('.').collect();
        let &[header, claims, signature] = segments.as_slice() else {
            return Err(Malformed::Segments(segments.len()));
        };
        Ok(Jwt {
            header: object("header", header)?,
            claims: object("claims", claims)?,
            signed: &token[..header.len() + 1 + claims.len()],
            signature: decode("signature", signature)?,
        })
    }

    /// A claim that must be a string.
    pub(super) fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim)?.as_str()
    }

    /// A claim that must be a time.
    pub(super) fn seconds(&self, claim: &'static str) -> Result<i64, NoTime> {
        let value = self.claims.get(claim).ok_or(NoTime::Missing(claim))?;
        let seconds = value.as_i64().ok_or(NoTime::NotInteger(claim))?;
        if seconds >= MILLISECONDS {
            return Err(NoTime::Milliseconds(claim));
        }
        Ok(seconds)
    }
}

/// Why a claim is no time in seconds: its text is for people, its code for tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoTime {
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} is not an integer")]
    NotInteger(&'static str),
    #[error("{0} is in milliseconds, and must be in seconds")]
    Milliseconds(&'static str),
}

impl NoTime {
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Missing(_) => "no-time",
            Self::NotInteger(_) => "time-not-integer",
            Self::Milliseconds(_) => "time-in-milliseconds",
        }
    }
}

/// Puts a token together; `sign` is given the text that is signed.
pub(super) fn compose<E>(
    header: &Value,
    claims: &Value,
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<String, E> {
    let segment = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", segment(header), segment(claims));
    let signature = sign(signed.as_bytes())?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn object(name: &'static str, segment: &str) -> Result<Map<String, Value>, Malformed> {
    serde_json::from_slice(&decode(name, segment)?).map_err(|_| Malformed::Json(name))
}

fn decode(name: &'static str, segment: &str) -> Result<Vec<u8>, Malformed> {
    URL_SAFE_NO_PAD
        .decode(segment)
        .map_err(|_| Malformed::Base64(name))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a test that panics has failed, as it should"
    )]

    use serde_json::json;

    use super::*;

    fn segment(text: &str) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    #[test]
    fn a_token_is_taken_apart() {
        let token = format!(
            "{}.{}.{}",
            segment(r#"{"alg":"x"}"#),
            segment(r#"{"a":"b"}"#),
            segment("s")
        );
        let jwt = Jwt::parse(&token).unwrap();
        assert_eq!(jwt.header["alg"], "x");
        assert_eq!(jwt.text("a"), Some("b"));
        assert_eq!(jwt.signature, b"s");
        assert_eq!(format!("{}.{}", jwt.signed, segment("s")), token);
    }

    #[test]
    fn a_token_put_together_can_be_taken_apart() {
        let (header, claims) = (json!({ "alg": "x" }), json!({ "a": "b" }));
        let sign = |signed: &[u8]| Ok::<_, ()>(signed.to_ascii_uppercase());
        let token = compose(&header, &claims, sign).unwrap();
        let jwt = Jwt::parse(&token).unwrap();
        assert_eq!(Value::from(jwt.header), header);
        assert_eq!(Value::from(jwt.claims), claims);
        assert_eq!(jwt.signature, jwt.signed.to_ascii_uppercase().as_bytes());
    }

    #[test]
    fn a_text_that_is_no_token_is_told_apart() {
        let (object, list) = (segment("{}"), segment("[]"));
        let cases = [
            ("abc".into(), Malformed::Segments(1)),
            (format!("{object}.{object}"), Malformed::Segments(2)),
            (format!("{object}.{object}.a.a"), Malformed::Segments(4)),
            (format!("{object}=.{object}.a"), Malformed::Base64("header")),
            (format!("{object}.{object} .a"), Malformed::Base64("claims")),
            (
                format!("{object}.{object}.a/b+"),
                Malformed::Base64("signature"),
            ),
            (format!("{list}.{object}.aa"), Malformed::Json("header")),
            (format!("{object}.{list}.aa"), Malformed::Json("claims")),
        ];
        for (text, expected) in cases {
            let text: String = text;
            assert_eq!(Jwt::parse(&text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn a_time_is_whole_seconds() {
        let claims = r#"{"a":1700000000,"b":1700000000.5,"c":"1700000000","d":1700000000000,"e":18446744073709551615}"#;
        let token = format!("{}.{}.", segment("{}"), segment(claims));
        let jwt = Jwt::parse(&token).unwrap();
        assert_eq!(jwt.seconds("a"), Ok(1_700_000_000));
        assert_eq!(jwt.seconds("b"), Err(NoTime::NotInteger("b")));
        assert_eq!(jwt.seconds("c"), Err(NoTime::NotInteger("c")));
        assert_eq!(jwt.seconds("d"), Err(NoTime::Milliseconds("d")));
        assert_eq!(jwt.seconds("e"), Err(NoTime::NotInteger("e")));
        assert_eq!(jwt.seconds("f"), Err(NoTime::Missing("f")));
    }
}
