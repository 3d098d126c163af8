//! How a connection is opened, for whoever needs one: look up, connect, shake hands.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls::{RootsError, Verification};

mod dns;
mod hosts;
pub mod race;
pub mod resolver;
pub mod via;

use race::Tried;
use resolver::Resolver;
use via::{TunnelError, Via};

/// Which HTTP is spoken over a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, whatever else the other side speaks.
    #[default]
    Http1,
    /// HTTP/2 and nothing else.
    Http2,
    /// HTTP/2 if the other side speaks it, else HTTP/1.1.
    Auto,
}

/// The name of HTTP/2 in a handshake (RFC 9113 section 3.1), and that of HTTP/1.1.
pub const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

impl Protocol {
    /// What is offered in the handshake (RFC 7301). A server that is offered nothing speaks
    /// HTTP/1.1.
    fn offered(self) -> Vec<Vec<u8>> {
        match self {
            Self::Http1 => Vec::new(),
            Self::Http2 => vec![HTTP2.to_vec()],
            Self::Auto => vec![HTTP2.to_vec(), HTTP1.to_vec()],
        }
    }
}

/// How connections are kept for further requests, and how requests are written on them. By default
/// none is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// How long one may be free.
    pub idle: Duration,
    /// The most free ones of a worker.
    pub most_idle: usize,
    /// How old one may become.
    pub age: Duration,
    /// Whether header names are written as `Content-Type` over HTTP/1, for servers that do not take
    /// them in lower case.
    pub title_case: bool,
}

/// Where a connection goes and whom it must reach there. All of it comes from the configuration;
/// connections of two endpoints that are equal can stand in for each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The name or address in the URL.
    pub host: String,
    /// The `Host` of requests: the name, and the port unless it is 443.
    pub authority: HeaderValue,
    /// The name that the certificate must have.
    pub server_name: ServerName<'static>,
    /// The port.
    pub port: u16,
    /// Where to connect in place of the addresses of the name.
    pub connect: Option<SocketAddr>,
    /// A parent proxy on the way, if there is one.
    pub via: Option<Via>,
    /// How the certificate is verified.
    pub verification: Arc<Verification>,
    /// What is spoken over it.
    pub protocol: Protocol,
    /// How it is kept.
    pub keep: Keep,
    /// How long looking up and connecting may take together.
    pub connect_timeout: Duration,
    /// How long the handshake may take.
    pub tls_timeout: Duration,
}

