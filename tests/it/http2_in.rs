//! Callers that speak HTTP/2, with prior knowledge.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{Read, Write};
use std::pin::Pin;
use std::sync::{Mutex, mpsc};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::Version;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Frame};
use tokio::time::{Instant, timeout};

use self::frames::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, frame};
use crate::support::caller::SOON;
use crate::support::http2_caller::{connect, request, run, text};
use crate::support::{Caller, Folder, Proxy, Upstream, acme, get};

mod floods;
pub mod frames;
mod meaning;
mod through;
mod tls;

/// A configuration whose listener speaks these protocols.
fn configuration(folder: &Folder, upstream: &Upstream, protocols: &str, top: &str) -> String {
    let text = acme(folder, upstream.address, &upstream.ca_pem, "");
    let address = "address = \"127.0.0.1:0\"\n";
    let text = text.replace(address, &format!("{address}protocols = [{protocols}]\n"));
    format!("{top}\n{text}")
}

fn proxy(upstream: &Upstream, protocols: &str, top: &str) -> (Proxy, Folder) {
    let folder = Folder::new();
    let text = configuration(&folder, upstream, protocols, top);
    (Proxy::start(&folder, &text), folder)
}

#[test]
fn many_requests_go_side_by_side_over_one_connection() {
    let upstream = Upstream::with(|conversation| {
        while let Some(request) = conversation.read_request() {
            let path = request.split(' ').nth(1).expect("a path").to_owned();
            conversation.write(format!(
                "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nContent-Length: {}\r\n\r\n{path}",
                path.len()
            ));
        }
    });
    let (proxy, _folder) = proxy(&upstream, "\"http2\"", "");
    run(async {
        let (sender, _ended) = connect(proxy.address).await;
        let asked = (0..300).map(|number| {
            let mut sender = sender.clone();
            tokio::spawn(async move {
                sender.ready().await.expect("a stream");
                let path = format!("/acme/{number}");
                let answer = sender.send_request(request(&path, Empty::<Bytes>::new()));
                let answer = answer.await.expect("an answer");
                assert_eq!(
                    (answer.status().as_u16(), answer.version()),
                    (200, Version::HTTP_2)
                );
                for name in ["connection", "keep-alive", "transfer-encoding"] {
                    assert!(!answer.headers().contains_key(name), "{name}");
                }
                assert_eq!(text(answer).await, format!("/{number}"));
            })
        });
        for task in asked.collect::<Vec<_>>() {
            task.await.expect("no panic");
        }
    });
    let first = &upstream.requests()[0];
    assert!(first.contains("\r\nhost: upstream.example\r\n"), "{first}");
    assert!(first.contains("\r\nvia: 2.0 countersign-"), "{first}");
    assert!(first.contains("\r\nauthorization: Bearer "), "{first}");
}

#[test]
fn bodies_stream_both_ways_and_trailers_of_requests_are_dropped() {
    let length = 3_000_000;
    let upstream = Upstream::with(move |conversation| {
        while let Some(request) = conversation.read_request() {
            assert!(!request.contains("x-trailer"), "trailers went on");
            conversation.write(format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{}\r\n0\r\n\r\n",
                "y".repeat(length)
            ));
        }
    });
    let (proxy, _folder) = proxy(&upstream, "\"http2\"", "");
    run(async {
        let (mut sender, _ended) = connect(proxy.address).await;
        let pieces = (0..100).map(|_| Frame::data(Bytes::from(vec![b'x'; 20_000])));
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-trailer", http::HeaderValue::from_static("1"));
        let body = Pieces(pieces.chain([Frame::trailers(trailers)]).collect());
        let mut asked = request("/acme/up", body);
        *asked.method_mut() = http::Method::POST;
        let answer = sender.send_request(asked).await.expect("an answer");
        assert_eq!(text(answer).await.len(), length);
    });
    let request = upstream.request();
    assert!(request.contains("\r\ntransfer-encoding: chunked\r\n"));
    assert_eq!(request.matches('x').count() / 1_000_000, 2);
}

