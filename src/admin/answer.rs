//! The forms of answers.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json as object};

/// What is answered.
pub(super) type Answer = Response<Full<Bytes>>;

fn answer(status: u16, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = StatusCode::from_u16(status).expect("statuses here are written out");
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Plain text.
pub(super) fn text(status: u16, text: &'static str) -> Answer {
    answer(status, "text/plain; charset=utf-8", text)
}

/// JSON, in lines.
pub(super) fn json(status: u16, value: &Value) -> Answer {
    answer(status, "application/json", format!("{value:#}\n"))
}

/// Metrics.
pub(super) fn exposition(text: String) -> Answer {
    answer(200, "text/plain; version=0.0.4; charset=utf-8", text)
}

/// A refusal (RFC 9457).
pub(super) fn problem(status: u16, code: &str, detail: &str) -> Answer {
    let problem = object!({ "status": status, "code": code, "detail": detail });
    answer(status, "application/problem+json", format!("{problem:#}\n"))
}

/// A page that takes other methods.
pub(super) fn method_refused(allow: &'static str) -> Answer {
    let detail = format!("this page takes {allow}");
    let mut answer = problem(405, "method-refused", &detail);
    let allow = HeaderValue::from_static(allow);
    answer.headers_mut().insert(header::ALLOW, allow);
    answer
}
