//! The connections of callers: how slow they may be, how they end, and how many there may be.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::time::Instant;

use crate::support::caller::{PATIENCE, SOON};
use crate::support::{Caller, Folder, Proxy, Upstream, acme};

mod leaving;
mod room;
mod slow;

const GET: &str = "GET /acme HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A proxy whose configuration begins with `top`, and whose listener has `listener`.
fn proxy(upstream: &Upstream, top: &str, listener: &str) -> (Proxy, Folder) {
    let folder = Folder::new();
    let text = configuration(&folder, upstream, top, listener);
    (Proxy::start(&folder, &text), folder)
}

fn configuration(folder: &Folder, upstream: &Upstream, top: &str, listener: &str) -> String {
    let text = acme(folder, upstream.address, &upstream.ca_pem, "");
    let address = "address = \"127.0.0.1:0\"\n";
    format!(
        "{top}\n{}",
        text.replace(address, &format!("{address}{listener}\n"))
    )
}

/// Has the system take little for a caller that does not read, where it would take some mebibytes.
fn takes_little(stream: &TcpStream) {
    sockopt::set_socket_recv_buffer_size(stream, 64 * 1024).expect("an option");
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn a_head_that_comes_byte_by_byte_is_too_late_all_the_same() {
    let (proxy, _folder) = proxy(&Upstream::saying(""), "timeouts.head = \"400ms\"", "");
    let mut caller = Caller::connect(proxy.address);
    let start = Instant::now();
    // It never ends, so that nothing but its time can.
    for byte in GET.trim_end().bytes().chain(std::iter::repeat(b'x')) {
        let mut stream = caller.stream();
        if start.elapsed() > SOON || stream.write_all(&[byte]).is_err() {
            break;
        }
        // Each byte comes well within the deadline, and the whole does not.
        thread::park_timeout(Duration::from_millis(60));
        stream.set_nonblocking(true).expect("a mode");
        let has_answer = stream.peek(&mut [0]).is_ok();
        stream.set_nonblocking(false).expect("a mode");
        if has_answer {
            break;
        }
    }
    let took = start.elapsed();
    assert!(took < SOON, "{took:?}");
    let answer = caller.read();
    assert_eq!((answer.status, &*answer.code()), (408, "request-timeout"));
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(caller.is_closed());
}

#[test]
fn the_head_of_a_later_request_has_its_own_time() {
    let (proxy, _folder) = proxy(&Upstream::saying("it"), "timeouts.head = \"3s\"", "");
    let mut caller = Caller::connect(proxy.address);
    // Longer than a head may take, and than a connection is kept ready: none of it counts.
    let wait = || thread::park_timeout(Duration::from_millis(3200));
    wait();
    assert_eq!(caller.write(GET).read().text(), "it");
    wait();
    assert_eq!(
        caller.write(&GET[..20]).write(&GET[20..]).read().text(),
        "it"
    );
    caller.write("\r\nGET /acme HT");
    assert_eq!(caller.read().status, 408);
}

#[test]
fn a_connection_that_nothing_is_asked_on_is_closed_without_a_word() {
    let (proxy, _folder) = proxy(&Upstream::saying("it"), "timeouts.keep-alive = \"4s\"", "");
    let start = Instant::now();
    let mut unused = Caller::connect(proxy.address);
    let mut used = Caller::connect(proxy.address);
    used.write(GET).read();
    thread::park_timeout(Duration::from_millis(1000));
    used.write(GET).read();
    assert!(unused.is_closed());
    let first = start.elapsed();
    assert!(used.is_closed());
    let second = start.elapsed();
    assert!(first >= Duration::from_millis(3900), "{first:?}");
    assert!(second >= Duration::from_millis(4900), "{second:?}");
    assert!(second < SOON, "{second:?}");
}

#[test]
fn a_caller_that_takes_nothing_of_its_answer_is_cut_off() {
    let (tell, ended) = mpsc::channel();
    let tell = Mutex::new(tell);
    let upstream = Upstream::with(move |conversation| {
        conversation.read_request();
        conversation.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        while conversation.write([b'x'; 65536]) {}
        let _ = tell.lock().expect("nobody panics in here").send(());
    });
    let (proxy, _folder) = proxy(&upstream, "timeouts.send = \"400ms\"", "");
    let mut caller = Caller::connect(proxy.address);
    takes_little(caller.stream());
    caller.write(GET);
    ended
        .recv_timeout(PATIENCE)
        .expect("the upstream is let go");
    let read = caller.try_read();
    assert!(read.is_err(), "a part was passed off as the whole");
}

#[test]
fn a_caller_that_takes_its_answer_slowly_gets_all_of_it() {
    const LENGTH: usize = 16_000_000;
    let upstream = Upstream::with(|conversation| {
        conversation.read_request();
        conversation.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n"
        ));
        conversation.write(vec![b'x'; LENGTH]);
    });
    let (proxy, _folder) = proxy(&upstream, "timeouts.send = \"3s\"", "");
    let mut caller = Caller::connect(proxy.address);
    // Most of it waits in the proxy's hands for longer than it may stand still.
    sockopt::set_socket_recv_buffer_size(caller.stream(), 500_000).expect("an option");
    caller.write(GET);
    let (mut got, mut piece) = (0, vec![0; 1_000_000]);
    while got < LENGTH {
        thread::park_timeout(Duration::from_millis(300));
        let read = caller.stream().read(&mut piece).expect("more of it");
        assert!(read > 0, "it ended after {got}");
        got += read;
    }
}
