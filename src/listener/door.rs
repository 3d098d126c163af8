//! The way in: from a connection that was accepted to one that HTTP is spoken over, or none.
//!
//! A connection is refused before a byte of it is read, and by closing it: who is not on the list
//! reaches no parser, holds no place, and learns nothing. The log has the reason and the key.

use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::address::Peer;
use super::proxy_protocol::{self, Malformed};
use super::stream::{Socket, Stream};
use super::{Config, Id, tls};

/// What every TLS connection begins with: a record of a handshake (RFC 8446 section 5.1).
pub const HANDSHAKE: u8 = 22;

/// For a PROXY header and a TLS handshake together.
const DEADLINE: Duration = Duration::from_secs(5);

/// How a connection came in.
#[derive(Clone, Debug)]
pub struct Entrance {
    /// The listener.
    pub listener: Id,
    /// The address that the caller connected to; none of a Unix socket.
    pub local: Option<IpAddr>,
    /// Who is on the other side.
    pub peer: Peer,
    /// The names in the caller's certificate; `None` if it has shown none.
    pub names: Option<Rc<[Box<str>]>>,
    /// Whether the caller speaks TLS to us.
    pub is_tls: bool,
}

/// Why a connection was closed. The texts are for the log.
#[derive(Debug, thiserror::Error)]
pub enum Turned {
    /// The caller's address is on no list.
    #[error("{peer} is not in listeners.{listener}.allow")]
    Address {
        /// Who it was.
        peer: Peer,
        /// The listener's name.
        listener: String,
    },
    /// The caller's user is on no list.
    #[error("{peer} is not in listeners.{listener}.peer-uids")]
    User {
        /// Who it was.
        peer: Peer,
        /// The listener's name.
        listener: String,
    },
    /// Whoever may not announce others was asked to.
    #[error(
        "{peer} is not in listeners.{listener}.proxy-protocol, so that nothing it announces is believed"
    )]
    Sender {
        /// Who it was.
        peer: Peer,
        /// The listener's name.
        listener: String,
    },
    /// No PROXY header, or none as it should be.
    #[error("{peer} sent no PROXY header as listeners.{listener}.proxy-protocol asks for: {why}")]
    Header {
        /// Who it was.
        peer: Peer,
        /// The listener's name.
        listener: String,
        /// What is wrong with it.
        why: Malformed,
    },
    /// It speaks HTTP where TLS is asked for.
    #[error("this port takes https, and {peer} spoke plain http to listener `{listener}`")]
    Plain {
        /// Who it was.
        peer: Peer,
        /// The listener's name.
        listener: String,
        /// To tell it so. Nothing has been read of it.
        socket: Socket,
    },
    /// The TLS handshake failed.
    #[error("no TLS with {peer} at listener `{listener}`: {}", said(.why))]
    Handshake {
        /// Who it was.
        peer: Peer,
        /// The listener's name.
        listener: String,
        /// What is wrong with it.
        why: io::Error,
    },
    /// All of it took too long.
    #[error("{peer} was not through with what comes before HTTP within {} s at listener `{listener}`", DEADLINE.as_secs())]
    Slow {
        /// Who it was.
        peer: Peer,
        /// The listener's name.
        listener: String,
    },
    /// The other side is gone.
    #[error("a caller was gone at once: {0}")]
    Gone(#[from] io::Error),
}

impl Turned {
    /// The code of the refusal, and whose it is; `None` if there is nobody to refuse.
    #[must_use]
    pub fn refusal(&self) -> Option<(Peer, &'static str)> {
        match self {
            Self::Address { peer, .. } | Self::User { peer, .. } | Self::Sender { peer, .. } => {
                Some((*peer, "caller-refused"))
            }
            Self::Header { peer, .. } | Self::Plain { peer, .. } => Some((*peer, "bad-request")),
            Self::Handshake { peer, .. } => Some((*peer, "caller-tls")),
            Self::Slow { peer, .. } => Some((*peer, "request-timeout")),
            Self::Gone(_) => None,
        }
    }
}

