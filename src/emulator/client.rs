//! A plain HTTPS client for the emulators' own tests.

#![allow(
    clippy::unwrap_used,
    reason = "a test that panics has failed, as it should"
)]

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Body, Cut, Running, Vendor};

/// One connection to an emulator.
pub(super) struct Client<B> {
    sender: SendRequest<B>,
    host: &'static str,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) head: http::response::Parts,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        self.head.status
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.head.headers[name].to_str().unwrap()
    }
}

impl<B> Client<B>
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: std::error::Error + Send + Sync,
{
    /// Connects to an emulator, verifying that its certificate has `host`'s name.
    pub(super) async fn connect<V: Vendor>(running: &Running<V>, host: &'static str) -> Self {
        let stream = tls(running, host).await;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Client { sender, host }
    }

    /// Sends a request, with `Host` where it has none, and reads the answer to its end.
    pub(super) async fn send(&mut self, request: Request<B>) -> hyper::Result<Answer> {
        let (head, body) = self.open(request).await?.into_parts();
        let body = collect(body).await?;
        Ok(Answer { head, body })
    }

    /// Sends a request and waits for the answer's head only.
    pub(super) async fn open(
        &mut self,
        mut request: Request<B>,
    ) -> hyper::Result<Response<Incoming>> {
        let host = HeaderValue::from_static(self.host);
        request.headers_mut().entry(header::HOST).or_insert(host);
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }
}

/// A connection to send on what HTTP clients would not.
pub(super) async fn tls<V: Vendor>(
    running: &Running<V>,
    host: &'static str,
) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(running.ca_pem().as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(running.address()).await.unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from(host).unwrap(), stream)
        .await
        .unwrap()
}

/// The whole of a body.
pub(super) async fn collect(body: Incoming) -> hyper::Result<Bytes> {
    let mut body = pin!(body);
    let mut whole = BytesMut::new();
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        if let Ok(data) = frame?.into_data() {
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole.freeze())
}

/// No body.
pub(super) fn empty() -> Body {
    Body::from(Bytes::new())
}

/// Runs a test's async part.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// A body that repeats one chunk, of a length not told beforehand.
pub(super) struct Repeat {
    pub(super) chunk: Bytes,
    pub(super) times: usize,
}

impl http_body::Body for Repeat {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        Poll::Ready(self.times.checked_sub(1).map(|left| {
            self.times = left;
            Ok(Frame::data(self.chunk.clone()))
        }))
    }
}
