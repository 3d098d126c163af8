//! Where on a request a credential stands, and that it stands there once.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Request, Uri};

use crate::normalize::named::is_named;

/// Where on a request a credential stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A header of its own.
    Header(HeaderName),
    /// A parameter of the query.
    Query(String),
    /// A cookie.
    Cookie(String),
}

/// What parts parameters: `;` does for older servers.
const QUERY: &[u8] = b"&;";

/// What parts cookies: `,` did in RFC 2109, and does for some servers still.
const COOKIE: &[u8] = b";,";

/// The longest path and query that a token can be put behind. Together with the longest token that
/// [`Place::Query`] is given they stay below what `http` can hold, 65,534 bytes.
const LONGEST: usize = 40 * 1024;

impl Place {
    /// The longest token that may be put into a query, in bytes of percent-encoding.
    pub const LONGEST_IN_QUERY: usize = 16 * 1024;

    /// The header that it stands in, or stands in alone.
    #[must_use]
    pub fn header(&self) -> Option<&HeaderName> {
        match self {
            Self::Header(name) => Some(name),
            Self::Cookie(_) => Some(&header::COOKIE),
            Self::Query(_) => None,
        }
    }

    /// How long a path and query may be so that the credential can be put on.
    pub(super) fn longest_target(&self) -> usize {
        match self {
            Self::Query(_) => LONGEST,
            Self::Header(_) | Self::Cookie(_) => usize::MAX,
        }
    }

    /// How many credentials stand here.
    pub(super) fn count(&self, parts: &Parts) -> usize {
        match self {
            Self::Header(name) => parts.headers.get_all(name).iter().count(),
            Self::Query(name) => named(query(&parts.uri), QUERY, name).count(),
            Self::Cookie(name) => {
                let cookies = parts.headers.get_all(header::COOKIE).iter();
                cookies
                    .map(|it| named(it.as_bytes(), COOKIE, name).count())
                    .sum()
            }
        }
    }

    /// Whether what stands here is empty.
    pub(super) fn is_empty(&self, parts: &Parts) -> bool {
        match self {
            Self::Header(name) => parts.headers.get(name).is_none_or(HeaderValue::is_empty),
            Self::Query(name) => named(query(&parts.uri), QUERY, name).all(is_blank),
            Self::Cookie(name) => {
                let mut cookies = parts.headers.get_all(header::COOKIE).iter();
                cookies.all(|it| named(it.as_bytes(), COOKIE, name).all(is_blank))
            }
        }
    }

    /// Takes away whatever stands here.
    pub(super) fn clear(&self, parts: &mut Parts) {
        match self {
            Self::Header(name) => drop(parts.headers.remove(name)),
            Self::Query(name) => clear_query(&mut parts.uri, name),
            Self::Cookie(name) => clear_cookies(&mut parts.headers, name),
        }
    }

    /// Puts a credential here, in place of any other. For a query, `value` is percent-encoded.
    pub(super) fn put<B>(&self, request: &mut Request<B>, value: &HeaderValue) {
        match self {
            Self::Header(name) => drop(request.headers_mut().insert(name, value.clone())),
            Self::Query(name) => {
                clear_query(request.uri_mut(), name);
                let parameter = [name.as_bytes(), b"=", value.as_bytes()].concat();
                set_query(request.uri_mut(), &parameter);
            }
            Self::Cookie(name) => {
                clear_cookies(request.headers_mut(), name);
                put_cookie(request.headers_mut(), name, value);
            }
        }
    }
}

fn query(uri: &Uri) -> &[u8] {
    uri.query().unwrap_or_default().as_bytes()
}

/// The pieces of that name. A name is taken for it in any spelling that a server might accept.
fn named<'a>(
    text: &'a [u8],
    separators: &'static [u8],
    name: &'a str,
) -> impl Iterator<Item = &'a [u8]> {
    text.split(|byte| separators.contains(byte))
        .filter(move |piece| is_named(piece, name))
}

fn is_blank(piece: &[u8]) -> bool {
    match piece.iter().position(|byte| *byte == b'=') {
        Some(at) => piece[at + 1..].trim_ascii().is_empty(),
        None => true,
    }
}

/// The text without the pieces of that name, all others byte for byte; `None` if there are none.
fn without(text: &[u8], separators: &'static [u8], name: &str) -> Option<Vec<u8>> {
    named(text, separators, name).next()?;
    let mut kept = Vec::with_capacity(text.len());
    let (mut at, mut is_first) = (0, true);
    for piece in text.split(|byte| separators.contains(byte)) {
        if !is_named(piece, name) {
            if !std::mem::take(&mut is_first) {
                // The separator before it.
                kept.push(text[at - 1]);
            }
            kept.extend_from_slice(piece);
        }
        at += piece.len() + 1;
    }
    Some(kept)
}

fn clear_query(uri: &mut Uri, name: &str) {
    let Some(kept) = without(query(uri), QUERY, name) else {
        return;
    };
    let mut target = uri.path().as_bytes().to_vec();
    if !kept.is_empty() {
        target.push(b'?');
        target.extend(kept);
    }
    set_target(uri, target);
}

fn set_query(uri: &mut Uri, parameter: &[u8]) {
    let mut target = uri.path().as_bytes().to_vec();
    target.push(b'?');
    if !query(uri).is_empty() {
        target.extend_from_slice(query(uri));
        target.push(b'&');
    }
    target.extend_from_slice(parameter);
    set_target(uri, target);
}

fn set_target(uri: &mut Uri, target: Vec<u8>) {
    let target = PathAndQuery::try_from(target).expect("made of parts of valid targets");
    *uri = Uri::from(target);
}

fn clear_cookies(headers: &mut HeaderMap, name: &str) {
    let values = headers.get_all(header::COOKIE).iter();
    let cleared: Vec<Option<Vec<u8>>> = values
        .map(|value| without(value.as_bytes(), COOKIE, name))
        .collect();
    if cleared.iter().all(Option::is_none) {
        return;
    }
    let header::Entry::Occupied(entry) = headers.entry(header::COOKIE) else {
        return;
    };
    let kept: Vec<HeaderValue> = entry
        .remove_entry_mult()
        .1
        .zip(cleared)
        .filter_map(|(value, cleared)| match cleared {
            None => Some(value),
            Some(rest) => HeaderValue::from_bytes(rest.trim_ascii_start()).ok(),
        })
        .filter(|value| !value.is_empty())
        .collect();
    for value in kept {
        headers.append(header::COOKIE, value);
    }
}

/// One `Cookie` for all (RFC 6265 section 5.4).
fn put_cookie(headers: &mut HeaderMap, name: &str, value: &HeaderValue) {
    let mut cookies = Vec::new();
    for other in headers.get_all(header::COOKIE) {
        cookies.extend_from_slice(other.as_bytes());
        cookies.extend_from_slice(b"; ");
    }
    cookies.extend([name.as_bytes(), b"=", value.as_bytes()].concat());
    let mut cookies = HeaderValue::try_from(cookies).expect("joined from valid values");
    cookies.set_sensitive(true);
    headers.insert(header::COOKIE, cookies);
}

#[cfg(test)]
mod tests;
