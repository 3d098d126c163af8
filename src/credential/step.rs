//! One step on the way to a token: a request with its blanks filled, and what its answer brings.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode};
use serde_json::Value;

use super::MintError;
use super::answer::{Brought, Places, said};
use super::call::{Line, Reply, Tools, Urls, call};
use super::template::{Filling, Template};

/// The longest wait that an endpoint can ask for.
const LONGEST_WAIT: std::time::Duration = std::time::Duration::from_secs(300);

/// How parameters are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `application/x-www-form-urlencoded`
    Form,
    /// A JSON object.
    Json,
    /// Not at all: the request has no body.
    Nothing,
}

/// What stands in the request's `Authorization`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authorization {
    /// None.
    Nothing,
    /// Client id and secret (RFC 6749 section 2.3.1).
    Basic,
    /// The same without the encoding that the RFC asks for, which not every service undoes.
    BasicUnencoded,
    /// The live token.
    Live,
}

/// A request that brings a token.
#[derive(Debug)]
pub struct Step {
    /// The method.
    pub method: Method,
    /// How parameters are written.
    pub encoding: Encoding,
    /// The parameters: an object.
    pub parameters: Template,
    /// Further headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What stands in `Authorization`.
    pub authorization: Authorization,
    /// Where the answer has what.
    pub places: Places,
}

impl Step {
    /// Sends the request and takes from the answer what it brings, with the answer for those who
    /// want to know more. `authorization` is what [`Authorization`] asks for.
    ///
    /// # Errors
    ///
    /// A [`MintError`] that says who is to blame and how to go on.
    pub async fn take(
        &self,
        urls: &Urls,
        filling: &Filling<'_>,
        authorization: Option<HeaderValue>,
        line: &Line,
        tools: &Tools,
    ) -> Result<(Brought, Reply), (MintError, Option<i64>)> {
        let request = self.request(filling, authorization);
        let reply = call(urls, &request, line, tools)
            .await
            .map_err(|error| (error.into(), None))?;
        let secrets: Vec<&str> = filling.texts.iter().map(|(_, text)| *text).collect();
        let judged = judge(&reply, &secrets).and_then(|()| Ok(self.places.take(&reply)?));
        match judged {
            Ok(brought) => Ok((brought, reply)),
            Err(error) => Err((error, reply.offset)),
        }
    }

    fn request(&self, filling: &Filling<'_>, authorization: Option<HeaderValue>) -> Request<Bytes> {
        let parameters = self.parameters.fill(filling);
        let (media_type, body) = match self.encoding {
            Encoding::Form => (Some("application/x-www-form-urlencoded"), form(&parameters)),
            Encoding::Json => (
                Some("application/json; charset=utf-8"),
                parameters.to_string(),
            ),
            Encoding::Nothing => (None, String::new()),
        };
        let mut request = Request::new(Bytes::from(body));
        *request.method_mut() = self.method.clone();
        let headers = request.headers_mut();
        headers.extend(self.headers.iter().cloned());
        if let Some(media_type) = media_type {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        }
        if let Some(mut value) = authorization {
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        request
    }
}

/// Parameters as a form (WHATWG URL section 5.2). Lists are one pair for each item.
fn form(parameters: &Value) -> String {
    let mut pairs = Vec::new();
    for (name, value) in parameters.as_object().into_iter().flatten() {
        let values = match value {
            Value::Array(items) => items.iter().collect(),
            other => vec![other],
        };
        for value in values {
            let text = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            pairs.push(format!("{}={}", form_encode(name), form_encode(&text)));
        }
    }
    pairs.join("&")
}

/// One name or value of a form.
#[must_use]
pub fn form_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        match byte {
            b'*' | b'-' | b'.' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                encoded.push(char::from(byte));
            }
            b' ' => encoded.push('+'),
            _ => {
                use std::fmt::Write;
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

/// Whether an answer is one with a token in it, and if not, what it is.
fn judge(reply: &Reply, secrets: &[&str]) -> Result<(), MintError> {
    let status = reply.status;
    let said = || {
        let said = said(reply, secrets);
        if said.is_empty() {
            String::new()
        } else {
            format!(": {said}")
        }
    };
    match status {
        _ if status.is_success() => Ok(()),
        // Its body or its target would get the secrets that were sent.
        _ if status.is_redirection() => Err(MintError::Redirect(status)),
        StatusCode::TOO_MANY_REQUESTS => Err(MintError::Throttled {
            after: retry_after(&reply.headers),
        }),
        _ if status.is_client_error() => Err(MintError::Refused {
            status,
            said: said(),
        }),
        _ => Err(MintError::Status {
            status,
            said: said(),
            after: retry_after(&reply.headers),
        }),
    }
}

/// How long an endpoint asks to be left alone, in seconds or until a date (RFC 9110 section 10.2.3);
/// a date is counted from the answer's own.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<std::time::Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    let wait = match text.trim().parse::<u64>() {
        Ok(seconds) => std::time::Duration::from_secs(seconds),
        Err(_) => {
            let now = httpdate::parse_http_date(headers.get(header::DATE)?.to_str().ok()?).ok()?;
            httpdate::parse_http_date(text)
                .ok()?
                .duration_since(now)
                .ok()?
        }
    };
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests;