/// A body's frames, all there at once.
struct Pieces(VecDeque<Frame<Bytes>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

#[test]
fn the_first_bytes_say_what_is_spoken_where_both_may_be() {
    let upstream = Upstream::saying("it");
    let (proxy, _folder) = proxy(&upstream, "\"http1\", \"http2\"", "timeouts.head = \"3s\"");
    assert_eq!(get(proxy.address, "/acme").text(), "it");
    let post = "POST /acme HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    let mut slow = Caller::connect(proxy.address);
    slow.write("P");
    thread::park_timeout(Duration::from_millis(50));
    assert_eq!(slow.write(&post[1..]).read().text(), "it");
    assert_eq!(slow.write(post).read().text(), "it");
    run(async {
        let (mut sender, _ended) = connect(proxy.address).await;
        for _ in 0..2 {
            let answer = sender.send_request(request("/acme", Empty::<Bytes>::new()));
            assert_eq!(text(answer.await.expect("an answer")).await, "it");
        }
    });
    let mut undecided = Caller::connect(proxy.address);
    undecided.write("PRI * HTTP/2.0\r\n");
    assert!(undecided.is_closed());
}

#[test]
fn http_2_is_not_spoken_where_nobody_asked_for_it() {
    let upstream = Upstream::saying("it");
    let (proxy, _folder) = proxy(&upstream, "\"http1\"", "");
    let mut caller = Caller::connect(proxy.address);
    caller.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    if let Ok(answer) = caller.try_read() {
        assert_eq!(answer.status, 400);
    }
    // The upgrade that was once a way to it (RFC 7540 section 3.2) is no way.
    let mut caller = Caller::connect(proxy.address);
    caller.write(
        "GET /acme HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    );
    assert_eq!(caller.read().text(), "it");
    assert!(upstream.requests().iter().all(|it| !it.contains("h2c")));
}

/// An upstream that reads a request and tells when its connection ended.
fn silent(begins: &'static [u8]) -> (Upstream, mpsc::Receiver<Instant>) {
    let (tell, ended) = mpsc::channel();
    let tell = Mutex::new(tell);
    let upstream = Upstream::with(move |conversation| {
        conversation.read_request();
        conversation.write(begins);
        while conversation.read_exact(&mut [0]) {}
        let _ = tell
            .lock()
            .expect("nobody panics in here")
            .send(Instant::now());
    });
    (upstream, ended)
}

#[test]
fn a_stream_that_is_reset_and_a_caller_that_goes_away_cancel_upstream() {
    let begun = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it";
    for begins in [b"" as &[u8], begun] {
        for whole_connection in [false, true] {
            let (upstream, ended) = silent(begins);
            let (proxy, _folder) = proxy(&upstream, "\"http2\"", "");
            let took = run(async {
                let (mut sender, connection) = connect(proxy.address).await;
                let mut asked =
                    Box::pin(sender.send_request(request("/acme", Empty::<Bytes>::new())));
                let answer = match begins.is_empty() {
                    false => Some(asked.as_mut().await.expect("an answer")),
                    true => {
                        while upstream.requests().is_empty() {
                            let little = timeout(Duration::from_millis(5), &mut asked).await;
                            assert!(little.is_err(), "there is no answer");
                        }
                        None
                    }
                };
                let left = Instant::now();
                drop((answer, asked));
                if whole_connection {
                    connection.abort();
                }
                loop {
                    // Meanwhile the client's side says what was dropped.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    if let Ok(ended) = ended.try_recv() {
                        break ended - left;
                    }
                }
            });
            assert!(took < SOON, "{took:?} {whole_connection}");
        }
    }
}

#[test]
fn a_stream_whose_answer_is_not_taken_is_reset_and_the_others_go_on() {
    let (tell, ended) = mpsc::channel();
    let tell = Mutex::new(tell);
    let upstream = Upstream::with(move |conversation| {
        while let Some(request) = conversation.read_request() {
            let is_large = request.contains("/large");
            let length = if is_large { 1_000_000 } else { 2 };
            conversation.write(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
            ));
            conversation.write(vec![b'x'; length]);
            if is_large {
                conversation.read_request();
                let _ = tell.lock().expect("nobody panics in here").send(());
                return;
            }
        }
    });
    let (proxy, _folder) = proxy(&upstream, "\"http2\"", "timeouts.send = \"400ms\"");
    run(async {
        let (mut sender, _ended) = connect(proxy.address).await;
        let large = request("/acme/large", Empty::<Bytes>::new());
        let large = sender.send_request(large).await.expect("an answer");
        // Its connection to the upstream ends with it, since the answer is not all through.
        while ended.try_recv().is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let small = request("/acme/small", Empty::<Bytes>::new());
            let small = sender.send_request(small).await.expect("an answer");
            assert_eq!(text(small).await, "xx");
        }
        assert!(large.into_body().collect().await.is_err());
    });
}

