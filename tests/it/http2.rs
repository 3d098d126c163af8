//! HTTP/2 to upstreams: shared connections, what is sent again, and trailers.

mod hostile;

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Response};
use tokio::sync::Semaphore;

use crate::support::http2::{Exchange, Http2};
use crate::support::upstream::Terms;
use crate::support::{Caller, Folder, Proxy, Upstream, acme, get, proxy_to, send};

fn proxy(upstream: &Http2, extra: &str) -> (Proxy, Folder) {
    let folder = Folder::new();
    let extra = format!("protocol = \"auto\"\n{extra}");
    let text = acme(&folder, upstream.address, &upstream.ca_pem, &extra);
    // One worker: each has connections of its own.
    let text = format!("workers = 1\n{text}");
    (Proxy::start(&folder, &text), folder)
}

/// As many callers at once, each with a connection of its own.
fn at_once(callers: usize, address: SocketAddr, request: &'static str) -> Vec<(u16, String)> {
    let callers: Vec<_> = (0..callers)
        .map(|_| {
            thread::spawn(move || {
                let answer = send(address, request);
                (answer.status, answer.text())
            })
        })
        .collect();
    callers
        .into_iter()
        .map(|it| it.join().expect("an answer"))
        .collect()
}

const GET: &str = "GET /acme/x?y=1 HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Answers nobody before this many requests are there.
fn after(requests: usize, streams: u32) -> Http2 {
    let there = AtomicUsize::new(0);
    let gate = Arc::new(Semaphore::new(0));
    Http2::with(streams, move |mut exchange: Exchange| {
        if there.fetch_add(1, Ordering::SeqCst) + 1 == requests {
            gate.add_permits(Semaphore::MAX_PERMITS);
        }
        let gate = Arc::clone(&gate);
        async move {
            let _ = gate.acquire().await;
            let mut body = exchange.respond(Response::new(()));
            let _ = body.send_data(Bytes::from_static(b"ok"), true);
        }
    })
}

