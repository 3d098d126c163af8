//! Callers that go away, and those that have no more to say.

use std::io::Read;
use std::net::Shutdown;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use super::{GET, configuration, proxy, wait_until};
use crate::support::caller::{PATIENCE, SOON};
use crate::support::{Caller, Folder, Process, Upstream};

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
            assert!(took < SOON, "{took:?} {how:?} {shown}");
        }
    }
}

#[test]
fn a_reset_cancels_where_half_close_is_served() {
    for begins in [b"" as &[u8], DOWNLOAD] {
        let serve = "half-close = \"serve\"";
        let took = ended_after(serve, begins, GET.as_bytes(), Leaving::Reset);
        assert!(took < SOON, "{took:?}");
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
    assert!(took < SOON, "{took:?}");
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
        let status = caller.try_read().ok().map(|answer| answer.status);
        assert!(matches!(status, None | Some(400)), "{part}: {status:?}");
    }
    assert!(upstream.requests().is_empty(), "{:?}", upstream.requests());
}

pub(super) fn descriptors(process: u32) -> usize {
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
