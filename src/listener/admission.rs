//! Which requests are let in, once the connection is: those for a name of this proxy, of no other
//! site's page, with the header that is asked for, from a caller that the route is for.

use std::net::IpAddr;

use http::HeaderName;
use subtle::ConstantTimeEq;

use super::{Config, Entrance, browser};
use crate::host::{self, Pattern};
use crate::normalize::Normalized;
use crate::secret::Secret;
use crate::secret::material::Material;

/// Why a request is not let in. The texts are for the caller, except those of
/// [`Unknown`](Self::Unknown).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The `Host` is not served here: a browser that was made to take this proxy for somebody
    /// else's server (DNS rebinding) says the attacker's name here.
    #[error(
        "`{host}` is not a name of this proxy; if it should be, list it in listeners.{listener}.hosts"
    )]
    Host {
        /// The name in `Host`.
        host: String,
        /// The listener's name.
        listener: String,
    },
    /// The caller takes this for a proxy that leads anywhere, and it is none.
    #[error(
        "`{host}` is not a name of this proxy; for tools that it is set as the proxy of, set listeners.{listener}.forward"
    )]
    Proxied {
        /// The name in the URL.
        host: String,
        /// The listener's name.
        listener: String,
    },
    /// A browser sends this for another site's page.
    #[error("a browser sent this for another site's page")]
    CrossSite,
    /// A browser may have sent this, and does not say for which page.
    #[error(
        "a browser may have sent this for another site's page; listeners.{listener}.require-header lets in whoever sets a header, which no such page can"
    )]
    Browser {
        /// The listener's name.
        listener: String,
    },
    /// The caller has not shown what it is known by.
    #[error(transparent)]
    Unknown(#[from] Unknown),
}

/// What a caller has not shown. The texts are for the log: a caller that guesses is not helped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// A header that is asked for.
    #[error("the header `{header}` {why}, which listeners.{listener}.require-header asks for")]
    Header {
        /// Its name.
        header: HeaderName,
        /// What is wrong with it.
        why: &'static str,
        /// The listener's name.
        listener: String,
    },
    /// A certificate with a name that the route is for.
    #[error("{shown}, and the route's `callers` has {wanted}")]
    Caller {
        /// What was shown.
        shown: String,
        /// What was wanted.
        wanted: String,
    },
}

/// A header that every request must have.
#[derive(Debug, PartialEq, Eq)]
pub struct RequiredHeader {
    /// Its name.
    pub name: HeaderName,
    /// Its value.
    pub value: RequiredValue,
}

/// What a header that is asked for must say.
#[derive(Debug)]
pub enum RequiredValue {
    /// Anything: no page in a browser can set a header of its own making on another site's request
    /// without asking first, and here nobody answers.
    Any,
    /// This, which stands in the configuration.
    Literal(String),
    /// This, which only the two sides know.
    Secret(Material<Secret>),
}

impl PartialEq for RequiredValue {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, Self::Any) => true,
            (Self::Literal(one), Self::Literal(other)) => one == other,
            (Self::Secret(one), Self::Secret(other)) => one.reference() == other.reference(),
            _ => false,
        }
    }
}

impl Eq for RequiredValue {}

impl RequiredHeader {
    /// What is wrong with how a request shows it.
    fn wrong<B>(&self, request: &Normalized<B>) -> Option<&'static str> {
        let mut values = request.headers().get_all(&self.name).iter();
        let Some(value) = values.next() else {
            return Some("is missing");
        };
        // Of two, it is anybody's guess which one counts.
        if values.next().is_some() {
            return Some("is there twice");
        }
        let is_same = |wanted: &[u8]| bool::from(wanted.ct_eq(value.as_bytes()));
        let is_right = match &self.value {
            RequiredValue::Any => true,
            RequiredValue::Literal(text) => is_same(text.as_bytes()),
            RequiredValue::Secret(material) => {
                material.look(|it| it.is_some_and(|it| is_same(it.expose())))
            }
        };
        (!is_right).then_some("has another value")
    }
}

/// A name in a caller's certificate that a route is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A DNS name, or every one below a suffix.
    Host(Pattern),
    /// A URI, letter by letter (RFC 5280 section 7.4 leaves next to nothing to ignore).
    Uri(String),
}

impl Caller {
    /// Reads a DNS name, `*.` and a suffix, or a URI.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_uri = text.contains("://") && text.bytes().all(|byte| byte.is_ascii_graphic());
        match Pattern::parse(text) {
            Ok(pattern) => Ok(Self::Host(pattern)),
            Err(_) if is_uri => Ok(Self::Uri(text.to_owned())),
            Err(_) => Err(format!(
                "`{text}` is no name in a certificate: neither a DNS name, nor `*.` and a suffix, nor a URI"
            )),
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Host(pattern) => pattern.matches(name),
            Self::Uri(uri) => uri == name,
        }
    }
}

impl std::fmt::Display for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host(pattern) => pattern.fmt(f),
            Self::Uri(uri) => f.write_str(uri),
        }
    }
}

/// Whether a route is for this caller: by one of the names in its certificate, or because it is for
/// everybody.
///
/// # Errors
///
/// [`Unknown::Caller`].
pub fn admit_caller(callers: &[Caller], entrance: &Entrance) -> Result<(), Denied> {
    if callers.is_empty() {
        return Ok(());
    }
    let names = entrance.names.as_deref().unwrap_or_default();
    let is_known = |caller: &Caller| names.iter().any(|name| caller.matches(name));
    if callers.iter().any(is_known) {
        return Ok(());
    }
    let wanted: Vec<String> = callers.iter().map(ToString::to_string).collect();
    let shown = match (&entrance.names, names) {
        (None, _) => "the caller has shown no certificate".to_owned(),
        (Some(_), []) => "the caller's certificate has no DNS name and no URI".to_owned(),
        (Some(_), names) => format!("the caller's certificate is for {}", names.join(", ")),
    };
    let wanted = wanted.join(", ");
    Err(Unknown::Caller { shown, wanted }.into())
}

