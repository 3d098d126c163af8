//! What attackers send, and what an attacker in the target's place answers.
//!
//! Whatever comes in, what goes out is whole requests with one framing, one credential and the
//! target's name, never more of them than a caller meant. Whatever comes back, no byte of one
//! answer is ever in another.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use crate::support::caller::PATIENCE;
use crate::support::{Caller, Folder, Proxy, Upstream, acme, get, proxy_to, send};

/// What stands for a request that nobody meant to send.
const SMUGGLED: &str = "GET /acme/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A request behind all others, which has the connection closed.
const LAST: &str = "GET /acme/last HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// A proxy that gives up early on what is not finished, with its upstream.
fn impatient(upstream: &Upstream) -> (Proxy, Folder) {
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "");
    let text = format!("timeouts.head = \"300ms\"\ntimeouts.body = \"300ms\"\n{text}");
    (Proxy::start(&folder, &text), folder)
}

/// What the proxy says to these bytes until it closes the connection.
fn says(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("the proxy listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    // It may close while there is more to come.
    let _ = stream.write_all(bytes);
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return said,
            Ok(count) => said.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                assert_eq!(
                    error.kind(),
                    ErrorKind::ConnectionReset,
                    "it closes in time"
                );
                return said;
            }
        }
    }
}

/// The statuses in what the proxy said.
fn statuses(said: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(said);
    text.match_indices("HTTP/1.")
        .filter_map(|(at, _)| text.get(at + 9..at + 12)?.parse().ok())
        .collect()
}

/// Sends each of these with a further request behind it, eight at a time; gives the statuses.
fn all_say(address: SocketAddr, requests: &[Vec<u8>]) -> Vec<Vec<u16>> {
    let share = requests.len().div_ceil(8).max(1);
    thread::scope(|scope| {
        let shares: Vec<_> = requests
            .chunks(share)
            .map(|share| {
                scope.spawn(move || {
                    let one = |request: &Vec<u8>| {
                        let bytes = [request, LAST.as_bytes()].concat();
                        statuses(&says(address, &bytes))
                    };
                    share.iter().map(one).collect::<Vec<_>>()
                })
            })
            .collect();
        let join = |it: thread::ScopedJoinHandle<'_, Vec<Vec<u16>>>| it.join().expect("no panic");
        shares.into_iter().flat_map(join).collect()
    })
}

/// What arrived, checked to be well framed and in our name.
fn arrived(upstream: &Upstream) -> Vec<String> {
    let requests = upstream.requests();
    for request in &requests {
        assert_well_made(request);
    }
    requests
}

fn assert_well_made(request: &str) {
    let (head, body) = request.split_once("\r\n\r\n").expect("a head");
    let mut lines = head.split("\r\n");
    let line = lines.next().expect("a request line");
    let parts: Vec<&str> = line.split(' ').collect();
    let [method, target, "HTTP/1.1"] = parts[..] else {
        panic!("not a request line: {request}");
    };
    assert!(method.bytes().all(|it| it.is_ascii_graphic()), "{request}");
    let has_form = target.starts_with('/') || target == "*";
    assert!(has_form && !target.contains('#'), "{request}");
    let headers: Vec<(&str, &str)> = lines
        .map(|line| {
            line.split_once(": ")
                .unwrap_or_else(|| panic!("no header: {request}"))
        })
        .collect();
    let values = |name: &str| -> Vec<&str> {
        let same = headers.iter().filter(|it| it.0.eq_ignore_ascii_case(name));
        same.map(|it| it.1).collect()
    };
    for (name, value) in &headers {
        assert!(!name.contains([' ', '\t', '_', '\u{b}']), "{request}");
        let is_control = |it: char| it.is_ascii_control() && it != '\t';
        assert!(!value.contains(is_control), "{request}");
    }
    assert_eq!(values("host"), ["upstream.example"], "{request}");
    let authorization = values("authorization");
    assert_eq!(authorization.len(), 1, "{request}");
    assert!(authorization[0].starts_with("Bearer eyJ"), "{request}");
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "te",
        "trailer",
        "upgrade",
        "http2-settings",
        "expect",
    ] {
        assert!(values(name).is_empty(), "{name} in {request}");
    }
    match (
        &values("content-length")[..],
        &values("transfer-encoding")[..],
    ) {
        ([], []) => assert_eq!(body, "", "{request}"),
        ([length], []) => {
            assert_eq!(*length, body.len().to_string(), "{request}");
        }
        ([], ["chunked"]) => assert_chunked(body),
        _ => panic!("two framings: {request}"),
    }
}

fn assert_chunked(mut body: &str) {
    loop {
        let (size, rest) = body.split_once("\r\n").expect("a chunk's line");
        assert!(size.bytes().all(|it| it.is_ascii_hexdigit()), "{size:?}");
        let size = usize::from_str_radix(size, 16).expect("a chunk's size");
        let rest = rest.get(size..).expect("a chunk's data");
        body = rest.strip_prefix("\r\n").expect("a chunk's end");
        if size == 0 {
            assert_eq!(body, "", "no trailers");
            return;
        }
    }
}

fn post(headers: &str, body: &str) -> Vec<u8> {
    format!("POST /acme HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n{body}").into_bytes()
}

