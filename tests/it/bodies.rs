//! Bodies, in both directions: framed as they came, streamed, and never cut off in silence.

use std::io::{Read, Write};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::support::caller::SOON;
use crate::support::{Caller, Folder, Process, Upstream, acme, proxy_to, send};

fn body_of(request: &str) -> &str {
    request.split_once("\r\n\r\n").expect("a head").1
}

#[test]
fn a_body_with_a_length_arrives_with_that_length() {
    let upstream = Upstream::saying("");
    let (proxy, _folder) = proxy_to(&upstream, "");
    for method in ["POST", "PUT", "PATCH", "DELETE", "GET"] {
        let request = format!(
            "{method} /acme HTTP/1.1\r\nHost: localhost\r\nContent-Length: 005\r\n\r\nhello"
        );
        assert_eq!(send(proxy.address, request).status, 200, "{method}");
    }
    for request in upstream.requests() {
        assert!(request.contains("\r\ncontent-length: 5\r\n"), "{request}");
        assert!(!request.contains("transfer-encoding"), "{request}");
        assert_eq!(body_of(&request), "hello");
    }
    assert_eq!(upstream.requests().len(), 5);
}

#[test]
fn a_chunked_body_arrives_chunked_for_every_method() {
    let upstream = Upstream::saying("");
    let (proxy, _folder) = proxy_to(&upstream, "");
    for method in ["POST", "GET", "DELETE"] {
        let request = format!(
            "{method} /acme HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: Chunked\r\n\r\n\
             5;extension=1\r\nhello\r\n6\r\n world\r\n0\r\nAuthorization: theirs\r\n\r\n"
        );
        assert_eq!(send(proxy.address, request).status, 200, "{method}");
    }
    for request in upstream.requests() {
        assert!(
            request.contains("\r\ntransfer-encoding: chunked\r\n"),
            "{request}"
        );
        assert!(!request.contains("content-length"), "{request}");
        assert!(
            !request.contains("extension") && !request.contains("theirs"),
            "{request}"
        );
        let data: String = body_of(&request)
            .split("\r\n")
            .filter(|it| it.len() > 1)
            .collect();
        assert_eq!(data, "hello world");
    }
}

