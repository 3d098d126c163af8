//! Callers that speak HTTP/2, over TCP and over TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::caller::PATIENCE;

/// Runs a test's own side.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async { timeout(PATIENCE, test).await.expect("in time") })
}

/// A connection to the proxy, and what tells when it ended.
pub async fn connect<B>(address: SocketAddr) -> (SendRequest<B>, JoinHandle<hyper::Result<()>>)
where
    B: Body + Unpin + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    over(TcpStream::connect(address).await.expect("it listens")).await
}

/// The same over a connection that a test has made.
pub async fn over<B>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> (SendRequest<B>, JoinHandle<hyper::Result<()>>)
where
    B: Body + Unpin + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (sender, connection) = Builder::new(TokioExecutor::new())
        .initial_stream_window_size(65_536)
        .initial_connection_window_size(1_000_000)
        .handshake(TokioIo::new(stream))
        .await
        .expect("HTTP/2");
    (sender, tokio::spawn(connection))
}

/// Shakes hands with the proxy by the name `one.example`.
pub async fn shake(stream: TcpStream, config: Arc<ClientConfig>) -> TlsStream<TcpStream> {
    let name = ServerName::try_from("one.example").expect("a name");
    let shaken = TlsConnector::from(config).connect(name, stream).await;
    shaken.expect("a handshake")
}

/// A GET.
pub fn request<B>(path: &str, body: B) -> Request<B> {
    Request::builder()
        .uri(format!("http://localhost{path}"))
        .body(body)
        .expect("a request")
}

/// The whole body.
pub async fn text(answer: Response<Incoming>) -> String {
    let body = answer.into_body().collect().await.expect("a whole body");
    String::from_utf8(body.to_bytes().to_vec()).expect("text")
}