/// Each is answered by one refusal, after which the connection is closed and nothing that follows
/// is served; none goes anywhere.
fn assert_refused(requests: &[Vec<u8>]) {
    let upstream = Upstream::saying("");
    let (proxy, _folder) = impatient(&upstream);
    for (request, statuses) in requests.iter().zip(all_say(proxy.address, requests)) {
        let request = String::from_utf8_lossy(request);
        assert!(
            matches!(statuses[..], [] | [400..500]),
            "{statuses:?} to {request:?}"
        );
    }
    assert_eq!(upstream.requests(), Vec::<String>::new());
}

#[test]
fn a_transfer_coding_in_any_disguise_is_refused() {
    let mut requests = Vec::new();
    for coding in [
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunkedx",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: 'chunked'",
        "Transfer-Encoding: chunked chunked",
        "Transfer-Encoding: chun\tked",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding: chunked\u{b}",
        "Transfer-Encoding: chunked\u{c}",
        "Transfer-Encoding: chunked\0",
        "Transfer-Encoding: chunked\u{a0}",
        "Transfer-Encoding: ch\u{17f}unked",
        "Transfer-Encoding:",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding:\r\n\tchunked",
        "Transfer-Encoding: chunked\r\n ",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        " Transfer-Encoding: chunked",
        "\tTransfer-Encoding: chunked",
        "X: 1\r\n Transfer-Encoding: chunked",
        "X: 1\rTransfer-Encoding: chunked",
        "\rTransfer-Encoding: chunked",
        "Transfer-Encoding\0: chunked",
        "Transfer\u{ad}-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\ntransfer-encoding: cow",
        "Transfer-Encoding: cow\r\nTRANSFER-ENCODING: chunked",
    ] {
        for beside in ["", "Content-Length: 5\r\n"] {
            for body in ["", "0\r\n\r\n"] {
                let headers = format!("{beside}{coding}\r\n");
                requests.push(post(&headers, &format!("{body}{SMUGGLED}")));
            }
        }
    }
    let old =
        "POST /acme HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    requests.push(old.into());
    assert!(requests.len() > 150);
    assert_refused(&requests);
}

#[test]
fn a_length_in_any_disguise_is_refused() {
    let mut requests = Vec::new();
    for length in [
        "+5",
        "-5",
        "-0",
        "5 5",
        "5, 5",
        "5,6",
        "5;",
        "0x5",
        "5e0",
        "5.0",
        "",
        " ",
        "\"5\"",
        "5\0",
        "\u{b}5",
        "5_0",
        "\u{665}",
        "five",
        "99999999999999999999",
        "18446744073709551615",
        "18446744073709551616",
        "9223372036854775808\r\nContent-Length: 5",
        "5\r\nContent-Length: 6",
        "0\r\nContent-Length: 5",
        "5\r\n 6",
        "\r\n 5",
    ] {
        requests.push(post(&format!("Content-Length: {length}\r\n"), SMUGGLED));
    }
    for name in [
        "Content-Length : 5",
        "Content-Length\t: 5",
        " Content-Length: 5",
        "Content-Length\0: 5",
        "Content Length: 5",
        "X: 1\r\n Content-Length: 5",
        "X: 1\rContent-Length: 5",
    ] {
        requests.push(post(&format!("{name}\r\n"), SMUGGLED));
    }
    assert_refused(&requests);
}

#[test]
fn a_length_beside_chunked_is_refused_in_either_order() {
    let upstream = Upstream::saying("");
    let (proxy, _folder) = impatient(&upstream);
    let mut requests = Vec::new();
    for length in ["0", "5", "50", "005"] {
        for (first, second) in [(0, 1), (1, 0)] {
            let headers = [
                format!("Content-Length: {length}\r\n"),
                "Transfer-Encoding: chunked\r\n".to_owned(),
            ];
            let headers = format!("{}{}", headers[first], headers[second]);
            for body in ["0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n"] {
                requests.push(post(&headers, &format!("{body}{SMUGGLED}")));
            }
        }
    }
    for statuses in all_say(proxy.address, &requests) {
        assert_eq!(statuses, [400]);
    }
    assert_eq!(upstream.requests(), Vec::<String>::new());
}

#[test]
fn a_line_that_ends_in_a_bare_lf_and_a_fragment_are_refused() {
    let whole = "POST /acme HTTP/1.1\r\nHost: localhost\r\nX: y\r\nContent-Length: 0\r\n\r\n";
    let mut requests: Vec<Vec<u8>> = whole
        .match_indices('\r')
        .map(|(at, _)| format!("{}{}", &whole[..at], &whole[at + 1..]).into_bytes())
        .collect();
    requests.extend([
        "\nGET /acme HTTP/1.1\r\nHost: localhost\r\n\r\n".into(),
        "GET /acme#x HTTP/1.1\r\nHost: localhost\r\n\r\n".into(),
        "GET /acme?x#/../y HTTP/1.1\r\nHost: localhost\r\n\r\n".into(),
        "GET #/acme HTTP/1.1\r\nHost: localhost\r\n\r\n".into(),
        "GET http://localhost#/acme HTTP/1.1\r\nHost: localhost\r\n\r\n".into(),
    ]);
    assert_refused(&requests);
}

