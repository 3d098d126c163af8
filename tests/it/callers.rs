//! The connections of callers: how slow they may be, how they end, and how many there may be.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::support::caller::PATIENCE;
use crate::support::{Caller, Folder, Process, Proxy, Upstream, acme, get};

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

/// An upstream that reads a request and then tells how its connection went on: `Some` after how long
/// it ended, `None` if it was still there when the test was over.
fn upstream_that_never_answers(begins: &'static [u8]) -> (Upstream, mpsc::Receiver<Instant>) {
    let (tell, ended) = mpsc::channel();
    let tell = Mutex::new(tell);
    let upstream = Upstream::with(move |conversation| {
        let Some(head) = conversation.read_head() else {
            return;
        };
        conversation.note(head.as_bytes());
        conversation.write(begins);
        while conversation.read_exact(&mut [0]) {}
        let told = tell.lock().expect("nobody panics in here");
        let _ = told.send(Instant::now());
    });
    (upstream, ended)
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
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
    for byte in GET.bytes().cycle() {
        let mut stream = caller.stream();
        if start.elapsed() > Duration::from_secs(5) || stream.write_all(&[byte]).is_err() {
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
    assert!(took < Duration::from_millis(1500), "{took:?}");
    let answer = caller.read();
    assert_eq!((answer.status, &*answer.code()), (408, "request-timeout"));
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(caller.is_closed());
}

#[test]
fn the_head_of_a_later_request_has_its_own_time() {
    let (proxy, _folder) = proxy(
        &Upstream::saying("it"),
        "timeouts.head = \"300ms\"\ntimeouts.keep-alive = \"20s\"",
        "",
    );
    let mut caller = Caller::connect(proxy.address);
    for _ in 0..3 {
        // Longer than a head may take, and than a connection is kept ready: none of it counts.
        thread::park_timeout(Duration::from_millis(400));
        assert_eq!(caller.write(GET).read().text(), "it");
    }
    thread::park_timeout(Duration::from_millis(2300));
    assert_eq!(
        caller.write(&GET[..20]).write(&GET[20..]).read().text(),
        "it"
    );
    caller.write("\r\nGET /acme HT");
    assert_eq!(caller.read().status, 408);
}

#[test]
fn a_connection_that_nothing_is_asked_on_is_closed_without_a_word() {
    let (proxy, _folder) = proxy(
        &Upstream::saying("it"),
        "timeouts.keep-alive = \"2500ms\"",
        "",
    );
    let start = Instant::now();
    let mut unused = Caller::connect(proxy.address);
    let mut used = Caller::connect(proxy.address);
    used.write(GET).read();
    thread::park_timeout(Duration::from_millis(1500));
    used.write(GET).read();
    assert!(unused.is_closed());
    let first = start.elapsed();
    assert!(used.is_closed());
    let second = start.elapsed();
    assert!(first >= Duration::from_millis(2400), "{first:?}");
    assert!(first < Duration::from_millis(3500), "{first:?}");
    assert!(second >= Duration::from_millis(3900), "{second:?}");
    assert!(second < Duration::from_millis(5500), "{second:?}");
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
    caller.write(GET);
    ended
        .recv_timeout(PATIENCE)
        .expect("the upstream is let go");
    let read = caller.try_read();
    assert!(read.is_err(), "a part was passed off as the whole");
}

#[test]
fn a_caller_that_takes_its_answer_slowly_gets_all_of_it() {
    const LENGTH: usize = 12_000_000;
    let upstream = Upstream::with(|conversation| {
        conversation.read_request();
        conversation.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n"
        ));
        conversation.write(vec![b'x'; LENGTH]);
    });
    let (proxy, _folder) = proxy(&upstream, "timeouts.send = \"700ms\"", "");
    let mut caller = Caller::connect(proxy.address);
    caller.write(GET);
    let (mut got, mut piece) = (0, vec![0; 1_500_000]);
    while got < LENGTH {
        thread::park_timeout(Duration::from_millis(200));
        let read = caller.stream().read(&mut piece).expect("more of it");
        assert!(read > 0, "it ended after {got}");
        got += read;
    }
}

/// How a caller goes away.
#[derive(Clone, Copy, Debug)]
enum Leaving {
    Fin,
    Reset,
}

fn leave(caller: Caller, how: Leaving) {
    if let Leaving::Reset = how {
        let at_once = Some(Duration::ZERO);
        rustix::net::sockopt::set_socket_linger(caller.stream(), at_once).expect("an option");
    }
    drop(caller);
}