/// Why no connection could be opened.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name has no address.
    #[error("cannot look up `{host}`")]
    Name {
        /// The name.
        host: String,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// No address takes connections.
    #[error("cannot connect to `{host}`")]
    Connect {
        /// The name.
        host: String,
        /// All addresses, each with what it said.
        #[source]
        tried: Tried,
    },
    /// The parent proxy on the way takes no connections.
    #[error("cannot connect to `{host}`, the proxy on the way")]
    Parent {
        /// The proxy's name.
        host: String,
        /// All its addresses, each with what it said.
        #[source]
        tried: Tried,
    },
    /// Looking up and connecting took too long.
    #[error("no connection to `{host}` within {after:?}")]
    ConnectTimeout {
        /// The name.
        host: String,
        /// The deadline.
        after: Duration,
        /// All addresses, each with what it said so far.
        #[source]
        tried: Tried,
    },
    /// Nothing was tried over the network: this machine has no port or descriptor left for another
    /// connection.
    #[error("no local port or file descriptor is free for a connection to `{host}`")]
    Exhausted {
        /// The name.
        host: String,
        /// All addresses, each with what the system said.
        #[source]
        tried: Tried,
    },
    /// The proxy on the way gave no tunnel.
    #[error("no way to `{host}`")]
    Tunnel {
        /// The name.
        host: String,
        /// What the proxy said.
        #[source]
        source: TunnelError,
    },
    /// The handshake failed: a certificate that is not trusted, as a rule.
    #[error("no TLS with `{host}`")]
    Tls {
        /// The name that was wanted.
        host: String,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The handshake took too long.
    #[error("no TLS with `{host}` within {after:?}")]
    TlsTimeout {
        /// The name.
        host: String,
        /// The deadline.
        after: Duration,
    },
    /// There is nobody to trust.
    #[error(transparent)]
    Roots(#[from] RootsError),
}

/// Opens a verified connection.
///
/// # Errors
///
/// A [`DialError`] that says which step failed. Nothing has been sent to the other side but a
/// handshake.
pub async fn dial(
    endpoint: &Endpoint,
    resolver: &Resolver,
) -> Result<TlsStream<TcpStream>, DialError> {
    endpoint.verification.config()?;
    let stream = connect(endpoint, resolver).await?;
    secure(endpoint, stream).await
}

/// Shakes hands on an open connection.
///
/// # Errors
///
/// A [`DialError`] that says what went wrong.
pub async fn secure(
    endpoint: &Endpoint,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, DialError> {
    let config = endpoint.verification.config()?;
    // Requests are written whole; waiting for more to send with them only adds delay.
    let _ = stream.set_nodelay(true);
    let connector = TlsConnector::from(config);
    let handshake = connector
        .with_alpn(endpoint.protocol.offered())
        .connect(endpoint.server_name.clone(), stream);
    let failed = |source| DialError::Tls {
        host: endpoint.host.clone(),
        source,
    };
    match tokio::time::timeout(endpoint.tls_timeout, handshake).await {
        Ok(Ok(stream)) => {
            let chosen = stream.get_ref().1.alpn_protocol();
            if endpoint.protocol == Protocol::Http2 && chosen != Some(HTTP2) {
                return Err(failed(io::Error::other("the server does not speak HTTP/2")));
            }
            Ok(stream)
        }
        Ok(Err(source)) => Err(failed(source)),
        Err(_) => Err(DialError::TlsTimeout {
            host: endpoint.host.clone(),
            after: endpoint.tls_timeout,
        }),
    }
}

/// Opens a connection without TLS: to the other side, or through the proxy on the way to it.
///
/// # Errors
///
/// A [`DialError`] that says what the name's addresses or the proxy said.
pub async fn connect(endpoint: &Endpoint, resolver: &Resolver) -> Result<TcpStream, DialError> {
    let deadline = Instant::now() + endpoint.connect_timeout;
    let late = |tried| DialError::ConnectTimeout {
        host: endpoint.host.clone(),
        after: endpoint.connect_timeout,
        tried,
    };
    let addresses = timeout_at(deadline, addresses(endpoint, resolver))
        .await
        .map_err(|_| late(Tried::default()))??;
    let connected = race::connect(&addresses, deadline).await;
    let mut stream = connected.map_err(|tried| match tried {
        _ if tried.is_exhaustion() => DialError::Exhausted {
            host: endpoint.host.clone(),
            tried,
        },
        _ if tried.is_late() => late(tried),
        _ if endpoint.via.is_some() => DialError::Parent {
            host: endpoint.next_host().to_owned(),
            tried,
        },
        _ => DialError::Connect {
            host: endpoint.host.clone(),
            tried,
        },
    })?;
    if let Some(via) = &endpoint.via {
        let far_end = endpoint.far_end();
        let opened = timeout_at(deadline, via.tunnel(&mut stream, &far_end)).await;
        opened
            .map_err(|_| late(stream.peer_addr().map(Tried::in_vain).unwrap_or_default()))?
            .map_err(|source| DialError::Tunnel {
                host: endpoint.host.clone(),
                source,
            })?;
    }
    Ok(stream)
}

impl Endpoint {
    /// The port that is really connected to.
    #[must_use]
    fn next_port(&self) -> u16 {
        match (&self.via, self.connect) {
            (Some(via), _) => via.port,
            (None, Some(address)) => address.port(),
            (None, None) => self.port,
        }
    }

    /// The host that is really connected to: the proxy's, if there is one on the way.
    fn next_host(&self) -> &str {
        self.via.as_ref().map_or(&self.host, |via| &via.host)
    }

    /// Where a proxy is to lead: it looks the name up itself.
    fn far_end(&self) -> String {
        match self.connect {
            Some(address) => address.to_string(),
            None if self.host.contains(':') => format!("[{}]:{}", self.host, self.port),
            None => format!("{}:{}", self.host, self.port),
        }
    }
}

async fn addresses(endpoint: &Endpoint, resolver: &Resolver) -> Result<Vec<SocketAddr>, DialError> {
    if let (None, Some(address)) = (&endpoint.via, endpoint.connect) {
        return Ok(vec![address]);
    }
    let (host, port) = (endpoint.next_host(), endpoint.next_port());
    if let Some(address) = crate::host::literal(host) {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    match resolver.resolve(host).await {
        Ok(found) => Ok(found.iter().map(|it| SocketAddr::new(*it, port)).collect()),
        Err(source) => Err(DialError::Name {
            host: host.to_owned(),
            source,
        }),
    }
}
