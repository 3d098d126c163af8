//! Callers that go on asking, some of which go away in the middle, and what became of it all.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::faults::{Dice, Fault, Faults};
use crate::support::Caller;

/// Callers that speak HTTP/1, and connections that speak HTTP/2.
const HTTP_1: usize = 8;
const HTTP_2: usize = 2;

/// Each request has a number of its own.
static NUMBER: AtomicU64 = AtomicU64::new(1);

/// A request that was not answered with 200 and what belongs to it.
#[derive(Debug)]
pub(super) struct Failed {
    number: u64,
    is_post: bool,
    began: Instant,
    ended: Instant,
    how: How,
}

#[derive(Debug)]
enum How {
    /// Another status, with what the answer says.
    Status(u16, String),
    /// The answer broke off.
    Broken,
    /// Somebody else's answer.
    Strange,
}

/// What became of many requests.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) answered: u64,
    left: u64,
    failed: Vec<Failed>,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.left += other.left;
        self.failed.extend(other.failed);
    }

    /// Those that nobody made fail.
    pub(super) fn unexplained(&self, faults: &Faults) -> Vec<&Failed> {
        let mut closed = faults.closed();
        let mut is_explained = |it: &&Failed| match &it.how {
            How::Status(401, _) => faults.did(it.number, Fault::Refused),
            How::Status(_, text) if text.contains("upstream-reset") => {
                // A POST on a connection that was just being closed: one for each of those.
                faults.did(it.number, Fault::Reset)
                    || (it.is_post && closed.checked_sub(1).map(|it| closed = it).is_some())
            }
            How::Status(504, _) => faults.did(it.number, Fault::Late),
            How::Status(503, text) if text.contains("credential") => {
                faults.was_trouble(it.began) || faults.was_trouble(it.ended)
            }
            How::Broken => faults.did(it.number, Fault::CutOff),
            How::Status(..) | How::Strange => false,
        };
        self.failed.iter().filter(|it| !is_explained(it)).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |status: u16| {
            let is_it = |it: &&Failed| matches!(it.how, How::Status(other, _) if other == status);
            self.failed.iter().filter(is_it).count()
        };
        let broken = self
            .failed
            .iter()
            .filter(|it| matches!(it.how, How::Broken));
        write!(
            f,
            "{} answered, {} left by their callers, {} failed ({} with 401, {} with 502, {} with 503, {} with 504, {} broken off)",
            self.answered,
            self.left,
            self.failed.len(),
            of(401),
            of(502),
            of(503),
            of(504),
            broken.count(),
        )
    }
}

/// Begins to ask, until it is told to stop.
pub(super) fn start(address: SocketAddr, stop: &Arc<AtomicBool>) -> Vec<JoinHandle<Tally>> {
    let mut callers = Vec::new();
    for number in 0..HTTP_1 {
        let stop = Arc::clone(stop);
        callers.push(thread::spawn(move || {
            http_1(address, Dice::of(number), &stop)
        }));
    }
    for number in 0..HTTP_2 {
        let stop = Arc::clone(stop);
        callers.push(thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(http_2(address, Dice::of(number + 100), &stop))
        }));
    }
    callers
}

/// A request to be made.
struct Asked {
    number: u64,
    method: Method,
    path: &'static str,
    began: Instant,
}

impl Asked {
    fn new(dice: &mut Dice) -> Self {
        Self {
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            method: match dice.roll(4) {
                0 => Method::POST,
                1 => Method::PUT,
                _ => Method::GET,
            },
            path: if dice.roll(2) == 0 { "/acme" } else { "/api" },
            began: Instant::now(),
        }
    }

    fn body(&self) -> &'static str {
        match self.method {
            Method::GET => "",
            _ => "what is sent",
        }
    }

    /// Counts what became of it; `None` if its answer broke off.
    fn end(&self, tally: &mut Tally, answer: Option<(u16, String)>) {
        let how = match answer {
            None => How::Broken,
            Some((200, text)) if text.starts_with(&format!("{} ", self.number)) => {
                tally.answered += 1;
                return;
            }
            Some((200, _)) => How::Strange,
            Some((status, text)) => How::Status(status, text),
        };
        tally.failed.push(Failed {
            number: self.number,
            is_post: self.method == Method::POST,
            began: self.began,
            ended: Instant::now(),
            how,
        });
    }
}

fn http_1(address: SocketAddr, mut dice: Dice, stop: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    let mut caller = Caller::connect(address);
    while !stop.load(Ordering::SeqCst) {
        let asked = Asked::new(&mut dice);
        let Asked {
            number,
            method,
            path,
            ..
        } = &asked;
        let body = asked.body();
        caller.write(format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-Number: {number}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        if dice.roll(200) == 0 {
            tally.left += 1;
            caller = Caller::connect(address);
            continue;
        }
        let answer = caller.try_read().ok();
        let is_open = answer
            .as_ref()
            .is_some_and(|it| it.header("connection") != Some("close"));
        asked.end(&mut tally, answer.map(|it| (it.status, it.text())));
        // Some come on a new connection.
        if !is_open || dice.roll(50) == 0 {
            caller = Caller::connect(address);
        }
        thread::park_timeout(Duration::from_millis(dice.roll(20)));
    }
    tally
}

async fn connect(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.expect("it listens");
    let (sender, connection) = Builder::new(TokioExecutor::new())
        .handshake(TokioIo::new(stream))
        .await
        .expect("HTTP/2");
    tokio::spawn(connection);
    sender
}

async fn http_2(address: SocketAddr, mut dice: Dice, stop: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    let mut sender = connect(address).await;
    while !stop.load(Ordering::SeqCst) {
        if sender.ready().await.is_err() {
            sender = connect(address).await;
            continue;
        }
        // A few at once, one of which may be cancelled.
        let mut tasks = Vec::new();
        for _ in 0..=dice.roll(4) {
            let asked = Asked::new(&mut dice);
            let request = Request::builder()
                .method(asked.method.clone())
                .uri(format!("http://localhost{}", asked.path))
                .header("x-number", asked.number)
                .body(Full::new(Bytes::from(asked.body())))
                .expect("a request");
            let answer = sender.send_request(request);
            if dice.roll(200) == 0 {
                let moment = Duration::from_millis(dice.roll(5));
                let _ = tokio::time::timeout(moment, answer).await;
                tally.left += 1;
                continue;
            }
            tasks.push((
                asked,
                tokio::spawn(async move {
                    let answer = answer.await.ok()?;
                    let status = answer.status().as_u16();
                    let body = answer.into_body().collect().await.ok()?;
                    Some((
                        status,
                        String::from_utf8_lossy(&body.to_bytes()).into_owned(),
                    ))
                }),
            ));
        }
        for (asked, task) in tasks {
            let answer = task.await.expect("no panic");
            asked.end(&mut tally, answer);
        }
        tokio::time::sleep(Duration::from_millis(dice.roll(20))).await;
    }
    tally
}
