//! Upstreams: TLS servers that note every byte and answer as a test says.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use countersign::emulator::Authority;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::caller::PATIENCE;
use super::canary;

/// The name that the upstreams' certificates carry.
pub const NAME: &str = "upstream.example";

/// A server.
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    /// Who vouches for it.
    pub ca_pem: String,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
    connections: Arc<AtomicUsize>,
}

/// One connection to it.
pub struct Conversation {
    stream: StreamOwned<ServerConnection, TcpStream>,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
    /// The number of the connection, from 0.
    pub number: usize,
}

/// A certificate for a client, and its key, both in PEM.
pub fn client_certificate(authority: &Authority) -> (String, String) {
    let made = authority.client_certificate("the proxy");
    let (certificate, key) = made.expect("a certificate");
    (
        pem("CERTIFICATE", &certificate),
        pem("PRIVATE KEY", key.secret_der()),
    )
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|it| std::str::from_utf8(it).expect("ASCII"))
        .collect();
    let body = lines.join("\n");
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

/// What an upstream asks of TLS, beside its certificate.
#[derive(Default)]
pub struct Terms {
    /// What it speaks, as the handshake names it; it says nothing about that if this is empty.
    pub speaks: Vec<&'static [u8]>,
    /// Who vouches for its callers, which then must show a certificate.
    pub client_ca: Option<Authority>,
}

