//! HTTP/1 to an upstream (RFC 9112): a connection that one request has at a time.

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::pool::{BUFFER, HEAD};
use crate::body::RequestBody;

/// The most headers of an answer.
const HEADERS: usize = 128;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// How much sooner than announced the other side is taken to close a free connection: what is sent
/// at that moment is lost, and its clock began when it wrote its answer.
const MARGIN: Duration = Duration::from_secs(4);

/// A connection that one request has at a time.
#[derive(Debug)]
pub(super) struct Exclusive {
    sender: SendRequest<RequestBody>,
    /// From when on it carries no further request.
    ends: Instant,
    /// How long the other side keeps it when it is free, less the margin.
    announced: Option<Duration>,
    is_used_up: bool,
}

impl Exclusive {
    /// Begins HTTP/1 on a connection.
    ///
    /// # Errors
    ///
    /// If the connection breaks at once.
    pub(super) async fn begin(
        io: TokioIo<TlsStream<TcpStream>>,
        ends: Instant,
        title_case: bool,
    ) -> hyper::Result<Self> {
        let (sender, connection) = http1::Builder::new()
            .title_case_headers(title_case)
            .max_headers(HEADERS)
            .max_header_size(HEAD)
            .max_buf_size(BUFFER)
            .handshake(io)
            .await?;
        // The task ends with the connection, and with the worker's runtime at the latest. What
        // goes wrong on it is told to the request that is on it.
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::trace!(%error, "an upstream connection ended");
            }
        });
        Ok(Self {
            sender,
            ends,
            announced: None,
            is_used_up: false,
        })
    }

    /// Sends a request.
    pub(super) fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>> + use<>
    {
        self.sender.try_send_request(request)
    }

    /// Whether it can carry a request now.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Waits until it can carry a request; gives whether it ever will.
    pub(super) async fn ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Whether it has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Has it carry no further request.
    pub(super) fn use_up(&mut self) {
        self.is_used_up = true;
    }

    /// Whether it must not carry another request.
    pub(super) fn is_used_up(&self) -> bool {
        self.is_used_up
    }

    /// Learns from an answer how long the other side keeps it.
    pub(super) fn learn(&mut self, answer: &HeaderMap) {
        if let Some(value) = answer.get(KEEP_ALIVE) {
            self.announced = announced(value);
        }
    }

    /// Until when it may wait for its next request, if that is `idle` at most.
    pub(super) fn idle_until(&self, idle: Duration) -> Instant {
        let idle = self.announced.map_or(idle, |announced| idle.min(announced));
        (Instant::now() + idle).min(self.ends)
    }
}

/// How long a free connection may be kept whose server says `Keep-Alive: timeout=60`. A server that
/// keeps its connections for a few seconds leaves little, and is still worth a burst of requests.
fn announced(value: &HeaderValue) -> Option<Duration> {
    let mut parameters = value.to_str().ok()?.split(',').map(str::trim);
    let seconds = parameters.find_map(|it| it.strip_prefix("timeout="))?;
    let whole = Duration::from_secs(seconds.parse().ok()?);
    Some(whole.saturating_sub(MARGIN).max(whole / 4))
}

/// Says in HTTP/1 where a request goes, whatever an attempt over HTTP/2 has made of it before.
pub(super) fn address(request: &mut Request<RequestBody>, authority: &HeaderValue) {
    if request.uri().authority().is_some() {
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.map(Uri::from).unwrap_or_default();
        *request.version_mut() = Version::HTTP_11;
        if request.body().size_hint().exact().is_none() {
            let chunked = HeaderValue::from_static("chunked");
            request
                .headers_mut()
                .insert(header::TRANSFER_ENCODING, chunked);
        }
    }
    let headers = request.headers_mut();
    if headers.get(header::HOST) != Some(authority) {
        headers.insert(header::HOST, authority.clone());
    }
    // For a connection of its own (RFC 9110 section 10.1.4), and meant for HTTP/2.
    headers.remove(header::TE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_connection_is_given_up_before_its_server_does() {
        let kept = |value| announced(&HeaderValue::from_static(value));
        assert_eq!(kept("timeout=60"), Some(Duration::from_secs(56)));
        assert_eq!(
            kept("max=100, timeout=5"),
            Some(Duration::from_millis(1250))
        );
        assert_eq!(kept("timeout=0"), Some(Duration::ZERO));
        assert_eq!(kept("max=100"), None);
        assert_eq!(kept("timeout=soon"), None);
    }
}
