//! `redirects = "rewrite"`: the target's own URL in an answer becomes the proxy's, as the caller
//! called it. Nothing is followed, and the URLs of others stay as they are.
//!
//! `Location` and `Content-Location` are rewritten, and of cookies what would keep them from coming
//! back. `Refresh` and links in a body are not: the first is no standard, the second are content.

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::dial::Endpoint;

/// What stands for what, in the answer to one request.
#[derive(Debug)]
pub struct Map<'a> {
    /// Where the target is.
    pub endpoints: &'a [Arc<Endpoint>],
    /// What is put before each path on the way there.
    pub base: &'a str,
    /// What was cut off this request's path.
    pub prefix: String,
    /// The scheme the caller used.
    pub scheme: &'static str,
    /// The `Host` the caller used; HTTP/1.0 may do without.
    pub host: Option<HeaderValue>,
}

impl Map<'_> {
    /// Rewrites an answer's headers.
    pub fn rewrite(&self, headers: &mut HeaderMap) {
        for name in [header::LOCATION, header::CONTENT_LOCATION] {
            change(headers, &name, |value| self.location(value));
        }
        change(headers, &header::SET_COOKIE, |value| self.cookie(value));
    }

    fn location(&self, value: &str) -> Option<String> {
        if let Some((authority, rest)) = split(value) {
            let path = self.path(rest).filter(|_| self.is_own(authority))?;
            return Some(match self.host.as_ref().and_then(|it| it.to_str().ok()) {
                Some(host) => format!("{}://{host}{path}", self.scheme),
                None => path,
            });
        }
        if !value.starts_with('/') {
            // Relative to the request, whose end is the same on both sides.
            return None;
        }
        // A path that the proxy does not lead to would mean another one there.
        self.path(value).or_else(|| {
            let authority = self.endpoints.first()?.authority.to_str().ok()?;
            Some(format!("https://{authority}{value}"))
        })
    }

    fn is_own(&self, authority: &str) -> bool {
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
            _ => (authority, Some(443)),
        };
        self.endpoints
            .iter()
            .any(|it| it.host.eq_ignore_ascii_case(host) && Some(it.port) == port)
    }

    /// The path, with query and fragment, that leads to the target's `target` by way of the proxy.
    fn path(&self, target: &str) -> Option<String> {
        let end = target.find(['?', '#']).unwrap_or(target.len());
        let (path, tail) = target.split_at(end);
        let path = if path.is_empty() { "/" } else { path };
        let rest = below(path, self.base)?;
        let slash = match (self.prefix.as_str(), rest) {
            ("", "") => "/",
            _ => "",
        };
        Some(format!("{}{rest}{slash}{tail}", self.prefix))
    }

    /// A cookie that comes back: without the target's `Domain`, with the path that the caller uses,
    /// and without `Secure` where the way to the proxy is plain.
    fn cookie(&self, value: &str) -> Option<String> {
        let mut parts = value.split(';');
        let mut cookie = parts.next()?.to_owned();
        for part in parts {
            let (name, given) = part.split_once('=').unwrap_or((part, ""));
            let (name, given) = (name.trim().to_ascii_lowercase(), given.trim());
            match name.as_str() {
                "domain" if self.is_domain(given) => {}
                "secure" if self.scheme == "http" => {}
                "path" => {
                    cookie.push_str("; Path=");
                    cookie.push_str(&self.cookie_path(given));
                }
                _ => {
                    cookie.push(';');
                    cookie.push_str(part);
                }
            }
        }
        Some(cookie)
    }

    /// Whether the target lies in a cookie's domain.
    fn is_domain(&self, given: &str) -> bool {
        let domain = given.trim_start_matches('.').to_ascii_lowercase();
        self.endpoints.iter().any(|it| {
            let host = it.host.to_ascii_lowercase();
            let rest = host.strip_suffix(&domain);
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    }

    fn cookie_path(&self, given: &str) -> String {
        let rest = match below(given, self.base) {
            // Without a slash at its end it covers the prefix itself, too (RFC 6265 section 5.1.4).
            Some("/") | None if given.starts_with('/') && self.covers_base(given) => "",
            Some(rest) => rest,
            None => return given.to_owned(),
        };
        match format!("{}{rest}", self.prefix) {
            path if path.is_empty() => "/".to_owned(),
            path => path,
        }
    }

    /// Whether a cookie's path has all of the target's base below it.
    fn covers_base(&self, given: &str) -> bool {
        let given = given.strip_suffix('/').unwrap_or(given);
        below(self.base, given).is_some()
    }
}

/// What follows the whole segments of `base`.
fn below<'a>(path: &'a str, base: &str) -> Option<&'a str> {
    path.strip_prefix(base)
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The authority of an https URL, or of one that takes over the scheme, and what follows it.
fn split(url: &str) -> Option<(&str, &str)> {
    let rest = match url.strip_prefix("//") {
        Some(rest) => rest,
        None => {
            let (scheme, rest) = url.split_once("://")?;
            scheme.eq_ignore_ascii_case("https").then_some(rest)?
        }
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    Some(rest.split_at(end))
}

/// Changes each value of a header for which `with` has another one.
fn change(headers: &mut HeaderMap, name: &HeaderName, with: impl Fn(&str) -> Option<String>) {
    let header::Entry::Occupied(mut entry) = headers.entry(name) else {
        return;
    };
    for value in entry.iter_mut() {
        let changed = value.to_str().ok().and_then(&with);
        if let Some(Ok(changed)) = changed.map(HeaderValue::try_from) {
            *value = changed;
        }
    }
}
