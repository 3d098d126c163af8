//! What the caller gets: the target's answer as it is, or the one place where an error becomes a
//! status and a body.
//!
//! A refusal of ours is problem JSON (RFC 9457) with a code, a sentence to act on and the request's
//! id, and has a `Proxy-Status` (RFC 9209), so that nobody takes it for the target's word. The
//! whole chain of causes goes to the log; no address and no secret goes to the caller.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode, Version};
use http_body::Body;
use serde::Serialize;

use crate::body::{Fault, ResponseBody, Upstream};
use crate::credential::Unavailable;
use crate::dial::DialError;
use crate::limits::Exceeded;
use crate::listener::Denied;
use crate::upstream::UpstreamError;
use crate::{headers, normalize, outgoing, router, tls};

pub mod echo;
pub mod redirects;

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// Changes to a target's answers.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Headers that are removed: those that carry a token, above all.
    pub remove: Vec<HeaderName>,
    /// Headers that are set.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Whether the target's own URL in them becomes the proxy's.
    pub redirects: bool,
}

impl Config {
    /// The headers that do not pass as trailers either: those that are removed, and those that are
    /// set, which the target is not to have the last word about.
    #[must_use]
    pub fn kept_back(&self) -> Vec<HeaderName> {
        let set = self.set.iter().map(|(name, _)| name);
        self.remove.iter().chain(set).cloned().collect()
    }
}

/// What gRPC says behind an answer: over HTTP/2 nothing announces it.
const GRPC_TRAILERS: HeaderValue =
    HeaderValue::from_static("grpc-status, grpc-message, grpc-status-details-bin");

