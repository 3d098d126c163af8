//! Where requests come in: sockets, and who is let in at all.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use tokio::net::TcpSocket;

use crate::host::{self, Pattern};
use crate::normalize::Normalized;

pub mod manners;
pub mod room;

use manners::Manners;

/// How many connections may wait to be accepted, for each worker.
const BACKLOG: u32 = 1024;

/// A listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The operator's name for it.
    pub name: String,
    /// The address; port 0 for any that is free.
    pub address: SocketAddr,
    /// The names that a `Host` may have.
    pub hosts: Vec<Pattern>,
    /// How it talks with its callers.
    pub manners: Manners,
    /// The most callers at once; as many as the process takes if `None`.
    pub connections: Option<usize>,
}

/// Tells listeners apart from one plan to the next. None is ever given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(u64);

impl Id {
    /// One that no other listener of this process has or had.
    #[must_use]
    pub fn fresh() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Why a caller is not let in. The texts are for the caller.
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
    /// A browser sends this for another site's page.
    #[error("a browser sent this for another site's page")]
    CrossSite,
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

impl Config {
    /// Whether both let in the same callers in the same way, whatever they are called.
    #[must_use]
    pub fn has_rule_of(&self, other: &Self) -> bool {
        let renamed = Self {
            name: self.name.clone(),
            ..other.clone()
        };
        *self == renamed
    }

    /// Whether a request may come in here.
    ///
    /// # Errors
    ///
    /// [`Denied`] with the reason.
    pub fn admit<B>(&self, request: &Normalized<B>, local: IpAddr) -> Result<(), Denied> {
        self.admit_host(request.host(), local)?;
        if is_same_site(request.headers()) {
            Ok(())
        } else {
            Err(Denied::CrossSite)
        }
    }

    /// A name must be on the list. An address literal must be the one the connection came in on:
    /// rebinding needs a name. HTTP/1.0 without `Host` comes from no browser.
    fn admit_host(&self, name: Option<&str>, local: IpAddr) -> Result<(), Denied> {
        let Some(name) = name else { return Ok(()) };
        let is_known = self.hosts.iter().any(|pattern| pattern.matches(name))
            || host::literal(name)
                .is_some_and(|literal| literal.to_canonical() == local.to_canonical());
        if is_known {
            return Ok(());
        }
        Err(Denied::Host {
            host: name.to_owned(),
            listener: self.name.clone(),
        })
    }
}

/// Whether this is anything but what a browser sends on behalf of another site's page. Both headers
/// are forbidden to scripts (Fetch section 2.2.2), so that a page cannot lie in them.
#[must_use]
pub fn is_same_site(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let host = headers.get(header::HOST);
    sites.all(|site| matches!(site.as_bytes(), b"same-origin" | b"none"))
        && origins.all(|origin| is_same_origin(origin, host))
}

fn is_same_origin(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let origin = origin.as_bytes();
    let authority = origin
        .strip_prefix(b"http://")
        .or_else(|| origin.strip_prefix(b"https://"));
    match (authority, host) {
        (Some(authority), Some(host)) => authority.eq_ignore_ascii_case(host.as_bytes()),
        _ => false,
    }
}

/// A bound address, with a listening socket for each worker.
#[derive(Debug)]
pub struct Bound {
    /// The address, with the port that was chosen.
    pub address: SocketAddr,
    /// One socket a worker; the kernel spreads connections over them.
    pub sockets: Vec<TcpListener>,
}

/// An address could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}{}", hint(.source))]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => ", where another process listens already",
        io::ErrorKind::PermissionDenied => {
            ", which needs the right to bind ports below 1024 (CAP_NET_BIND_SERVICE)"
        }
        io::ErrorKind::AddrNotAvailable => ", which is no address of this machine",
        _ => "",
    }
}

/// Binds an address for so many workers.
///
/// # Errors
///
/// [`BindError`] with the address.
pub fn bind(address: SocketAddr, workers: usize) -> Result<Bound, BindError> {
    let failed = |source| BindError { address, source };
    let address = probe(address).map_err(failed)?;
    let sockets = (0..workers)
        .map(|_| listen(address))
        .collect::<io::Result<Vec<_>>>()
        .map_err(failed)?;
    Ok(Bound { address, sockets })
}

/// Binds once without sharing the port. A second process that shared it would silently be given
/// half of the connections, instead of hearing that the address is in use.
fn probe(address: SocketAddr) -> io::Result<SocketAddr> {
    let socket = socket_for(address)?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.local_addr()
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket_for(address)?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

fn socket_for(address: SocketAddr) -> io::Result<TcpSocket> {
    match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
}

#[cfg(test)]
mod tests {
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
            name: "local".into(),
            address: ([127, 0, 0, 1], 0).into(),
            hosts: vec![Pattern::parse("localhost").expect("a pattern")],
            manners: Manners::default(),
            connections: None,
        };
        listener.admit(&request, [127, 0, 0, 1].into())
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