/// Leaves after `sent`, when the upstream has the request, and gives how long the upstream's
/// connection lived on.
fn ended_after(listener: &str, begins: &'static [u8], sent: &[u8], how: Leaving) -> Duration {
    let (upstream, ended) = upstream_that_never_answers(begins);
    let (proxy, _folder) = proxy(&upstream, "", listener);
    let mut caller = Caller::connect(proxy.address);
    caller.write(sent);
    wait_until("the request arrives", || !upstream.requests().is_empty());
    if !begins.is_empty() {
        let mut first = [0; 12];
        caller.stream().read_exact(&mut first).expect("the answer");
    }
    // Whatever else was sent is under way now.
    thread::park_timeout(Duration::from_millis(100));
    let left = Instant::now();
    leave(caller, how);
    ended.recv_timeout(PATIENCE).expect("it is cancelled") - left
}

const DOWNLOAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it";

#[test]
fn what_a_caller_asked_for_is_cancelled_when_it_goes_away() {
    // The upstream stops reading after the head, so that soon nothing is read from the caller.
    let mut upload =
        b"POST /acme HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n\r\n".to_vec();
    upload.resize(upload.len() + 100_000, b'x');
    let switching =
        b"GET /acme HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n";
    let pipelined = [GET, GET].concat();
    let ways: [(&[u8], &[u8]); 5] = [
        (b"", GET.as_bytes()),
        (DOWNLOAD, GET.as_bytes()),
        (b"", &upload),
        (b"", switching),
        (b"", pipelined.as_bytes()),
    ];
    for (begins, sent) in ways {
        for how in [Leaving::Fin, Leaving::Reset] {
            let took = ended_after("", begins, sent, how);
            let shown = String::from_utf8_lossy(&sent[..sent.len().min(80)]);
            assert!(took < Duration::from_secs(1), "{took:?} {how:?} {shown}");
        }
    }
}

