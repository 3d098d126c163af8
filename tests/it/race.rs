//! Several addresses of one name: a dead one costs a moment. And a machine that has nothing left to
//! connect with.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tokio::net::TcpSocket;
use tokio::runtime::Builder;
use tokio::time::Instant;

use crate::support::caller::SOON;
use crate::support::dns::Dns;
use crate::support::upstream::NAME;
use crate::support::{Caller, Folder, Process, Proxy, Upstream, acme, get};

/// An address that takes no more connections and refuses none: its queue is full, and what else
/// comes is dropped, as a firewall does. Holds what keeps it so.
fn silent(address: SocketAddr) -> (impl Sized, Vec<TcpStream>) {
    let runtime = Builder::new_current_thread().enable_io().build();
    let runtime = runtime.expect("a runtime");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(address).expect("a free port");
    let listener = {
        let _context = runtime.enter();
        socket.listen(0).expect("it listens")
    };
    let (mut queued, mut late) = (Vec::new(), 0);
    // Once may be this thread's own lateness.
    while late < 3 {
        match TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            Ok(stream) => queued.push(stream),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::TimedOut);
                late += 1;
            }
        }
    }
    ((listener, runtime), queued)
}

fn configuration(dns: &Dns, port: u16, connect: &str) -> String {
    format!(
        r#"
workers = 1
dns.servers = ["{}"]

[listeners.local]
address = "127.0.0.1:0"

[targets.acme]
url = "https://{NAME}:{port}"
credential = "none"
tls.ca = ["ca.pem"]
timeouts.connect = "{connect}"
"#,
        dns.address
    )
}

#[test]
fn addresses_that_are_dead_or_refuse_cost_a_moment_and_not_the_deadline() {
    let upstream = Upstream::saying("hello");
    let port = upstream.address.port();
    let _held = silent(SocketAddr::from(([127, 0, 0, 8], port)));
    let dns = Dns::saying(&["::1", "127.0.0.8", "127.0.0.9", "127.0.0.1"], 60);
    let folder = Folder::new();
    folder.write("ca.pem", &upstream.ca_pem);
    let proxy = Proxy::start(&folder, &configuration(&dns, port, "1m"));
    let start = Instant::now();
    assert_eq!(get(proxy.address, "/acme").text(), "hello");
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

#[test]
fn all_addresses_together_have_one_deadline_and_are_not_told_to_the_caller() {
    let upstream = Upstream::saying("hello");
    let port = upstream.address.port();
    let _held = silent(SocketAddr::from(([127, 0, 0, 8], port)));
    let dns = Dns::saying(&["127.0.0.9", "127.0.0.8"], 60);
    let folder = Folder::new();
    folder.write("ca.pem", &upstream.ca_pem);
    let proxy = Proxy::start(&folder, &configuration(&dns, port, "400ms"));
    let start = Instant::now();
    let answer = get(proxy.address, "/acme");
    assert!(start.elapsed() >= Duration::from_millis(400));
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (504, "upstream-timeout")
    );
    assert!(!answer.text().contains("127.0.0"), "{}", answer.text());
}

#[test]
fn a_proxy_without_a_descriptor_left_says_that_it_is_overloaded() {
    let upstream = Upstream::saying("hello");
    let folder = Folder::new();
    // Nothing is to be read once there is no descriptor, neither a key nor who vouches for the
    // target; and there is no connection that could be used again.
    let bare = "credential = \"none\"\npool.most-idle = 0";
    let text = acme(&folder, upstream.address, &upstream.ca_pem, bare);
    folder.write("proxy.toml", format!("workers = 1\n{text}"));
    let process = Process::start(folder.path(), &[]);
    let mut caller = Caller::connect(process.address());
    let request = "GET /acme HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(caller.write(request).read().text(), "hello");
    assert_eq!(upstream.connections(), 1);
    let pid = Pid::from_raw(process.id().try_into().expect("a process id"));
    let allow = |current| {
        let limit = getrlimit(Resource::Nofile);
        let limit = Rlimit { current, ..limit };
        prlimit(pid, Resource::Nofile, limit).expect("it is our own process")
    };
    let before = allow(Some(3));
    let answer = caller.write(request).read();
    assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"));
    assert!(answer.header("retry-after").is_some());
    process.wait_for("no local port or file descriptor is free");
    allow(before.current);
    assert_eq!(caller.write(request).read().text(), "hello");
}
