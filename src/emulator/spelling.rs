//! A header's name in a spelling of its own: a vendor may send one in capitals, and its customers'
//! scripts may look for nothing else.
//!
//! The HTTP library writes names in lower case, unless the message carries a map of spellings. It
//! makes such a map when it reads a message, and there is no other way to come by one: so it is
//! given a request to read that has the name as it is to be written.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use http::header::{HeaderName, InvalidHeaderName};
use http::{Extensions, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io;
use tokio::task::coop;

use super::lock;

/// A header's name and how to spell it.
#[derive(Clone, Debug)]
pub(super) struct Spelling {
    name: HeaderName,
    map: Extensions,
}

impl Spelling {
    /// This name, spelled just so.
    pub(super) fn new(name: &str) -> Result<Self, InvalidHeaderName> {
        Ok(Spelling {
            name: name.parse()?,
            map: map(name),
        })
    }

    /// The name as the library knows it.
    pub(super) fn name(&self) -> &HeaderName {
        &self.name
    }

    /// Has a response spell the name so; there is one spelling for each response.
    pub(super) fn apply<B>(&self, response: &mut Response<B>) {
        response.extensions_mut().extend(self.map.clone());
    }
}

/// What the library notes of a request in which the name is spelled so.
fn map(name: &str) -> Extensions {
    let request = format!("GET / HTTP/1.1\r\n{name}: x\r\n\r\n");
    let noted = Mutex::new(Extensions::new());
    let service = service_fn(async |request: Request<Incoming>| {
        *lock(&noted) = request.extensions().clone();
        Ok::<_, Infallible>(Response::new(String::new()))
    });
    let stream = io::join(request.as_bytes(), io::sink());
    let connection = http1::Builder::new()
        .preserve_header_case(true)
        .keep_alive(false)
        // The request is all there is to read, and its end must not be the end of it.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    // Nothing here has to wait, so that no runtime is needed and one poll sees the request.
    let connection = pin!(coop::unconstrained(connection));
    let polled = connection.poll(&mut Context::from_waker(Waker::noop()));
    debug_assert!(
        matches!(polled, Poll::Ready(Ok(()))),
        "reading from memory neither waits nor fails: {polled:?}"
    );
    std::mem::take(&mut *lock(&noted))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a test that panics has failed, as it should"
    )]

    use super::*;

    #[test]
    fn a_spelling_is_noted_once() {
        let spelling = Spelling::new("X_Some_NAME").unwrap();
        assert_eq!(spelling.name(), "x_some_name");
        assert_eq!(spelling.map.len(), 1);
        assert!(Spelling::new("no name").is_err());
    }
}