#[test]
fn a_reset_cancels_where_half_close_is_served() {
    for begins in [b"" as &[u8], DOWNLOAD] {
        let serve = "half-close = \"serve\"";
        let took = ended_after(serve, begins, GET.as_bytes(), Leaving::Reset);
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
}

#[test]
fn a_reset_after_a_half_close_cancels_too() {
    let (upstream, ended) = upstream_that_never_answers(b"");
    let (proxy, _folder) = proxy(&upstream, "", "half-close = \"serve\"");
    let mut caller = Caller::connect(proxy.address);
    caller.write(GET);
    caller.stream().shutdown(Shutdown::Write).expect("a socket");
    wait_until("the request arrives", || !upstream.requests().is_empty());
    assert!(ended.recv_timeout(Duration::from_millis(800)).is_err());
    let left = Instant::now();
    leave(caller, Leaving::Reset);
    let took = ended.recv_timeout(PATIENCE).expect("it is cancelled") - left;
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_caller_that_has_no_more_to_say_is_answered_where_half_close_is_served() {
    let upstream = Upstream::with(|conversation| {
        while conversation.read_request().is_some() {
            thread::park_timeout(Duration::from_millis(300));
            conversation.write(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n{}",
                "x".repeat(3_000_000)
            ));
        }
    });
    let (proxy, _folder) = proxy(&upstream, "", "half-close = \"serve\"");
    let post = "POST /acme HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nab";
    let mut caller = Caller::connect(proxy.address);
    caller.write([GET, post, GET].concat());
    caller.stream().shutdown(Shutdown::Write).expect("a socket");
    for _ in 0..3 {
        assert_eq!(caller.read().body.len(), 3_000_000);
    }
    assert!(caller.is_closed());
}

#[test]
fn a_request_that_was_cut_off_is_not_served_by_half_close() {
    let upstream = Upstream::saying("it");
    let (proxy, _folder) = proxy(&upstream, "", "half-close = \"serve\"");
    for part in [
        &GET[..30],
        "POST /acme HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nab",
    ] {
        let mut caller = Caller::connect(proxy.address);
        caller.write(part);
        caller.stream().shutdown(Shutdown::Write).expect("a socket");
        let answer = caller.try_read();
        assert!(
            answer.is_err_and(|_| true) || part.starts_with("POST"),
            "{part}"
        );
    }
}

fn descriptors(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd"))
        .expect("a process of this user")
        .count()
}

#[test]
fn a_thousand_callers_that_go_away_leave_no_descriptor_behind() {
    let upstream = Upstream::with(
        |conversation| {
            while conversation.read_request().is_some() {}
        },
    );
    let folder = Folder::new();
    let text = configuration(&folder, &upstream, "workers = 2", "");
    folder.write("proxy.toml", text);
    let process = Process::start(folder.path(), &[]);
    let address = process.address();
    let before = descriptors(process.id());
    for batch in 0..20 {
        let mut callers: Vec<Caller> = (0..50).map(|_| Caller::connect(address)).collect();
        for caller in &mut callers {
            caller.write(GET);
        }
        wait_until("the requests arrive", || {
            upstream.requests().len() >= batch * 50 + 25
        });
        for (number, caller) in callers.into_iter().enumerate() {
            leave(caller, [Leaving::Fin, Leaving::Reset][number % 2]);
        }
    }
    wait_until("descriptors come back", || {
        descriptors(process.id()) <= before + 2
    });
}

#[test]
fn whoever_comes_when_there_is_no_room_is_told_at_once() {
    for (top, listener) in [("limits.connections = 2", ""), ("", "connections = 2")] {
        let upstream = Upstream::saying("it");
        let (proxy, _folder) = proxy(&upstream, top, listener);
        let mut inside: Vec<Caller> = (0..2).map(|_| Caller::connect(proxy.address)).collect();
        for caller in &mut inside {
            assert_eq!(caller.write(GET).read().text(), "it");
        }
        let start = Instant::now();
        let refused = get(proxy.address, "/acme");
        assert_eq!((refused.status, &*refused.code()), (503, "overloaded"));
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert!(start.elapsed() < Duration::from_millis(500));
        drop(inside.pop());
        wait_until("there is room again", || {
            get(proxy.address, "/acme").status == 200
        });
        assert_eq!(inside[0].write(GET).read().text(), "it");
    }
}

fn cpu_time(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("a process");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .expect("fields")
        .split_whitespace()
        .collect();
    let ticks = |at: usize| fields[at].parse::<u64>().expect("ticks");
    // Linux counts in hundredths of a second here, whatever it runs at.
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

#[test]
fn without_descriptors_it_neither_ends_nor_spins_and_comes_back() {
    let upstream = Upstream::saying("it");
    let folder = Folder::new();
    let text = configuration(&folder, &upstream, "workers = 1", "");
    // More callers are let in than there are descriptors.
    folder.write("proxy.toml", format!("limits.connections = 1000\n{text}"));
    let process = Process::start_limited(folder.path(), 40);
    let address = process.address();
    let mut first = Caller::connect(address);
    assert_eq!(first.write(GET).read().text(), "it");
    let crowd: Vec<TcpStream> = (0..60).filter_map(|_| connect(address)).collect();
    process.wait_for("cannot accept a connection");
    let before = cpu_time(process.id());
    thread::park_timeout(Duration::from_secs(2));
    let spent = cpu_time(process.id()) - before;
    assert!(spent < Duration::from_millis(200), "{spent:?} in 2 s");
    // Who is inside is served all the while, over a connection that is there already.
    assert_eq!(first.write(GET).read().text(), "it");
    let complaints = process.said().matches("cannot accept").count();
    assert_eq!(complaints, 1, "{}", process.said());
    drop(crowd);
    let start = Instant::now();
    assert_eq!(get(address, "/acme").status, 200);
    assert!(start.elapsed() < Duration::from_secs(2));
}

fn connect(address: SocketAddr) -> Option<TcpStream> {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()
}

#[test]
fn half_of_the_descriptors_are_kept_for_the_way_out() {
    let upstream = Upstream::saying("it");
    let folder = Folder::new();
    folder.write(
        "proxy.toml",
        configuration(&folder, &upstream, "workers = 1", ""),
    );
    let process = Process::start_limited(folder.path(), 64);
    let address = process.address();
    let mut inside: Vec<Caller> = (0..32).map(|_| Caller::connect(address)).collect();
    wait_until("all are inside", || get(address, "/acme").status == 503);
    for caller in &mut inside {
        assert_eq!(caller.write(GET).read().text(), "it");
    }
}

#[test]
fn a_caller_that_only_waits_takes_little_memory() {
    const CALLERS: usize = 1000;
    let upstream = Upstream::saying("it");
    let folder = Folder::new();
    folder.write(
        "proxy.toml",
        configuration(&folder, &upstream, "workers = 1", ""),
    );
    let process = Process::start(folder.path(), &[]);
    let address = process.address();
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.id()));
        let status = status.expect("a process");
        let line = status.lines().find(|it| it.starts_with("RssAnon:"));
        let size = line.and_then(|it| it.split_whitespace().nth(1));
        size.and_then(|it| it.parse::<usize>().ok())
            .expect("a size")
            * 1024
    };
    let meet = |count: usize| -> Vec<Caller> {
        let all = (0..count).map(|_| {
            let mut caller = Caller::connect(address);
            caller.write(GET).read();
            caller
        });
        all.collect()
    };
    // What serves a caller is given back when it only waits, and the next one is served with it.
    let start = resident();
    let mut waiting = meet(CALLERS);
    thread::park_timeout(Duration::from_millis(2500));
    let before = resident();
    waiting.extend(meet(CALLERS));
    thread::park_timeout(Duration::from_millis(2500));
    let (each, all) = (
        resident().saturating_sub(before) / CALLERS,
        resident().saturating_sub(start) / waiting.len(),
    );
    assert!(
        each <= 10 * 1024,
        "{each} bytes for one more, {all} on average"
    );
    assert!(
        all <= 20 * 1024,
        "{each} bytes for one more, {all} on average"
    );
    println!("{each} bytes for one more, {all} on average");
}
