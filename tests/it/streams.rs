//! Answers that go on for long, piece by piece.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use tokio::time::Instant;

use crate::support::{Caller, Upstream, proxy_to};

const GET: &str = "GET /acme/events HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn head(media_type: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nTransfer-Encoding: chunked\r\n\r\n")
}

fn event(number: usize) -> String {
    let data = format!("data: {number}\n\n");
    format!("{:x}\r\n{data}\r\n", data.len())
}

/// Reads bytes until there is this at their end.
fn until(caller: &mut Caller, end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        let mut byte = [0];
        assert!(
            caller.read_exact(&mut byte),
            "{}",
            String::from_utf8_lossy(&read)
        );
        read.push(byte[0]);
    }
    String::from_utf8_lossy(&read).into_owned()
}

#[test]
fn each_event_arrives_before_the_next_one_is_sent() {
    let (heard, wait) = mpsc::channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    let upstream = Upstream::with(move |conversation| {
        conversation.read_request();
        conversation.write(head("text/event-stream"));
        for number in 0..20 {
            conversation.write(event(number));
            // Nothing more is sent until the caller has this one.
            let _ = wait.lock().expect("one waits").recv();
        }
        conversation.write("0\r\n\r\n");
    });
    let (proxy, _folder) = proxy_to(&upstream, "");
    let mut caller = Caller::connect(proxy.address);
    caller.write(GET);
    assert!(until(&mut caller, "\r\n\r\n").contains("text/event-stream"));
    for number in 0..20 {
        until(&mut caller, &format!("data: {number}\n\n"));
        heard.send(()).expect("the upstream waits");
    }
    until(&mut caller, "\r\n0\r\n\r\n");
}

/// How long it takes, from the request on, until an answer ends that goes silent after its first
/// event.
fn silence(media_type: &'static str) -> Duration {
    let upstream = Upstream::with(move |conversation| {
        conversation.read_request();
        conversation.write(head(media_type) + &event(0));
        conversation.read_exact(&mut [0]);
    });
    let (proxy, _folder) = proxy_to(
        &upstream,
        "timeouts.idle = \"200ms\"\ntimeouts.stream = \"1s\"",
    );
    let mut caller = Caller::connect(proxy.address);
    let began = Instant::now();
    caller.write(GET);
    until(&mut caller, "data: 0\n\n");
    until(&mut caller, "\r\n");
    assert!(caller.is_closed(), "broken off, and not ended");
    began.elapsed()
}

#[test]
fn a_stream_of_events_may_be_silent_for_longer() {
    let (idle, stream) = (Duration::from_millis(200), Duration::from_secs(1));
    assert!(silence("application/json") >= idle);
    for media_type in [
        "text/event-stream",
        "Text/Event-Stream; charset=utf-8",
        "multipart/x-mixed-replace;boundary=x",
    ] {
        assert!(silence(media_type) >= stream, "{media_type}");
    }
}