#[test]
fn a_chunk_that_is_not_one_ends_the_request_and_the_connection() {
    let upstream = Upstream::saying("");
    let (proxy, _folder) = impatient(&upstream);
    let mut requests = Vec::new();
    for chunks in [
        "-5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        "5_\r\nhello\r\n0\r\n\r\n",
        "5,\r\nhello\r\n0\r\n\r\n",
        "\u{665}\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\0\r\nhello\r\n0\r\n\r\n",
        "5;x\nhello\r\n0\r\n\r\n",
        "5;\r\nhello\r\n0\r\n\r\n",
        "5;\0x\r\nhello\r\n0\r\n\r\n",
        "5;x\r\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        // Zeros beyond what is looked at, and then what would be read as a size or not.
        "00000000000000000000000000000000000000000000000000000000000000000005\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "5\r\nhello\r\n\r\n0\r\n\r\n",
        "5\r\nhell\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\r\n",
        "5\r\nhello\r\n00\r\nX: 1\nY: 2\r\n\r",
        "0\r\nX\r\n\rGET",
        "0\r\n\rX\r\n\r\n",
    ] {
        requests.push(post(
            "Transfer-Encoding: chunked\r\n",
            &format!("{chunks}{SMUGGLED}"),
        ));
    }
    for (request, statuses) in requests.iter().zip(all_say(proxy.address, &requests)) {
        let request = String::from_utf8_lossy(request);
        assert!(
            matches!(statuses[..], [] | [400..500]),
            "{statuses:?} to {request:?}"
        );
    }
    assert_eq!(upstream.requests(), Vec::<String>::new(), "none was whole");
}

#[test]
fn extensions_and_trailers_of_a_chunked_body_end_here() {
    let upstream = Upstream::saying("");
    let (proxy, _folder) = impatient(&upstream);
    let mut requests = Vec::new();
    for size in [
        "5",
        "05",
        "0005",
        "5;x",
        "5;x=1",
        "5;x=\"y;z\"",
        "5 ;x",
        "5\t;x",
    ] {
        for trailer in [
            "",
            "Authorization: Bearer theirs\r\n",
            "Host: evil\r\n",
            "Content-Length: 50\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Connection: close\r\nX-Trailer: theirs\r\n",
            "Trailer: theirs\r\n",
        ] {
            let body = format!("{size}\r\nhello\r\n0\r\n{trailer}\r\n");
            requests.push(post(
                "TE: trailers\r\nTrailer: Host\r\nTransfer-Encoding: chunked\r\n",
                &body,
            ));
        }
    }
    for (request, statuses) in requests.iter().zip(all_say(proxy.address, &requests)) {
        let request = String::from_utf8_lossy(request);
        assert_eq!(statuses, [200, 200], "to {request:?}");
    }
    let arrived = arrived(&upstream);
    assert_eq!(arrived.len(), 2 * requests.len());
    for request in arrived {
        assert!(!request.contains("theirs"), "{request}");
        let body = "\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        assert!(
            request.starts_with("GET /last ") || request.ends_with(body),
            "{request}"
        );
    }
}

#[test]
fn a_byte_that_no_header_name_has_is_refused_wherever_it_stands() {
    let token = |it: u8| it.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&it);
    let mut requests = Vec::new();
    for byte in (0..=u8::MAX).filter(|it| !token(*it) && *it != b':' && *it != b'\n') {
        for name in [&[b'X', byte, b'Y'][..], &[byte, b'X'], &[b'X', byte]] {
            let head = b"GET /acme HTTP/1.1\r\nHost: localhost\r\n";
            requests.push([head, name, b": 1\r\n\r\n"].concat());
        }
    }
    assert!(requests.len() > 500);
    assert_refused(&requests);
}

#[test]
fn a_control_byte_in_a_value_a_target_or_a_method_is_refused() {
    let mut requests = Vec::new();
    for byte in (0..0x20).chain([0x7f]) {
        if !matches!(byte, b'\t' | b'\n' | b'\r') {
            let head = b"GET /acme HTTP/1.1\r\nHost: localhost\r\nX: a";
            requests.push([head, &[byte][..], b"b\r\n\r\n"].concat());
        }
        for parts in [
            ["GET /acme/a", "b HTTP/1.1\r\nHost: localhost\r\n\r\n"],
            ["GET /acme?a", "b HTTP/1.1\r\nHost: localhost\r\n\r\n"],
            ["GE", "T /acme HTTP/1.1\r\nHost: localhost\r\n\r\n"],
            ["GET /acme HTTP/1.", "1\r\nHost: localhost\r\n\r\n"],
            ["GET /acme HTTP/1.1\r\nHost: local", "host\r\n\r\n"],
        ] {
            requests.push([parts[0].as_bytes(), &[byte], parts[1].as_bytes()].concat());
        }
    }
    assert_refused(&requests);
}