#[test]
fn a_request_without_a_body_is_sent_without_one() {
    let upstream = Upstream::saying("");
    let (proxy, _folder) = proxy_to(&upstream, "");
    for method in ["GET", "POST", "DELETE", "OPTIONS"] {
        send(
            proxy.address,
            format!("{method} /acme HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        );
    }
    send(
        proxy.address,
        "POST /acme HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
    );
    let requests = upstream.requests();
    for request in &requests[..4] {
        assert!(!request.contains("content-length") && !request.contains("transfer-encoding"));
    }
    assert!(requests[4].contains("\r\ncontent-length: 0\r\n"));
}

#[test]
fn answers_of_every_framing_pass() {
    for (answer, wanted) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "hello",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
        ("HTTP/1.1 204 No Content\r\n\r\n", ""),
        ("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", ""),
        (
            "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "ok",
        ),
    ] {
        let (proxy, _folder) = proxy_to(&Upstream::answering(answer), "");
        let got = send(
            proxy.address,
            "GET /acme HTTP/1.1\r\nHost: localhost\r\n\r\n",
        );
        assert_eq!(got.text(), wanted, "{answer}");
    }
}

#[test]
fn an_answer_that_ends_with_its_connection_passes_whole() {
    let upstream = Upstream::with(|conversation| {
        conversation.read_request();
        conversation.write("HTTP/1.0 200 OK\r\n\r\nuntil the end");
        conversation.close();
    });
    let (proxy, _folder) = proxy_to(&upstream, "");
    let answer = send(
        proxy.address,
        "GET /acme HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    assert_eq!(answer.text(), "until the end");
}

#[test]
fn head_keeps_the_length_that_get_would_have() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n");
    let (proxy, _folder) = proxy_to(&upstream, "");
    let mut caller = Caller::connect(proxy.address);
    for _ in 0..2 {
        let answer = caller
            .write("HEAD /acme HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .read_head();
        assert_eq!(answer.header("content-length"), Some("12345"));
    }
    assert_eq!(
        upstream.connections(),
        1,
        "the connection is clean after a HEAD"
    );
}

#[test]
fn http_1_0_is_spoken_with_and_without_a_host_and_with_keep_alive() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    );
    let (proxy, _folder) = proxy_to(&upstream, "");
    let mut caller = Caller::connect(proxy.address);
    let answer = caller.write("GET /acme/x HTTP/1.0\r\n\r\n").read();
    assert_eq!(
        (answer.text().as_str(), answer.header("transfer-encoding")),
        ("ok", None)
    );
    assert!(caller.is_closed());
    for request in upstream.requests() {
        assert!(request.starts_with("GET /x HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("via: 1.0 countersign-"), "{request}");
    }

    let (proxy, _folder) = proxy_to(&Upstream::saying("ok"), "");
    let mut caller = Caller::connect(proxy.address);
    for _ in 0..2 {
        let request = "GET /acme HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n";
        assert_eq!(caller.write(request).read().text(), "ok");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::with(|conversation| {
        while let Some(request) = conversation.read_request() {
            let path = request.split(' ').nth(1).expect("a path").to_owned();
            conversation.write(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}",
                path.len()
            ));
        }
    });
    let (proxy, _folder) = proxy_to(&upstream, "");
    let mut caller = Caller::connect(proxy.address);
    for number in 0..20 {
        caller.write(format!(
            "GET /acme/{number} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        ));
    }
    for number in 0..20 {
        assert_eq!(caller.read().text(), format!("/{number}"));
    }
}

#[test]
fn a_caller_that_expects_100_continue_is_told_to_go_on() {
    let upstream = Upstream::saying("done");
    let (proxy, _folder) = proxy_to(&upstream, "");
    let mut caller = Caller::connect(proxy.address);
    caller.write(
        "POST /acme HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    );
    assert_eq!(caller.read().status, 100);
    assert_eq!(caller.write("hello").read().text(), "done");
    assert!(!upstream.request().contains("expect"));
}

#[test]
fn an_answer_streams_while_it_is_made() {
    let upstream = Upstream::with(|conversation| {
        conversation.read_request();
        conversation.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        conversation.write("6\r\nfirst\n\r\n");
        // The rest is held back until the caller has seen the first piece.
        conversation.read_request();
    });
    let (proxy, _folder) = proxy_to(&upstream, "");
    let mut caller = Caller::connect(proxy.address);
    caller.write("GET /acme HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut seen = Vec::new();
    let mut buffer = [0; 1024];
    while !String::from_utf8_lossy(&seen).contains("first\n") {
        let count = caller
            .stream()
            .read(&mut buffer)
            .expect("the first piece comes by itself");
        assert!(count > 0);
        seen.extend_from_slice(&buffer[..count]);
    }
}

#[test]
fn an_answer_that_breaks_off_is_never_passed_on_as_a_whole_one() {
    for part in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\npart",
        // The end of the connection is the end of the body only if TLS says so.
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\npart",
        "HTTP/1.0 200 OK\r\n\r\npart",
    ] {
        let upstream = Upstream::with(move |conversation| {
            conversation.read_request();
            conversation.write(part);
        });
        let (proxy, _folder) = proxy_to(&upstream, "");
        let mut caller = Caller::connect(proxy.address);
        caller.write("GET /acme HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(caller.try_read().is_err(), "{part}");
    }
}

#[test]
fn an_answer_before_the_body_is_sent_reaches_the_caller() {
    let upstream = Upstream::with(|conversation| {
        if let Some(head) = conversation.read_head() {
            conversation.note(head.as_bytes());
            conversation.write(
                "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig",
            );
            conversation.close();
        }
    });
    let (proxy, _folder) = proxy_to(&upstream, "");
    let mut caller = Caller::connect(proxy.address);
    caller.write("POST /acme HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nstart");
    let answer = caller.read();
    assert_eq!((answer.status, answer.text().as_str()), (413, "big"));
}

#[test]
fn an_answer_to_a_body_that_the_target_never_reads_reaches_the_caller() {
    let upstream = Upstream::with(|conversation| {
        if conversation.read_head().is_some() {
            conversation.write(
                "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig",
            );
            // What is unread by now has the system break the connection off.
        }
    });
    let (proxy, _folder) = proxy_to(&upstream, "");
    for _ in 0..10 {
        let mut caller = Caller::connect(proxy.address);
        let head = format!(
            "PUT /acme HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            64 * PIECE
        );
        caller.write(head).write(vec![b'x'; 2 * PIECE]);
        let answer = caller.read();
        assert_eq!((answer.status, answer.text().as_str()), (413, "big"));
    }
}

#[test]
fn the_rest_of_a_request_is_sent_though_all_of_the_answer_is_there() {
    const SIZE: usize = 4 * 1024 * 1024;
    let (heard, hears) = mpsc::channel();
    for (answer, behind, text) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "", "ok"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok",
            "ok",
            "okok",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", ""),
        ("HTTP/1.1 204 No Content\r\n\r\n", "", ""),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
            "0\r\n\r\n",
            "ok",
        ),
    ] {
        let heard = heard.clone();
        let upstream = Upstream::with(move |conversation| {
            if conversation.read_head().is_some() {
                conversation.write(answer);
                let is_whole = conversation.read_exact(&mut vec![0; SIZE]);
                conversation.write(behind);
                let _ = heard.send(is_whole);
            }
        });
        let (proxy, _folder) = proxy_to(&upstream, "");
        let mut caller = Caller::connect(proxy.address);
        caller.write(format!(
            "POST /acme HTTP/1.1\r\nHost: localhost\r\nContent-Length: {SIZE}\r\n\r\nxx"
        ));
        if behind.is_empty() {
            assert_eq!(caller.read().text(), text, "{answer}");
            caller.write(vec![b'x'; SIZE - 2]);
        } else {
            caller.write(vec![b'x'; SIZE - 2]);
            assert_eq!(caller.read().text(), text, "{answer}");
        }
        assert_eq!(hears.recv_timeout(SOON), Ok(true), "{answer}");
    }
}

#[test]
fn a_target_that_answers_a_body_while_it_comes_is_told_when_no_more_of_it_will() {
    let upstream = Upstream::with(|conversation| {
        conversation.read_head();
        conversation.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let start = Instant::now();
        while conversation.read_exact(&mut [0]) {}
        if start.elapsed() < SOON {
            conversation.write("4\r\ntold\r\n0\r\n\r\n");
        }
    });
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "");
    let proxy = crate::support::Proxy::start(&folder, &format!("limits.body = \"1KiB\"\n{text}"));
    let mut caller = Caller::connect(proxy.address);
    caller.write("POST /acme HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    caller.write("1\r\nx\r\n");
    // Time for the answer to begin: what is too large is refused before that.
    let mut first = [0; 15];
    assert!(caller.read_exact(&mut first));
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    caller.write(format!("401\r\n{}\r\n", "x".repeat(1025)));
    let mut rest = Vec::new();
    let mut byte = [0];
    while !rest.ends_with(b"told") && caller.read_exact(&mut byte) {
        rest.push(byte[0]);
    }
    assert!(
        rest.ends_with(b"told"),
        "{}",
        String::from_utf8_lossy(&rest)
    );
}

#[test]
fn a_body_above_the_limit_is_refused_declared_or_not() {
    let upstream = Upstream::with(|conversation| while conversation.read_request().is_some() {});
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "");
    let proxy = crate::support::Proxy::start(&folder, &format!("limits.body = \"1KiB\"\n{text}"));
    let declared = "POST /acme HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1025\r\n\r\n";
    let answer = send(proxy.address, declared);
    assert_eq!((answer.status, answer.code().as_str()), (413, "too-large"));
    assert_eq!(upstream.connections(), 0);

    let mut caller = Caller::connect(proxy.address);
    caller.write("POST /acme HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    caller.write(format!("401\r\n{}\r\n", "x".repeat(1025)));
    assert_eq!(caller.read().code(), "too-large");
    assert!(
        upstream.requests().is_empty(),
        "nothing of it looked like a whole request"
    );
}

#[test]
fn a_caller_that_stops_in_the_middle_of_a_body_is_told_so() {
    let upstream = Upstream::with(|conversation| while conversation.read_request().is_some() {});
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "");
    let proxy =
        crate::support::Proxy::start(&folder, &format!("timeouts.body = \"200ms\"\n{text}"));
    let mut caller = Caller::connect(proxy.address);
    caller.write("POST /acme HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf");
    let answer = caller.read();
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (408, "request-timeout")
    );
}

const PIECE: usize = 64 * 1024;
const PIECES: usize = 1600; // 100 MiB
/// The program without any request takes about 20 MiB in the development profile; the bodies are
/// five times what it may grow to.
const MOST_MEMORY_KIB: u64 = 64 * 1024;

#[test]
fn a_hundred_mebibytes_stream_both_ways_in_bounded_memory() {
    let upstream = Upstream::with(|conversation| {
        let Some(_) = conversation.read_head() else {
            return;
        };
        conversation.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            PIECE * PIECES
        ));
        let mut piece = vec![0; PIECE];
        for _ in 0..PIECES {
            if !conversation.read_exact(&mut piece) || !conversation.write(&piece) {
                return;
            }
        }
    });
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "");
    folder.write("proxy.toml", text);
    let process = Process::start(folder.path(), &["serve"]);
    let mut caller = Caller::connect(process.address());
    caller.write(format!(
        "PUT /acme HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        PIECE * PIECES
    ));
    let mut up = caller.stream().try_clone().expect("a second handle");
    let sender = thread::spawn(move || {
        for number in 0..PIECES {
            let piece = vec![u8::try_from(number % 251).expect("small"); PIECE];
            up.write_all(&piece).expect("the proxy takes the body");
        }
    });
    let answer = caller.read();
    sender.join().expect("all of it was sent");
    assert_eq!(answer.body.len(), PIECE * PIECES);
    for (number, piece) in answer.body.chunks(PIECE).enumerate() {
        assert!(
            piece.iter().all(|it| usize::from(*it) == number % 251),
            "piece {number}"
        );
    }
    assert!(
        most_memory(process.id()) < MOST_MEMORY_KIB,
        "{} KiB",
        most_memory(process.id())
    );
}