impl Upstream {
    /// Answers every request with the same bytes.
    pub fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::with(move |conversation| {
            while conversation.read_request().is_some() {
                conversation.write(&answer);
            }
        })
    }

    /// Answers every request with 200 and a text.
    pub fn saying(text: &str) -> Self {
        Self::answering(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        ))
    }

    /// Holds every connection's conversation as `hold` does, on a thread of its own.
    pub fn with(hold: impl Fn(&mut Conversation) + Send + Sync + 'static) -> Self {
        Self::on(&Terms::default(), hold)
    }

    /// The same at a certain address.
    pub fn at(
        address: SocketAddr,
        hold: impl Fn(&mut Conversation) + Send + Sync + 'static,
    ) -> Self {
        Trusted::new(address).start(hold)
    }

    /// The same on other terms.
    pub fn on(terms: &Terms, hold: impl Fn(&mut Conversation) + Send + Sync + 'static) -> Self {
        let authority = Authority::new().expect("an authority");
        let (certificate, key) = authority
            .server_certificate(vec![NAME.to_owned()])
            .expect("a certificate");
        let config = server(terms, vec![certificate], key);
        Self::serve(anywhere(), authority.pem(), config, hold)
    }

    /// The same with another certificate.
    pub fn with_certificate(
        ca_pem: String,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        hold: impl Fn(&mut Conversation) + Send + Sync + 'static,
    ) -> Self {
        let config = server(&Terms::default(), chain, key);
        Self::serve(anywhere(), ca_pem, config, hold)
    }

    fn serve(
        listener: TcpListener,
        ca_pem: String,
        config: ServerConfig,
        hold: impl Fn(&mut Conversation) + Send + Sync + 'static,
    ) -> Self {
        let upstream = Self {
            address: listener.local_addr().expect("an address"),
            ca_pem,
            requests: Arc::default(),
            connections: Arc::default(),
        };
        let (requests, connections) = (
            Arc::clone(&upstream.requests),
            Arc::clone(&upstream.connections),
        );
        let (config, hold) = (Arc::new(config), Arc::new(hold));
        // The thread ends with the test's process; nobody connects to it after the test.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                stream.set_nodelay(true).expect("no delay");
                let number = connections.fetch_add(1, Ordering::SeqCst);
                let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
                let mut conversation = Conversation {
                    stream: StreamOwned::new(connection, stream),
                    requests: Arc::clone(&requests),
                    number,
                };
                let hold = Arc::clone(&hold);
                thread::spawn(move || hold(&mut conversation));
            }
        });
        upstream
    }

    /// Every request that was read, byte for byte.
    pub fn requests(&self) -> Vec<String> {
        let requests = self
            .requests
            .lock()
            .expect("no test panics while it holds this");
        requests
            .iter()
            .map(|it| String::from_utf8_lossy(it).into_owned())
            .collect()
    }

    /// The only request that was read.
    pub fn request(&self) -> String {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:#?}");
        requests.remove(0)
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// A server that is trusted before it is there.
pub struct Trusted {
    /// Where it will be.
    pub address: SocketAddr,
    /// Who vouches for it.
    pub ca_pem: String,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Trusted {
    /// One for the usual name and the address.
    pub fn new(address: SocketAddr) -> Self {
        let authority = Authority::new().expect("an authority");
        let names = vec![NAME.to_owned(), address.ip().to_string()];
        let (certificate, key) = authority.server_certificate(names).expect("a certificate");
        Self {
            address,
            ca_pem: authority.pem(),
            certificate,
            key,
        }
    }

    /// Starts the server.
    pub fn start(self, hold: impl Fn(&mut Conversation) + Send + Sync + 'static) -> Upstream {
        let listener = TcpListener::bind(self.address).expect("a free port");
        let config = server(&Terms::default(), vec![self.certificate], self.key);
        Upstream::serve(listener, self.ca_pem, config, hold)
    }
}

fn anywhere() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a free port")
}

/// The server's side of a handshake.
pub fn server(
    terms: &Terms,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3");
    let builder = match &terms.client_ca {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            let pem = authority.pem();
            let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
            roots.add(certificate).expect("an authority");
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.expect("a verifier"))
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .expect("the key fits the certificate");
    config.alpn_protocols = terms.speaks.iter().map(|it| it.to_vec()).collect();
    config
}

impl Conversation {
    /// Reads one request, head and body, and notes its bytes. `None` when there is no further one.
    pub fn read_request(&mut self) -> Option<String> {
        let head = self.read_head()?;
        let mut bytes = head.clone().into_bytes();
        let lower = head.to_ascii_lowercase();
        if lower.contains("\r\ntransfer-encoding: chunked\r\n") {
            while !bytes.ends_with(b"\r\n0\r\n\r\n") {
                bytes.push(self.byte()?);
            }
        } else if let Some((_, rest)) = lower.split_once("\r\ncontent-length: ") {
            let length = rest
                .split("\r\n")
                .next()
                .and_then(|it| it.parse::<usize>().ok());
            let mut body = vec![0; length.expect("a length")];
            self.stream.read_exact(&mut body).ok()?;
            bytes.extend(body);
        }
        self.note(&bytes);
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Reads a request's head alone.
    pub fn read_head(&mut self) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.byte()?);
        }
        Some(String::from_utf8(head).expect("the proxy sends ASCII"))
    }

    /// Notes a request that a test reads piece by piece.
    pub fn note(&self, bytes: &[u8]) {
        canary::sent(bytes);
        self.requests
            .lock()
            .expect("no test panics while it holds this")
            .push(bytes.to_vec());
    }

    /// Ends its own side of the connection, without a word in TLS.
    pub fn end_writing(&mut self) {
        let _ = self.stream.sock.shutdown(std::net::Shutdown::Write);
    }

    /// Waits for a further request, as long as that; gives whether one came.
    pub fn waits(&mut self, patience: Duration) -> bool {
        let socket = &self.stream.sock;
        // A socket takes no timeout of zero.
        let patience = patience.max(Duration::from_micros(1));
        socket.set_read_timeout(Some(patience)).expect("a timeout");
        let came = || socket.peek(&mut [0]).is_ok_and(|size| size > 0);
        let waited = came();
        // Where threads wait long for their turn, it may have come after the time.
        socket.set_nonblocking(true).expect("a socket");
        let came = waited || came();
        socket.set_nonblocking(false).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        came
    }

    /// Reads as many bytes.
    pub fn read_exact(&mut self, bytes: &mut [u8]) -> bool {
        self.stream.read_exact(bytes).is_ok()
    }

    /// Whether anything comes within so long.
    pub fn comes_within(&mut self, patience: Duration) -> bool {
        let set = |stream: &TcpStream, it| stream.set_read_timeout(Some(it)).expect("a timeout");
        set(&self.stream.sock, patience);
        let came = self.stream.read(&mut [0]).is_ok_and(|read| read > 0);
        set(&self.stream.sock, PATIENCE);
        came
    }

    fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte).ok().map(|()| byte[0])
    }

    /// Ends the connection as TLS says one should.
    pub fn close(&mut self) {
        self.stream.conn.send_close_notify();
        let _ = self.stream.flush();
    }

    /// Writes bytes; whether the other side still takes them.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream
            .write_all(bytes.as_ref())
            .and_then(|()| self.stream.flush())
            .is_ok()
    }
}
