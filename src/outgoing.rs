//! The third stage: what may leave.
//!
//! [`prepare`] takes from a request what ends at a proxy and what a caller must not bring (its own
//! credential, claims about its origin), and points it at the target. The result is an
//! [`Outgoing`], which cannot be sent: only [`Outgoing::authorize`] makes an [`Authorized`], so
//! that no request leaves without the credential its route promises, and none with two.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Request, Uri, Version};
use http_body::Body;

use crate::headers;
use crate::normalize::{Normalized, decode};

/// What a route does to its requests.
#[derive(Clone, Debug)]
pub struct Config {
    /// The `Host` that goes out: the target's, never the caller's.
    pub host: HeaderValue,
    /// A path put before each request's, without a slash at the end; empty for none.
    pub base: String,
    /// How many bytes of the path are cut off.
    pub strip: usize,
    /// Whether a path with an encoded slash is passed on.
    pub encoded_slash: bool,
    /// Paths that are never forwarded.
    pub refuse: Vec<RefusedPath>,
    /// Headers that are removed.
    pub remove: Vec<HeaderName>,
    /// Headers that are set.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// The header that our credential goes into; `None` for a target without one.
    pub placement: Option<HeaderName>,
    /// What happens to a credential that the caller brings.
    pub client_authorization: ClientAuthorization,
    /// The name by which this process knows its own requests again.
    pub pseudonym: Pseudonym,
}

/// What happens to a credential that the caller brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuthorization {
    /// It is dropped and ours put in its place.
    Replace,
    /// The request is refused.
    Reject,
    /// It is sent in place of ours.
    Pass,
}

/// The name this process goes by in `Via` (RFC 9110 section 7.6.3). It is drawn at the start:
/// two of these proxies in a row are no loop, and the same one twice is.
#[derive(Clone, Debug)]
pub struct Pseudonym {
    name: String,
    http_1_0: HeaderValue,
    http_1_1: HeaderValue,
}

impl Pseudonym {
    /// Draws a name.
    ///
    /// # Panics
    ///
    /// If the system has no random numbers, without which nothing here can be done safely.
    #[must_use]
    pub fn draw() -> Self {
        let number = getrandom::u32().expect("the system gives random numbers");
        let name = format!("countersign-{number:08x}");
        let via = |version| {
            HeaderValue::try_from(format!("{version} {name}")).expect("letters and digits")
        };
        Self {
            http_1_0: via("1.0"),
            http_1_1: via("1.1"),
            name,
        }
    }

    fn via(&self, version: Version) -> HeaderValue {
        if version == Version::HTTP_10 {
            self.http_1_0.clone()
        } else {
            self.http_1_1.clone()
        }
    }

    fn is_in(&self, headers: &HeaderMap) -> bool {
        headers.get_all(header::VIA).iter().any(|via| {
            via.as_bytes()
                .windows(self.name.len())
                .any(|it| it == self.name.as_bytes())
        })
    }
}

/// A path that is never forwarded, with all below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedPath(Vec<String>);

impl std::fmt::Display for RefusedPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0
            .iter()
            .try_for_each(|segment| write!(f, "/{segment}"))
    }
}

impl RefusedPath {
    /// Reads a path such as `/api/v1/auth`.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with it.
    pub fn parse(path: &str) -> Result<Self, String> {
        if !path.starts_with('/') {
            return Err(format!("the path `{path}` does not start with a slash"));
        }
        let segments = segments(&percent_decode(path.as_bytes()));
        if segments.is_empty() {
            return Err("this would refuse every path".into());
        }
        Ok(Self(segments))
    }

    /// Whether a path is this one or below it, in whatever spelling a server might accept.
    #[must_use]
    pub fn refuses(&self, path: &str) -> bool {
        let mut decoded = percent_decode(path.as_bytes());
        loop {
            let segments = segments(&decoded);
            if segments.starts_with(&self.0) || resolved(segments).starts_with(&self.0) {
                return true;
            }
            if !decoded.contains(&b'%') {
                return false;
            }
            // Two servers in a row may each undo it once.
            let again = percent_decode(&decoded);
            if again == decoded {
                return false;
            }
            decoded = again;
        }
    }
}