#[test]
fn a_host_that_is_not_a_name_of_this_proxy_is_refused_in_every_disguise() {
    let mut requests = Vec::new();
    for host in [
        "evil.example",
        "localhost.evil.example",
        "localhost@evil.example",
        "evil.example@localhost",
        "localhost:80@evil.example",
        "evil.example:80#localhost",
        "localhost#evil.example",
        "localhost/evil.example",
        "localhost\\evil.example",
        "localhost?evil.example",
        "localhost, evil.example",
        "evil.example, localhost",
        "localhost evil.example",
        "localhost\tevil.example",
        "localhost;evil.example",
        "localhost%00.evil.example",
        "localhost%2eevil",
        "localhost:evil",
        "localhost:80:80",
        "localhost:-1",
        "localhost:+80",
        "localhost:999999",
        "localhost.",
        "localhost..",
        ".localhost",
        "[::1",
        "::1",
        "[::1]evil",
        "[::1%25lo]",
        "[localhost]",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "127.0.0.1.",
        "127.0.0.2",
        "0.0.0.0",
        "[::]",
        "[::1]",
        "[::ffff:7f00:2]",
        "http://localhost",
        "*",
        "",
        " ",
        "\"localhost\"",
        "l\u{f6}calhost",
        "\u{ff4c}ocalhost",
        "locaIhost",
        "localhost\0",
        "localhost\u{a0}",
    ] {
        let lines = [
            format!("Host: {host}\r\n"),
            format!("Host: localhost\r\nHost: {host}\r\n"),
            format!("Host: {host}\r\nHost: localhost\r\n"),
        ];
        requests.extend(lines.map(|it| format!("GET /acme HTTP/1.1\r\n{it}\r\n").into_bytes()));
    }
    for lines in [
        "Host : localhost\r\n",
        " Host: localhost\r\n",
        "Host: localhost\r\n localhost\r\n",
        "Host:\r\n localhost\r\n",
        "X-Host: localhost\r\n",
        "Host: localhost\r\nhost: localhost\r\n",
    ] {
        requests.push(format!("GET /acme HTTP/1.1\r\n{lines}\r\n").into_bytes());
    }
    let upstream = Upstream::saying("");
    let (proxy, _folder) = impatient(&upstream);
    for (request, statuses) in requests.iter().zip(all_say(proxy.address, &requests)) {
        let request = String::from_utf8_lossy(request);
        // A wrong name alone leaves the connection in order, so that the last request is served.
        assert!(
            matches!(statuses[..], [400 | 403] | [403, 200]),
            "{statuses:?} to {request:?}"
        );
    }
    assert!(
        arrived(&upstream)
            .iter()
            .all(|it| it.starts_with("GET /last "))
    );
}

#[test]
fn a_target_that_is_not_a_path_is_refused_in_every_form() {
    let mut requests = Vec::new();
    for target in [
        "acme",
        "*",
        "acme:443",
        "localhost",
        "localhost:80",
        "@evil.example/acme",
        "\\evil\\acme",
        "http:acme",
        "http:/acme",
        "http://",
        "http:///acme",
        "http://evil.example/acme",
        "http://localhost@evil.example/acme",
        "http://evil.example@localhost/acme",
        "http://localhost:80/acme",
        "http://localhost.evil.example/acme",
        "http://LOCALHOST:/acme",
        "http://localhost\\acme",
        "http://localhost%2facme",
        "https://localhost/acme",
        "ftp://localhost/acme",
        "file:///acme",
        "ws://localhost/acme",
        "data:,acme",
        "javascript:1",
        "//evil.example/acme/..",
        "/acme/..",
        "/acme/../..//evil",
        "/acme/./x",
        "/acme/..;/x",
        "/acme/%2e%2e/x",
        "/acme/%2e%2e%2fx",
        "/acme/..%2fx",
        "/acme/..%5cx",
        "/acme/.%00./x",
        "/acme/%",
        "/acme/%g0",
        "/acme/%0",
        "/acme/%u002e%u002e/x",
        "/acme\\x",
        "/acme/x\\..\\y",
        "/acme/%00",
        "/acme/caf\u{e9}",
        "/acme/%2f%2fevil.example",
        "/acme%2fx",
        "/%61cme\\x",
        "/acme x",
        "/acme\tx",
        "",
        " /acme",
        "/acme  ",
        "?acme",
        "#",
        "&acme",
        "[::1]:443",
    ] {
        for method in ["GET", "POST"] {
            let request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            requests.push(request.into_bytes());
        }
    }
    for line in [
        "GET /acme",
        "GET /acme HTTP",
        "GET /acme HTTP/",
        "GET /acme HTTP/1",
        "GET /acme HTTP/1.",
        "GET /acme HTTP/0.9",
        "GET /acme HTTP/1.2",
        "GET /acme HTTP/2.0",
        "GET /acme HTTP/11",
        "GET /acme http/1.1",
        "GET /acme HTTP/1.1 HTTP/1.1",
        "GET  /acme HTTP/1.1",
        "/acme HTTP/1.1",
        " GET /acme HTTP/1.1",
        "G(T /acme HTTP/1.1",
        "G\u{e9}T /acme HTTP/1.1",
        "CONNECT evil.example:443 HTTP/1.1",
        "CONNECT /acme HTTP/1.1",
        "TRACE /acme HTTP/1.1",
        "trace /acme HTTP/1.1",
        "Track /acme HTTP/1.1",
        "connect /acme HTTP/1.1",
        "PRI * HTTP/2.0\r\n\r\nSM",
        "OPTIONS acme HTTP/1.1",
        "HEAD * HTTP/1.1",
    ] {
        requests.push(format!("{line}\r\nHost: localhost\r\n\r\n").into_bytes());
    }
    let upstream = Upstream::saying("");
    let (proxy, _folder) = impatient(&upstream);
    for (request, statuses) in requests.iter().zip(all_say(proxy.address, &requests)) {
        let request = String::from_utf8_lossy(request);
        assert!(
            matches!(statuses[..], [] | [400..500] | [404 | 400, 200]),
            "{statuses:?} to {request:?}"
        );
    }
    assert!(
        arrived(&upstream)
            .iter()
            .all(|it| it.starts_with("GET /last "))
    );
}

