//! Why there is no token.

use std::time::Duration;

use http::StatusCode;

use super::answer::Nonsense;
use super::call::CallError;
use crate::{jws, tls};

/// Why a source gave no token, for the operator's eyes.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The key did not sign.
    #[error("the key does not sign")]
    Sign(#[source] jws::SignError),
    /// What came out cannot stand in a header.
    #[error("the token is too long, or has characters that its place on a request cannot carry")]
    NotAHeader,
    /// A secret that is not there yet: its command has not run.
    #[error("{0} gives nothing")]
    NoSecret(String),
    /// A secret's command fails.
    #[error("{0}")]
    Command(String),
    /// The endpoint gave no answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The endpoint said no: to these credentials, as far as one can tell.
    #[error("the endpoint refused with {status}{said}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// What it said, with a colon before it.
        said: String,
    },
    /// The endpoint is in trouble.
    #[error("the endpoint answered {status}{said}")]
    Status {
        /// The status.
        status: StatusCode,
        /// What it said, with a colon before it.
        said: String,
        /// For how long it wants to be left alone.
        after: Option<Duration>,
    },
    /// The endpoint wants to be left alone.
    #[error("the endpoint is asked too often")]
    Throttled {
        /// For so long.
        after: Option<Duration>,
    },
    /// The endpoint sends us elsewhere.
    #[error(
        "the endpoint answered {0}, and no redirect is followed: it would be given the secrets"
    )]
    Redirect(StatusCode),
    /// The answer makes no sense.
    #[error(transparent)]
    Nonsense(#[from] Nonsense),
    /// The token was over before it could be used.
    #[error("the token has ended before it came")]
    TooLate,
    /// The discovery document makes no sense.
    #[error("the discovery document is of no use: {0}")]
    Discovery(String),
}

/// No token is to be had right now.
#[derive(Clone, Debug, thiserror::Error)]
#[error("credential `{credential}` has no token: {reason}")]
pub struct Unavailable {
    /// The credential's name.
    pub credential: String,
    /// Why, for the operator.
    pub reason: String,
    /// When asking again makes sense.
    pub retry_after: Duration,
}

/// An error with all its causes in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // A transparent error is its own cause's text.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&tls::words(cause));
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_its_causes_and_none_of_them_twice() {
        let cause = crate::dial::DialError::Connect {
            host: "acme.example".into(),
            tried: crate::dial::race::Tried::in_vain(([127, 0, 0, 1], 1).into()),
        };
        let error = MintError::from(CallError::from(cause));
        assert_eq!(
            chain(&error),
            "cannot connect to `acme.example`: 127.0.0.1:1: no answer"
        );
    }
}
