//! Where a listener listens, as the configuration writes it and as messages name it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// The longest path that the address of a Unix socket has room for, in bytes (unix(7): 108 with the
/// zero at its end).
const LONGEST: usize = 107;

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An IP address and a port; port 0 for any that is free.
    Ip(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
    /// A socket that systemd hands over, by its `FileDescriptorName=`.
    Inherited(String),
}

impl Address {
    /// Reads `127.0.0.1:8080`, `unix:PATH` or `systemd:NAME`. Relative paths start at `folder`.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with the text.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(path, folder);
        }
        if let Some(name) = text.strip_prefix("systemd:") {
            return inherited(name);
        }
        text.parse().map(Self::Ip).map_err(|_| {
            if let Some(port) = text.strip_prefix("localhost:") {
                return format!(
                    "`{text}` is a name, and names have several addresses: write 127.0.0.1:{port} or [::1]:{port}"
                );
            }
            if let Some(port) = text.strip_prefix("*:").or_else(|| text.strip_prefix(':')) {
                return format!(
                    "`{text}` says no address: 127.0.0.1:{port} is for this machine alone, 0.0.0.0:{port} for all that can reach it"
                );
            }
            format!(
                "`{text}` is not an address and a port, such as 127.0.0.1:8080 or [::1]:8080, nor unix:PATH or systemd:NAME"
            )
        })
    }

    /// The IP address and the port, if that is what it is.
    #[must_use]
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) | Self::Inherited(_) => None,
        }
    }

    /// Whether only this machine can reach it. `None` while that is for systemd to say.
    #[must_use]
    pub fn is_local(&self) -> Option<bool> {
        match self {
            Self::Ip(address) => Some(address.ip().to_canonical().is_loopback()),
            Self::Unix(_) => Some(true),
            Self::Inherited(_) => None,
        }
    }

    /// Whether two listeners cannot both listen here.
    #[must_use]
    pub fn is_taken_by(&self, other: &Self) -> bool {
        self == other && self.ip().is_none_or(|address| address.port() != 0)
    }
}

fn unix(path: &str, folder: &Path) -> Result<Address, String> {
    if path.is_empty() || path.ends_with('/') || path.contains('\0') {
        return Err(format!(
            "`unix:{path}` names no socket, such as unix:/run/countersign/http"
        ));
    }
    let path = folder.join(path);
    let length = path.as_os_str().len();
    if length > LONGEST {
        let shown = path.display();
        return Err(format!(
            "the path of a socket may have {LONGEST} bytes, and {shown} has {length}"
        ));
    }
    Ok(Address::Unix(path))
}

/// systemd takes names of up to 255 printable characters without a colon (sd_listen_fds(3)).
fn inherited(name: &str) -> Result<Address, String> {
    let is_fine = |byte: u8| byte.is_ascii_graphic() && byte != b':';
    if name.is_empty() || name.len() > 255 || !name.bytes().all(is_fine) {
        return Err(format!(
            "`systemd:{name}` is not the name of a socket, which FileDescriptorName= in its unit gives"
        ));
    }
    Ok(Address::Inherited(name.to_owned()))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Inherited(name) => write!(f, "systemd:{name}"),
        }
    }
}

/// Who is on the other side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Whoever has this address; that of a sender's PROXY header where there is one.
    Address(IpAddr),
    /// A process of this user, by way of a Unix socket.
    Process {
        /// The user it ran as when it connected.
        uid: u32,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Process { uid } => write!(f, "uid:{uid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_shown_as_it_is_written() {
        for text in [
            "127.0.0.1:8080",
            "[::1]:0",
            "unix:/run/countersign/http",
            "systemd:http",
        ] {
            let address = Address::parse(text, Path::new("/etc")).expect(text);
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn a_relative_path_starts_at_the_folder() {
        assert_eq!(
            Address::parse("unix:http.sock", Path::new("/etc/countersign")),
            Ok(Address::Unix("/etc/countersign/http.sock".into()))
        );
    }

    #[test]
    fn what_is_no_address_is_refused_with_a_sentence() {
        let long = format!("unix:/{}", "a".repeat(LONGEST));
        for (text, reason) in [
            ("localhost:8080", "write 127.0.0.1:8080"),
            ("*:8080", "0.0.0.0:8080 for all"),
            ("127.0.0.1", "not an address and a port"),
            ("unix:", "names no socket"),
            ("unix:/run/", "names no socket"),
            (&*long, "107 bytes"),
            ("systemd:", "FileDescriptorName="),
            ("systemd:a:b", "FileDescriptorName="),
        ] {
            let error = Address::parse(text, Path::new("")).expect_err(text);
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn loopback_and_unix_sockets_are_for_this_machine_only() {
        for (text, is_local) in [
            ("127.0.0.1:1", Some(true)),
            ("[::1]:1", Some(true)),
            ("[::ffff:127.0.0.1]:1", Some(true)),
            ("0.0.0.0:1", Some(false)),
            ("[::]:1", Some(false)),
            ("unix:/a", Some(true)),
            ("systemd:a", None),
        ] {
            let address = Address::parse(text, Path::new("")).expect(text);
            assert_eq!(address.is_local(), is_local, "{text}");
        }
    }
}
