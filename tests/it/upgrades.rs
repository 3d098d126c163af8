//! Connections that go on in another protocol: WebSocket, frame by frame, and all that is none.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::time::Instant;

use crate::support::upstream::Conversation;
use crate::support::{Caller, Folder, Process, Upstream, acme, get, proxy_to};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What a server makes of a client's key (RFC 6455 section 4.2.2).
fn accept(key: &str) -> String {
    const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let algorithm = &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY;
    STANDARD.encode(aws_lc_rs::digest::digest(
        algorithm,
        format!("{key}{MAGIC}").as_bytes(),
    ))
}

/// A frame (RFC 6455 section 5.2); a client's is masked.
fn frame(opcode: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let flag = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        short @ 0..126 => frame.push(flag | u8::try_from(short).expect("below 126")),
        long => {
            frame.push(flag | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    let key = mask.unwrap_or_default();
    frame.extend(mask.into_iter().flatten());
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(a, b)| a ^ b));
    frame
}

pub fn text(payload: &[u8]) -> Vec<u8> {
    frame(1, payload, Some([1, 2, 3, 4]))
}

/// Reads a frame's opcode and its payload, unmasked.
fn read_frame(mut read: impl FnMut(&mut [u8]) -> bool) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    read(&mut head).then_some(())?;
    let mut length = [0; 8];
    let length = match head[1] & 0x7f {
        127 => read(&mut length).then(|| u64::from_be_bytes(length))?,
        126 => read(&mut length[6..]).then(|| u64::from_be_bytes(length))?,
        short => u64::from(short),
    };
    let mut mask = [0; 4];
    if head[1] & 0x80 != 0 {
        read(&mut mask).then_some(())?;
    }
    let mut payload = vec![0; usize::try_from(length).expect("it fits")];
    read(&mut payload).then_some(())?;
    let plain = payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b);
    Some((head[0] & 0xf, plain.collect()))
}

fn handshake(head: &str) -> String {
    let lower = head.to_ascii_lowercase();
    let at = lower.find("\r\nsec-websocket-key: ").expect("a key") + 21;
    let key = head[at..].split("\r\n").next().expect("a line");
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: chat\r\n\r\n",
        accept(key)
    )
}

/// Echoes frames until the caller closes, or says `bye`.
pub fn echo(conversation: &mut Conversation) {
    let Some(head) = conversation.read_request() else {
        return;
    };
    if !head.to_ascii_lowercase().contains("\r\nupgrade: ") {
        conversation.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain");
        return echo(conversation);
    }
    conversation.write(handshake(&head));
    while let Some((opcode, payload)) = read_frame(|bytes| conversation.read_exact(bytes)) {
        conversation.write(frame(opcode, &payload, None));
        if opcode == 8 || payload == b"bye" {
            break;
        }
    }
    conversation.close();
}

pub fn asking(extra: &str) -> String {
    format!(
        "GET /acme/live?x=1 HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: chat, talk\r\nSec-WebSocket-Extensions: permessage-deflate\r\n{extra}\r\n"
    )
}

/// A caller that has shaken hands.
fn open(address: SocketAddr) -> Caller {
    let mut caller = Caller::connect(address);
    let answer = caller.write(asking("")).read();
    assert_eq!(answer.status, 101, "{answer:?}");
    assert_eq!(answer.header("sec-websocket-accept"), Some(&*accept(KEY)));
    assert_eq!(answer.header("sec-websocket-protocol"), Some("chat"));
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert_eq!(answer.header("connection"), Some("Upgrade"));
    caller
}

pub fn hear<S: Read + Write>(caller: &mut Caller<S>) -> Option<(u8, Vec<u8>)> {
    read_frame(|bytes| caller.read_exact(bytes))
}

#[test]
fn a_websocket_goes_through_with_our_credential_on_its_handshake() {
    let upstream = Upstream::with(echo);
    let (proxy, _folder) = proxy_to(&upstream, "");
    let mut caller = open(proxy.address);
    for payload in [&b"hello"[..], b"", b"GET /# HTTP/1.1\n\0", &[0xff; 125]] {
        caller.write(text(payload));
        assert_eq!(hear(&mut caller), Some((1, payload.to_vec())));
    }
    let request = upstream.request();
    assert!(
        request.starts_with("GET /live?x=1 HTTP/1.1\r\n"),
        "{request}"
    );
    for line in [
        "connection: Upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        "sec-websocket-protocol: chat, talk",
        "sec-websocket-extensions: permessage-deflate",
        &format!("sec-websocket-key: {KEY}"),
    ] {
        assert!(request.contains(&format!("\r\n{line}\r\n")), "{request}");
    }
    assert_eq!(request.matches("\r\nauthorization: Bearer ey").count(), 1);
    assert_eq!(request.matches("\r\nconnection: ").count(), 1);
}

