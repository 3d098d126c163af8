//! A parent proxy on the way: asked for a tunnel (CONNECT, RFC 9110 section 9.3.6), through which the
//! handshake with the other side itself then goes. The proxy sees a name and a port, and nothing
//! that was not encrypted for somebody else.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The largest answer of a proxy.
const HEAD: usize = 8 * 1024;

/// A parent proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    /// Its name or address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl std::fmt::Display for Via {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "http://[{}]:{}", self.host, self.port),
            false => write!(f, "http://{}:{}", self.host, self.port),
        }
    }
}

impl Via {
    /// Reads `http://HOST:PORT`.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || "a proxy is written http://HOST:PORT, without user, path or query".to_owned();
        let authority = text.strip_prefix("http://").ok_or_else(bad)?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let name = crate::host::name_of(authority).ok_or_else(bad)?;
        let port = authority[name.len()..].strip_prefix(':').ok_or_else(bad)?;
        let host = name
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        Ok(Self {
            host,
            port: port.parse().map_err(|_| bad())?,
        })
    }

    /// Asks for a tunnel to `authority`, a name or address with its port.
    ///
    /// # Errors
    ///
    /// What the proxy said, or that it said nothing that makes sense.
    pub(super) async fn tunnel(&self, stream: &mut TcpStream, authority: &str) -> io::Result<()> {
        let request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        // Byte by byte: what comes behind the head is no longer the proxy's.
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() == HEAD {
                return Err(io::Error::other("the proxy's answer has no end"));
            }
            head.push(stream.read_u8().await?);
        }
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let mut words = line.split(|byte| *byte == b' ');
        let is_http = words.next().is_some_and(|it| it.starts_with(b"HTTP/1."));
        match words.next() {
            Some([b'2', _, _]) if is_http => Ok(()),
            Some(status) if is_http => {
                let status = String::from_utf8_lossy(status);
                Err(io::Error::other(format!(
                    "the proxy on the way answered {status}"
                )))
            }
            _ => Err(io::Error::other(
                "the proxy on the way does not answer in HTTP/1",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_a_name_and_a_port() {
        let via = |host: &str, port| {
            Ok(Via {
                host: host.into(),
                port,
            })
        };
        assert_eq!(
            Via::parse("http://proxy.corp.example:3128"),
            via("proxy.corp.example", 3128)
        );
        assert_eq!(Via::parse("http://[::1]:3128/"), via("::1", 3128));
        for bad in [
            "proxy:3128",
            "https://proxy:3128",
            "http://proxy",
            "http://u@proxy:1",
            "http://proxy:1/x",
            "",
        ] {
            assert!(Via::parse(bad).is_err(), "{bad}");
        }
    }
}