/// The segments of a path as the most lenient server would see them: parameters cut off, dots and
/// spaces at the end, too, empty ones left out, in lower case.
fn segments(path: &[u8]) -> Vec<String> {
    let mut segments = Vec::new();
    for segment in path.split(|byte| matches!(byte, b'/' | b'\\')) {
        let name = segment
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default();
        let name = String::from_utf8_lossy(name).to_lowercase();
        let bare = name.trim_end_matches(['.', ' ']);
        match (bare, &*name) {
            ("", "") => {}
            // `.` and `..` are for whoever resolves them.
            ("", dots) => segments.push(dots.to_owned()),
            (bare, _) => segments.push(bare.to_owned()),
        }
    }
    segments
}

/// Segments without `.` and `..`, which an encoding may have hidden until now.
fn resolved(segments: Vec<String>) -> Vec<String> {
    let mut resolved = Vec::with_capacity(segments.len());
    for segment in segments {
        match &*segment {
            "." => {}
            ".." => drop(resolved.pop()),
            _ => resolved.push(segment),
        }
    }
    resolved
}

fn percent_decode(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (byte, decode(bytes.get(at + 1..at + 3))) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

/// A request that is fit to leave once it has its credential.
#[derive(Debug)]
pub struct Outgoing<B> {
    request: Request<B>,
    /// The caller's own credential is in it, and its route passes that on.
    has_callers_credential: bool,
}

/// A request that may be sent.
#[derive(Debug)]
pub struct Authorized<B>(Request<B>);

impl<B> Outgoing<B> {
    /// Whether the route passes the caller's own credential on, and it is there.
    #[must_use]
    pub fn has_callers_credential(&self) -> bool {
        self.has_callers_credential
    }

    /// Puts the credential on.
    #[must_use]
    pub fn authorize(mut self, header: &HeaderName, value: HeaderValue) -> Authorized<B> {
        self.request.headers_mut().insert(header, value);
        Authorized(self.request)
    }

    /// For a target without a credential of ours, or a caller whose own is passed on.
    #[must_use]
    pub fn as_it_is(self) -> Authorized<B> {
        Authorized(self.request)
    }
}

/// A second copy of a request that was authorized, for the case that it has to be sent again.
#[derive(Debug)]
pub struct Repeatable<B>(Request<B>);

impl<B> Repeatable<B> {
    /// The body.
    #[must_use]
    pub fn body(&self) -> &B {
        self.0.body()
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &http::Method {
        self.0.method()
    }

    /// The credential that it was sent with.
    #[must_use]
    pub fn credential(&self, header: &HeaderName) -> Option<&HeaderValue> {
        self.0.headers().get(header)
    }

    /// Puts another credential on.
    #[must_use]
    pub fn authorize(mut self, header: &HeaderName, value: HeaderValue) -> Authorized<B> {
        self.0.headers_mut().insert(header, value);
        Authorized(self.0)
    }

    /// Sends it as it was sent before.
    #[must_use]
    pub fn as_it_was(self) -> Authorized<B> {
        Authorized(self.0)
    }
}

impl<B> Authorized<B> {
    /// A second copy, if there can be one of the body.
    #[must_use]
    pub fn copy(&mut self, body: impl FnOnce(&mut B) -> Option<B>) -> Option<Repeatable<B>> {
        let mut copy = Request::new(body(self.0.body_mut())?);
        *copy.method_mut() = self.0.method().clone();
        *copy.uri_mut() = self.0.uri().clone();
        *copy.headers_mut() = self.0.headers().clone();
        Some(Repeatable(copy))
    }

    /// The request, for the one who sends it.
    #[must_use]
    pub fn into_request(self) -> Request<B> {
        self.0
    }
}

/// Why a request may not leave. The texts are for the caller.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The path has an encoded slash, and the route does not pass those.
    #[error(
        "the path has an encoded slash, which servers read differently; the route would have to say encoded-slash = \"pass\""
    )]
    EncodedSlash,
    /// The target refuses this path.
    #[error("this path is never forwarded to this target")]
    Path,
    /// The caller brought a credential and the target says `reject`.
    #[error("the request brings a credential of its own, and this target takes none")]
    CallersCredential,
    /// The request has been here before.
    #[error("the request has passed this proxy before")]
    Loop,
}

