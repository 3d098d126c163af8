//! What is taken from an answer: the token, and how long it lives.
//!
//! Whoever answers may be broken or hostile. What is not exactly as it should be is a failed
//! attempt like any other: it is said, nothing is forwarded, and the next attempt comes.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{self, HeaderMap, HeaderName};
use serde_json::Value;

use super::call::Reply;

mod json;

use json::Unambiguous;

/// The longest token; servers refuse headers not much longer.
const LONGEST_TOKEN: usize = 16 * 1024;
/// No token is taken to live longer than this, whatever it or its endpoint says.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// A token that lives shorter is over before it is used, and renewing it would keep the endpoint
/// busy.
const SHORTEST_LIFE: Duration = Duration::from_secs(1);

/// Where in an answer things stand. Tokens are looked for in the order of the fields.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// A header with the token.
    pub token_header: Option<HeaderName>,
    /// A cookie with the token.
    pub token_cookie: Option<String>,
    /// A JSON pointer (RFC 6901) to the token; an empty one is for a body that is the token itself.
    pub token: Option<String>,
    /// A JSON pointer to the life in seconds.
    pub lifetime: Option<String>,
    /// A JSON pointer to a refresh token.
    pub refresh_token: Option<String>,
    /// How long a token lives of which neither the answer nor the token itself says it.
    pub default_lifetime: Duration,
}

/// What an answer has brought.
pub struct Brought {
    /// The token.
    pub token: String,
    /// How long it lives, from when the request for it was sent.
    pub life: Duration,
    /// A refresh token.
    pub refresh_token: Option<String>,
}

impl std::fmt::Debug for Brought {
    /// Shows how long the token lives, and not the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Brought");
        shown.field("life", &self.life).finish_non_exhaustive()
    }
}

/// What is wrong with an answer; never anything of what it says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Nonsense(&'static str);

impl Places {
    /// Takes from a successful answer what it brings.
    ///
    /// # Errors
    ///
    /// [`Nonsense`] that says what it lacks.
    pub fn take(&self, reply: &Reply) -> Result<Brought, Nonsense> {
        let json = self.json(reply)?;
        let token = self.token(reply, &json)?;
        if token.len() > LONGEST_TOKEN {
            return Err(Nonsense("the token is longer than 16 KiB"));
        }
        // RFC 6749 appendix A.12 has spaces too, which no token of RFC 6750 can have.
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Nonsense(
                "the token is empty or has characters that no token has",
            ));
        }
        check_type(&json)?;
        let life = self.life(&token, &json, reply)?;
        let refresh_token = self
            .refresh_token
            .as_ref()
            .and_then(|at| json.pointer(at)?.as_str());
        Ok(Brought {
            life,
            refresh_token: refresh_token.map(str::to_owned),
            token,
        })
    }

    /// The body as JSON, where anything is looked for in it.
    fn json(&self, reply: &Reply) -> Result<Value, Nonsense> {
        let is_needed = self
            .token
            .as_ref()
            .is_some_and(|pointer| !pointer.is_empty());
        match serde_json::from_slice(&reply.body) {
            Ok(Unambiguous(json)) => Ok(json),
            Err(_) if is_needed && self.token_header.is_none() && self.token_cookie.is_none() => {
                Err(Nonsense("the answer is not JSON"))
            }
            Err(_) => Ok(Value::Null),
        }
    }

    fn token(&self, reply: &Reply, json: &Value) -> Result<String, Nonsense> {
        if let Some(name) = &self.token_header
            && let Some(value) = only(&reply.headers, name)?
        {
            return Ok(value);
        }
        if let Some(name) = &self.token_cookie
            && let Some(value) = cookie(&reply.headers, name)
        {
            return Ok(value);
        }
        let found = match self.token.as_deref() {
            None => None,
            Some("") => match json {
                Value::String(text) => Some(text.clone()),
                _ => std::str::from_utf8(&reply.body)
                    .ok()
                    .map(|text| text.trim().to_owned()),
            },
            Some(pointer) => match json.pointer(pointer) {
                Some(Value::String(text)) => Some(text.clone()),
                Some(_) => return Err(Nonsense("what stands where the token should is no text")),
                None => None,
            },
        };
        found.ok_or(Nonsense("there is no token in the answer"))
    }

    /// The shortest of what the answer and the token say; what they both leave open is the
    /// default. All of it is a span, so that our own clock does not come into it.
    fn life(&self, token: &str, json: &Value, reply: &Reply) -> Result<Duration, Nonsense> {
        let said = match self
            .lifetime
            .as_ref()
            .and_then(|pointer| json.pointer(pointer))
        {
            None | Some(Value::Null) => None,
            Some(value) => Some(seconds(value)?),
        };
        let theirs = reply
            .sent
            .unix()
            .saturating_add_signed(reply.offset.unwrap_or(0));
        let own = own_life(token, theirs)?;
        let life = match (said, own) {
            (Some(said), Some(own)) => said.min(own),
            (Some(life), None) | (None, Some(life)) => life,
            (None, None) => self.default_lifetime,
        };
        if life < SHORTEST_LIFE {
            return Err(Nonsense("the token lives for less than a second"));
        }
        Ok(life.min(LONGEST_LIFE))
    }
}

