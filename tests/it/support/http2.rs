//! Upstreams that speak HTTP/2.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use countersign::emulator::Authority;
use h2::RecvStream;
use h2::server::{Builder, SendResponse};
use http::{HeaderMap, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::LocalOptions;
use tokio::task::spawn_local;
use tokio_rustls::TlsAcceptor;

use super::canary;
use super::upstream::{NAME, Terms, server};

/// A server that speaks HTTP/2, and HTTP/1 with nobody.
pub struct Http2 {
    /// Where it listens.
    pub address: std::net::SocketAddr,
    /// Who vouches for it.
    pub ca_pem: String,
    connections: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<Request<()>>>>,
}

/// One request, and the way to answer it.
pub struct Exchange {
    /// What was asked.
    pub request: Request<RecvStream>,
    /// The way back.
    pub respond: SendResponse<Bytes>,
}

type Answering = Pin<Box<dyn Future<Output = ()>>>;
type Answer = dyn Fn(Exchange) -> Answering + Send + Sync;

impl Http2 {
    /// Answers every request as `answer` does, `streams` of a connection at once.
    pub fn with<F>(streams: u32, answer: impl Fn(Exchange) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        let authority = Authority::new().expect("an authority");
        let (certificate, key) = authority
            .server_certificate(vec![NAME.to_owned()])
            .expect("a certificate");
        let terms = Terms {
            speaks: vec![b"h2"],
            ..Terms::default()
        };
        let tls = TlsAcceptor::from(Arc::new(server(&terms, vec![certificate], key)));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("for the runtime");
        let upstream = Self {
            address: listener.local_addr().expect("an address"),
            ca_pem: authority.pem(),
            connections: Arc::default(),
            heads: Arc::default(),
        };
        let answer: Arc<Answer> = Arc::new(move |exchange| Box::pin(answer(exchange)));
        let (connections, heads) = (
            Arc::clone(&upstream.connections),
            Arc::clone(&upstream.heads),
        );
        // The thread ends with the test's process; nobody connects to it after the test.
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default())
                .expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a listener");
                loop {
                    let (stream, _) = listener.accept().await.expect("a connection");
                    connections.fetch_add(1, Ordering::SeqCst);
                    let (tls, heads) = (tls.clone(), Arc::clone(&heads));
                    let answer = Arc::clone(&answer);
                    spawn_local(hold(stream, tls, streams, heads, answer));
                }
            });
        });
        upstream
    }

    /// Answers every request with 200 and a text.
    pub fn saying(text: &'static str) -> Self {
        Self::with(100, move |mut exchange| async move {
            let mut body = exchange.respond(Response::new(()));
            let _ = body.send_data(Bytes::from_static(text.as_bytes()), true);
        })
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The heads of all requests.
    pub fn heads(&self) -> Vec<Request<()>> {
        let heads = self.heads.lock();
        heads.expect("no test panics while it holds this").clone()
    }
}

impl Exchange {
    /// Answers with a head; gives what sends the body.
    pub fn respond(&mut self, head: Response<()>) -> h2::SendStream<Bytes> {
        self.respond
            .send_response(head, false)
            .expect("the proxy takes an answer")
    }

    /// Reads the request's body.
    pub async fn read(&mut self) -> Vec<u8> {
        let mut read = Vec::new();
        while let Some(Ok(data)) = self.request.body_mut().data().await {
            let _ = self
                .request
                .body_mut()
                .flow_control()
                .release_capacity(data.len());
            read.extend(data);
        }
        read
    }

    /// The headers of the request.
    pub fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }
}

async fn hold(
    stream: TcpStream,
    tls: TlsAcceptor,
    streams: u32,
    heads: Arc<Mutex<Vec<Request<()>>>>,
    answer: Arc<Answer>,
) {
    let Ok(stream) = tls.accept(stream).await else {
        return;
    };
    let mut builder = Builder::new();
    builder.max_concurrent_streams(streams);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let (parts, body) = request.into_parts();
        if let Some(credential) = parts.headers.get("authorization") {
            canary::credential(credential.as_bytes());
        }
        let head = Request::from_parts(parts.clone(), ());
        heads
            .lock()
            .expect("no test panics while it holds this")
            .push(head);
        let exchange = Exchange {
            request: Request::from_parts(parts, body),
            respond,
        };
        spawn_local(answer(exchange));
    }
}
