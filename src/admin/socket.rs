//! Where the admin pages listen: an address, or a file that only this user can connect to.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as UnixProbe;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, fs, io};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

/// An address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An IP address and a port; port 0 for any that is free.
    Tcp(SocketAddr),
    /// A Unix socket's path.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The address could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for the admin pages: {why}")]
pub struct BindError {
    address: Address,
    why: io::Error,
}

/// A bound address.
#[derive(Debug)]
pub struct Bound {
    /// The address, with the port that was chosen.
    pub address: Address,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener, PathBuf),
}

/// Binds an address.
///
/// # Errors
///
/// [`BindError`] with the address.
pub fn bind(address: &Address) -> Result<Bound, BindError> {
    let bound = match address {
        Address::Tcp(address) => bind_tcp(*address),
        Address::Unix(path) => bind_unix(path),
    };
    bound.map_err(|why| BindError {
        address: address.clone(),
        why,
    })
}

fn bind_tcp(address: SocketAddr) -> io::Result<Bound> {
    let socket = std::net::TcpListener::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(Bound {
        address: Address::Tcp(socket.local_addr()?),
        socket: Socket::Tcp(socket),
    })
}

fn bind_unix(path: &Path) -> io::Result<Bound> {
    remove_stale(path);
    let socket = std::os::unix::net::UnixListener::bind(path)?;
    // Whoever may write to the file may connect: nobody but this user, whatever the umask.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    socket.set_nonblocking(true)?;
    Ok(Bound {
        address: Address::Unix(path.to_owned()),
        socket: Socket::Unix(socket, path.to_owned()),
    })
}

/// A process that was killed leaves its socket behind, and nobody listens there any more.
fn remove_stale(path: &Path) {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if is_socket && UnixProbe::connect(path).is_err_and(refused) {
        let _ = fs::remove_file(path);
    }
}

/// A caller's stream, over either kind of socket.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// Accepts connections.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Takes a bound address over into the runtime that is around.
    pub(super) fn new(bound: Bound) -> io::Result<Self> {
        Ok(match bound.socket {
            Socket::Tcp(socket) => Self::Tcp(TcpListener::from_std(socket)?),
            Socket::Unix(socket, path) => Self::Unix(UnixListener::from_std(socket)?, path),
        })
    }

    /// The next connection, with the address on our side if it has one.
    pub(super) async fn accept(&self) -> (Box<dyn Stream>, Option<IpAddr>) {
        loop {
            let accepted = match self {
                Self::Tcp(socket) => socket.accept().await.and_then(|(stream, _)| {
                    let local = stream.local_addr()?.ip();
                    Ok((Box::new(stream) as Box<dyn Stream>, Some(local)))
                }),
                Self::Unix(socket, _) => socket
                    .accept()
                    .await
                    .map(|(stream, _)| (Box::new(stream) as Box<dyn Stream>, None)),
            };
            match accepted {
                Ok(accepted) => return accepted,
                // Out of descriptors, as a rule: they come back when connections end.
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }
}

/// How long to wait after a connection could not be accepted.
const RETRY: Duration = Duration::from_millis(50);

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            let _ = fs::remove_file(path);
        }
    }
}
