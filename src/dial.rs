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

pub mod resolver;
pub mod via;

use resolver::Resolver;
use via::Via;

/// Where a connection goes and whom it must reach there. All of it comes from the configuration.
/// Connections to equal ones are as good as each other.
#[derive(Debug, PartialEq, Eq)]
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
    /// No address answers.
    #[error("cannot connect to {address}")]
    Connect {
        /// The last address that was tried.
        address: SocketAddr,
        /// Why it did not work.
        #[source]
        source: io::Error,
    },
    /// Looking up and connecting took too long.
    #[error("no connection to `{host}` within {after:?}")]
    ConnectTimeout {
        /// The name.
        host: String,
        /// The deadline.
        after: Duration,
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
    let config = Arc::clone(endpoint.verification.config()?);
    // Requests are written whole; waiting for more to send with them only adds delay.
    let _ = stream.set_nodelay(true);
    let handshake = TlsConnector::from(config).connect(endpoint.server_name.clone(), stream);
    match tokio::time::timeout(endpoint.tls_timeout, handshake).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(source)) => Err(DialError::Tls {
            host: endpoint.host.clone(),
            source,
        }),
        Err(_) => Err(DialError::TlsTimeout {
            host: endpoint.host.clone(),
            after: endpoint.tls_timeout,
        }),
    }
}

/// Opens a connection without TLS.
///
/// # Errors
///
/// A [`DialError`] that says why the name or its last address gave none.
pub async fn connect(endpoint: &Endpoint, resolver: &Resolver) -> Result<TcpStream, DialError> {
    let deadline = Instant::now() + endpoint.connect_timeout;
    let too_late = |_| DialError::ConnectTimeout {
        host: endpoint.host.clone(),
        after: endpoint.connect_timeout,
    };
    let addresses = timeout_at(deadline, addresses(endpoint, resolver))
        .await
        .map_err(too_late)??;
    let mut last = None;
    for (tried, address) in addresses.iter().enumerate() {
        // Each address gets its share of what is left, so that a silent one does not use it all.
        let waiting = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / waiting;
        match tokio::time::timeout(share, open(endpoint, *address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(source)) => {
                last = Some(DialError::Connect {
                    address: *address,
                    source,
                });
            }
            Err(elapsed) => last = Some(too_late(elapsed)),
        }
    }
    Err(last.unwrap_or_else(|| DialError::Name {
        host: endpoint.host.clone(),
        source: io::Error::new(io::ErrorKind::NotFound, "the name has no addresses"),
    }))
}

/// Connects to an address: the other side's, or that of the proxy on the way to it.
async fn open(endpoint: &Endpoint, address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    if let Some(via) = &endpoint.via {
        let authority = match endpoint.connect {
            Some(address) => address.to_string(),
            None if endpoint.host.contains(':') => format!("[{}]:{}", endpoint.host, endpoint.port),
            None => format!("{}:{}", endpoint.host, endpoint.port),
        };
        via.tunnel(&mut stream, &authority).await?;
    }
    Ok(stream)
}

async fn addresses(
    endpoint: &Endpoint,
    resolver: &Resolver,
) -> Result<Arc<[SocketAddr]>, DialError> {
    let (host, port) = match (&endpoint.via, endpoint.connect) {
        // The proxy looks the name up.
        (Some(via), _) => (&via.host, via.port),
        (None, Some(address)) => return Ok(Arc::new([address])),
        (None, None) => (&endpoint.host, endpoint.port),
    };
    if let Some(address) = crate::host::literal(host) {
        return Ok(Arc::new([SocketAddr::new(address, port)]));
    }
    resolver
        .resolve(host, port)
        .await
        .map_err(|source| DialError::Name {
            host: host.clone(),
            source,
        })
}
