//! The third stage: what may leave.
//!
//! [`prepare`] takes from a request what ends at a proxy and what a caller must not bring (its own
//! credential, claims about its origin), and points it at the target. The result is an
//! [`Outgoing`], which cannot be sent: only [`Outgoing::authorize`] makes an [`Authorized`], so
//! that no request leaves without the credential its route promises, and none with two.

use std::sync::OnceLock;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Request, Uri, Version};
use http_body::Body;

use crate::headers;
use crate::normalize::Normalized;

mod place;
mod refused;
pub(crate) mod upgrade;

pub use place::Place;
pub use refused::RefusedPath;

/// What a route does to its requests.
#[derive(Clone, Debug, PartialEq)]
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
    /// Where our credential goes; `None` for a target without one.
    pub placement: Option<Place>,
    /// What happens to a credential that the caller brings.
    pub client_authorization: ClientAuthorization,
    /// Protocols, in lower case, that a request may ask to go on with.
    pub upgrades: Vec<String>,
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

/// The name this process goes by in `Via` (RFC 9110 section 7.6.3). It is drawn once: two of these
/// proxies in a row are no loop, and the same one twice is, whatever was reloaded in between.
#[derive(Clone, Debug, PartialEq)]
pub struct Pseudonym {
    name: String,
    http_1_0: HeaderValue,
    http_1_1: HeaderValue,
    http_2: HeaderValue,
}

