//! Connections to upstreams: used again, and what happens when one has gone stale.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Caller, Upstream, get, proxy_to, send};

#[test]
fn requests_share_a_connection_to_the_upstream() {
    let upstream = Upstream::saying("hello");
    let (proxy, _folder) = proxy_to(&upstream, "");
    let mut caller = Caller::connect(proxy.address);
    for _ in 0..50 {
        let request = "GET /acme HTTP/1.1\r\nHost: localhost\r\n\r\n";
        assert_eq!(caller.write(request).read().text(), "hello");
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn an_upstream_that_closes_after_each_answer_fails_no_request() {
    let upstream = Upstream::with(|conversation| {
        conversation.read_request();
        // Without a word about it: the proxy takes the connection to be free.
        conversation.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let (proxy, _folder) = proxy_to(&upstream, "");
    let mut caller = Caller::connect(proxy.address);
    for _ in 0..200 {
        let request = "GET /acme HTTP/1.1\r\nHost: localhost\r\n\r\n";
        assert_eq!(caller.write(request).read().text(), "ok");
    }
}

#[test]
fn a_get_on_a_stale_connection_is_sent_again_and_a_post_is_not() {
    // Reads a second request and closes without an answer, on the first connection alone.
    let stale = || {
        Upstream::with(|conversation| {
            conversation.read_request();
            conversation.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            conversation.read_request();
            if conversation.number > 0 {
                conversation.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        })
    };
    let upstream = stale();
    let (proxy, _folder) = proxy_to(&upstream, "");
    let mut caller = Caller::connect(proxy.address);
    for _ in 0..2 {
        let request = "GET /acme HTTP/1.1\r\nHost: localhost\r\n\r\n";
        assert_eq!(caller.write(request).read().status, 200);
    }
    assert_eq!((upstream.requests().len(), upstream.connections()), (3, 2));

    let upstream = stale();
    let (proxy, _folder) = proxy_to(&upstream, "");
    let mut caller = Caller::connect(proxy.address);
    let request = "POST /acme HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx";
    assert_eq!(caller.write(request).read().status, 200);
    assert_eq!(caller.write(request).read().code(), "upstream-reset");
    assert_eq!(
        upstream.requests().len(),
        2,
        "a POST that may have been read is never sent twice"
    );
}

#[test]
fn a_connection_with_the_rest_of_an_answer_on_it_is_not_used_again() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    );
    let (proxy, _folder) = proxy_to(&upstream, "");
    for _ in 0..5 {
        assert_eq!(get(proxy.address, "/acme").text(), "ok");
    }
}

#[test]
fn answers_never_reach_the_wrong_caller() {
    let served = std::sync::Arc::new(AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&served);
    let upstream = Upstream::with(move |conversation| {
        while let Some(request) = conversation.read_request() {
            let path = request.split(' ').nth(1).expect("a path").to_owned();
            // Some connections end in the middle of an answer.
            let number = count.fetch_add(1, Ordering::SeqCst);
            let length = if number.is_multiple_of(7) {
                path.len() + 10
            } else {
                path.len()
            };
            conversation.write(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{path}"
            ));
            if length != path.len() {
                return;
            }
        }
    });
    let (proxy, _folder) = proxy_to(&upstream, "");
    let address = proxy.address;
    let callers: Vec<_> = (0..16)
        .map(|caller| {
            std::thread::spawn(move || {
                for number in 0..100 {
                    let path = format!("/{caller}/{number}");
                    let mut connection = Caller::connect(address);
                    connection.write(format!(
                        "GET /acme{path} HTTP/1.1\r\nHost: localhost\r\n\r\n"
                    ));
                    if let Ok(answer) = connection.try_read() {
                        assert_eq!((answer.status, answer.text()), (200, path));
                    }
                }
            })
        })
        .collect();
    for caller in callers {
        caller.join().expect("no answer went astray");
    }
    assert!(served.load(Ordering::SeqCst) >= 1600);
}

#[test]
fn a_caller_whose_request_was_refused_is_not_served_from_the_rest_of_its_body() {
    let upstream = Upstream::saying("");
    let (proxy, _folder) = proxy_to(&upstream, "");
    let inner = "GET /acme/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let outer = format!(
        "POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{inner}",
        inner.len()
    );
    assert_eq!(send(proxy.address, outer).code(), "no-route");
    assert!(upstream.requests().is_empty());
}
