//! How a listener's sockets are made, one listener at a time, at any moment.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use tokio::net::TcpSocket;

use super::address::Address;
use super::stream::Socket;
use super::unix;
use super::{Config, inherited};

pub use super::unix::SocketFile;

/// How many connections may wait to be accepted, for each worker.
pub(super) const BACKLOG: u32 = 1024;

/// A socket that callers connect to.
#[derive(Debug)]
pub struct Listening {
    kind: Kind,
    /// Whether somebody else keeps it open when this process has closed it, for the one that comes
    /// next.
    outlives: bool,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listening {
    pub(super) fn tcp(socket: TcpListener) -> Self {
        Self {
            kind: Kind::Tcp(socket),
            outlives: false,
        }
    }

    pub(super) fn unix(socket: UnixListener) -> Self {
        Self {
            kind: Kind::Unix(socket),
            outlives: false,
        }
    }

    /// The same, as one that outlives this process.
    pub(super) fn outliving(self) -> Self {
        Self {
            outlives: true,
            ..self
        }
    }

    pub(super) fn try_clone(&self) -> io::Result<Self> {
        let kind = match &self.kind {
            Kind::Tcp(socket) => socket.try_clone().map(Kind::Tcp),
            Kind::Unix(socket) => socket.try_clone().map(Kind::Unix),
        };
        Ok(Self {
            kind: kind?,
            outlives: self.outlives,
        })
    }

    /// Where it listens; `None` for a Unix socket without a name.
    pub(super) fn address(&self) -> Option<Address> {
        match &self.kind {
            Kind::Tcp(socket) => socket.local_addr().map(Address::Ip).ok(),
            Kind::Unix(socket) => {
                let address = socket.local_addr().ok()?;
                address.as_pathname().map(|path| Address::Unix(path.into()))
            }
        }
    }
}

impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.kind {
            Kind::Tcp(socket) => socket.as_fd(),
            Kind::Unix(socket) => socket.as_fd(),
        }
    }
}

/// An address that is listened at, with a socket for each worker.
#[derive(Debug)]
pub struct Bound {
    /// The address: with the port that was chosen, or that of a socket which was handed over.
    pub address: Address,
    /// One a worker. The kernel spreads connections over those of an IP address; any other is one
    /// socket, and the worker that is first takes the connection.
    pub sockets: Vec<Listening>,
    /// The socket's file, to be removed when nobody is let in any more.
    pub file: Option<Arc<SocketFile>>,
}

/// An address could not be listened at.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}{}", hint(.address, .source))]
pub struct BindError {
    /// The address.
    pub address: Address,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// What the system's word amounts to here; where it is our own, that word.
fn hint(address: &Address, error: &io::Error) -> String {
    if let Some(own) = error.get_ref() {
        return format!(": {own}");
    }
    let hint = match (address, error.kind()) {
        (Address::Ip(address), io::ErrorKind::AddrInUse) => {
            let port = address.port();
            return format!(
                ", where another process listens already; `ss -ltnp sport = :{port}` shows which"
            );
        }
        (_, io::ErrorKind::AddrInUse) => ", where another process listens already",
        (Address::Ip(_), io::ErrorKind::PermissionDenied) => {
            ", which needs the right to bind ports below 1024 (CAP_NET_BIND_SERVICE)"
        }
        (Address::Ip(_), io::ErrorKind::AddrNotAvailable) => {
            ", which is no address of this machine"
        }
        (Address::Unix(_), io::ErrorKind::PermissionDenied) => {
            ", whose folder this process may not write"
        }
        (Address::Unix(_), io::ErrorKind::NotFound) => ", whose folder does not exist",
        _ => "",
    };
    hint.to_owned()
}

/// Listens for so many workers. A runtime with I/O must be around.
///
/// # Errors
///
/// [`BindError`] with the address.
pub fn bind(config: &Config, workers: usize) -> Result<Bound, BindError> {
    let bound = match &config.address {
        Address::Ip(address) => bind_ip(*address, workers),
        Address::Unix(path) => unix::listen(path, config.mode).and_then(|(socket, file)| {
            let socket = Listening::unix(socket);
            let clones = (0..workers).map(|_| socket.try_clone());
            Ok(Bound {
                address: config.address.clone(),
                sockets: clones.collect::<io::Result<_>>()?,
                file: Some(Arc::new(file)),
            })
        }),
        Address::Inherited(name) => {
            inherited::listen(name, workers).map(|(address, sockets)| Bound {
                address,
                sockets,
                file: None,
            })
        }
    };
    bound.map_err(|source| BindError {
        address: config.address.clone(),
        source,
    })
}

fn bind_ip(address: SocketAddr, workers: usize) -> io::Result<Bound> {
    let address = probe(address)?;
    let sockets = (0..workers).map(|_| listen(address).map(Listening::tcp));
    Ok(Bound {
        address: Address::Ip(address),
        sockets: sockets.collect::<io::Result<_>>()?,
        file: None,
    })
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

/// A listening socket at work, in one worker.
#[derive(Debug)]
pub struct Acceptor {
    kind: Accepting,
    outlives: bool,
}

#[derive(Debug)]
enum Accepting {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Acceptor {
    /// Puts a socket to work in the runtime around.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn new(socket: Listening) -> io::Result<Self> {
        let kind = match socket.kind {
            Kind::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                tokio::net::TcpListener::from_std(socket).map(Accepting::Tcp)
            }
            Kind::Unix(socket) => {
                socket.set_nonblocking(true)?;
                tokio::net::UnixListener::from_std(socket).map(Accepting::Unix)
            }
        };
        Ok(Self {
            kind: kind?,
            outlives: socket.outlives,
        })
    }

    /// Whether the socket is left to the process that comes next. Any other is emptied before it is
    /// closed, which would lose those that wait.
    #[must_use]
    pub fn outlives(&self) -> bool {
        self.outlives
    }

    /// Takes the next connection.
    ///
    /// # Errors
    ///
    /// What the system says; the next call may well succeed.
    pub async fn accept(&self) -> io::Result<Socket> {
        match &self.kind {
            Accepting::Tcp(socket) => socket.accept().await.map(|it| Socket::Tcp(it.0)),
            Accepting::Unix(socket) => socket.accept().await.map(|it| Socket::Unix(it.0)),
        }
    }
}
