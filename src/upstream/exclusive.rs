//! HTTP/1 to an upstream (RFC 9112): a connection that one request has at a time.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::broken::Broken;
use super::http1::{Coming, Connection, Line};
use crate::body::RequestBody;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// How much sooner than announced the other side is taken to close a free connection: what is sent
/// at that moment is lost, and its clock began when it wrote its answer.
const MARGIN: Duration = Duration::from_secs(4);

/// A connection that one request has at a time.
#[derive(Debug)]
pub(super) struct Exclusive {
    /// Gone when something has gone wrong with it, or when a task has taken it over.
    connection: Option<Box<Connection>>,
    /// From when on it carries no further request.
    ends: Instant,
    /// How long the other side keeps it when it is free, less the margin.
    announced: Option<Duration>,
}

impl Exclusive {
    /// HTTP/1 on an open connection.
    pub(super) fn new(stream: TlsStream<TcpStream>, ends: Instant, title_case: bool) -> Self {
        Self {
            connection: Some(Connection::new(stream, title_case)),
            ends,
            announced: None,
        }
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// # Errors
    ///
    /// A [`Broken`]; the connection carries nothing more then.
    pub(super) async fn send<B>(
        &mut self,
        request: &Request<B>,
        authority: &HeaderValue,
        body: RequestBody,
    ) -> Result<Response<Coming>, Broken> {
        let connection = self.connection.take().ok_or(Broken::Closed)?;
        let (answer, connection) = connection.send(request, authority, body).await?;
        self.connection = connection;
        self.learn(answer.headers());
        Ok(answer)
    }

    /// What an answer is read from.
    pub(super) fn connection(&mut self) -> Option<&mut Connection> {
        self.connection.as_deref_mut()
    }

    /// The connection without HTTP on it.
    pub(super) fn into_line(self) -> Option<Line> {
        Some(self.connection?.into_line())
    }

    /// Whether it can carry a request now.
    pub(super) fn is_ready(&mut self) -> bool {
        self.connection.as_mut().is_some_and(|it| it.is_ready())
    }

    /// Whether it can be kept for another request, now that an answer has been read to its end.
    pub(super) fn is_reusable(&self) -> bool {
        self.connection.as_ref().is_some_and(|it| it.is_reusable())
    }

    /// Learns from an answer how long the other side keeps it.
    fn learn(&mut self, answer: &HeaderMap) {
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
