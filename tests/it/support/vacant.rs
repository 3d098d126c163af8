//! An address where nobody listens.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};

/// The address. As long as this is there, nobody else gets its port: whoever connects is refused.
pub struct Vacant {
    socket: OwnedFd,
    /// Which it is.
    pub address: SocketAddr,
}

impl Vacant {
    /// One on loopback.
    pub fn new() -> Self {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let address = getsockname(&socket).expect("its address");
        Self {
            address: address.try_into().expect("an IP address"),
            socket,
        }
    }

    /// Listens there from now on.
    pub fn listen(self) -> TcpListener {
        listen(&self.socket, 128).expect("it listens");
        self.socket.into()
    }
}
