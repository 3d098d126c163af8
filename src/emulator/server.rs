//! The server that every vendor stands on: accept, TLS, HTTP/1.1, faults, log.

use std::net;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Request, Response, header};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::log::Log;
use super::wire::{Tap, Tape};
use super::{Body, Call, Clock, Cut, Effect, Faults, Outcome, Reply, Vendor};

/// How much of an unwanted body is read away before its connection is given up.
const DRAIN: usize = 1024 * 1024;

/// How long to wait when the system has no connection to give, for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Everything that the connections of one emulator share.
#[derive(Debug)]
pub(super) struct Server<V> {
    vendor: V,
    clock: Clock,
    faults: Faults,
    log: Log,
    connections: AtomicU64,
}

impl<V: Vendor> Server<V> {
    pub(super) fn new(vendor: V, clock: Clock, keep: usize) -> Self {
        Server {
            vendor,
            clock,
            faults: Faults::default(),
            log: Log::new(keep),
            connections: AtomicU64::new(0),
        }
    }

    pub(super) fn vendor(&self) -> &V {
        &self.vendor
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn faults(&self) -> &Faults {
        &self.faults
    }

    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Accepts connections until `stop` or its sender is dropped. The connections themselves end
    /// with the runtime.
    pub(super) async fn run(
        self: Arc<Self>,
        listener: net::TcpListener,
        tls: TlsAcceptor,
        stop: oneshot::Receiver<()>,
    ) {
        let listener =
            TcpListener::from_std(listener).expect("the listener is non-blocking and new here");
        let accept = async {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        tokio::spawn(Arc::clone(&self).connection(stream, tls.clone()));
                    }
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                }
            }
        };
        tokio::select! {
            () = accept => (),
            _ = stop => (),
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, tls: TlsAcceptor) {
        // Costs the answers some time where it fails, and nothing else.
        let _ = stream.set_nodelay(true);
        let Ok(stream) = tls.accept(stream).await else {
            return;
        };
        let number = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let tape = self.log.keeps_any().then(Tape::default);
        let stream = Tap::new(stream, tape.clone());
        let service = service_fn(|request| self.respond(request, number, tape.as_ref()));
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
            .await;
        // Callers may break off as they like, and what was cut here was cut on purpose.
        drop(served);
    }

    async fn respond(
        &self,
        request: Request<Incoming>,
        connection: u64,
        tape: Option<&Tape>,
    ) -> Result<Response<Body>, Cut> {
        let (head, body) = request.into_parts();
        let wire = tape.and_then(|tape| tape.take_head(&head));
        let entry = self.log.open(&head, wire, connection);
        let clock = self.clock.clone();
        let mut call = Call { head, body, clock };
        let effect = self.faults.take(call.path());
        let truncate = matches!(effect, Some(Effect::Truncate));
        let reply = match effect {
            Some(Effect::Close) => {
                entry.settle(Outcome::Closed);
                return Err(Cut);
            }
            Some(Effect::Answer(response)) => Reply::from(response).because("fault"),
            Some(Effect::Delay(delay)) => {
                tokio::time::sleep(delay).await;
                self.vendor.answer(&mut call).await
            }
            Some(Effect::Truncate) | None => self.vendor.answer(&mut call).await,
        };
        entry.settle(reply.outcome());
        // Reading on would invite a caller that waits for `100 Continue` to send all it has.
        if !call.body.is_end_stream() && !call.headers().contains_key(header::EXPECT) {
            tokio::spawn(call.drain(DRAIN));
        }
        let response = reply.into_response(&self.clock.http_date());
        Ok(if truncate {
            response.map(Body::truncated)
        } else {
            response
        })
    }
}