#[test]
fn many_first_requests_at_once_share_one_connection() {
    let upstream = after(50, 100);
    let (proxy, _folder) = proxy(&upstream, "");
    for answer in at_once(50, proxy.address, GET) {
        assert_eq!(answer, (200, "ok".into()));
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn another_connection_is_opened_where_the_upstream_takes_no_more_on_one() {
    let upstream = after(40, 10);
    let (proxy, _folder) = proxy(&upstream, "");
    for answer in at_once(40, proxy.address, GET) {
        assert_eq!(answer, (200, "ok".into()));
    }
    let connections = upstream.connections();
    assert!((4..=6).contains(&connections), "{connections}");
}

#[test]
fn a_request_is_put_into_the_words_of_http2() {
    let upstream = Http2::saying("hello");
    let (proxy, _folder) = proxy(&upstream, "");
    let request = "POST /acme/x?y=1 HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers, deflate\r\nTransfer-Encoding: chunked\r\nX-End: 1\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let answer = send(proxy.address, request);
    assert_eq!((answer.status, answer.text()), (200, "hello".into()));
    let head = upstream.heads().remove(0);
    assert_eq!(head.uri(), "https://upstream.example/x?y=1");
    let mut names: Vec<&str> = head
        .headers()
        .keys()
        .map(http::HeaderName::as_str)
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["authorization", "te", "via", "x-end"]);
    assert_eq!(head.headers()["te"], "trailers");
}

#[test]
fn a_request_that_was_refused_unread_is_sent_again_once_whatever_its_method() {
    for refusals in [1, 2] {
        let seen = Cell::new(0);
        let upstream = {
            let seen = Arc::new(AtomicUsize::new(seen.get()));
            Http2::with(100, move |mut exchange: Exchange| {
                let number = seen.fetch_add(1, Ordering::SeqCst);
                async move {
                    if number < refusals {
                        exchange.respond.send_reset(Reason::REFUSED_STREAM);
                        return;
                    }
                    let read = exchange.read().await;
                    let mut body = exchange.respond(Response::new(()));
                    let _ = body.send_data(Bytes::from(read), true);
                }
            })
        };
        let (proxy, _folder) = proxy(&upstream, "");
        let request = "POST /acme HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc";
        let answer = send(proxy.address, request);
        match refusals {
            1 => assert_eq!((answer.status, answer.text()), (200, "abc".into())),
            _ => assert_eq!(answer.code(), "upstream-reset"),
        }
        assert_eq!(upstream.heads().len(), 2);
    }
}

/// Frames, for a server that a library would not be.
mod frames {
    use crate::support::upstream::Conversation;

    pub const HEADERS: u8 = 1;
    pub const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    /// The last stream that was looked at is none.
    pub const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    /// `:status: 200`, and the end of the answer.
    pub fn ok(stream: u8) -> [u8; 10] {
        [0, 0, 1, 1, 5, 0, 0, 0, stream, 0x88]
    }

    /// `:status: 200`, some of the body, and no end.
    pub fn cut(stream: u8) -> Vec<u8> {
        let head = [0, 0, 1, 1, 4, 0, 0, 0, stream, 0x88];
        let data = [0, 0, 4, 0, 0, 0, 0, 0, stream];
        let mut bytes = head.to_vec();
        bytes.extend(data);
        bytes.extend(b"some");
        bytes
    }

    /// Takes the client's preface and says its own.
    pub fn begin(conversation: &mut Conversation) {
        assert!(conversation.read_exact(&mut [0; 24]));
        conversation.write(SETTINGS);
    }

    /// Reads until a frame of that type; gives its stream, if there is one.
    pub fn until(conversation: &mut Conversation, kind: u8) -> Option<u8> {
        loop {
            let mut head = [0; 9];
            if !conversation.read_exact(&mut head) {
                return None;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            if !conversation.read_exact(&mut payload) {
                return None;
            }
            if head[3] == kind {
                conversation.note(&payload);
                return Some(head[8]);
            }
        }
    }
}

fn raw(
    hold: impl Fn(&mut crate::support::upstream::Conversation) + Send + Sync + 'static,
) -> Upstream {
    let terms = Terms {
        speaks: vec![b"h2"],
        ..Terms::default()
    };
    Upstream::on(&terms, move |conversation| {
        frames::begin(conversation);
        hold(conversation);
    })
}

const POST: &str = "POST /acme HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx";

#[test]
fn a_request_that_came_after_the_end_was_announced_is_sent_again() {
    let upstream = raw(|conversation| {
        let stream = frames::until(conversation, frames::HEADERS).expect("a request");
        if conversation.number == 0 {
            conversation.write(frames::GOAWAY);
        } else {
            conversation.write(frames::ok(stream));
        }
        frames::until(conversation, u8::MAX);
    });
    let (proxy, _folder) = proxy_to(&upstream, "protocol = \"http2\"");
    assert_eq!(send(proxy.address, POST).status, 200);
    assert_eq!((upstream.requests().len(), upstream.connections()), (2, 2));
}

#[test]
fn a_post_that_may_have_been_read_is_never_sent_again_and_a_get_is() {
    for (request, status, seen) in [(POST, 502, 2), (GET, 200, 3)] {
        let upstream = raw(|conversation| {
            let stream = frames::until(conversation, frames::HEADERS).expect("a request");
            conversation.write(frames::ok(stream));
            let again = frames::until(conversation, frames::HEADERS);
            // The first connection ends with its second request on it.
            if let (Some(stream), true) = (again, conversation.number > 0) {
                conversation.write(frames::ok(stream));
                frames::until(conversation, u8::MAX);
            }
        });
        let folder = Folder::new();
        let extra = "protocol = \"http2\"";
        let text = acme(&folder, upstream.address, &upstream.ca_pem, extra);
        let proxy = Proxy::start(&folder, &format!("workers = 1\n{text}"));
        assert_eq!(send(proxy.address, GET).status, 200);
        assert_eq!(send(proxy.address, request).status, status, "{request}");
        assert_eq!(upstream.requests().len(), seen, "{request}");
    }
}

#[test]
fn an_answer_that_is_cut_off_is_never_a_whole_one() {
    let upstream = raw(|conversation| {
        let stream = frames::until(conversation, frames::HEADERS).expect("a request");
        conversation.write(frames::cut(stream));
        conversation.close();
    });
    let (proxy, _folder) = proxy_to(&upstream, "protocol = \"http2\"");
    let mut caller = Caller::connect(proxy.address);
    assert!(caller.write(GET).try_read().is_err());
}

#[test]
fn an_answer_before_the_body_was_sent_reaches_the_caller() {
    let upstream = Http2::with(100, |mut exchange: Exchange| async move {
        let head = Response::builder().status(413).body(()).expect("a head");
        let mut body = exchange.respond(head);
        // It reads no more of the request, and resets the stream (RFC 9113 section 8.1).
        let _ = body.send_data(Bytes::from_static(b"big"), true);
    });
    let (proxy, _folder) = proxy(&upstream, "");
    let mut caller = Caller::connect(proxy.address);
    caller.write("POST /acme HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nstart");
    let answer = caller.read();
    assert_eq!((answer.status, answer.text().as_str()), (413, "big"));
    assert_eq!(get(proxy.address, "/acme").status, 413);
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_request_that_wants_to_leave_http_goes_over_http1_where_that_is_spoken() {
    let terms = Terms {
        speaks: vec![b"h2"],
        ..Terms::default()
    };
    // What is offered nothing speaks HTTP/1.
    let upstream = Upstream::on(&terms, |conversation| {
        let Some(head) = conversation.read_head() else {
            return;
        };
        conversation.note(head.as_bytes());
        if head.starts_with("GET") {
            conversation.write(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            );
            frames::until(conversation, u8::MAX);
            return;
        }
        assert!(
            conversation.read_exact(&mut [0; 6]),
            "the rest of the preface"
        );
        conversation.write(frames::SETTINGS);
        while let Some(stream) = frames::until(conversation, frames::HEADERS) {
            conversation.write(frames::ok(stream));
        }
    });
    let asks = "GET /acme HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    for (protocol, status) in [("auto", 101), ("http2", 200)] {
        let (proxy, _folder) = proxy_to(&upstream, &format!("protocol = \"{protocol}\""));
        assert_eq!(send(proxy.address, GET).status, 200);
        let answer = Caller::connect(proxy.address).write(asks).read();
        assert_eq!(answer.status, status, "{protocol}");
    }
}

#[test]
fn a_silent_connection_is_left_by_the_requests_that_follow() {
    let upstream = raw(|conversation| {
        while let Some(stream) = frames::until(conversation, frames::HEADERS) {
            if conversation.number > 0 {
                conversation.write(frames::ok(stream));
            }
        }
    });
    let extra = "protocol = \"http2\"\ntimeouts.first-byte = \"3s\"";
    let (proxy, _folder) = proxy_to(&upstream, extra);
    let mut caller = Caller::connect(proxy.address);
    assert_eq!(caller.write(GET).read().code(), "upstream-timeout");
    assert_eq!(caller.write(GET).read().status, 200);
}

#[test]
fn what_is_not_offered_is_not_spoken() {
    let upstream = Upstream::saying("one");
    let (proxy, _folder) = proxy_to(&upstream, "protocol = \"auto\"");
    assert_eq!(get(proxy.address, "/acme").text(), "one");

    let upstream = Upstream::saying("one");
    let (proxy, _folder) = proxy_to(&upstream, "protocol = \"http2\"");
    assert_eq!(get(proxy.address, "/acme").code(), "upstream-tls");
    assert!(upstream.requests().is_empty());
}

#[test]
fn many_first_requests_to_an_upstream_without_http2_wait_for_one_handshake_alone() {
    let there = Arc::new((std::sync::Mutex::new(0), std::sync::Condvar::new()));
    let upstream = Upstream::with(move |conversation| {
        conversation.read_request();
        let (count, changed) = &*there;
        let mut count = count.lock().expect("a count");
        *count += 1;
        changed.notify_all();
        // All of them are there at once, each on a connection of its own.
        drop(changed.wait_while(count, |count| *count < 20));
        conversation.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let folder = Folder::new();
    let extra = "protocol = \"auto\"";
    let text = acme(&folder, upstream.address, &upstream.ca_pem, extra);
    let proxy = Proxy::start(&folder, &format!("workers = 1\n{text}"));
    for answer in at_once(20, proxy.address, GET) {
        assert_eq!(answer, (200, "ok".into()));
    }
    assert_eq!(upstream.connections(), 20);
}

fn trailers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| {
            let name = http::HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        })
        .collect()
}

/// Reads all that comes until the proxy closes.
fn read_all(address: SocketAddr, request: &str) -> String {
    let caller = Caller::connect(address);
    let mut stream = caller.stream();
    stream.write_all(request.as_bytes()).expect("it is taken");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    text
}

#[test]
fn the_status_of_a_call_of_grpc_arrives_and_no_header_that_is_withheld() {
    let upstream = Http2::with(100, |mut exchange: Exchange| async move {
        assert_eq!(exchange.headers()["te"], "trailers");
        let asked = exchange.read().await;
        assert_eq!(asked, b"question");
        let head = Response::builder().header("content-type", "application/grpc");
        let mut body = exchange.respond(head.body(()).expect("a head"));
        for piece in ["an", "swer"] {
            let _ = body.send_data(Bytes::from_static(piece.as_bytes()), false);
            tokio::task::yield_now().await;
        }
        let _ = body.send_trailers(trailers(&[
            ("grpc-status", "0"),
            ("grpc-message", "fine"),
            ("authorization", "Bearer echo"),
            ("x-token", "echo"),
        ]));
    });
    let (proxy, _folder) = proxy(&upstream, "response-headers.remove = [\"x-token\"]");
    let call = "POST /acme/a.Service/Call HTTP/1.1\r\nHost: localhost\r\nConnection: close, TE\r\nTE: trailers\r\nContent-Type: application/grpc\r\nContent-Length: 8\r\n\r\nquestion";
    let said = read_all(proxy.address, call);
    let end = said.rsplit("\r\n0\r\n").next().expect("an end");
    let mut lines: Vec<&str> = end.split("\r\n").filter(|it| !it.is_empty()).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["grpc-message: fine", "grpc-status: 0"], "{said}");
    assert!(!said.contains("echo"), "{said}");
}

#[test]
fn trailers_from_http1_pass_where_the_caller_takes_them() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-Token\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\nX-Token: echo\r\n\r\n",
    );
    let (proxy, _folder) = proxy_to(&upstream, "response-headers.remove = [\"x-token\"]");
    let with =
        "GET /acme HTTP/1.1\r\nHost: localhost\r\nConnection: close, TE\r\nTE: trailers\r\n\r\n";
    let said = read_all(proxy.address, with);
    assert!(said.ends_with("\r\n0\r\nx-sum: 7\r\n\r\n"), "{said}");
    let without = "GET /acme HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let said = read_all(proxy.address, without);
    assert!(said.ends_with("\r\n0\r\n\r\n"), "{said}");
    let request = upstream.requests().remove(0).to_ascii_lowercase();
    assert!(!request.contains("\r\nte:"), "{request}");
}