#[test]
fn a_caller_that_does_not_read_holds_the_upstream_back() {
    let (told, written) = mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let upstream = Upstream::with(move |conversation| {
        conversation.read_request();
        conversation.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            PIECE * PIECES
        ));
        for number in 0..PIECES {
            if !conversation.write(vec![0; PIECE]) {
                return;
            }
            told.lock()
                .expect("one thread")
                .send(number)
                .expect("the test waits");
        }
    });
    let folder = Folder::new();
    folder.write(
        "proxy.toml",
        acme(&folder, upstream.address, &upstream.ca_pem, ""),
    );
    let process = Process::start(folder.path(), &["serve"]);
    let mut caller = Caller::connect(process.address());
    caller.write("GET /acme HTTP/1.1\r\nHost: localhost\r\n\r\n");
    // Until the sockets' own buffers are full and nothing more is taken for a while.
    let mut pieces = 0;
    while written.recv_timeout(Duration::from_millis(500)).is_ok() {
        pieces += 1;
    }
    assert!(
        pieces < PIECES / 2,
        "{pieces} pieces were taken from the upstream"
    );
    assert!(
        most_memory(process.id()) < MOST_MEMORY_KIB,
        "{} KiB",
        most_memory(process.id())
    );
}

/// The most memory a process has had, in KiB.
fn most_memory(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let line = status
        .lines()
        .find_map(|it| it.strip_prefix("VmHWM:"))
        .expect("a high-water mark");
    line.trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a number")
}

#[test]
fn a_slow_upload_is_not_a_slow_answer() {
    let upstream = Upstream::saying("done");
    let (proxy, _folder) = proxy_to(&upstream, "[targets.acme.timeouts]\nfirst-byte = \"3s\"");
    let mut caller = Caller::connect(proxy.address);
    caller.write("POST /acme HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\n");
    let start = Instant::now();
    for _ in 0..8 {
        thread::park_timeout(Duration::from_millis(400));
        caller.write("x");
    }
    assert_eq!(caller.read().text(), "done");
    assert!(start.elapsed() > Duration::from_secs(3));
}
