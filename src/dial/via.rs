//! A parent proxy on the way: asked for a tunnel (CONNECT, RFC 9110 section 9.3.6), through which the
//! handshake with the other side itself then goes. The proxy sees a name and a port, and nothing
//! that was not encrypted for somebody else.

use std::io;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// The largest answer of a proxy.
const HEAD: usize = 8 * 1024;

/// A parent proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    /// Its name or address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who we are to it, if it asks.
    pub login: Option<Login>,
}

/// A user of a parent proxy.
#[derive(Clone, Debug)]
pub struct Login {
    /// The user's name.
    pub user: String,
    /// The value of `Proxy-Authorization`.
    value: Arc<Secret>,
}

impl Login {
    /// The scheme Basic (RFC 7617 section 2), which is all that is spoken here.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with the name.
    pub fn basic(user: &str, password: &Secret) -> Result<Self, String> {
        if user.contains([':', '\r', '\n']) {
            return Err("a user's name cannot have a colon in it".into());
        }
        let mut pair = Zeroizing::new(Vec::with_capacity(256));
        pair.extend_from_slice(user.as_bytes());
        pair.push(b':');
        pair.extend_from_slice(password.expose());
        let value = Zeroizing::new(STANDARD.encode(&*pair));
        Ok(Self {
            user: user.to_owned(),
            value: Arc::new(Secret::from(format!("Basic {}", *value))),
        })
    }
}

impl Eq for Login {}

impl PartialEq for Login {
    /// Both sides come from the configuration, and nobody is there to measure how long it takes.
    fn eq(&self, other: &Self) -> bool {
        self.value.expose() == other.value.expose()
    }
}

/// Why a proxy gave no tunnel.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// It hung up.
    #[error("the proxy on the way hung up")]
    BrokeOff(#[from] io::Error),
    /// It wants to know who asks (407).
    #[error("the proxy on the way wants a login (407): give `via` a user and a password")]
    LoginWanted,
    /// It knows who asks, and does not want them (407).
    #[error(
        "the proxy on the way refused the login of `{0}` (407): is the password right, and does it take the scheme Basic?"
    )]
    LoginRefused(String),
    /// It refused otherwise, with this status.
    #[error("the proxy on the way answered {0}")]
    Refused(String),
    /// What it said is no answer in HTTP/1.
    #[error("the proxy on the way does not answer in HTTP/1")]
    NotHttp,
}

impl TunnelError {
    /// Whether the proxy would open the tunnel for somebody else.
    #[must_use]
    pub fn is_about_login(&self) -> bool {
        matches!(self, Self::LoginWanted | Self::LoginRefused(_))
    }
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
        let bad = || "a proxy is written http://HOST:PORT, without path or query".to_owned();
        if text.contains('@') {
            let with_login = r#"a proxy's login stands beside its URL: { url = "http://HOST:PORT", user = "…", password = { file = "…" } }"#;
            return Err(with_login.to_owned());
        }
        if text.starts_with("https://") {
            let plain = "a proxy is asked for a tunnel in plain HTTP, and TLS goes through it: http://HOST:PORT";
            return Err(plain.to_owned());
        }
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
            login: None,
        })
    }

    /// Asks for a tunnel to `authority`, a name or address with its port.
    ///
    /// # Errors
    ///
    /// What the proxy said, or that it said nothing that makes sense.
    pub(super) async fn tunnel(
        &self,
        stream: &mut TcpStream,
        authority: &str,
    ) -> Result<(), TunnelError> {
        stream.write_all(&self.request(authority)).await?;
        let mut head = Vec::new();
        // Byte by byte: what comes behind the head is no longer the proxy's.
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() == HEAD {
                return Err(TunnelError::NotHttp);
            }
            head.push(stream.read_u8().await?);
        }
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let mut words = line.split(|byte| *byte == b' ');
        if !words.next().is_some_and(|it| it.starts_with(b"HTTP/1.")) {
            return Err(TunnelError::NotHttp);
        }
        match (words.next(), &self.login) {
            (Some([b'2', _, _]), _) => Ok(()),
            (Some(b"407"), None) => Err(TunnelError::LoginWanted),
            (Some(b"407"), Some(login)) => Err(TunnelError::LoginRefused(login.user.clone())),
            (Some(status @ [_, _, _]), _) if status.iter().all(u8::is_ascii_digit) => Err(
                TunnelError::Refused(String::from_utf8_lossy(status).into_owned()),
            ),
            _ => Err(TunnelError::NotHttp),
        }
    }

    fn request(&self, authority: &str) -> Zeroizing<Vec<u8>> {
        let mut request = Zeroizing::new(Vec::with_capacity(1024));
        let line = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
        request.extend_from_slice(line.as_bytes());
        if let Some(login) = &self.login {
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(login.value.expose());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        request
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
                login: None,
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

    #[test]
    fn a_login_goes_with_the_question_and_is_never_shown() {
        let mut via = Via::parse("http://proxy:3128").expect("a proxy");
        let password = Secret::from("open sesame".to_owned());
        via.login = Some(Login::basic("Aladdin", &password).expect("a login"));
        let request = String::from_utf8(via.request("acme.example:443").to_vec()).expect("text");
        assert!(
            request
                .ends_with("\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"),
            "{request}"
        );
        assert!(!format!("{via:?}").contains("QWxh"), "{via:?}");
        assert!(Login::basic("a:b", &password).is_err());
    }
}
