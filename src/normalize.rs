//! The first stage: a request with one meaning, or a refusal.
//!
//! Two servers in a row are attacked by requests that they read differently. What could be read in
//! two ways is refused here, before anything is decided about the request; what passes is routed
//! and forwarded by the same bytes. Only [`normalize`] makes a [`Normalized`].

use std::borrow::Cow;

use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::Scheme;
use http::{Method, Request, Version};

use crate::host;

mod method;
pub(crate) mod named;
pub(crate) mod spelling;

/// How large a request's head may be beyond what the connection itself enforces.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The longest path and query, in bytes.
    pub target: usize,
    /// The most headers in HTTP/2, which bounds only their size while it reads. HTTP/1 counts them.
    pub headers: usize,
}

/// A request with one meaning.
#[derive(Debug)]
pub struct Normalized<B> {
    parts: Parts,
    body: B,
    /// How long the name in the `Host` header is, without a port; `None` without a `Host`.
    host_name: Option<usize>,
    has_encoded_slash: bool,
}

impl<B> Normalized<B> {
    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.parts.method
    }

    /// The methods, without white space around them, that a header or the query asks for in place of
    /// the one in the request line; servers that obey such would do what these say.
    pub fn other_methods(&self) -> impl Iterator<Item = Cow<'_, [u8]>> {
        method::asked_besides(&self.parts)
    }

    /// The name in `Host`, without its port. Absent only from HTTP/1.0 requests.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        let length = self.host_name?;
        let value = self.parts.headers.get(header::HOST)?;
        value.to_str().ok()?.get(..length)
    }

    /// The port in `Host`, digit for digit; empty without one.
    #[must_use]
    pub fn port(&self) -> &str {
        let value = self.parts.headers.get(header::HOST);
        let text = value.and_then(|it| it.to_str().ok()).unwrap_or_default();
        let rest = text.get(self.host_name.unwrap_or(0)..).unwrap_or_default();
        rest.strip_prefix(':').unwrap_or_default()
    }

    /// Whether the target was a whole URL (RFC 9112 section 3.2.2): what clients send to a proxy that
    /// they know of. In HTTP/2 every request names its authority.
    #[must_use]
    pub fn is_for_a_proxy(&self) -> bool {
        self.parts.uri.authority().is_some() && self.parts.version <= Version::HTTP_11
    }

    /// The path, byte for byte as it was sent; `*` for `OPTIONS *`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.parts.uri.path()
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &http::HeaderMap {
        &self.parts.headers
    }

    /// Takes out a header that was meant for this proxy alone.
    pub fn take_out(&mut self, name: &HeaderName) {
        self.parts.headers.remove(name);
    }

    /// Whether the path has a `/` or `\` in percent-encoding, which not every server reads alike.
    #[must_use]
    pub fn has_encoded_slash(&self) -> bool {
        self.has_encoded_slash
    }

    /// Takes the request apart for the next stage.
    #[must_use]
    pub fn into_parts(self) -> (Parts, B) {
        (self.parts, self.body)
    }
}

/// Why a request has no single meaning here. The texts are for the caller.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    /// TRACE, TRACK or CONNECT (RFC 9110 sections 9.3.6 and 9.3.8): the first two would echo the
    /// credential to the caller, the last asks for a tunnel.
    #[error("{0} is not served by this proxy{hint}", hint = tunnel_hint(.0))]
    Method(Method),
    /// One of these, asked for by a header or a parameter that some servers obey.
    #[error("a header or a parameter asks for a method that is not served by this proxy")]
    OtherMethod,
    /// The request target is longer than the limit.
    #[error("the request target is longer than {0} bytes")]
    TargetTooLong(usize),
    /// There are more headers than the limit.
    #[error("the request has more than {0} headers")]
    TooManyHeaders(usize),
    /// Anything else that can be read in two ways.
    #[error("{0}")]
    Ambiguous(&'static str),
    /// An expectation other than `100-continue` (RFC 9110 section 10.1.1).
    #[error("the only expectation that can be met is 100-continue")]
    Expectation,
}

fn tunnel_hint(method: &Method) -> &'static str {
    match *method {
        Method::CONNECT => {
            ": no credential could be put on what is encrypted in a tunnel; use http:// URLs, and the proxy speaks TLS to the target"
        }
        _ => "",
    }
}