#[test]
fn callers_who_do_not_read_hold_up_nobody_else_on_the_connection() {
    const LARGE: usize = 4 << 20;
    let upstream = Http2::with(100, |mut exchange: Exchange| async move {
        let is_large = exchange.request.uri().path() == "/large";
        let mut body = exchange.respond(Response::new(()));
        if !is_large {
            let _ = body.send_data(Bytes::from_static(b"small"), true);
            return;
        }
        let left = Rc::new(Cell::new(LARGE));
        let piece = Bytes::from(vec![0; 64 * 1024]);
        while left.get() > 0 {
            body.reserve_capacity(piece.len());
            let capacity = std::future::poll_fn(|context| body.poll_capacity(context)).await;
            let Some(Ok(capacity)) = capacity else { return };
            let size = capacity.min(left.get()).min(piece.len());
            left.set(left.get() - size);
            let _ = body.send_data(piece.slice(..size), left.get() == 0);
        }
    });
    let (proxy, _folder) = proxy(&upstream, "");
    let large = "GET /acme/large HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let stalled: Vec<Caller> = (0..30)
        .map(|_| {
            let mut caller = Caller::connect(proxy.address);
            caller.write(large);
            caller
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(get(proxy.address, "/acme/small").text(), "small");
    }
    assert_eq!(upstream.connections(), 1);
    for mut caller in stalled {
        assert_eq!(caller.read().body.len(), LARGE);
    }
}
