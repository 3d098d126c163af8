//! Callers that send frames nobody needs, as many as they can.

use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use super::configuration;
use super::frames::{
    self, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS,
    frame,
};
use crate::support::caller::PATIENCE;
use crate::support::{Folder, Process, Upstream, get};

/// How long a flood lasts at most.
const LONG: Duration = Duration::from_millis(1500);

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
/// proxy ended the flooding connection.
fn flood(beginning: &[u8], reads: bool, piece: impl Fn(u32) -> Vec<u8>) -> bool {
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
    let flooding = thread::spawn({
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
            while start.elapsed() < LONG {
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
            stream
                .set_read_timeout(Some(Duration::from_millis(300)))
                .expect("a timeout");
            matches!(stream.read(&mut [0; 65536]), Ok(0))
        }
    });
    let mut slowest = Duration::ZERO;
    while !flooding.is_finished() {
        let asked = Instant::now();
        assert_eq!(get(address, "/acme").status, 200);
        slowest = slowest.max(asked.elapsed());
    }
    let mut ended = flooding.join().expect("no panic");
    drop(upstream);
    let grown = resident(process.id()) - before;
    drop(process);
    ended |= reader.is_some_and(|it| it.join().expect("no panic"));
    assert!(
        slowest < Duration::from_secs(1),
        "another caller waited {slowest:?}"
    );
    assert!(grown < GROWTH, "memory grew by {grown}");
    ended
}

#[test]
fn streams_that_are_opened_and_reset_are_bounded() {
    flood(b"", true, |number| {
        let id = number * 2 + 1;
        let mut bytes = frame(HEADERS, END_STREAM | END_HEADERS, id, &frames::get());
        bytes.extend(frame(RST_STREAM, 0, id, &8_u32.to_be_bytes()));
        bytes
    });
}

#[test]
fn a_caller_that_cancels_most_of_what_it_asks_for_is_left() {
    let upstream = Upstream::with(|conversation| {
        conversation.read_request();
        // The caller is gone before there is an answer.
        let _ = conversation.read_request();
    });
    let (proxy, _folder) = super::proxy(&upstream, "\"http2\"", "");
    let mut stream = frames::connect(proxy.address);
    stream.set_nodelay(true).expect("no delay");
    let mut cancelled = 0;
    'asking: for number in 0..5000 {
        let id = number * 2 + 1;
        let mut bytes = frame(HEADERS, END_STREAM | END_HEADERS, id, &frames::get());
        bytes.extend(frame(PING, 0, 0, &[7; 8]));
        if stream.write_all(&bytes).is_err() {
            break;
        }
        // What comes before the ping has been taken in when it is answered.
        loop {
            match frames::read(&mut stream) {
                Some((PING, _, _, payload)) if payload == [7; 8] => break,
                Some(_) => {}
                None => break 'asking,
            }
        }
        let reset = frame(RST_STREAM, 0, id, &8_u32.to_be_bytes());
        if stream.write_all(&reset).is_err() {
            break;
        }
        cancelled += 1;
    }
    assert!((400..1000).contains(&cancelled), "{cancelled}");
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
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(upstream.requests().len(), 32);
}

#[test]
fn streams_that_the_proxy_is_made_to_reset_end_the_connection() {
    // A window that overflows is the stream's fault, and it is our side that resets it.
    let ended = flood(b"", true, |number| {
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
    let ended = flood(&beginning, true, |_| {
        frame(
            CONTINUATION,
            0,
            1,
            &frames::block(&[("x", &"y".repeat(100))]),
        )
    });
    assert!(ended);
    assert!(flood(&beginning, true, |_| frame(CONTINUATION, 0, 1, b"")));
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
    flood(&beginning, true, |_| frame(DATA, 0, 1, b""));
}

#[test]
fn pings_and_settings_without_end_are_bounded() {
    for reads in [true, false] {
        flood(b"", reads, |_| frame(PING, 0, 0, b"01234567"));
        flood(b"", reads, |_| {
            frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])
        });
    }
}
