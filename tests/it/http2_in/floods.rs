//! Callers that send frames nobody needs, as many as they can.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use super::configuration;
use super::frames::{
    self, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS,
    frame,
};
use crate::support::caller::PATIENCE;
use crate::support::upstream::NAME;
use crate::support::{Folder, Process, Proxy, Upstream, get};

/// How long a flood lasts at least, unless it is over before, and as long as it takes until somebody
/// else has been answered so often.
const LONG: Duration = Duration::from_millis(1500);
const ANSWERS: usize = 5;

/// What the proxy's memory may grow by under a flood.
const GROWTH: usize = 50 << 20;

fn resident(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let line = status.lines().find(|it| it.starts_with("VmHWM:"));
    let size = line.and_then(|it| it.split_whitespace().nth(1));
    size.and_then(|it| it.parse::<usize>().ok())
        .expect("a size")
        * 1024
}

/// Sends pieces, made from their number, while another caller asks for something. Gives whether the
/// proxy ended the flooding connection, and waits until it has if it `ends`.
fn flood(beginning: &[u8], reads: bool, ends: bool, piece: impl Fn(u32) -> Vec<u8>) -> bool {
    let upstream = Upstream::saying("it");
    let folder = Folder::new();
    let text = configuration(&folder, &upstream, "\"http1\", \"http2\"", "workers = 1");
    folder.write("proxy.toml", text);
    let process = Process::start(folder.path(), &[]);
    let address = process.address();
    assert_eq!(get(address, "/acme").status, 200);
    let before = resident(process.id());

    let mut stream = frames::connect(address);
    let mut reading = stream.try_clone().expect("a second handle");
    let reader = reads.then(|| {
        thread::spawn(move || {
            let mut ended = false;
            while let Some((kind, ..)) = frames::read(&mut reading) {
                ended |= kind == GOAWAY;
            }
            ended
        })
    });
    let start = Instant::now();
    let answered = Arc::new(AtomicUsize::new(0));
    let flooding = thread::spawn({
        let answered = Arc::clone(&answered);
        let mut bytes = beginning.to_vec();
        for number in 0..2000 {
            bytes.extend(piece(number));
        }
        let mut later: Vec<Vec<u8>> = (1..40)
            .map(|round| (0..2000).flat_map(|it| piece(round * 2000 + it)).collect())
            .collect();
        later.reverse();
        move || {
            stream
                .set_write_timeout(Some(Duration::from_millis(100)))
                .expect("a timeout");
            let mut rest: Vec<u8> = bytes;
            while start.elapsed() < LONG || answered.load(Ordering::SeqCst) < ANSWERS {
                if rest.is_empty() {
                    match later.pop() {
                        Some(next) => rest = next,
                        None => break,
                    }
                }
                match stream.write(&rest) {
                    Ok(taken) => drop(rest.drain(..taken)),
                    // Full: the proxy takes no more than it can.
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(_) => return true,
                }
            }
            if !ends {
                return false;
            }
            loop {
                match stream.read(&mut [0; 65536]) {
                    Ok(0) => return true,
                    // What was said before the end.
                    Ok(_) => {}
                    // Closed with some of the flood unread, a connection is reset.
                    Err(error) => return error.kind() != ErrorKind::WouldBlock,
                }
            }
        }
    });
    // The flood goes on until they are answered: they wait for ever if it keeps the proxy from it.
    while !flooding.is_finished() {
        assert_eq!(get(address, "/acme").status, 200);
        answered.fetch_add(1, Ordering::SeqCst);
    }
    let mut ended = flooding.join().expect("no panic");
    drop(upstream);
    let grown = resident(process.id()).saturating_sub(before);
    drop(process);
    ended |= reader.is_some_and(|it| it.join().expect("no panic"));
    assert!(grown < GROWTH, "memory grew by {grown}");
    ended
}

#[test]
fn streams_that_are_opened_and_reset_end_the_connection() {
    let ended = flood(b"", true, true, |number| {
        let id = number * 2 + 1;
        let mut bytes = frame(HEADERS, END_STREAM | END_HEADERS, id, &frames::get());
        bytes.extend(frame(RST_STREAM, 0, id, &8_u32.to_be_bytes()));
        bytes
    });
    assert!(ended);
}

/// Where every request waits, for a token that never comes.
fn waiting() -> (Proxy, Folder) {
    let endpoint = Upstream::with(|conversation| {
        conversation.read_request();
        conversation.read_request();
    });
    let folder = Folder::new();
    folder.write("ca.pem", &endpoint.ca_pem);
    folder.write("secret", "a-secret-of-the-client");
    let text = format!(
        r#"
workers = 1
[listeners.local]
address = "127.0.0.1:0"
protocols = ["http2"]
[credentials.acme.exchange]
url = "https://{NAME}/token"
connect = "{}"
tls.ca = ["ca.pem"]
client-authentication = "basic"
client-id = "me"
client-secret = {{ file = "secret" }}
timeouts.total = "1m"
[targets.acme]
url = "https://{NAME}"
timeouts.credential = "1m"
"#,
        endpoint.address
    );
    (Proxy::start(&folder, &text), folder)
}