#[test]
fn large_frames_go_both_ways_at_once() {
    let upstream = Upstream::with(echo);
    let (proxy, _folder) = proxy_to(&upstream, "");
    let mut caller = open(proxy.address);
    let payload: Vec<u8> = (0..=255).cycle().take(4 << 20).collect();
    let frame = text(&payload);
    let mut writing = caller.stream().try_clone().expect("a second handle");
    let writer = std::thread::spawn(move || {
        for _ in 0..3 {
            writing.write_all(&frame).expect("taken");
        }
    });
    for _ in 0..3 {
        assert!(hear(&mut caller) == Some((1, payload.clone())));
    }
    writer.join().expect("written");
}

#[test]
fn the_end_of_either_side_reaches_the_other() {
    let upstream = Upstream::with(echo);
    let (proxy, _folder) = proxy_to(&upstream, "");
    let mut caller = open(proxy.address);
    caller.write(text(b"bye"));
    assert_eq!(hear(&mut caller), Some((1, b"bye".to_vec())));
    assert!(caller.is_closed(), "the target closed first");

    let mut caller = open(proxy.address);
    caller.write(frame(8, b"", Some([0; 4])));
    caller
        .stream()
        .shutdown(Shutdown::Write)
        .expect("half closed");
    assert_eq!(hear(&mut caller), Some((8, Vec::new())), "still heard");
    assert!(caller.is_closed());
}

#[test]
fn nothing_is_sent_on_before_the_target_has_switched() {
    let (told, early) = std::sync::mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let upstream = Upstream::with(move |conversation| {
        let head = conversation.read_request().expect("a request");
        let came = conversation.comes_within(Duration::from_millis(300));
        told.lock()
            .expect("one at a time")
            .send(came)
            .expect("told");
        conversation.write(handshake(&head));
        let frame = read_frame(|bytes| conversation.read_exact(bytes));
        conversation.write(super::upgrades::frame(1, &frame.expect("a frame").1, None));
    });
    let (proxy, _folder) = proxy_to(&upstream, "");
    let mut caller = Caller::connect(proxy.address);
    caller.write([asking("").into_bytes(), text(b"early")].concat());
    assert_eq!(caller.read().status, 101);
    assert!(!early.recv().expect("told"));
    assert_eq!(hear(&mut caller), Some((1, b"early".to_vec())));
}

#[test]
fn an_answer_in_http_is_passed_like_any_other() {
    let upstream = Upstream::answering(
        "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nContent-Length: 3\r\n\r\nno!",
    );
    let (proxy, _folder) = proxy_to(&upstream, "");
    let mut caller = Caller::connect(proxy.address);
    for _ in 0..2 {
        let answer = caller.write(asking("")).read();
        assert_eq!((answer.status, answer.text().as_str()), (426, "no!"));
        assert_eq!(answer.header("sec-websocket-version"), Some("13"));
        assert_eq!(answer.header("upgrade"), None, "a header of the connection");
    }
    assert_eq!(upstream.connections(), 1, "both connections are used again");
}

#[test]
fn whatever_is_not_exactly_a_websocket_handshake_goes_out_as_plain_http() {
    let upstream = Upstream::with(echo);
    let (proxy, _folder) = proxy_to(&upstream, "");
    for (line, upgrade) in [
        ("GET /acme HTTP/1.1", "Connection: Upgrade\r\nUpgrade: h2c"),
        (
            "GET /acme HTTP/1.1",
            "Connection: Upgrade\r\nUpgrade: websocket, h2c",
        ),
        (
            "GET /acme HTTP/1.1",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c",
        ),
        (
            "GET /acme HTTP/1.1",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket",
        ),
        (
            "GET /acme HTTP/1.1",
            "Connection: close\r\nUpgrade: websocket",
        ),
        ("GET /acme HTTP/1.1", "Upgrade: websocket"),
        ("GET /acme HTTP/1.1", "Connection: Upgrade"),
        (
            "GET /acme HTTP/1.1",
            "Connection: Upgrade\r\nUpgrade: websockets",
        ),
        ("GET /acme HTTP/1.1", "Connection: Upgrade\r\nUpgrade: "),
        (
            "GET /acme HTTP/1.0",
            "Connection: Upgrade\r\nUpgrade: websocket",
        ),
        (
            "HEAD /acme HTTP/1.1",
            "Connection: Upgrade\r\nUpgrade: websocket",
        ),
        (
            "POST /acme HTTP/1.1",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0",
        ),
    ] {
        let mut caller = Caller::connect(proxy.address);
        caller.write(format!("{line}\r\nHost: localhost\r\n{upgrade}\r\n\r\n"));
        let answer = if line.starts_with("HEAD") {
            caller.read_head()
        } else {
            caller.read()
        };
        assert_eq!(answer.status, 200, "{line} {upgrade}");
        let request = upstream.requests().pop().expect("just sent");
        let request = request.to_ascii_lowercase();
        assert!(!request.contains("\r\nupgrade:"), "{upgrade}: {request}");
        assert!(!request.contains("\r\nconnection:"), "{upgrade}: {request}");
    }
}

