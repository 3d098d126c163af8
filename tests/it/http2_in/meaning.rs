//! What a request in HTTP/2 means to what stands behind it.

use std::io::Write;

use super::frames::{self, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, block, frame};
use super::proxy;
use crate::support::{Folder, Proxy, Upstream, acme};

/// The status of the answer, as far as it is known here, or the stream's error.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Status(u16),
    Reset,
    Closed,
}

/// Sends a request with these headers after `:method`, `:scheme` and `:path`.
fn outcome(address: std::net::SocketAddr, headers: &[(&str, &str)]) -> Outcome {
    outcome_of("GET", "/acme", address, headers)
}

fn outcome_of(
    method: &str,
    path: &str,
    address: std::net::SocketAddr,
    headers: &[(&str, &str)],
) -> Outcome {
    let mut all = vec![(":method", method), (":scheme", "http"), (":path", path)];
    // Pseudo-headers come before the others (RFC 9113 section 8.3).
    all.extend(headers.iter().filter(|it| it.0.starts_with(':')));
    all.extend(headers.iter().filter(|it| !it.0.starts_with(':')));
    let mut stream = frames::connect(address);
    let request = frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&all));
    stream.write_all(&request).expect("it is taken");
    loop {
        match frames::read(&mut stream) {
            None => return Outcome::Closed,
            Some((RST_STREAM, _, 1, _)) => return Outcome::Reset,
            // The first header is `:status`, indexed (RFC 7541 appendix A) or a literal.
            Some((HEADERS, _, 1, payload)) => {
                return Outcome::Status(match payload[0] {
                    0x88 => 200,
                    0x8c => 400,
                    0x8d => 404,
                    // As a literal in Huffman's code (appendix B).
                    _ if payload[2..].starts_with(&[0x69, 0x90, 0xff]) => 431,
                    _ => 0,
                });
            }
            Some(_) => {}
        }
    }
}

#[test]
fn the_authority_is_the_host_and_a_host_that_differs_is_refused() {
    let upstream = Upstream::saying("it");
    let (proxy, _folder) = proxy(&upstream, "\"http2\"", "");
    let ask = |headers: &[(&str, &str)]| outcome(proxy.address, headers);
    let ok = Outcome::Status(200);
    assert_eq!(ask(&[(":authority", "localhost")]), ok);
    assert_eq!(
        ask(&[(":authority", "localhost:80"), ("host", "LOCALHOST:80")]),
        ok
    );
    assert_eq!(ask(&[("host", "localhost")]), ok);
    let bad = Outcome::Status(400);
    assert_eq!(ask(&[]), bad);
    assert_eq!(
        ask(&[(":authority", "localhost"), ("host", "127.0.0.1")]),
        bad
    );
    assert_eq!(ask(&[("host", "localhost"), ("host", "localhost")]), bad);
    for wrong in ["user@localhost", "localhost:port"] {
        assert_ne!(ask(&[(":authority", wrong)]), ok, "{wrong}");
    }
    // A name of the attacker's is no name of this proxy, however it is said.
    assert_ne!(ask(&[(":authority", "evil.example")]), ok);
    assert_eq!(upstream.requests().len(), 3);
}

#[test]
fn what_belongs_to_a_connection_of_http_1_is_malformed() {
    let upstream = Upstream::saying("it");
    let (proxy, _folder) = proxy(&upstream, "\"http2\"", "");
    for header in [
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("keep-alive", "5"),
        ("te", "gzip"),
        ("Upper", "case"),
        (":unknown", "pseudo"),
        (":path", "/acme/twice"),
        ("content-length", "5"),
        ("x-split", "a\r\nx-other: b"),
        ("x-split", "a\nx-other: b"),
        ("x-split", "a\0b"),
        ("x split", "a"),
        ("x-split\r\nx-other", "a"),
        ("x:split", "a"),
        (":authority", "localhost"),
        (":scheme", "http"),
        (":method", "GET"),
        (":status", "200"),
    ] {
        let found = outcome(proxy.address, &[(":authority", "localhost"), header]);
        assert!(
            matches!(
                found,
                Outcome::Reset | Outcome::Closed | Outcome::Status(400)
            ),
            "{header:?}: {found:?}"
        );
    }
    assert!(upstream.requests().is_empty(), "{:?}", upstream.requests());
}

