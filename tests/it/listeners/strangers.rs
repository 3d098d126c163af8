//! Callers who never come as far as a request: the log names each, and they are told where they can
//! understand it.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use countersign::emulator::Authority;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::{configuration, tls::ONE};
use crate::support::caller::PATIENCE;
use crate::support::{Caller, Folder, Process, Upstream, send};

/// A process with one listener, the address of that, and what both stand on.
fn process(listener: &str, extra: &str) -> (Process, SocketAddr, Authority, (Folder, Upstream)) {
    let (folder, upstream) = (Folder::new(), Upstream::saying(""));
    let authority = Authority::new().expect("an authority");
    folder.write_identity("one.example", &authority);
    let text = configuration(&folder, &upstream, listener, "") + extra;
    folder.write("proxy.toml", text);
    let process = Process::start(folder.path(), &[]);
    let said = process.wait_for("listening on http");
    let (_, rest) = said.split_once("listening on http").expect("just seen");
    let (_, rest) = rest.split_once("://").expect("a URL");
    let end = rest.find(' ').expect("a word");
    let address = rest[..end].parse().expect("an address");
    (process, address, authority, (folder, upstream))
}

const PLAIN: &str = "address = \"127.0.0.1:0\"";

/// The line of the log that refuses somebody with this code and these words.
fn wait_for_refusal(process: &Process, code: &str, words: &str) {
    let said = process.wait_for(words);
    let line = said.lines().find(|it| it.contains(words)).expect("there");
    for part in [
        "INFO",
        "listener=\"local\"",
        "peer=127.0.0.1",
        &format!("code=\"{code}\""),
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
}

/// Sends bytes and waits for the end.
fn try_out(address: SocketAddr, bytes: &[u8]) {
    let mut caller = Caller::connect(address);
    caller.write(bytes);
    let _ = caller.try_read();
}

#[test]
fn what_is_no_request_is_logged_with_what_is_wrong_with_it() {
    let limits = "\n[limits]\nhead = \"4KiB\"\n[timeouts]\nhead = \"300ms\"\n";
    let (process, address, ..) = process(PLAIN, limits);
    try_out(address, b"GET / HTTP/1.1\nHost: localhost\n\n");
    wait_for_refusal(&process, "bad-request", "ends in LF alone");
    try_out(address, b"GET /#x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    wait_for_refusal(&process, "bad-request", "a fragment");
    let twice = b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    try_out(address, twice);
    wait_for_refusal(&process, "bad-request", "can be read in two ways");
    try_out(address, b"\x00\x01\x02garbage\r\n\r\n");
    wait_for_refusal(&process, "bad-request", "invalid HTTP method");
    let large = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(5000));
    try_out(address, large.as_bytes());
    wait_for_refusal(&process, "too-large", "`limits.head`");
    try_out(address, b"GET / HT");
    wait_for_refusal(&process, "request-timeout", "too slowly");
}

#[test]
fn what_no_route_leads_on_is_logged_with_what_was_asked_for_less_the_query() {
    let (process, address, ..) = process(PLAIN, "");
    try_out(
        address,
        b"GET /acmes?key=hidden HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    let said = process.wait_for("no-route");
    assert!(
        said.contains("from here: GET /acmes at localhost\""),
        "{said}"
    );
    assert!(!said.contains("hidden"), "{said}");
}

#[test]
fn a_flood_of_garbage_is_a_few_lines_of_the_log() {
    let (process, address, ..) = process(PLAIN, "");
    for _ in 0..200 {
        try_out(address, b"garbage\n");
    }
    try_out(address, b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let said = process.wait_for("no-route");
    let lines = said.matches("refused at the door").count();
    assert!((1..100).contains(&lines), "{lines} lines");
}

#[test]
fn whoever_speaks_tls_to_a_plain_port_is_told_so_in_plain_words() {
    let (process, address, authority, _kept) = process(PLAIN, "");
    let config = crate::support::tls::client(&authority, None, &[]);
    let name = ServerName::try_from("one.example").expect("a name");
    let mut hello = Vec::new();
    let mut client = ClientConnection::new(config, name).expect("a connection");
    client.write_tls(&mut hello).expect("a hello");
    let answer = send(address, hello);
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (400, "bad-request")
    );
    assert!(
        answer.text().contains("this port takes plain http"),
        "{answer:?}"
    );
    wait_for_refusal(&process, "bad-request", "this listener takes plain HTTP");
}

#[test]
fn whoever_speaks_http_to_a_tls_port_is_told_so_and_goes_nowhere() {
    let (process, address, _authority, (_folder, upstream)) = process(ONE, "");
    let answer = send(address, "GET /acme HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (400, "bad-request")
    );
    assert!(
        answer.text().contains("this port takes https"),
        "{answer:?}"
    );
    wait_for_refusal(&process, "bad-request", "this port takes https");
    assert!(upstream.requests().is_empty());
}

#[test]
fn a_handshake_that_fails_is_logged_with_what_it_means() {
    let (process, address, ..) = process(ONE, "");
    let foreign = Authority::new().expect("an authority");
    let config = crate::support::tls::client(&foreign, None, &[]);
    let name = ServerName::try_from("one.example").expect("a name");
    let connection = ClientConnection::new(config, name).expect("a connection");
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut stream = StreamOwned::new(connection, stream);
    let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n");
    let _ = stream.flush();
    wait_for_refusal(&process, "caller-tls", "does not trust the certificate");
    // Nothing that a handshake begins with, and nothing that HTTP does.
    try_out_raw(address, b"\x05garbage");
    wait_for_refusal(&process, "caller-tls", "does not speak TLS");
}

fn try_out_raw(address: SocketAddr, bytes: &[u8]) {
    let mut caller = Caller::connect(address);
    caller.write(bytes).is_closed();
}