/// The value of a header that is there at most once.
fn only(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Nonsense> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Nonsense("the header with the token is there twice"));
    }
    let text = value
        .to_str()
        .map_err(|_| Nonsense("the header with the token is not text"))?;
    // Some services send it as they want it back.
    let text = text.trim();
    let bare = match text.strip_prefix("Bearer") {
        Some("") => "",
        Some(rest) => rest.strip_prefix(' ').unwrap_or(text),
        None => text,
    };
    Ok(Some(bare.trim().to_owned()))
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get_all(header::SET_COOKIE)
        .iter()
        .find_map(|value| {
            let pair = value.to_str().ok()?.split(';').next()?;
            let (found, value) = pair.split_once('=')?;
            (found.trim() == name).then(|| value.trim().trim_matches('"').to_owned())
        })
}

/// `token_type` (RFC 6749 section 7.1): any but bearer would have to be used in another way.
fn check_type(json: &Value) -> Result<(), Nonsense> {
    match json.get("token_type") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("bearer") => Ok(()),
        Some(_) => Err(Nonsense("the token is not of the type `Bearer`")),
    }
}

/// A span in seconds, as a number or, as some services write it, as a text.
fn seconds(value: &Value) -> Result<Duration, Nonsense> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse::<f64>().ok(),
        _ => None,
    };
    let number = number
        .filter(|it| !it.is_nan())
        .ok_or(Nonsense("the lifetime is not a number"))?;
    if number <= 0.0 {
        return Err(Nonsense("the lifetime is not longer than nothing"));
    }
    // What is larger than this is cut to the longest life anyway, and must not overflow before.
    Ok(Duration::from_secs_f64(
        number.min(LONGEST_LIFE.as_secs_f64()),
    ))
}

/// How long a token lives by its own claims, if it is a JWT: from `iat` to `exp`, or to `exp` from
/// `now` on its issuer's clock, whichever is shorter: an endpoint may give out a token that has
/// already lived for a while. Read and not verified: it is the target's to verify.
fn own_life(token: &str, now: u64) -> Result<Option<Duration>, Nonsense> {
    let Some(claims) = claims(token) else {
        return Ok(None);
    };
    let number = |name: &str| claims.get(name).and_then(Value::as_f64);
    let Some(expires) = number("exp") else {
        return Ok(None);
    };
    let span = |from: f64| {
        let span = (expires - from).clamp(0.0, LONGEST_LIFE.as_secs_f64());
        if span.is_nan() {
            Duration::ZERO
        } else {
            Duration::from_secs_f64(span)
        }
    };
    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds since 1970 are exact in an f64"
    )]
    let left = span(now as f64);
    // A clock that is off by minutes, and an answer that does not tell by how much: what the
    // token says of itself is then the better guess.
    let whole = number("iat").map(span);
    Ok(Some(match whole {
        Some(whole) if left.is_zero() || left > whole => whole,
        Some(_) | None => left,
    }))
}

/// How long a token still lives at `now` by its own `exp`, if it is a JWT that has one: for a token
/// that has stood somewhere, nobody knows for how long.
pub(super) fn time_left(token: &str, now: u64) -> Option<Duration> {
    let expires = claims(token)?.get("exp")?.as_f64()?;
    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds since 1970 are exact in an f64"
    )]
    let left = (expires - now as f64).clamp(0.0, LONGEST_LIFE.as_secs_f64());
    Some(Duration::from_secs_f64(left))
}

fn claims(token: &str) -> Option<Value> {
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    serde_json::from_slice::<Value>(&bytes)
        .ok()
        .filter(Value::is_object)
}

/// What a refusal says, for the operator's log: the fields that standards and vendors give it, cut
/// short, and without anything that could be a token or is one of the secrets that were sent.
#[must_use]
pub fn said(reply: &Reply, secrets: &[&str]) -> String {
    const FIELDS: [&str; 6] = [
        "error",
        "error_description",
        "message",
        "messages",
        "title",
        "detail",
    ];
    let Ok(json) = serde_json::from_slice::<Value>(&reply.body) else {
        return String::new();
    };
    let mut parts = Vec::new();
    for field in FIELDS {
        let text = match json.get(field) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(items)) => items
                .iter()
                .filter_map(Value::as_str)
                .collect::<Vec<_>>()
                .join(", "),
            _ => continue,
        };
        let is_echo = |secret: &&str| !secret.is_empty() && text.contains(*secret);
        parts.push(if secrets.iter().any(is_echo) {
            "…".to_owned()
        } else {
            harmless(&text)
        });
    }
    parts.retain(|part| !part.is_empty());
    parts.join(": ")
}

/// A text of somebody else's, cut short, and without words so long that they could be a secret.
#[must_use]
pub fn harmless(text: &str) -> String {
    const LONGEST: usize = 200;
    // A word this long is no word.
    const LONGEST_WORD: usize = 40;
    let words = text.split_whitespace().map(|word| {
        let is_word = word.len() <= LONGEST_WORD && word.chars().all(|it| !it.is_control());
        if is_word { word } else { "…" }
    });
    words
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(LONGEST)
        .collect()
}

#[cfg(test)]
mod tests;