/// Whether a message is one of gRPC.
fn is_grpc(headers: &header::HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Passes the target's answer on: status, body and end-to-end headers as they are.
#[must_use]
pub fn pass<B: Body>(mut answer: Response<B>, method: &Method, config: &Config) -> Response<B> {
    *answer.version_mut() = Version::HTTP_11;
    let has_body = *method != Method::HEAD
        && !matches!(
            answer.status(),
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
    // A length beside chunked says nothing about the body (RFC 9112 section 6.3) and must not go on.
    let is_framed_otherwise = has_body && answer.body().size_hint().exact().is_none();
    headers::remove(answer.headers_mut(), |name| {
        // A caller with HTTP/1 is sent those trailers that `Trailer` names (RFC 9110 section 6.6.2).
        (headers::is_hop_by_hop(name) && !(is_framed_otherwise && *name == header::TRAILER))
            // Belongs into requests. In an answer it can only be an echo, and the echo is ours.
            || *name == header::AUTHORIZATION
            || (is_framed_otherwise && *name == header::CONTENT_LENGTH)
            || config.remove.contains(name)
    });
    if is_framed_otherwise
        && is_grpc(answer.headers())
        && !answer.headers().contains_key(header::TRAILER)
    {
        answer.headers_mut().insert(header::TRAILER, GRPC_TRAILERS);
    }
    for (name, value) in &config.set {
        answer.headers_mut().insert(name, value.clone());
    }
    answer
}

/// A refusal, ready to be told.
#[derive(Debug)]
pub struct Refused {
    /// The status.
    pub status: StatusCode,
    /// The code, stable across versions.
    pub code: &'static str,
    /// The error type of RFC 9209 section 2.3, where one fits.
    pub proxy_error: Option<&'static str>,
    /// For the caller: a sentence to act on.
    pub detail: Cow<'static, str>,
    /// For the log: the whole chain of causes.
    pub causes: String,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// The methods that would have been taken.
    pub allow: Vec<Method>,
    /// The connection cannot be used again: the rest of a body may still be on it.
    pub close: bool,
}

#[derive(Serialize)]
struct Problem<'a> {
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    #[serde(rename = "request-id", skip_serializing_if = "str::is_empty")]
    request_id: &'a str,
}

impl Refused {
    fn new(
        status: StatusCode,
        code: &'static str,
        proxy_error: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            code,
            proxy_error: Some(proxy_error),
            detail: detail.into(),
            causes: String::new(),
            retry_after: None,
            allow: Vec::new(),
            close: false,
        }
    }

    /// Something in here broke; the caller learns no more than that.
    #[must_use]
    pub fn internal() -> Self {
        let detail = "something broke in this proxy; its log knows more under the request id";
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "proxy_internal_error",
            detail,
        )
    }

    fn because(mut self, error: &dyn std::error::Error) -> Self {
        self.causes = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // Some libraries repeat their cause in their own text.
            if !self.causes.ends_with(&text) {
                self.causes.push_str(": ");
                self.causes.push_str(&tls::words(cause));
            }
            source = cause.source();
        }
        self
    }

    fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    /// The answer for the caller.
    #[must_use]
    pub fn into_response<U: Upstream>(self, request_id: &str) -> Response<ResponseBody<U>> {
        self.into_whole(request_id).map(ResponseBody::own)
    }

    fn into_whole(self, request_id: &str) -> Response<Bytes> {
        let body = serde_json::to_vec(&Problem {
            title: self.status.canonical_reason().unwrap_or("refused"),
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            request_id,
        })
        .unwrap_or_default();
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(PROXY_STATUS, self.proxy_status());
        if let Some(after) = self.retry_after {
            // Whole seconds (RFC 9110 section 10.2.3), and never sooner than makes sense.
            let seconds = after.as_millis().div_ceil(1000).max(1);
            headers.insert(header::RETRY_AFTER, text(seconds.to_string()));
        }
        if !self.allow.is_empty() {
            let methods: Vec<&str> = self.allow.iter().map(Method::as_str).collect();
            headers.insert(header::ALLOW, text(methods.join(", ")));
        }
        if self.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// The answer as it goes over the wire, where there is no request to answer: the connection ends
    /// with it.
    fn into_bytes(self) -> Vec<u8> {
        let (head, body) = self.closing().into_whole("").into_parts();
        let mut bytes = format!("HTTP/1.1 {}\r\n", head.status).into_bytes();
        for (name, value) in &head.headers {
            bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        bytes.extend(format!("content-length: {}\r\n\r\n", body.len()).into_bytes());
        bytes.extend(body);
        bytes
    }

    fn proxy_status(&self) -> HeaderValue {
        let error = self
            .proxy_error
            .map(|error| format!("; error={error}"))
            .unwrap_or_default();
        text(format!("countersign{error}; details=\"{}\"", self.code))
    }
}

/// What a caller gets whose request's head did not come in time.
#[must_use]
pub fn head_too_late() -> Vec<u8> {
    let detail = "the head of a request did not come in time";
    Refused {
        proxy_error: None,
        ..Refused::new(StatusCode::REQUEST_TIMEOUT, "request-timeout", "", detail)
    }
    .into_bytes()
}

/// What a caller gets who speaks plain HTTP where TLS is asked for.
#[must_use]
pub fn takes_tls() -> Vec<u8> {
    misdirected("this port takes https, and this was http: write https:// in the URL")
}

/// What a caller gets who speaks TLS where plain HTTP is asked for. Most libraries name it when they
/// see an answer in place of a handshake, and none says as much of an alert.
#[must_use]
pub fn takes_no_tls() -> Vec<u8> {
    misdirected("this port takes plain http, and this was TLS: write http:// in the URL")
}

fn misdirected(detail: &'static str) -> Vec<u8> {
    let status = StatusCode::BAD_REQUEST;
    Refused::new(status, "bad-request", REQUEST_ERROR, detail).into_bytes()
}

/// What a caller gets for whom there is no room.
#[must_use]
pub fn no_room(retry_after: Duration) -> Vec<u8> {
    let detail = "this proxy has as many connections as it takes";
    Refused {
        retry_after: Some(retry_after),
        ..Refused::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            PROXY_RESPONSE,
            detail,
        )
    }
    .into_bytes()
}