#[test]
fn a_path_that_looks_like_another_server_stays_a_path_on_the_target() {
    let upstream = Upstream::saying("");
    let (proxy, _folder) = proxy_to(&upstream, "");
    for rest in [
        "//evil.example/",
        "///evil.example",
        "/@evil.example",
        "/:443@evil.example/",
        "/.evil.example",
        "/http://evil.example/",
        "/http:evil.example",
        "/%40evil.example",
        "/;@evil.example",
        "/%0d%0aHost:%20evil.example",
        "/%09",
        "/?url=http://evil.example/",
        "/?@evil.example/../..",
        "/?a=%2e%2e%2f",
        "//?//",
        "/a:b@c",
        "/[::1]",
        "/%7Bx%7D",
        "/~",
    ] {
        let answer = get(proxy.address, &format!("/acme{rest}"));
        assert_eq!(answer.status, 200, "{rest}");
        let last = arrived(&upstream).pop().expect("it arrived");
        assert!(
            last.starts_with(&format!("GET {rest} HTTP/1.1\r\n")),
            "{rest}: {last}"
        );
    }
    let absolute = "GET http://localhost/acme//evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(send(proxy.address, absolute).status, 200);
    let last = arrived(&upstream).pop().expect("it arrived");
    assert!(
        last.starts_with("GET //evil.example/ HTTP/1.1\r\n"),
        "{last}"
    );
}

#[test]
fn a_protocol_that_nobody_switched_to_reaches_nobody() {
    let upstream = Upstream::saying("");
    let (proxy, _folder) = impatient(&upstream);
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0";
    let frame = "\u{81}\u{5}hello";
    let mut requests = Vec::new();
    for upgrade in [
        "h2c",
        "websockets",
        "HTTP/2.0",
        "TLS/1.0",
        "h2c, websocket",
        "",
    ] {
        for connection in [
            "Upgrade",
            "upgrade, HTTP2-Settings",
            "keep-alive, Upgrade",
            "close",
        ] {
            for behind in [preface, frame, "\0"] {
                let head = format!(
                    "GET /acme HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n\
                     Upgrade: {upgrade}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n"
                );
                requests.push([head.as_bytes(), behind.as_bytes()].concat());
            }
        }
    }
    requests.push(preface.into());
    for (request, statuses) in requests.iter().zip(all_say(proxy.address, &requests)) {
        let request = String::from_utf8_lossy(request);
        assert!(
            matches!(statuses[..], [] | [200 | 400] | [200, 400]),
            "{statuses:?} to {request:?}"
        );
    }
    let arrived = arrived(&upstream);
    assert_eq!(arrived.len(), requests.len() - 1);
    assert!(arrived.iter().all(|it| it.starts_with("GET / ")));
}

#[test]
fn an_expectation_in_any_disguise_is_met_here_or_refused() {
    let upstream = Upstream::saying("");
    let (proxy, _folder) = impatient(&upstream);
    for expectation in [
        "100-continue",
        "100-Continue",
        "\t100-continue ",
        "",
        "100-continue, x",
        "x, 100-continue",
        "100-continue;q=1",
        "y 100-continue",
        "100-continue\r\nExpect: 100-continue",
        "100-continue\r\nExpect: x",
        "x\r\nExpect: 100-continue",
        "200-ok",
        "\u{b}100-continue",
    ] {
        for body in [
            "",
            "Content-Length: 5\r\n",
            "Transfer-Encoding: chunked\r\n",
        ] {
            let headers = format!("Expect: {expectation}\r\n{body}");
            let content = match body {
                "" => "",
                "Content-Length: 5\r\n" => "hello",
                _ => "5\r\nhello\r\n0\r\n\r\n",
            };
            let request = [post(&headers, content), LAST.into()].concat();
            let statuses = statuses(&says(proxy.address, &request));
            assert!(
                matches!(statuses[..], [417 | 400] | [200, 200] | [100, 200, 200]),
                "{statuses:?} to {headers:?}"
            );
        }
    }
    // No body was asked for, so that what looks like one is the next request.
    let refused = post(
        &format!(
            "Expect: 100-continue\r\nContent-Length: {}\r\nOrigin: x\r\n",
            SMUGGLED.len()
        ),
        SMUGGLED,
    );
    let statuses = statuses(&says(proxy.address, &[refused, LAST.into()].concat()));
    assert!(matches!(statuses[..], [403] | [403, 200]), "{statuses:?}");
    for request in arrived(&upstream) {
        assert!(!request.contains("smuggled"), "{request}");
    }
}

#[test]
fn nothing_is_served_from_the_body_of_a_request_that_failed() {
    let refusing = Upstream::saying("");
    let (proxy, _folder) = impatient(&refusing);
    for line in [
        "POST /nowhere",
        "POST /acme/..",
        "POST /acme/auth/oauth2/token",
        "TRACE /acme",
        "POST /acme/a%2fb",
        "POST http://evil/acme",
    ] {
        for headers in [
            "",
            "Origin: https://evil\r\n",
            "Expect: 100-continue\r\n",
            "Connection: close\r\n",
        ] {
            let length = SMUGGLED.len();
            for (framing, body) in [
                (format!("Content-Length: {length}"), SMUGGLED.to_owned()),
                (
                    "Transfer-Encoding: chunked".to_owned(),
                    format!("{length:x}\r\n{SMUGGLED}\r\n0\r\n\r\n"),
                ),
            ] {
                let head =
                    format!("{line} HTTP/1.1\r\nHost: localhost\r\n{headers}{framing}\r\n\r\n");
                let mut caller = Caller::connect(proxy.address);
                caller.write(format!("{head}{body}"));
                assert!((400..500).contains(&caller.read().status), "{head}");
                // The same with the body on its way only after the answer.
                let mut caller = Caller::connect(proxy.address);
                caller.write(&head);
                assert!((400..500).contains(&caller.read().status), "{head}");
                let _ = caller.stream().write_all(body.as_bytes());
                let _ = caller.try_read();
            }
        }
    }
    assert_eq!(refusing.requests(), Vec::<String>::new());
}

