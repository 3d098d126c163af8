//! Load balancers that say whose connection it is.

use super::{REQUEST, configuration, is_closed_to, proxy_with};
use crate::support::{Caller, Folder, Process, Upstream, send};

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn v1(source: &str) -> String {
    format!("PROXY TCP4 {source} 192.0.2.1 4711 80\r\n{REQUEST}")
}

fn v2(command: u8, source: [u8; 4]) -> Vec<u8> {
    let ends = [192, 0, 2, 1, 0x12, 0x67, 0, 80];
    [
        V2,
        &[command, 0x11, 0, 12],
        &source,
        &ends,
        REQUEST.as_bytes(),
    ]
    .concat()
}

#[test]
fn the_caller_is_the_one_that_the_header_names() {
    let keys = "proxy-protocol = [\"127.0.0.1\"]\nallow = [\"203.0.113.0/24\"]";
    let (proxy, _upstream, _folder) = proxy_with(keys, "");
    assert_eq!(send(proxy.address, v1("203.0.113.7")).status, 200);
    assert_eq!(send(proxy.address, v2(0x21, [203, 0, 113, 7])).status, 200);
    assert!(is_closed_to(proxy.address, v1("198.51.100.7")));
    assert!(is_closed_to(proxy.address, v2(0x21, [198, 51, 100, 7])));
    // Who says nothing of its caller is judged by its own address.
    assert!(is_closed_to(proxy.address, v2(0x20, [203, 0, 113, 7])));
    assert!(is_closed_to(
        proxy.address,
        format!("PROXY UNKNOWN\r\n{REQUEST}")
    ));
}

#[test]
fn a_sender_may_speak_for_itself_where_it_is_let_in() {
    let (proxy, _upstream, _folder) = proxy_with("proxy-protocol = [\"127.0.0.0/8\"]", "");
    assert_eq!(send(proxy.address, v2(0x20, [0; 4])).status, 200);
    let unknown = format!("PROXY UNKNOWN\r\n{REQUEST}");
    assert_eq!(send(proxy.address, unknown).status, 200);
}

#[test]
fn a_header_is_believed_from_the_senders_alone() {
    let keys = "proxy-protocol = [\"10.0.0.7\"]\nallow = [\"127.0.0.1\"]";
    let (proxy, upstream, _folder) = proxy_with(keys, "");
    assert!(is_closed_to(proxy.address, v1("127.0.0.1")));
    assert!(is_closed_to(proxy.address, REQUEST));
    assert!(upstream.requests().is_empty());
}

#[test]
fn a_connection_without_a_header_is_closed() {
    let (proxy, upstream, _folder) = proxy_with("proxy-protocol = [\"127.0.0.1\"]", "");
    assert!(is_closed_to(proxy.address, REQUEST));
    assert!(is_closed_to(
        proxy.address,
        format!("PROXY TCP4 1.2.3.4\r\n{REQUEST}")
    ));
    assert!(upstream.requests().is_empty());
}

#[test]
fn a_header_means_nothing_where_none_is_asked_for() {
    let (proxy, upstream, _folder) = proxy_with("allow = [\"127.0.0.1\"]", "");
    assert_eq!(send(proxy.address, v1("203.0.113.7")).status, 400);
    assert!(upstream.requests().is_empty());
}

#[test]
fn a_header_may_come_in_pieces_and_the_host_be_the_address_that_it_names() {
    let (proxy, _upstream, _folder) = proxy_with("proxy-protocol = [\"127.0.0.1\"]", "");
    let request = "GET /acme HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n";
    let header = "PROXY TCP4 203.0.113.7 192.0.2.1 4711 80\r\n";
    let mut caller = Caller::connect(proxy.address);
    for byte in header.bytes() {
        caller.write([byte]);
    }
    assert_eq!(caller.write(request).read().status, 200);
}

#[test]
fn the_log_of_requests_has_the_caller_that_the_header_names() {
    let folder = Folder::new();
    let upstream = Upstream::saying("");
    let keys = "address = \"127.0.0.1:0\"\nproxy-protocol = [\"127.0.0.1\"]";
    let text = configuration(&folder, &upstream, keys, "");
    folder.write("proxy.toml", format!("log.requests = true\n{text}"));
    let process = Process::start(folder.path(), &[]);
    assert_eq!(send(process.address(), v1("203.0.113.7")).status, 200);
    process.wait_for("peer=203.0.113.7");
}