/// Makes a request fit to leave.
///
/// # Errors
///
/// A [`Refusal`] that says why it may not.
pub fn prepare<B: Body>(request: Normalized<B>, config: &Config) -> Result<Outgoing<B>, Refusal> {
    if request.has_encoded_slash() && !config.encoded_slash {
        return Err(Refusal::EncodedSlash);
    }
    let (mut parts, body) = request.into_parts();
    if config.pseudonym.is_in(&parts.headers) {
        return Err(Refusal::Loop);
    }
    parts.uri = rewrite(&parts.uri, config)?;
    let has_callers_credential = take_callers_credential(&mut parts.headers, config)?;
    clean(&mut parts.headers, config);
    frame(&mut parts.headers, &body);
    parts.headers.insert(header::HOST, config.host.clone());
    parts
        .headers
        .append(header::VIA, config.pseudonym.via(parts.version));
    for (name, value) in &config.set {
        parts.headers.insert(name, value.clone());
    }
    Ok(Outgoing {
        request: Request::from_parts(sent_as(parts), body),
        has_callers_credential,
    })
}

/// What goes out is HTTP/1.1, whatever came in, and carries nothing of the caller's connection.
fn sent_as(mut parts: Parts) -> Parts {
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    parts
}

/// Cuts the route's prefix off and puts the target's base before it. The query stays as it is.
fn rewrite(uri: &Uri, config: &Config) -> Result<Uri, Refusal> {
    let path = uri.path();
    let rest = path.get(config.strip..).unwrap_or_default();
    let unchanged = path == "*" || (config.strip == 0 && config.base.is_empty());
    let target = if unchanged {
        uri.path_and_query()
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/"))
    } else {
        let mut target = String::with_capacity(config.base.len() + path.len() + 64);
        target.push_str(&config.base);
        if !rest.starts_with('/') {
            target.push('/');
        }
        target.push_str(rest);
        if let Some(query) = uri.query() {
            target.push('?');
            target.push_str(query);
        }
        PathAndQuery::try_from(target).expect("joined from parts of valid targets")
    };
    if config
        .refuse
        .iter()
        .any(|refused| refused.refuses(target.path()))
    {
        return Err(Refusal::Path);
    }
    Ok(Uri::from(target))
}

/// Decides on the caller's own credential. Gives whether it stays in the headers.
fn take_callers_credential(headers: &mut HeaderMap, config: &Config) -> Result<bool, Refusal> {
    let placement = config.placement.as_ref().unwrap_or(&header::AUTHORIZATION);
    let brings = headers.contains_key(placement) || headers.contains_key(header::AUTHORIZATION);
    match config.client_authorization {
        ClientAuthorization::Reject if brings => Err(Refusal::CallersCredential),
        // Named by `Connection` it would end here and leave the request without any.
        ClientAuthorization::Pass => {
            Ok(headers.contains_key(placement) && !headers::nominated(headers).contains(placement))
        }
        ClientAuthorization::Replace | ClientAuthorization::Reject => {
            headers.remove(placement);
            headers.remove(header::AUTHORIZATION);
            Ok(false)
        }
    }
}

fn clean(headers: &mut HeaderMap, config: &Config) {
    headers::remove(headers, |name| {
        headers::is_hop_by_hop(name)
            || headers::is_forwarded(name)
            || headers::is_underscored(name)
            // Met by this proxy: the caller is told to go on when the upstream is ready.
            || *name == header::EXPECT
            || config.remove.contains(name)
    });
}

/// Frames the body anew: one length in canonical form, or `chunked` said aloud, for the client
/// side would otherwise take a GET of unknown length to have no body.
fn frame(headers: &mut HeaderMap, body: &impl Body) {
    match body.size_hint().exact() {
        Some(length) => {
            if headers.contains_key(header::CONTENT_LENGTH) {
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            }
        }
        None => {
            headers.remove(header::CONTENT_LENGTH);
            headers.insert(
                header::TRANSFER_ENCODING,
                HeaderValue::from_static("chunked"),
            );
        }
    }
}

#[cfg(test)]
mod tests;