#[test]
fn a_request_in_two_pieces_is_the_same_request_wherever_it_is_cut() {
    let upstream = Upstream::saying("");
    let (proxy, _folder) = proxy_to(&upstream, "");
    let chunked = post(
        "Transfer-Encoding: chunked\r\n",
        "5;x\r\nhello\r\n0\r\nX: y\r\n\r\n",
    );
    let sized = post("Content-Length: 5\r\n", "hello");
    let both = [chunked, sized].concat();
    let mut caller = Caller::connect(proxy.address);
    for cut in 1..both.len() {
        caller.write(&both[..cut]);
        thread::yield_now();
        caller.write(&both[cut..]);
        assert_eq!(
            (caller.read().status, caller.read().status),
            (200, 200),
            "{cut}"
        );
    }
    for byte in &both {
        caller.write([*byte]);
    }
    assert_eq!((caller.read().status, caller.read().status), (200, 200));
    let arrived = arrived(&upstream);
    assert_eq!(arrived.len(), 2 * both.len());
    for request in arrived {
        let (_, body) = request.split_once("\r\n\r\n").expect("a head");
        let data: String = body.chars().filter(|it| "helo".contains(*it)).collect();
        assert_eq!(data, "hello", "{request}");
    }
}

#[test]
fn a_head_without_an_end_is_refused_and_takes_no_more_than_its_share() {
    let upstream = Upstream::saying("");
    let (proxy, _folder) = impatient(&upstream);
    for start in [
        "".to_owned(),
        "GET /acme/".to_owned(),
        "GET /acme HTTP/1.1\r\nHost: localhost\r\nX: ".to_owned(),
        "GET /acme HTTP/1.1\r\nHost: localhost\r\n".to_owned(),
    ] {
        let request = start + &"x".repeat(1 << 20);
        let statuses = statuses(&says(proxy.address, request.as_bytes()));
        assert!(
            matches!(statuses[..], [] | [400 | 414 | 431]),
            "{statuses:?}"
        );
    }
    let many = "GET /acme HTTP/1.1\r\nHost: localhost\r\n".to_owned() + &"a:\r\n".repeat(100_000);
    let statuses = statuses(&says(proxy.address, many.as_bytes()));
    assert!(matches!(statuses[..], [] | [431]), "{statuses:?}");
    assert_eq!(upstream.requests(), Vec::<String>::new());
}

/// An upstream that answers `/N` with the answer of that number, and anything else with its path.
fn answering_each(answers: Vec<Vec<u8>>) -> Upstream {
    Upstream::with(move |conversation| {
        while let Some(request) = conversation.read_request() {
            let path = request.split(' ').nth(1).expect("a path").to_owned();
            match path[1..].parse::<usize>() {
                Ok(number) => conversation.write(&answers[number]),
                Err(_) => conversation.write(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}",
                    path.len()
                )),
            };
        }
    })
}

/// Asks for each of the answers, and after each for something else, on the same connection if
/// there still is one and on another.
fn ask_for_each(
    upstream: &Upstream,
    method: &str,
    count: usize,
    judge: impl Fn(usize, std::io::Result<crate::support::caller::Answer>),
) {
    let (proxy, _folder) = proxy_to(upstream, "[targets.acme.timeouts]\nidle = \"300ms\"");
    for number in 0..count {
        let mut caller = Caller::connect(proxy.address);
        caller.write(format!(
            "{method} /acme/{number} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        ));
        judge(
            number,
            match method {
                "HEAD" => Ok(caller.read_head()),
                _ => caller.try_read(),
            },
        );
        for mut caller in [caller, Caller::connect(proxy.address)] {
            let path = format!("/after-{number}");
            let request = format!("GET /acme{path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            if caller.stream().write_all(request.as_bytes()).is_ok()
                && let Ok(answer) = caller.try_read()
            {
                assert_eq!((answer.status, answer.text()), (200, path));
            }
        }
        let path = format!("/acme/at-last-{number}");
        assert_eq!(get(proxy.address, &path).text(), path[5..]);
    }
}

const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";

#[test]
fn an_answer_with_two_framings_is_none_and_its_connection_ends() {
    let heads = [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Content-Length: 4\r\nContent-Length: 5",
        "Content-Length: 4\r\nContent-Length: 4",
        "Content-Length: 4, 4",
        "Content-Length: 4, 5",
        "Content-Length: +4",
        "Content-Length: -4",
        "Content-Length: 4x",
        "Content-Length: 0x4",
        "Content-Length: 4 4",
        "Content-Length:",
        "Content-Length: 99999999999999999999",
        "Content-Length: 18446744073709551615",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding:",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\r\n chunked",
        "Content-Length : 4",
        " Content-Length: 4",
        "X: a\0b",
        "X: a\rb",
        "X: a\u{1}b",
        "X Y: 1",
        "X",
        ": 1",
    ];
    let answer = |head: &&str| {
        let body = "4\r\nwhat\r\n0\r\n\r\n";
        format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}{EVIL}").into_bytes()
    };
    let old = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into();
    let lines = [
        "HTTP/1.1",
        "HTTP/1.1 ",
        "HTTP/1.1 20",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 abc OK",
        "HTTP/1.1 -20 OK",
        "HTTP/2.0 200 OK",
        "http/1.1 200 OK",
        "ICY 200 OK",
        " HTTP/1.1 200 OK",
        "HTTP/1.1 200 O\0K",
        "HTTP/1.1 200 O\rK",
        "\0HTTP/1.1 200 OK",
    ]
    .map(|line| format!("{line}\r\nContent-Length: 4\r\n\r\nwhat").into_bytes());
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(10_000));
    let large = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(1 << 20));
    let mut answers: Vec<Vec<u8>> = heads.iter().map(answer).collect();
    answers.extend(lines);
    answers.extend([old, many.into(), large.into(), endless.into()]);
    let texts: Vec<String> = answers
        .iter()
        .map(|it| String::from_utf8_lossy(&it[..it.len().min(200)]).into_owned())
        .collect();
    let count = answers.len();
    let upstream = answering_each(answers);
    ask_for_each(&upstream, "GET", count, |number, answer| {
        let answer = answer.expect("an answer of ours");
        assert_eq!(answer.status, 502, "{:?}", texts[number]);
        assert_eq!(answer.code(), "upstream-broken", "{:?}", texts[number]);
    });
    assert!(upstream.connections() > count, "each ended its connection");
}

