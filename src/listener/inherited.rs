//! Sockets that systemd hands over (sd_listen_fds(3)). systemd keeps them open: while one process
//! ends and the next one starts, callers wait, and none is refused.
//!
//! A descriptor is a number that any code may close, so that taking one over by its number is not
//! safe by itself. The crate `listenfd` does it, once, before anything else is opened.

use std::io;
use std::sync::OnceLock;

use listenfd::ListenFd;

use super::address::Address;
use super::bind::Listening;

/// What was handed over to this process.
static SOCKETS: OnceLock<Vec<Inherited>> = OnceLock::new();

/// A socket that was handed over.
#[derive(Debug)]
struct Inherited {
    name: String,
    socket: Listening,
}

/// Takes over what was handed over, and takes it out of the environment for programs that this one
/// runs. To be called before there is a second thread, for the sake of the environment. Gives what
/// is wrong with sockets that cannot be used.
pub fn take_over() -> Vec<String> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    // Without it, they are those of whichever process before this one they were meant for.
    if std::env::var_os("LISTEN_PID").is_none() {
        return Vec::new();
    }
    let mut handed = ListenFd::from_env();
    let mut names = names.split(':');
    let mut wrong = Vec::new();
    let mut sockets = Vec::new();
    for index in 0..handed.len() {
        // systemd's own word for a socket without a name.
        let name = names
            .next()
            .filter(|it| !it.is_empty())
            .unwrap_or("unknown");
        match take(&mut handed, index) {
            Ok(socket) => sockets.push(Inherited {
                name: name.to_owned(),
                socket,
            }),
            Err(error) => wrong.push(format!("the socket `{name}` cannot be used: {error}")),
        }
    }
    // A second call finds nothing in the environment, and changes nothing.
    let _ = SOCKETS.set(sockets);
    wrong
}

fn take(handed: &mut ListenFd, index: usize) -> io::Result<Listening> {
    let socket = match handed.take_unix_listener(index) {
        Ok(Some(socket)) => Listening::unix(socket),
        _ => match handed.take_tcp_listener(index)? {
            Some(socket) => Listening::tcp(socket),
            None => return Err(io::ErrorKind::NotFound.into()),
        },
    };
    // `Accept=yes` in the unit hands over connections.
    if rustix::net::sockopt::socket_acceptconn(&socket)? {
        Ok(socket.outliving())
    } else {
        Err(io::Error::other(
            "it does not listen (its unit needs Accept=no)",
        ))
    }
}

/// The socket of that name, for so many workers, and the address it has.
pub(super) fn listen(name: &str, workers: usize) -> io::Result<(Address, Vec<Listening>)> {
    let sockets = SOCKETS.get().map(Vec::as_slice).unwrap_or_default();
    let mut found = sockets.iter().filter(|it| it.name == name);
    let Some(Inherited { socket, .. }) = found.next() else {
        let names: Vec<&str> = sockets.iter().map(|it| it.name.as_str()).collect();
        let said = match names.as_slice() {
            [] => "systemd has handed over no socket".to_owned(),
            names => format!(
                "systemd has handed over {}, by the FileDescriptorName= of their units",
                names.join(", ")
            ),
        };
        return Err(io::Error::new(io::ErrorKind::NotFound, said));
    };
    if found.next().is_some() {
        let said = "systemd has handed over several of this name; give each a unit and a FileDescriptorName= of its own";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, said));
    }
    let clones = (0..workers).map(|_| socket.try_clone());
    let address = socket.address();
    let address = address.unwrap_or_else(|| Address::Inherited(name.to_owned()));
    Ok((address, clones.collect::<io::Result<_>>()?))
}
