//! What systemd is told (`sd_notify(3)`): a datagram to the socket that it names, if it names one.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use rustix::time::{ClockId, clock_gettime};

/// What there is to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The listeners accept, and what was read last is in force.
    Ready,
    /// The configuration is read again.
    Reloading,
    /// The end has begun.
    Stopping,
}

/// Tells the supervisor, if there is one. What goes wrong with that is logged and nothing else: it
/// must not keep requests from being served.
pub fn tell(state: State) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = send(&name.into_vec(), &message(state)) {
        tracing::warn!(%error, "cannot tell systemd how things are ($NOTIFY_SOCKET)");
    }
}

fn message(state: State) -> String {
    match state {
        State::Ready => "READY=1".into(),
        State::Stopping => "STOPPING=1".into(),
        State::Reloading => {
            // `Type=notify-reload` wants to know that this answers its own signal.
            let now = clock_gettime(ClockId::Monotonic);
            let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
            format!("RELOADING=1\nMONOTONIC_USEC={micros}")
        }
    }
}

fn send(name: &[u8], message: &str) -> io::Result<()> {
    let address = match name {
        // An abstract name, written with `@` for the zero byte.
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
        path => SocketAddr::from_pathname(Path::new(std::ffi::OsStr::from_bytes(path)))?,
    };
    let socket = UnixDatagram::unbound()?;
    // Never wait for a supervisor that does not read.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(message.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_comes_out_at_a_path_and_at_an_abstract_name() {
        let unique = uuid::Uuid::new_v4();
        let path = std::env::temp_dir().join(format!("countersign-notify-{unique}"));
        let at_path = UnixDatagram::bind(&path).expect("a socket");
        let name = format!("countersign-notify-{unique}");
        let abstract_address = SocketAddr::from_abstract_name(&name).expect("a name");
        let at_name = UnixDatagram::bind_addr(&abstract_address).expect("a socket");
        let path_bytes = path.as_os_str().as_bytes();
        for (socket, name) in [
            (at_path, path_bytes.to_vec()),
            (at_name, format!("@{name}").into_bytes()),
        ] {
            send(&name, &message(State::Reloading)).expect("sent");
            let mut bytes = [0; 100];
            let read = socket.recv(&mut bytes).expect("a datagram");
            let text = std::str::from_utf8(&bytes[..read]).expect("text");
            assert!(text.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{text}");
        }
        let _ = std::fs::remove_file(path);
    }
}