#[test]
fn a_body_in_front_of_another_protocol_keeps_the_request_plain() {
    let upstream = Upstream::with(echo);
    let (proxy, _folder) = proxy_to(&upstream, "");
    let mut caller = Caller::connect(proxy.address);
    caller.write(asking("Content-Length: 4\r\n")).write("body");
    assert_eq!(caller.read().status, 200);
    assert!(!upstream.request().contains("upgrade"));
}

#[test]
fn a_target_may_switch_to_nothing_but_what_was_asked_for() {
    for named in [
        "Upgrade: h2c\r\n",
        "",
        "Upgrade: websocket\r\nUpgrade: h2c\r\n",
    ] {
        let upstream = Upstream::answering(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n{named}\r\n"
        ));
        let (proxy, _folder) = proxy_to(&upstream, "");
        let answer = Caller::connect(proxy.address).write(asking("")).read();
        assert_eq!((answer.status, &*answer.code()), (502, "upstream-broken"));
    }
}

#[test]
fn upgrades_can_be_switched_off() {
    let upstream = Upstream::with(echo);
    let (proxy, _folder) = proxy_to(&upstream, "upgrades = []");
    let answer = Caller::connect(proxy.address).write(asking("")).read();
    assert_eq!(answer.text(), "plain");
    assert!(!upstream.request().contains("\r\nupgrade"));
}

#[test]
fn a_page_of_another_site_opens_no_websocket() {
    let upstream = Upstream::with(echo);
    let (proxy, _folder) = proxy_to(&upstream, "");
    let mut caller = Caller::connect(proxy.address);
    let answer = caller
        .write(asking("Origin: https://evil.example\r\n"))
        .read();
    assert_eq!((answer.status, &*answer.code()), (403, "cross-site"));
    assert!(upstream.requests().is_empty());
    let own = asking("Origin: http://localhost\r\n");
    assert_eq!(Caller::connect(proxy.address).write(own).read().status, 101);
}

#[test]
fn a_silent_tunnel_is_closed_and_one_that_is_heard_is_not() {
    let upstream = Upstream::with(echo);
    let (proxy, _folder) = proxy_to(&upstream, "timeouts.stream = \"4s\"");
    let mut caller = open(proxy.address);
    let began = Instant::now();
    for _ in 0..5 {
        std::thread::park_timeout(Duration::from_millis(850));
        caller.write(text(b"."));
        assert_eq!(hear(&mut caller), Some((1, b".".to_vec())));
    }
    assert!(caller.is_closed());
    assert!(began.elapsed() >= Duration::from_secs(8));
}

#[test]
fn a_tunnel_is_waited_for_and_ended_at_the_deadline() {
    let upstream = Upstream::with(echo);
    let folder = Folder::new();
    let text_of = acme(&folder, upstream.address, &upstream.ca_pem, "");
    folder.write(
        "proxy.toml",
        text_of.replace("drain = \"5s\"", "drain = \"4s\""),
    );
    let process = Process::start(folder.path(), &[]);
    let mut caller = open(process.address());
    process.signal("TERM");
    process.wait_for("finishing what is under way");
    caller.write(text(b"still there?"));
    assert_eq!(hear(&mut caller), Some((1, b"still there?".to_vec())));
    let mut rest = Vec::new();
    let ended = caller.stream().read_to_end(&mut rest);
    assert!(ended.is_err() || rest.is_empty());
    let (status, said) = process.wait();
    assert_eq!(status.code(), Some(0), "{said}");
    let is_told = said.contains("were cut off") || said.contains("did not end");
    assert!(is_told, "{said}");
}

#[test]
fn the_end_waits_for_no_tunnel_that_is_over() {
    let upstream = Upstream::with(echo);
    let folder = Folder::new();
    let text_of = acme(&folder, upstream.address, &upstream.ca_pem, "");
    folder.write(
        "proxy.toml",
        text_of.replace("drain = \"5s\"", "drain = \"1m\""),
    );
    let process = Process::start(folder.path(), &[]);
    let mut caller = open(process.address());
    process.signal("TERM");
    process.wait_for("finishing what is under way");
    caller.write(text(b"bye"));
    assert_eq!(hear(&mut caller), Some((1, b"bye".to_vec())));
    drop(caller);
    let (status, said) = process.wait();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(!said.contains("cut off"), "{said}");
}

#[test]
fn other_requests_are_served_beside_a_tunnel() {
    let upstream = Upstream::with(echo);
    let (proxy, _folder) = proxy_to(&upstream, "");
    let mut caller = open(proxy.address);
    assert_eq!(get(proxy.address, "/acme").text(), "plain");
    caller.write(text(b"x"));
    assert_eq!(hear(&mut caller), Some((1, b"x".to_vec())));
}