/// Checks that a request has one meaning.
///
/// # Errors
///
/// A [`Refusal`] that says what is wrong with it.
pub fn normalize<B>(request: Request<B>, config: &Config) -> Result<Normalized<B>, Refusal> {
    let (mut parts, body) = request.into_parts();
    method::check(&parts)?;
    if parts.version == Version::HTTP_2 && parts.headers.len() > config.headers {
        return Err(Refusal::TooManyHeaders(config.headers));
    }
    let host_name = check_host(&mut parts)?;
    join_cookies(&mut parts);
    check_framing(&parts)?;
    let has_encoded_slash = check_target(&parts, config)?;
    Ok(Normalized {
        parts,
        body,
        host_name,
        has_encoded_slash,
    })
}

/// Exactly one `Host` (RFC 9112 section 3.2), which HTTP/1.0 may leave out, and which an
/// absolute-form target must agree with. HTTP/2 says it in `:authority` (RFC 9113 section 8.3.1),
/// from where it goes into a `Host` as everything behind here expects one. Gives the length of the
/// name in it.
fn check_host(parts: &mut Parts) -> Result<Option<usize>, Refusal> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::Ambiguous("there is more than one Host header"));
    }
    let authority = parts.uri.authority();
    if let (Some(authority), Some(host)) = (authority, host)
        && !host
            .as_bytes()
            .eq_ignore_ascii_case(authority.as_str().as_bytes())
    {
        return Err(DISAGREE);
    }
    match (host, authority) {
        (Some(host), _) => host_name(host).map(Some),
        (None, Some(authority)) if parts.version == Version::HTTP_2 => {
            let host = HeaderValue::try_from(authority.as_str()).map_err(|_| DISAGREE)?;
            let name = host_name(&host)?;
            parts.headers.insert(header::HOST, host);
            Ok(Some(name))
        }
        (None, Some(_)) if parts.version == Version::HTTP_10 => Err(DISAGREE),
        (None, None) if parts.version == Version::HTTP_10 => Ok(None),
        (None, _) => Err(Refusal::Ambiguous("the Host header is missing")),
    }
}

const DISAGREE: Refusal =
    Refusal::Ambiguous("the request target and the Host header name two hosts");

/// HTTP/2 may cut `Cookie` into pieces, which belong together wherever it is not spoken (RFC 9113
/// section 8.2.3).
fn join_cookies(parts: &mut Parts) {
    let mut pieces = parts.headers.get_all(header::COOKIE).iter();
    if parts.version != Version::HTTP_2 || pieces.by_ref().take(2).count() < 2 {
        return;
    }
    let pieces: Vec<&[u8]> = parts
        .headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(mut whole) = HeaderValue::from_bytes(&pieces.join(&b"; "[..])) {
        whole.set_sensitive(true);
        parts.headers.insert(header::COOKIE, whole);
    }
}

fn host_name(value: &HeaderValue) -> Result<usize, Refusal> {
    let name = value.to_str().ok().and_then(host::name_of);
    name.map(str::len).ok_or(Refusal::Ambiguous(
        "the Host header is not a host and a port",
    ))
}

/// One framing of the body (RFC 9112 section 6): `Transfer-Encoding` is `chunked` and nothing else,
/// and does not stand beside `Content-Length`. What hyper resolves before it hands out a request
/// (it prefers `chunked`, and refuses two lengths that differ) is harmless further on, for the
/// framing that goes out is always made anew from the body.
fn check_framing(parts: &Parts) -> Result<(), Refusal> {
    let mut codings = parts.headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::Ambiguous(
                "the only transfer coding understood here is chunked",
            ));
        }
        if parts.headers.contains_key(header::CONTENT_LENGTH) {
            return Err(Refusal::Ambiguous(
                "Content-Length stands beside Transfer-Encoding",
            ));
        }
    }
    let mut expectations = parts.headers.get_all(header::EXPECT).iter();
    match expectations.next() {
        Some(value) if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
            Err(Refusal::Expectation)
        }
        _ if expectations.next().is_some() => Err(Refusal::Expectation),
        _ => Ok(()),
    }
}

/// Only origin-form, absolute-form and `OPTIONS *` (RFC 9112 section 3.2), and a path that every
/// server cuts into the same segments. Gives whether it has an encoded slash.
fn check_target(parts: &Parts, config: &Config) -> Result<bool, Refusal> {
    let (uri, method) = (&parts.uri, &parts.method);
    let length = uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    if length > config.target {
        return Err(Refusal::TargetTooLong(config.target));
    }
    // HTTP/2 always says one, and a caller whose TLS ends in front of this proxy says `https`.
    let is_http = |scheme: &Scheme| {
        *scheme == Scheme::HTTP || (*scheme == Scheme::HTTPS && parts.version == Version::HTTP_2)
    };
    if !uri.scheme().is_none_or(is_http) {
        return Err(Refusal::Ambiguous(
            "the request target has a scheme other than http",
        ));
    }
    let path = uri.path();
    if path == "*" && *method == Method::OPTIONS {
        return Ok(false);
    }
    if !path.starts_with('/') {
        return Err(Refusal::Ambiguous(
            "the request target does not start with a slash",
        ));
    }
    // Read as Latin-1 some of these bytes are white space or the end of a line.
    if !uri.query().unwrap_or_default().is_ascii() {
        return Err(Refusal::Ambiguous(
            "the query contains a byte that must be encoded",
        ));
    }
    check_path(path.as_bytes())
}