fn text(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("made of letters, digits and punctuation")
}

impl From<normalize::Refusal> for Refused {
    fn from(refusal: normalize::Refusal) -> Self {
        let detail = refusal.to_string();
        let refused = match refusal {
            normalize::Refusal::Method(_) | normalize::Refusal::OtherMethod => Self::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method-refused",
                REQUEST_DENIED,
                detail,
            ),
            normalize::Refusal::TargetTooLong(_) => {
                Self::new(StatusCode::URI_TOO_LONG, "too-large", REQUEST_ERROR, detail)
            }
            normalize::Refusal::TooManyHeaders(_) => Self::new(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "too-large",
                REQUEST_ERROR,
                detail,
            ),
            normalize::Refusal::Ambiguous(_) => Self::new(
                StatusCode::BAD_REQUEST,
                "bad-request",
                REQUEST_ERROR,
                detail,
            ),
            normalize::Refusal::Expectation => Self::new(
                StatusCode::EXPECTATION_FAILED,
                "expectation",
                REQUEST_ERROR,
                detail,
            ),
        };
        // What was read in two ways before may be read in two ways after.
        refused.closing()
    }
}

/// Ports that were used come free after a minute at most, descriptors much sooner.
const EXHAUSTED: Duration = Duration::from_secs(5);

const REQUEST_ERROR: &str = "http_request_error";
const REQUEST_DENIED: &str = "http_request_denied";
const PROXY_RESPONSE: &str = "proxy_internal_response";

impl From<Denied> for Refused {
    fn from(denied: Denied) -> Self {
        let refused = |code, detail| Self::new(StatusCode::FORBIDDEN, code, REQUEST_DENIED, detail);
        match &denied {
            Denied::Host { .. } | Denied::Proxied { .. } => {
                refused("forbidden-host", denied.to_string())
            }
            Denied::CrossSite | Denied::Browser { .. } => refused("cross-site", denied.to_string()),
            Denied::Unknown(unknown) => {
                let detail = "this proxy lets in only callers that it knows; its log has the rule under the request id";
                refused("caller-refused", detail.to_owned()).because(unknown)
            }
        }
    }
}

impl From<router::Miss> for Refused {
    fn from(miss: router::Miss) -> Self {
        let detail = miss.to_string();
        match miss {
            router::Miss::NoRoute | router::Miss::NoTarget(_) => {
                Self::new(StatusCode::NOT_FOUND, "no-route", REQUEST_DENIED, detail)
            }
            router::Miss::Spelling => Self::new(
                StatusCode::BAD_REQUEST,
                "bad-request",
                REQUEST_ERROR,
                detail,
            ),
            router::Miss::Method(allow) => Self {
                allow,
                ..Self::new(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "method-refused",
                    REQUEST_DENIED,
                    detail,
                )
            },
        }
    }
}

impl From<outgoing::Refusal> for Refused {
    fn from(refusal: outgoing::Refusal) -> Self {
        let detail = refusal.to_string();
        let (status, code, error) = match refusal {
            outgoing::Refusal::EncodedSlash
            | outgoing::Refusal::NoQuery
            | outgoing::Refusal::CallersCredential
            | outgoing::Refusal::TwoCredentials => {
                (StatusCode::BAD_REQUEST, "bad-request", REQUEST_ERROR)
            }
            outgoing::Refusal::TooLong => (StatusCode::URI_TOO_LONG, "too-large", REQUEST_ERROR),
            outgoing::Refusal::Path => (StatusCode::FORBIDDEN, "path-refused", REQUEST_DENIED),
            outgoing::Refusal::Loop => (StatusCode::LOOP_DETECTED, "loop", "proxy_loop_detected"),
        };
        Self::new(status, code, error, detail)
    }
}

