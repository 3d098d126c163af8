//! How long a whole exchange may take, and deadlines of one route.

use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::support::{Caller, Upstream, get, proxy_to};

const GET: &str = "GET /acme HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Sends a body of 500 bytes, one every 10 ms.
fn dripping(head: &'static str) -> Upstream {
    Upstream::with(move |conversation| {
        conversation.read_request();
        conversation.write(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n"));
        let (piece, end) = match head.starts_with("Transfer") {
            true => ("1\r\nx\r\n", "0\r\n\r\n"),
            false => ("x", ""),
        };
        for _ in 0..500 {
            if !conversation.write(piece) {
                return;
            }
            thread::park_timeout(Duration::from_millis(10));
        }
        conversation.write(end);
    })
}

#[test]
fn an_answer_that_goes_on_for_too_long_is_broken_off_and_never_taken_for_whole() {
    for head in ["Content-Length: 500", "Transfer-Encoding: chunked"] {
        let upstream = dripping(head);
        let (proxy, _folder) = proxy_to(&upstream, "timeouts.total = \"700ms\"");
        let mut caller = Caller::connect(proxy.address);
        let start = Instant::now();
        let answer = caller.write(GET).try_read();
        assert!(answer.is_err(), "{head}: {answer:?}");
        assert!(start.elapsed() >= Duration::from_millis(700), "{head}");
    }
}

#[test]
fn an_answer_that_does_not_begin_in_all_its_time_is_a_504() {
    let upstream = Upstream::with(|conversation| {
        conversation.read_request();
        // Until the proxy hangs up.
        conversation.read_request();
    });
    let (proxy, _folder) = proxy_to(&upstream, "timeouts.total = \"300ms\"");
    let answer = get(proxy.address, "/acme");
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (504, "upstream-timeout")
    );
}

#[test]
fn an_answer_within_its_time_is_left_alone() {
    let upstream = Upstream::saying("hello");
    let (proxy, _folder) = proxy_to(&upstream, "timeouts.total = \"1m\"");
    let mut caller = Caller::connect(proxy.address);
    for _ in 0..3 {
        assert_eq!(caller.write(GET).read().text(), "hello");
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_route_may_have_deadlines_of_its_own() {
    let upstream = Upstream::with(|conversation| {
        while let Some(request) = conversation.read_request() {
            // The others are answered never.
            if request.contains("?answered ") {
                thread::park_timeout(Duration::from_millis(1200));
                conversation.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        }
    });
    let extra = r#"
timeouts.first-byte = "300ms"

[[targets.acme.routes]]
path = "/acme"

[[targets.acme.routes]]
path = "/acme/slow"
timeouts = { first-byte = "1m" }

[[targets.acme.routes]]
path = "/acme/slow/but-not-endless"
timeouts = { first-byte = "20s", total = "400ms" }
"#;
    let (proxy, _folder) = proxy_to(&upstream, extra);
    assert_eq!(get(proxy.address, "/acme").code(), "upstream-timeout");
    assert_eq!(get(proxy.address, "/acme/slow?answered").text(), "ok");
    let answer = get(proxy.address, "/acme/slow/but-not-endless");
    assert_eq!(answer.code(), "upstream-timeout");
}