#[test]
fn methods_and_schemes_that_are_not_served_are_refused() {
    let upstream = Upstream::saying("it");
    let (proxy, _folder) = proxy(&upstream, "\"http2\"", "");
    for (method, scheme) in [
        ("TRACE", "http"),
        ("trace", "http"),
        ("Track", "http"),
        ("connect", "http"),
        ("GET\r\n", "http"),
        ("GET /x", "http"),
        ("GET", "ftp"),
        ("CONNECT", "http"),
    ] {
        let mut stream = frames::connect(proxy.address);
        let headers = [
            (":method", method),
            (":scheme", scheme),
            (":path", "/acme"),
            (":authority", "localhost"),
        ];
        let request = frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&headers));
        stream.write_all(&request).expect("it is taken");
        let answer = loop {
            match frames::read(&mut stream) {
                Some((HEADERS | RST_STREAM, _, 1, payload)) => break payload,
                Some(_) => {}
                None => break Vec::new(),
            }
        };
        assert_ne!(answer.first(), Some(&0x88), "{method} {scheme}");
    }
    assert!(upstream.requests().is_empty(), "{:?}", upstream.requests());
}

/// HTTP/1 refuses a fragment by its bytes. Of HTTP/2 nobody gets to see one: the `http` crate cuts it
/// off where h2 hands it the path, and so there is no path but the one that is routed.
#[test]
fn a_fragment_is_part_of_nothing_and_what_is_routed_is_what_is_forwarded() {
    let upstream = Upstream::saying("it");
    let folder = Folder::new();
    let refuse = "refuse = [\"/secret\"]";
    let text = acme(&folder, upstream.address, &upstream.ca_pem, refuse);
    let address = "address = \"127.0.0.1:0\"\n";
    let text = text.replace(address, &format!("{address}protocols = [\"http2\"]\n"));
    let proxy = Proxy::start(&folder, &text);
    let ask = |path: &str| outcome_of("GET", path, proxy.address, &[(":authority", "localhost")]);
    for (path, sent) in [
        ("/acme/a#b", "/a"),
        ("/acme/a#/../../other", "/a"),
        ("/acme/a?x=1#/secret", "/a?x=1"),
        ("/acme/a#?x=1", "/a"),
        ("/acme#/post", "/"),
    ] {
        assert_eq!(ask(path), Outcome::Status(200), "{path}");
        let request = upstream.requests().pop().expect("just sent");
        assert!(
            request.starts_with(&format!("GET {sent} HTTP/1.1\r\n")),
            "{path}: {request}"
        );
    }
    let seen = upstream.requests().len();
    for path in [
        "/acme/secret#x",
        "/#/acme",
        "#/acme",
        "/acme/..#x",
        "/acme/%2e%2e#",
    ] {
        assert_ne!(ask(path), Outcome::Status(200), "{path}");
    }
    assert_eq!(upstream.requests().len(), seen);
}

#[test]
fn a_cookie_in_pieces_is_put_together() {
    let upstream = Upstream::saying("it");
    let (proxy, _folder) = proxy(&upstream, "\"http2\"", "");
    let headers = [
        (":authority", "localhost"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
    ];
    assert_eq!(outcome(proxy.address, &headers), Outcome::Status(200));
    let request = upstream.request();
    assert!(request.contains("\r\ncookie: a=1; b=2\r\n"), "{request}");
}

#[test]
fn a_head_is_as_large_as_in_http_1_and_no_larger() {
    let upstream = Upstream::saying("it");
    let (proxy, _folder) = proxy(&upstream, "\"http2\"", "");
    let with = |count: usize| {
        let mut headers = vec![(":authority", "localhost")];
        headers.extend(std::iter::repeat_n(("x-many", "1"), count));
        outcome(proxy.address, &headers)
    };
    assert_eq!(with(90), Outcome::Status(200));
    assert_eq!(with(101), Outcome::Status(431));
}