impl From<Exceeded> for Refused {
    fn from(exceeded: Exceeded) -> Self {
        let (status, code, error, after) = match exceeded {
            Exceeded::Busy { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                PROXY_RESPONSE,
                BUSY,
            ),
            Exceeded::Rate { after } => {
                (StatusCode::TOO_MANY_REQUESTS, "rate", REQUEST_DENIED, after)
            }
        };
        Self {
            retry_after: Some(after),
            ..Self::new(status, code, error, exceeded.to_string())
        }
    }
}

/// When to come back if too many requests are under way: as soon as one can say so.
const BUSY: Duration = Duration::from_secs(1);

impl From<Unavailable> for Refused {
    fn from(unavailable: Unavailable) -> Self {
        let detail = format!(
            "credential `{}` has no token right now, and nothing is sent without one",
            unavailable.credential
        );
        Self {
            retry_after: Some(unavailable.retry_after),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "credential-unavailable",
                PROXY_RESPONSE,
                detail,
            )
            .because(&unavailable)
        }
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        let detail = fault.to_string();
        let refused = match fault {
            Fault::TooLarge(_) => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                REQUEST_ERROR,
                detail,
            ),
            Fault::TooSlow => Self {
                proxy_error: None,
                ..Self::new(StatusCode::REQUEST_TIMEOUT, "request-timeout", "", detail)
            },
            Fault::BrokeOff => Self::new(
                StatusCode::BAD_REQUEST,
                "bad-request",
                REQUEST_ERROR,
                detail,
            ),
        };
        refused.closing()
    }
}

impl From<UpstreamError> for Refused {
    fn from(error: UpstreamError) -> Self {
        let bad = |code, proxy_error, detail| {
            Self::new(StatusCode::BAD_GATEWAY, code, proxy_error, detail)
        };
        let late = |detail| {
            let error = "http_response_timeout";
            Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "upstream-timeout",
                error,
                detail,
            )
        };
        let refused = match &error {
            UpstreamError::Caller(fault) => Self::from(*fault),
            UpstreamError::Dial(DialError::Name { .. }) => bad(
                "upstream-name",
                "dns_error",
                "the target's name cannot be looked up",
            ),
            UpstreamError::Dial(DialError::Connect { .. }) => bad(
                "upstream-refused",
                "connection_refused",
                "the target cannot be connected to",
            ),
            UpstreamError::Dial(DialError::Parent { .. } | DialError::Tunnel { .. }) => bad(
                "upstream-refused",
                "connection_refused",
                "the parent proxy on the way to the target gave no tunnel",
            ),
            UpstreamError::Dial(DialError::Exhausted { .. }) => Self {
                retry_after: Some(EXHAUSTED),
                ..Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "overloaded",
                    PROXY_RESPONSE,
                    "this proxy has no port or file descriptor left for another connection",
                )
            },
            UpstreamError::Dial(DialError::Tls { .. } | DialError::Roots(_)) => bad(
                "upstream-tls",
                "tls_certificate_error",
                "no verified TLS connection to the target; nothing was sent to it",
            ),
            UpstreamError::Dial(DialError::ConnectTimeout { .. }) => Self {
                proxy_error: Some("connection_timeout"),
                ..late("the target cannot be connected to in time")
            },
            UpstreamError::Dial(DialError::TlsTimeout { .. }) => Self {
                proxy_error: Some("connection_timeout"),
                ..late("the target does not finish the TLS handshake in time")
            },
            UpstreamError::OverTime(_) => {
                late("the target did not answer in all the time that a request has")
            }
            UpstreamError::TooSlow(_) => late("the target did not answer in time"),
            UpstreamError::Reset(_) => bad(
                "upstream-reset",
                "connection_terminated",
                "the target closed the connection before it answered; whether it acted on the request is not known",
            ),
            UpstreamError::Broken(_) | UpstreamError::Switched | UpstreamError::Framing => bad(
                "upstream-broken",
                "http_protocol_error",
                "the target's answer is not HTTP as it should be",
            ),
        };
        refused.because(&error)
    }
}