/// Gives whether the path has an encoded slash.
fn check_path(path: &[u8]) -> Result<bool, Refusal> {
    let mut has_encoded_slash = false;
    let mut has_encoding = false;
    for (at, byte) in path.iter().enumerate() {
        match byte {
            b'%' => {
                let bad = "the path has a % that is not followed by two hexadecimal digits";
                let decoded = decode(path.get(at + 1..at + 3)).ok_or(Refusal::Ambiguous(bad))?;
                has_encoded_slash |= matches!(decoded, b'/' | b'\\');
                has_encoding = true;
            }
            b'\\' => return Err(Refusal::Ambiguous("the path contains a backslash")),
            0x80.. | ..=0x20 | 0x7f => {
                return Err(Refusal::Ambiguous(
                    "the path contains a byte that must be encoded",
                ));
            }
            _ => {}
        }
    }
    if has_encoding {
        let decoded = decode_fully(path);
        check_decoded(&decoded)?;
        check_segments(&decoded)?;
    } else {
        check_segments(path)?;
    }
    Ok(has_encoded_slash)
}

/// What no server should have to decode.
fn check_decoded(path: &[u8]) -> Result<(), Refusal> {
    if path.contains(&0) {
        return Err(Refusal::Ambiguous("the path contains a zero byte"));
    }
    // Decoders that do not look closely read `%c0%af` as a slash (RFC 3629 section 10).
    let is_overlong = |pair: &[u8]| {
        matches!(
            pair,
            [0xc0 | 0xc1, 0x80..=0xbf] | [0xe0, 0x80..=0x9f] | [0xf0, 0x80..=0x8f]
        )
    };
    if path.windows(2).any(is_overlong) {
        return Err(Refusal::Ambiguous(
            "the path encodes a character in more bytes than it needs",
        ));
    }
    Ok(())
}

/// Servers that take dots for directories may first cut off parameters, white space, or what looks
/// like a query once it is decoded: `/..;x/` is `/../` to them.
fn check_segments(path: &[u8]) -> Result<(), Refusal> {
    for segment in path.split(|byte| matches!(byte, b'/' | b'\\')) {
        if matches!(name_in(segment), b"." | b"..") {
            return Err(Refusal::Ambiguous("the path contains a segment of dots"));
        }
    }
    Ok(())
}

/// The part of a decoded segment that names something, to the most lenient server.
pub(crate) fn name_in(segment: &[u8]) -> &[u8] {
    let ends = |byte: &u8| matches!(byte, b';' | b'?' | b'#');
    let is_space = |byte: &u8| *byte <= 0x20 || *byte == 0x7f;
    let mut name = match segment.iter().position(ends) {
        Some(end) => &segment[..end],
        None => segment,
    };
    while let [first, rest @ ..] = name
        && is_space(first)
    {
        name = rest;
    }
    while let [rest @ .., last] = name
        && is_space(last)
    {
        name = rest;
    }
    name
}

/// A path with its percent-encoding undone as often as it goes: where one server stands behind
/// another, each may undo it once.
pub(crate) fn decode_fully(path: &[u8]) -> Vec<u8> {
    let mut decoded: Vec<u8> = Vec::with_capacity(path.len());
    for byte in path {
        decoded.push(*byte);
        // What was just decoded may be the last digit of another encoding.
        while let [.., b'%', high, low] = decoded[..]
            && let Some(byte) = decode(Some(&[high, low]))
        {
            decoded.truncate(decoded.len() - 3);
            decoded.push(byte);
        }
    }
    decoded
}

/// The byte that two hexadecimal digits stand for.
fn decode(digits: Option<&[u8]>) -> Option<u8> {
    let [high, low] = digits? else { return None };
    let high = char::from(*high).to_digit(16)?;
    let low = char::from(*low).to_digit(16)?;
    u8::try_from(high * 16 + low).ok()
}

#[cfg(test)]
mod tests;