/// Asks as often, one request after the other, and cancels each while it is being answered. Gives
/// how many were cancelled when the connection ended, and whether it was said that it would.
fn cancel(requests: u32) -> (u32, bool) {
    let (proxy, _folder) = waiting();
    let mut stream = frames::connect(proxy.address);
    let mut was_told = false;
    for number in 0..requests {
        let id = number * 2 + 1;
        let ask = frame(HEADERS, END_STREAM | END_HEADERS, id, &frames::get());
        // The answer to the ping tells that the request was accepted.
        let asked = [ask, frame(PING, 0, 0, b"01234567")].concat();
        let mut is_open = stream.write_all(&asked).is_ok();
        while is_open {
            match frames::read(&mut stream) {
                Some((PING, 1, ..)) => break,
                Some((kind, ..)) => was_told |= kind == GOAWAY,
                None => is_open = false,
            }
        }
        let cancel = frame(RST_STREAM, 0, id, &8_u32.to_be_bytes());
        if !is_open || stream.write_all(&cancel).is_err() {
            return (number, was_told);
        }
    }
    (requests, was_told)
}

#[test]
fn requests_that_are_cancelled_while_they_are_answered_end_the_connection_beyond_what_is_needed() {
    assert_eq!(cancel(400), (400, false));
    // What it is told may be lost, for a connection with something unread on it is reset.
    let start = Instant::now();
    let (cancelled, _) = cancel(1000);
    // Whoever takes ten seconds for so many may.
    let is_slow = start.elapsed() >= Duration::from_secs(10);
    assert!((500..520).contains(&cancelled) || is_slow, "{cancelled}");
}

#[test]
fn requests_over_one_connection_leave_descriptors_for_others() {
    let upstream = Upstream::with(|conversation| {
        // Answered never, until its caller has gone.
        while conversation.read_request().is_some() {}
    });
    let folder = Folder::new();
    let text = configuration(&folder, &upstream, "\"http1\", \"http2\"", "workers = 1");
    folder.write("proxy.toml", text);
    let process = Process::start_limited(folder.path(), 64);
    let mut stream = frames::connect(process.address());
    for number in 0..100 {
        let request = frame(
            HEADERS,
            END_STREAM | END_HEADERS,
            number * 2 + 1,
            &frames::get(),
        );
        stream.write_all(&request).expect("it is taken");
    }
    let mut refused = 0;
    while refused < 100 - 32 {
        let (kind, ..) = frames::read(&mut stream).expect("answers");
        refused += usize::from(kind == HEADERS);
    }
    // Whoever comes now hears of it at once.
    assert_eq!(get(process.address(), "/acme").code(), "overloaded");
    let deadline = Instant::now() + PATIENCE;
    while upstream.requests().len() < 32 && Instant::now() < deadline {
        thread::yield_now();
    }
    assert_eq!(upstream.requests().len(), 32);
}

#[test]
fn streams_that_the_proxy_is_made_to_reset_end_the_connection() {
    // A window that overflows is the stream's fault, and it is our side that resets it.
    let ended = flood(b"", true, true, |number| {
        let id = number * 2 + 1;
        let mut bytes = frame(HEADERS, END_STREAM | END_HEADERS, id, &frames::get());
        bytes.extend(frame(8, 0, id, &0x7fff_ffff_u32.to_be_bytes()));
        bytes
    });
    assert!(ended);
}

#[test]
fn a_head_without_end_ends_the_connection() {
    let beginning = frame(HEADERS, END_STREAM, 1, &frames::get());
    let ended = flood(&beginning, true, true, |_| {
        frame(
            CONTINUATION,
            0,
            1,
            &frames::block(&[("x", &"y".repeat(100))]),
        )
    });
    assert!(ended);
    assert!(flood(&beginning, true, true, |_| frame(
        CONTINUATION,
        0,
        1,
        b""
    )));
}

#[test]
fn empty_pieces_of_a_body_are_bounded() {
    let post = frames::block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/acme"),
        (":authority", "localhost"),
    ]);
    let beginning = frame(HEADERS, END_HEADERS, 1, &post);
    flood(&beginning, true, false, |_| frame(DATA, 0, 1, b""));
}

#[test]
fn pings_and_settings_without_end_are_bounded() {
    for reads in [true, false] {
        flood(b"", reads, false, |_| frame(PING, 0, 0, b"01234567"));
        flood(b"", reads, false, |_| {
            frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])
        });
    }
}