#[test]
fn a_connection_that_nothing_is_asked_on_is_said_goodbye_to() {
    let upstream = Upstream::saying("it");
    let (proxy, _folder) = proxy(&upstream, "\"http2\"", "timeouts.keep-alive = \"4s\"");
    run(async {
        let (mut sender, ended) = connect(proxy.address).await;
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(850)).await;
            let answer = sender.send_request(request("/acme", Full::new(Bytes::new())));
            assert_eq!(text(answer.await.expect("an answer")).await, "it");
        }
        ended.await.expect("no panic").expect("a proper end");
    });
}

/// An upstream that begins an answer, and ends it when what is given too is dropped.
fn halting() -> (Upstream, mpsc::Sender<()>) {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::with(move |conversation| {
        conversation.read_request();
        conversation.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfirst ");
        let _ = wait.lock().expect("nobody panics in here").recv();
        conversation.write("end");
    });
    (upstream, go)
}

/// Has the proxy end in the middle of an answer, that goes on once the end was announced.
fn ends(mut stream: impl Read + Write, proxy: Proxy, go: mpsc::Sender<()>) {
    let asked = frame(HEADERS, END_STREAM | END_HEADERS, 1, &frames::get());
    stream.write_all(&asked).expect("it is taken");
    let (mut go, mut proxy, mut draining) = (Some(go), Some(proxy), None);
    let mut content = Vec::new();
    while let Some((kind, flags, number, payload)) = frames::read(&mut stream) {
        match (kind, number) {
            (HEADERS, 1) => {
                let proxy = proxy.take();
                draining = Some(thread::spawn(move || drop(proxy)));
            }
            (GOAWAY, 0) => drop(go.take()),
            (DATA, 1) => content.extend(payload),
            // The proxy measures by this when everything sent before the end has arrived.
            (PING, 0) if flags == 0 => {
                let pong = frame(PING, 1, 0, &payload);
                stream.write_all(&pong).expect("it is taken");
            }
            _ => {}
        }
    }
    assert_eq!(String::from_utf8_lossy(&content), "first end");
    draining.expect("it was answered").join().expect("no panic");
}

#[test]
fn the_end_lets_streams_finish_and_takes_no_more() {
    let (upstream, go) = halting();
    let (proxy, _folder) = proxy(&upstream, "\"http2\"", "");
    ends(frames::connect(proxy.address), proxy, go);
}

#[test]
fn an_end_wakes_connections_that_were_never_used() {
    let upstream = Upstream::saying("it");
    let folder = Folder::new();
    let text = configuration(&folder, &upstream, "\"http1\", \"http2\"", "");
    let proxy = Proxy::start(&folder, &text.replace("drain = \"5s\"", "drain = \"1m\""));
    let _open: Vec<Caller> = (0..5).map(|_| Caller::connect(proxy.address)).collect();
    get(proxy.address, "/acme");
    let start = Instant::now();
    drop(proxy);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}