#[test]
fn what_follows_an_answer_belongs_to_nobody() {
    let heads = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood", "good"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
        ("HTTP/1.1 204 No Content\r\n\r\n", ""),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 92\r\n\r\n", ""),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 92\r\n\r\n",
            "",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n",
            "good",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nAuthorization: x\r\n\r\n",
            "",
        ),
        (
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "",
        ),
    ];
    for behind in [
        EVIL.to_owned(),
        EVIL.repeat(3),
        "evil".to_owned(),
        "\r\n".to_owned(),
    ] {
        let answers = heads
            .iter()
            .map(|(head, _)| format!("{head}{behind}").into_bytes());
        let upstream = answering_each(answers.collect());
        ask_for_each(&upstream, "GET", heads.len(), |number, answer| {
            let answer = answer.expect("the first answer is in order");
            assert_eq!(answer.text(), heads[number].1, "{:?}", heads[number].0);
        });
    }
}

#[test]
fn behind_trailers_that_are_none_nothing_is_asked() {
    let trailers = ["X : y\r\n\r\n", "X\r\n\r\n", " y\r\n\r\n", "\n\n", "\n\r\n"];
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n";
    let answers = trailers.map(|it| format!("{head}{it}").into_bytes());
    let upstream = answering_each(answers.into());
    ask_for_each(&upstream, "GET", trailers.len(), |number, answer| {
        assert!(answer.is_err(), "{:?}", trailers[number]);
    });
    assert!(upstream.connections() > trailers.len());
}

#[test]
fn a_body_that_no_answer_to_head_may_have_belongs_to_nobody() {
    let heads = ["Content-Length: 4", "Transfer-Encoding: chunked", "X: 1"];
    for behind in ["good", EVIL, "4\r\ngood\r\n0\r\n\r\n"] {
        let answers =
            heads.map(|it| format!("HTTP/1.1 200 OK\r\n{it}\r\n\r\n{behind}").into_bytes());
        let upstream = answering_each(answers.into());
        ask_for_each(&upstream, "HEAD", heads.len(), |_, answer| {
            assert_eq!(answer.expect("a head").status, 200);
        });
    }
}

#[test]
fn a_flood_of_interim_answers_ends_with_the_deadline() {
    let upstream = Upstream::with(|conversation| {
        conversation.read_request();
        while conversation.write("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(1000)) {}
    });
    let (proxy, _folder) = proxy_to(&upstream, "[targets.acme.timeouts]\nfirst-byte = \"300ms\"");
    assert_eq!(get(proxy.address, "/acme").code(), "upstream-timeout");
}

#[test]
fn an_upstream_that_answers_before_the_body_came_gets_no_further_request_on_that_connection() {
    // It takes no notice of Content-Length, and reads requests out of bodies.
    let upstream = Upstream::with(|conversation| {
        while let Some(head) = conversation.read_head() {
            conversation.note(head.as_bytes());
            let path = head.split(' ').nth(1).expect("a path").to_owned();
            if path == "/smuggled" {
                thread::park_timeout(Duration::from_millis(50));
            }
            let length = path.len();
            conversation.write(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{path}"
            ));
        }
    });
    let (proxy, _folder) = proxy_to(&upstream, "");
    for number in 0..10 {
        let mut caller = Caller::connect(proxy.address);
        caller.write(format!(
            "POST /acme/early HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            SMUGGLED.len()
        ));
        assert_eq!(caller.read().text(), "/early");
        let _ = caller.stream().write_all(SMUGGLED.as_bytes());
        for _ in 0..3 {
            let path = format!("/later-{number}");
            assert_eq!(get(proxy.address, &format!("/acme{path}")).text(), path);
        }
    }
}