impl Config {
    /// Whether a request may come in here.
    ///
    /// # Errors
    ///
    /// [`Denied`] with the reason.
    pub fn admit<B>(&self, request: &Normalized<B>, entrance: &Entrance) -> Result<(), Denied> {
        let admitted = self.admit_host(request.host(), entrance.local);
        admitted.map_err(|denied| match denied {
            Denied::Host { host, listener } if request.is_for_a_proxy() && !self.forward => {
                Denied::Proxied { host, listener }
            }
            other => other,
        })?;
        if !browser::is_same_site(request.headers()) {
            return Err(Denied::CrossSite);
        }
        self.admit_known(request)
    }

    /// Whether a request for a URL of another host may come in here, where targets have that host.
    ///
    /// # Errors
    ///
    /// [`Denied`] with the reason.
    pub fn admit_forward<B>(&self, request: &Normalized<B>) -> Result<(), Denied> {
        if !browser::is_same_site(request.headers()) {
            return Err(Denied::CrossSite);
        }
        // A header that is asked for says as much as any browser could.
        if self.require.is_empty() && !browser::is_same_site_through_a_proxy(request.headers()) {
            let listener = self.name.clone();
            return Err(Denied::Browser { listener });
        }
        self.admit_known(request)
    }

    fn admit_known<B>(&self, request: &Normalized<B>) -> Result<(), Denied> {
        for header in &self.require {
            if let Some(why) = header.wrong(request) {
                return Err(self.lacks(header, why));
            }
        }
        Ok(())
    }

    /// Whether a name is one of this proxy's own.
    #[must_use]
    pub fn is_own(&self, name: Option<&str>, local: Option<IpAddr>) -> bool {
        self.admit_host(name, local).is_ok()
    }

    /// Takes out of a request what was meant for this listener alone.
    pub fn take_own<B>(&self, request: &mut Normalized<B>) {
        for header in &self.require {
            request.take_out(&header.name);
        }
    }

    fn lacks(&self, header: &RequiredHeader, why: &'static str) -> Denied {
        let unknown = Unknown::Header {
            header: header.name.clone(),
            why,
            listener: self.name.clone(),
        };
        unknown.into()
    }

    /// A name must be on the list. An address literal must be the one the connection came in on:
    /// rebinding needs a name. HTTP/1.0 without `Host` comes from no browser, and to a Unix socket
    /// no browser goes at all: an address there is what a tool writes that was told nothing better.
    fn admit_host(&self, name: Option<&str>, local: Option<IpAddr>) -> Result<(), Denied> {
        let Some(name) = name else { return Ok(()) };
        let is_known = self.hosts.iter().any(|pattern| pattern.matches(name))
            || host::literal(name).is_some_and(|literal| {
                local.is_none_or(|local| literal.to_canonical() == local.to_canonical())
            });
        if is_known {
            return Ok(());
        }
        Err(Denied::Host {
            host: name.to_owned(),
            listener: self.name.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Address, Id, Peer};
    use super::*;
    use crate::normalize::{self, normalize};
    use http::Request;

    fn verdict(host: &str, headers: &[(&str, &str)]) -> Result<(), Denied> {
        let mut builder = Request::builder().uri("/").header("host", host);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let request = builder.body(()).expect("a request");
        let request = normalize(
            request,
            &normalize::Config {
                target: 100,
                headers: 100,
            },
        )
        .expect("one meaning");
        let listener = Config {
            hosts: vec![Pattern::parse("localhost").expect("a pattern")],
            ..Config::at("local", Address::Ip(([127, 0, 0, 1], 0).into()))
        };
        let local = [127, 0, 0, 1].into();
        let entrance = Entrance {
            listener: Id::fresh(),
            local: Some(local),
            peer: Peer::Address(local),
            names: None,
            is_tls: false,
        };
        listener.admit(&request, &entrance)
    }

    #[test]
    fn only_names_of_this_proxy_are_served() {
        assert_eq!(verdict("LocalHost:8080", &[]), Ok(()));
        assert_eq!(verdict("127.0.0.1:8080", &[]), Ok(()));
        for other in [
            "evil.example",
            "127.0.0.2",
            "[::1]",
            "localhost.evil.example",
        ] {
            assert!(
                matches!(verdict(other, &[]), Err(Denied::Host { .. })),
                "{other}"
            );
        }
    }

    #[test]
    fn a_browser_may_only_ask_for_this_proxys_own_pages() {
        let own = ("origin", "http://localhost:8080");
        assert_eq!(
            verdict("localhost:8080", &[own, ("sec-fetch-site", "same-origin")]),
            Ok(())
        );
        assert_eq!(
            verdict("localhost:8080", &[("sec-fetch-site", "none")]),
            Ok(())
        );
        assert_eq!(
            verdict("localhost:8080", &[own, ("origin", "https://evil.example")]),
            Err(Denied::CrossSite)
        );
        for foreign in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "http://localhost:3000"),
            ("origin", "https://evil.example"),
            ("origin", "null"),
        ] {
            assert_eq!(
                verdict("localhost:8080", &[foreign]),
                Err(Denied::CrossSite),
                "{foreign:?}"
            );
        }
    }
}