/// What the TLS library said, for whoever has to act on it, and then in its own words.
fn said(why: &io::Error) -> String {
    use rustls::{AlertDescription as Alert, CertificateError as Bad, Error};
    let Some(error) = why.get_ref().and_then(|it| it.downcast_ref::<Error>()) else {
        return match why.kind() {
            io::ErrorKind::UnexpectedEof => "it hung up in the middle of the handshake".into(),
            _ => why.to_string(),
        };
    };
    let means = match error {
        Error::InvalidMessage(_) => "it does not speak TLS",
        Error::AlertReceived(
            Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::CertificateUnknown
            | Alert::CertificateExpired
            // An authority of that name with another key.
            | Alert::DecryptError,
        ) => {
            "it does not trust the certificate that it was shown: it has to know the authority, and `tls.certificates` has to have those in between"
        }
        Error::AlertReceived(_) => "it broke the handshake off",
        Error::NoCertificatesPresented => {
            "it showed no certificate, and `tls.client-certificate` asks for one"
        }
        Error::InvalidCertificate(Bad::UnknownIssuer) => {
            "no authority in `tls.client-ca` vouches for the certificate that it showed"
        }
        Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            "the certificate that it showed has expired"
        }
        Error::InvalidCertificate(_) => "the certificate that it showed is not good",
        Error::PeerIncompatible(_) => {
            "it and this listener have no version or cipher of TLS in common (1.2 and 1.3 are spoken here)"
        }
        _ => return error.to_string(),
    };
    format!("{means} ({error})")
}

/// Lets a connection in: judges who it is, reads the PROXY header, shakes hands.
///
/// # Errors
///
/// [`Turned`] with the reason. The connection is closed then.
pub async fn open(
    config: &Config,
    listener: Id,
    socket: Socket,
) -> Result<(Stream, Entrance), Turned> {
    socket.set_nodelay();
    let entrance = Entrance {
        listener,
        local: socket.local()?,
        peer: socket.peer()?,
        names: None,
        is_tls: false,
    };
    config.admit_process(entrance.peer)?;
    if config.senders.is_none() {
        config.admit_address(entrance.peer)?;
        if config.tls.is_none() {
            return Ok((Stream::Plain(socket), entrance));
        }
    }
    let peer = entrance.peer;
    // On the heap: it is large, and soon gone, whereas a connection's task keeps its size.
    let opening = Box::pin(read_in(config, socket, entrance));
    timeout(DEADLINE, opening).await.unwrap_or_else(|_| {
        Err(Turned::Slow {
            peer,
            listener: config.name.clone(),
        })
    })
}

/// The part of it that waits for the caller.
async fn read_in(
    config: &Config,
    mut socket: Socket,
    mut entrance: Entrance,
) -> Result<(Stream, Entrance), Turned> {
    if config.senders.is_some() {
        let peer = entrance.peer;
        config.admit_sender(peer)?;
        let announced = proxy_protocol::read(&mut socket).await;
        let announced = announced.map_err(|why| Turned::Header {
            peer,
            listener: config.name.clone(),
            why,
        })?;
        if let Some(announced) = announced {
            entrance.peer = Peer::Address(announced.source.to_canonical());
            entrance.local = Some(announced.destination);
        }
        config.admit_address(entrance.peer)?;
    }
    let Some(terminator) = &config.tls else {
        return Ok((Stream::Plain(socket), entrance));
    };
    let peer = entrance.peer;
    let first = socket.peek().await?;
    // All that begins a request in HTTP, of any version.
    if first.is_ascii_uppercase() {
        let listener = config.name.clone();
        return Err(Turned::Plain {
            peer,
            listener,
            socket,
        });
    }
    let accepted = TlsAcceptor::from(terminator.current()).accept(socket).await;
    let stream = accepted.map_err(|why| Turned::Handshake {
        peer,
        listener: config.name.clone(),
        why,
    })?;
    let chain = stream.get_ref().1.peer_certificates();
    let certificate = chain.and_then(|chain| chain.first());
    entrance.names = certificate.map(|it| tls::callers_names(it).into());
    entrance.is_tls = true;
    Ok((Stream::Tls(Box::new(stream)), entrance))
}

impl Config {
    fn admit_process(&self, peer: Peer) -> Result<(), Turned> {
        match (&self.peer_uids, peer) {
            (Some(uids), Peer::Process { uid }) if !uids.contains(&uid) => Err(Turned::User {
                peer,
                listener: self.name.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// A list of addresses is about those that have one. A process on this machine has passed
    /// [`Self::admit_process`], unless its listener's senders announce others: then it is one of
    /// them that did not say for whom.
    fn admit_address(&self, peer: Peer) -> Result<(), Turned> {
        let is_in = match (&self.allow, peer) {
            (None, _) => true,
            (Some(networks), Peer::Address(address)) => {
                networks.iter().any(|network| network.contains(address))
            }
            (Some(_), Peer::Process { .. }) => false,
        };
        if is_in {
            return Ok(());
        }
        Err(Turned::Address {
            peer,
            listener: self.name.clone(),
        })
    }

    fn admit_sender(&self, peer: Peer) -> Result<(), Turned> {
        let is_in = self.senders.as_ref().is_some_and(|senders| match peer {
            Peer::Address(address) => senders.networks.iter().any(|it| it.contains(address)),
            Peer::Process { .. } => senders.processes,
        });
        if is_in {
            return Ok(());
        }
        Err(Turned::Sender {
            peer,
            listener: self.name.clone(),
        })
    }
}