#[test]
fn a_connection_whose_whole_body_was_sent_is_used_again() {
    let upstream = Upstream::saying("");
    let (proxy, _folder) = proxy_to(&upstream, "");
    let mut caller = Caller::connect(proxy.address);
    for _ in 0..10 {
        for (headers, body) in [
            ("Content-Length: 5\r\n", "hello"),
            ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
            ("Content-Length: 0\r\n", ""),
            ("", ""),
        ] {
            assert_eq!(caller.write(post(headers, body)).read().status, 200);
        }
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn no_header_of_a_caller_makes_a_target_see_another_request() {
    let upstream = Upstream::saying("");
    let (proxy, _folder) = proxy_to(&upstream, "");
    let names = [
        "X-Original-URL",
        "X-Original-URI",
        "X-Original-Path",
        "X-Original-Host",
        "X-Rewrite-URL",
        "X-Forwarded",
        "X-Forwarded-URI",
        "X-Forwarded-Path",
        "X-Forwarded-Prefix",
        "X-Forwarded-Method",
        "X-Forwarded-Server",
        "X-Forwarded-User",
        "X-Host",
        "X-HTTP-Host-Override",
        "X-Backend-Host",
        "X-Envoy-Original-Path",
        "X-HTTP-DestinationURL",
        "X-Proxy-URL",
        "Proxy-Host",
        "Proxy",
        "Forwarded",
        "Forwarded-For",
        "X-Client-IP",
        "X-Cluster-Client-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
        "Client-IP",
        "X-Remote-Addr",
        "X-Originating-IP",
        "Fastly-Client-IP",
        "Client-Cert",
        "X-Real-IP",
        "X_Original_URL",
        "X-Original_URL",
        "_",
        "Authorization_",
        "Proxy_Authorization",
        "Content_Length",
        "Transfer_Encoding",
        "Proxy-Authentication-Info",
        "Proxy-Authenticate",
        "HTTP2-Settings",
        "Proxy-Connection",
    ];
    for name in names {
        for name in [name.to_owned(), name.to_lowercase(), name.to_uppercase()] {
            let request =
                format!("GET /acme HTTP/1.1\r\nHost: localhost\r\n{name}: theirs\r\n\r\n");
            assert_eq!(send(proxy.address, request).status, 200, "{name}");
        }
    }
    for request in arrived(&upstream) {
        assert!(!request.contains("theirs"), "{request}");
    }
}

#[test]
fn a_refused_path_is_refused_in_spellings_that_some_server_takes_for_it() {
    let upstream = Upstream::saying("");
    let (proxy, _folder) = proxy_to(&upstream, "");
    for path in [
        "/auth/oauth2/token",
        "//auth/oauth2",
        "/auth//oauth2",
        "/AUTH/OAuth2",
        "/auth;a=b/oauth2;c",
        "/;/auth/oauth2",
        "/auth/;/oauth2",
        "/%61uth/oauth2",
        "/%2561uth/oauth2",
        "/auth/oauth%32",
        "/auth%2foauth2",
        "/auth%5coauth2",
        "/auth%252foauth2",
        "/auth%c0%afoauth2",
        "/auth%c1%9coauth2",
        "/auth%e0%80%afoauth2",
        "/auth%ef%bc%8foauth2",
        "/auth%e2%88%95oauth2",
        "/%ef%bd%81uth/oauth2",
        "/./auth/oauth2",
        "/x/../auth/oauth2",
        "/x/%2e%2e/auth/oauth2",
        "/x/..;/auth/oauth2",
        "/x/%252e%252e/auth/oauth2",
        "/x/..%252fauth/oauth2",
        "/x/.%2e/auth/oauth2",
        "/x/..%20/auth/oauth2",
        "/x/%c0%ae%c0%ae/auth/oauth2",
        "/x\\..\\auth\\oauth2",
        "/auth./oauth2",
        "/auth../oauth2",
        "/auth%20/oauth2",
        "/auth/oauth2.",
        "/auth/oauth2%20",
        "/auth/oauth2%09",
        "/auth/oauth2%00",
        "/auth/oauth2.json",
        "/auth/oauth2.;.json",
        "/auth/oauth2%3fx",
        "/auth/oauth2%23",
        "/auth/oauth2%0a",
        "/auth%0d/oauth2",
        "/auth/oauth2;.css",
        "/auth/oauth2/..%2f",
        "/auth/oauth2?x=/../..",
        "/auth/oauth2/#",
    ] {
        let request = format!("POST /acme{path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = send(proxy.address, request);
        assert!(
            matches!(answer.status, 400 | 403),
            "{} for {path}",
            answer.status
        );
    }
    assert_eq!(upstream.requests(), Vec::<String>::new());
}

#[test]
fn an_answer_does_not_bring_the_credential_back() {
    let upstream = Upstream::with(|conversation| {
        while let Some(request) = conversation.read_request() {
            let credential = request
                .split("\r\n")
                .find(|it| it.starts_with("authorization"));
            let credential = credential.expect("ours");
            conversation.write(format!(
                "HTTP/1.1 200 OK\r\n{credential}\r\nContent-Length: 0\r\n\r\n"
            ));
        }
    });
    let (proxy, _folder) = proxy_to(&upstream, "");
    assert_eq!(get(proxy.address, "/acme").header("authorization"), None);
}
