//! A caller's connection, whatever it comes over.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

use super::address::Peer;

/// A connection as the system gave it.
#[derive(Debug)]
pub enum Socket {
    /// From an IP address.
    Tcp(TcpStream),
    /// From this machine.
    Unix(UnixStream),
}

impl Socket {
    /// Who is on the other side.
    ///
    /// # Errors
    ///
    /// If the system does not know any more: the other side is gone.
    pub fn peer(&self) -> io::Result<Peer> {
        match self {
            Self::Tcp(stream) => Ok(Peer::Address(stream.peer_addr()?.ip())),
            Self::Unix(stream) => Ok(Peer::Process {
                uid: stream.peer_cred()?.uid(),
            }),
        }
    }

    /// The address on our side; none of a Unix socket.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn local(&self) -> io::Result<Option<IpAddr>> {
        match self {
            Self::Tcp(stream) => Ok(Some(stream.local_addr()?.ip())),
            Self::Unix(_) => Ok(None),
        }
    }

    /// The first byte that is to be read, without reading it.
    pub(super) async fn peek(&self) -> io::Result<u8> {
        let mut first = [0];
        let look = || Ok(rustix::net::recv(self, &mut first, RecvFlags::PEEK)?.1);
        let length = match self {
            Self::Tcp(stream) => stream.async_io(Interest::READABLE, look).await?,
            Self::Unix(stream) => stream.async_io(Interest::READABLE, look).await?,
        };
        match length {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(first[0]),
        }
    }

    /// Sends small answers at once. A Unix socket always does.
    pub(super) fn set_nodelay(&self) {
        if let Self::Tcp(stream) = self {
            let _ = stream.set_nodelay(true);
        }
    }
}

/// A connection that HTTP is spoken over.
#[derive(Debug)]
pub enum Stream {
    /// As the system gave it.
    Plain(Socket),
    /// With TLS over it.
    Tls(Box<TlsStream<Socket>>),
}

impl Stream {
    /// The protocol that both sides agreed on in the TLS handshake (RFC 7301), if they did.
    #[must_use]
    pub fn negotiated(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol(),
        }
    }

    fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }
}

/// Reads and writes by way of whatever a connection really is.
macro_rules! pass_on {
    ($name:ident: $($variant:ident)|+) => {
        impl AsyncRead for $name {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant(inner) => Pin::new(inner).poll_read(context, buffer),)+
                }
            }
        }

        impl AsyncWrite for $name {
            fn poll_write(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $(Self::$variant(inner) => Pin::new(inner).poll_write(context, bytes),)+
                }
            }

            fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant(inner) => Pin::new(inner).poll_flush(context),)+
                }
            }

            fn poll_shutdown(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant(inner) => Pin::new(inner).poll_shutdown(context),)+
                }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                slices: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $(Self::$variant(inner) => {
                        Pin::new(inner).poll_write_vectored(context, slices)
                    })+
                }
            }

            fn is_write_vectored(&self) -> bool {
                match self {
                    $(Self::$variant(inner) => inner.is_write_vectored(),)+
                }
            }
        }
    };
}

pass_on!(Socket: Tcp | Unix);
pass_on!(Stream: Plain | Tls);
