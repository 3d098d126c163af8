//! How a listener talks with its callers, once they are connected.

/// What differs from listener to listener in the life of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manners {
    /// What a caller may speak.
    pub protocols: Protocols,
    /// What a caller means that has no more to say.
    pub half_close: HalfClose,
}

/// What a caller may speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocols {
    /// HTTP/1.0 and 1.1.
    #[default]
    Http1,
    /// HTTP/2, without TLS by prior knowledge (RFC 9113 section 3.3).
    Http2,
    /// What TLS agreed on, or what the first bytes say.
    Either,
}

impl Protocols {
    /// The names that a TLS listener offers (RFC 7301), the preferred one first.
    #[must_use]
    pub fn alpn(self) -> Vec<Vec<u8>> {
        let (http1, http2) = (b"http/1.1".to_vec(), b"h2".to_vec());
        match self {
            Self::Http1 => vec![http1],
            Self::Http2 => vec![http2],
            Self::Either => vec![http2, http1],
        }
    }

    /// What is spoken after a TLS handshake that agreed on this name. Whoever takes no part in that
    /// speaks HTTP/1, where it is allowed.
    #[must_use]
    pub fn agreed(self, name: Option<&[u8]>) -> Self {
        match (self, name) {
            (Self::Either, Some(b"h2")) => Self::Http2,
            (Self::Either, _) => Self::Http1,
            (only, _) => only,
        }
    }
}

/// What a caller means that closes its side of the connection before it has its answer: the system
/// does not tell one that is gone from one that has nothing more to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HalfClose {
    /// It is gone, and what it asked for is cancelled.
    #[default]
    Abort,
    /// It waits for its answer, as `nc -N` and old scripts do. Only a reset cancels.
    Serve,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tls_agreed_on_is_spoken() {
        assert_eq!(Protocols::Either.agreed(Some(b"h2")), Protocols::Http2);
        assert_eq!(
            Protocols::Either.agreed(Some(b"http/1.1")),
            Protocols::Http1
        );
        assert_eq!(Protocols::Either.agreed(None), Protocols::Http1);
        assert_eq!(Protocols::Http1.agreed(None), Protocols::Http1);
        assert_eq!(Protocols::Http2.agreed(None), Protocols::Http2);
    }
}
