//! What can go wrong on a connection to an upstream once it is open.

use std::error::Error;
use std::io;

use h2::Reason;

use crate::body::Fault;

/// What went wrong on a connection.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The other side closed it.
    #[error("the connection was closed")]
    Closed,
    /// The other side closed it in the middle of an answer.
    #[error("the connection was closed in the middle of the answer")]
    Truncated,
    /// It failed.
    #[error("the connection broke")]
    Io(#[source] io::Error),
    /// What came is not HTTP/1.
    #[error("the answer is malformed: {0}")]
    Malformed(&'static str),
    /// The request's body could not be sent to its end.
    #[error(transparent)]
    Body(Fault),
    /// HTTP/2 came to a bad end.
    #[error(transparent)]
    Shared(#[from] hyper::Error),
}

impl Broken {
    /// Whether the connection ended before a byte of an answer came.
    pub(super) fn is_closed_early(&self) -> bool {
        match self {
            Self::Closed | Self::Io(_) => true,
            Self::Shared(error) => {
                error.is_incomplete_message()
                    || error.is_closed()
                    || error.is_canceled()
                    || error.source().is_some_and(<dyn Error>::is::<io::Error>)
                    || self.h2().is_some_and(h2::Error::is_io)
            }
            Self::Truncated | Self::Malformed(_) | Self::Body(_) => false,
        }
    }

    /// Whether the other side says that it has not looked at the request: its connection was ending
    /// (RFC 9113 section 6.8: the request is none of those up to the last one it names) or it had no
    /// room (section 8.7).
    pub(super) fn is_unprocessed(&self) -> bool {
        self.h2().is_some_and(|error| {
            let is_refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
            error.is_remote() && (error.is_go_away() || is_refused)
        })
    }

    /// Whether it ends this request alone, and not the connection.
    pub(super) fn is_reset_of_one(&self) -> bool {
        self.h2().is_some_and(h2::Error::is_reset)
    }

    /// Whether what the other side sent was no HTTP, or more of it than is taken.
    pub(super) fn is_malformed(&self) -> bool {
        match self {
            Self::Malformed(_) => true,
            Self::Shared(error) => error.is_parse() || self.h2().is_some_and(h2::Error::is_library),
            _ => false,
        }
    }

    fn h2(&self) -> Option<&h2::Error> {
        match self {
            Self::Shared(error) => error.source()?.downcast_ref(),
            _ => None,
        }
    }
}