impl Pseudonym {
    /// That of this process, the same for as long as it runs.
    #[must_use]
    pub fn of_process() -> Self {
        static OWN: OnceLock<Pseudonym> = OnceLock::new();
        OWN.get_or_init(Self::draw).clone()
    }

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
            http_2: via("2.0"),
            name,
        }
    }

    fn via(&self, version: Version) -> HeaderValue {
        match version {
            Version::HTTP_10 => self.http_1_0.clone(),
            Version::HTTP_2 => self.http_2.clone(),
            _ => self.http_1_1.clone(),
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

/// A request that is fit to leave once it has its credential. It stays in one place from here on: it
/// is handed through so many functions that wait that copying it costs more than the memory does.
#[derive(Debug)]
pub struct Outgoing<B> {
    request: Box<Request<B>>,
    /// The caller's own credential is in it, and its route passes that on.
    has_callers_credential: bool,
}

/// A request that may be sent.
#[derive(Debug)]
pub struct Authorized<B> {
    request: Box<Request<B>>,
    /// What was put on it.
    credential: Option<HeaderValue>,
}

impl<B> Outgoing<B> {
    /// Whether the route passes the caller's own credential on, and it is there.
    #[must_use]
    pub fn has_callers_credential(&self) -> bool {
        self.has_callers_credential
    }

    /// Puts the credential on.
    #[must_use]
    pub fn authorize(mut self, place: &Place, value: HeaderValue) -> Authorized<B> {
        place.put(&mut self.request, &value);
        Authorized {
            request: self.request,
            credential: Some(value),
        }
    }

    /// For a target without a credential of ours, or a caller whose own is passed on.
    #[must_use]
    pub fn as_it_is(self) -> Authorized<B> {
        Authorized {
            request: self.request,
            credential: None,
        }
    }
}

/// A request that was sent and can be sent again, for the case that it has to be.
#[derive(Debug)]
pub struct Repeatable<B>(Authorized<B>);

impl<B> Repeatable<B> {
    /// The body.
    #[must_use]
    pub fn body(&self) -> &B {
        self.0.request.body()
    }

    /// The credential of ours that it was sent with.
    #[must_use]
    pub fn credential(&self) -> Option<&HeaderValue> {
        self.0.credential()
    }

    /// Puts another credential on, in place of the one before.
    #[must_use]
    pub fn authorize(mut self, place: &Place, value: HeaderValue) -> Authorized<B> {
        place.put(&mut self.0.request, &value);
        self.0.credential = Some(value);
        self.0
    }
}

impl<B> Authorized<B> {
    /// The request with another body in its place, or with none, once the body has been taken.
    #[must_use]
    pub fn into_repeatable(self, is_kept: impl FnOnce(&B) -> bool) -> Option<Repeatable<B>> {
        is_kept(self.request.body()).then_some(Repeatable(self))
    }

    /// What is sent in front of the body.
    #[must_use]
    pub fn head(&self) -> &Request<B> {
        &self.request
    }

    /// The body, or what was left in its place.
    #[must_use]
    pub fn body(&self) -> &B {
        self.request.body()
    }

    /// The body, to be taken by the one who sends it.
    pub fn body_mut(&mut self) -> &mut B {
        self.request.body_mut()
    }

    /// The credential of ours that is on it.
    #[must_use]
    pub fn credential(&self) -> Option<&HeaderValue> {
        self.credential.as_ref()
    }

    /// The protocol that it asks to go on with.
    #[must_use]
    pub fn protocol(&self) -> Option<&HeaderValue> {
        self.request.headers().get(header::UPGRADE)
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
    /// The target says `pass`, and there is more than one to pass on.
    #[error("the request brings more than one credential")]
    TwoCredentials,
    /// Beside the credential, which goes there too, the target would be longer than any may be.
    #[error("the request target is too long for the credential to be put behind it")]
    TooLong,
    /// `*` has no query, and the credential would have to stand there.
    #[error("the request target `*` has no query that the credential could be put into")]
    NoQuery,
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
    let has_callers_credential = take_callers_credential(&mut parts, config)?;
    parts.uri = rewrite(&parts.uri, config)?;
    let protocol = upgrade::asked(&parts, !body.is_end_stream(), &config.upgrades);
    let takes_trailers =
        headers::takes_trailers(&parts.headers) && !config.remove.contains(&header::TE);
    clean(&mut parts.headers, config);
    if takes_trailers {
        // The one coding that HTTP/2 lets through, where servers of gRPC insist on it (RFC 9113
        // section 8.2.2). It is left out again where the request leaves over HTTP/1.
        let trailers = HeaderValue::from_static("trailers");
        parts.headers.insert(header::TE, trailers);
    }
    frame(&mut parts.headers, &body);
    if let Some(protocol) = protocol {
        upgrade::put(&mut parts.headers, protocol);
    }
    parts.headers.insert(header::HOST, config.host.clone());
    parts
        .headers
        .append(header::VIA, config.pseudonym.via(parts.version));
    for (name, value) in &config.set {
        parts.headers.insert(name, value.clone());
    }
    Ok(Outgoing {
        request: Box::new(Request::from_parts(sent_as(parts), body)),
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

/// Decides on the caller's own credential. Gives whether it stays on the request.
fn take_callers_credential(parts: &mut Parts, config: &Config) -> Result<bool, Refusal> {
    const AUTHORIZATION: &Place = &Place::Header(header::AUTHORIZATION);
    let place = config.placement.as_ref().unwrap_or(AUTHORIZATION);
    if parts.uri.path_and_query().map_or(0, |it| it.as_str().len()) > place.longest_target() {
        return Err(Refusal::TooLong);
    }
    if matches!(place, Place::Query(_)) && parts.uri.path() == "*" {
        return Err(Refusal::NoQuery);
    }
    let passes = match config.client_authorization {
        ClientAuthorization::Reject if place.count(parts) > 0 || AUTHORIZATION.count(parts) > 0 => {
            return Err(Refusal::CallersCredential);
        }
        ClientAuthorization::Pass => is_passed(parts, place, config)?,
        ClientAuthorization::Replace | ClientAuthorization::Reject => false,
    };
    if !passes {
        place.clear(parts);
    }
    if place != AUTHORIZATION {
        AUTHORIZATION.clear(parts);
    }
    Ok(passes)
}

/// Whether a caller's credential would arrive: what is named by `Connection`, or removed, or empty,
/// would leave the request without any.
fn is_passed(parts: &Parts, place: &Place, config: &Config) -> Result<bool, Refusal> {
    match place.count(parts) {
        0 => return Ok(false),
        1 => {}
        _ => return Err(Refusal::TwoCredentials),
    }
    let arrives = match place.header() {
        Some(name) => {
            !headers::nominated(&parts.headers).contains(name) && !config.remove.contains(name)
        }
        None => true,
    };
    Ok(arrives && !place.is_empty(parts))
}

fn clean(headers: &mut HeaderMap, config: &Config) {
    let ends = |name: &HeaderName| {
        headers::is_hop_by_hop(name)
            || headers::is_forwarded(name)
            // Met by this proxy: the caller is told to go on when the upstream is ready.
            || *name == header::EXPECT
            || config.remove.contains(name)
    };
    // What a caller may not say twice, or in our place.
    let is_ours = |name: &HeaderName| {
        let place = config.placement.as_ref().and_then(Place::header);
        [header::AUTHORIZATION, header::HOST, header::CONTENT_LENGTH].contains(name)
            || place == Some(name)
            || config.set.iter().any(|(it, _)| it == name)
            || headers::is_method_override(name)
    };
    headers::remove(headers, |name| {
        ends(name)
            || headers::is_underscored(name)
            || headers::plain(name).is_some_and(|it| ends(&it) || is_ours(&it))
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
