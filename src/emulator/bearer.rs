//! The bearer token of a request, and the challenge to one that has none or a bad one (RFC 6750).

use http::{HeaderMap, HeaderValue, header};

/// Why a request has no bearer token: its text is for people, its code for tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoBearer {
    #[error("the request has no Authorization header")]
    Missing,
    #[error("the request has more than one Authorization header")]
    Several,
    #[error("Authorization is not Bearer, one space and a token")]
    OtherScheme,
}

impl NoBearer {
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Missing => "no-authorization",
            Self::Several => "several-authorizations",
            Self::OtherScheme => "not-bearer",
        }
    }
}

/// The token of the one `Authorization: Bearer` that a request must have.
///
/// The scheme may be in any case, as for all of HTTP; the token follows after exactly one space.
pub(super) fn token(headers: &HeaderMap) -> Result<&str, NoBearer> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(NoBearer::Missing)?;
    if values.next().is_some() {
        return Err(NoBearer::Several);
    }
    let (scheme, token) = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .ok_or(NoBearer::OtherScheme)?;
    if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && !token.starts_with(' ') {
        Ok(token)
    } else {
        Err(NoBearer::OtherScheme)
    }
}

/// A `WWW-Authenticate` that says what was wrong.
pub(super) fn challenge(error: &str, description: &str) -> HeaderValue {
    let challenge = format!(
        "Bearer error=\"{}\", error_description=\"{}\"",
        quotable(error),
        quotable(description)
    );
    HeaderValue::from_str(&challenge).expect("only printable ASCII is left")
}

/// Section 3 of the RFC keeps quotes, backslashes and all but printable ASCII out of these.
fn quotable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '"' | '\\' => '\'',
            ' '..='~' => c,
            _ => '?',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values
            .iter()
            .map(|value| (header::AUTHORIZATION, HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn exactly_one_bearer_token_is_found() {
        assert_eq!(token(&headers(&["Bearer abc"])), Ok("abc"));
        assert_eq!(token(&headers(&["bEARER abc"])), Ok("abc"));
        assert_eq!(token(&headers(&[])), Err(NoBearer::Missing));
        assert_eq!(
            token(&headers(&["Bearer a", "Bearer a"])),
            Err(NoBearer::Several)
        );
        for other in [
            "Basic abc",
            "Bearer",
            "Bearer ",
            "Bearer  abc",
            "Bearerabc",
            "abc",
        ] {
            assert_eq!(
                token(&headers(&[other])),
                Err(NoBearer::OtherScheme),
                "{other}"
            );
        }
    }

    #[test]
    fn a_challenge_cannot_be_broken_out_of() {
        assert_eq!(
            challenge("invalid_token", "a \"b\"\r\nc: ä"),
            "Bearer error=\"invalid_token\", error_description=\"a 'b'??c: ?\""
        );
    }
}
