//! The end, and what does not end the process: downloads under way, tokens that are still to come,
//! a bug that a request runs into.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use countersign::config;
use countersign::secret::store::Store;
use tokio::time::Instant;

use crate::support::caller::PATIENCE;
use crate::support::{Caller, Folder, Process, Proxy, Upstream, acme, get};

const REQUEST: &str = "GET /acme HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// The same configuration, with a drain that cuts nothing off.
fn patient(text: &str) -> String {
    text.replace("drain = \"5s\"", "drain = \"1m\"")
}

#[test]
fn none_of_200_downloads_is_cut_off_by_sigterm() {
    const PIECE: usize = 1000;
    let go = Arc::new(AtomicBool::new(false));
    let goes = Arc::clone(&go);
    let upstream = Upstream::with(move |conversation| {
        conversation.read_request();
        let length = 20 * PIECE;
        conversation.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
        ));
        conversation.write([b'x'; PIECE]);
        while !goes.load(Ordering::SeqCst) {
            thread::park_timeout(Duration::from_millis(10));
        }
        for _ in 1..20 {
            conversation.write([b'x'; PIECE]);
        }
    });
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "");
    folder.write("proxy.toml", patient(&text));
    let process = Process::start(folder.path(), &[]);
    let address = process.address();
    let mut callers: Vec<Caller> = (0..200).map(|_| Caller::connect(address)).collect();
    for caller in &mut callers {
        caller.write(REQUEST);
    }
    let start = Instant::now();
    while upstream.requests().len() < callers.len() {
        assert!(start.elapsed() < PATIENCE, "they never came");
        thread::park_timeout(Duration::from_millis(5));
    }
    process.signal("TERM");
    process.wait_for("finishing what is under way");
    go.store(true, Ordering::SeqCst);
    for caller in &mut callers {
        assert_eq!(caller.read().body.len(), 20 * PIECE);
    }
    let (status, said) = process.wait();
    assert_eq!(status.code(), Some(0), "{said}");
}

#[test]
fn what_was_asked_before_the_end_is_answered_though_nobody_has_read_it_yet() {
    let upstream = Upstream::saying("hi");
    let folder = Folder::new();
    for protocols in ["\"http1\"", "\"http1\", \"http2\""] {
        let text = acme(&folder, upstream.address, &upstream.ca_pem, "");
        let address = "address = \"127.0.0.1:0\"\n";
        let spoken = format!("{address}protocols = [{protocols}]\n");
        let text = format!("workers = 1\n{}", patient(&text).replace(address, &spoken));
        folder.write("proxy.toml", text);
        for _ in 0..5 {
            let process = Process::start(folder.path(), &[]);
            let address = process.address();
            // It sleeps while they ask, and hears of them and of its end at once.
            process.signal("STOP");
            let mut callers: Vec<Caller> = (0..20).map(|_| Caller::connect(address)).collect();
            for caller in &mut callers {
                caller.write(REQUEST);
            }
            process.signal("TERM");
            process.signal("CONT");
            for caller in &mut callers {
                assert_eq!(caller.read().text(), "hi");
            }
            process.wait();
        }
    }
}

#[test]
fn a_request_that_waits_for_a_token_gets_it_though_the_end_has_begun() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let endpoint = Upstream::with(move |conversation| {
        conversation.read_request();
        let _ = wait.lock().expect("one at a time").recv();
        let body = r#"{"access_token":"late","token_type":"Bearer","expires_in":3600}"#;
        let length = body.len();
        conversation.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
    });
    let (upstream, folder) = (Upstream::saying("hi"), Folder::new());
    folder.write("idp.pem", &endpoint.ca_pem);
    folder.write("ca.pem", &upstream.ca_pem);
    folder.write("secret", "what the client knows");
    folder.write(
        "proxy.toml",
        format!(
            r#"
[listeners.local]
address = "127.0.0.1:0"
[credentials.acme.exchange]
url = "https://upstream.example/token"
connect = "{}"
tls.ca = "idp.pem"
client-id = "a-client"
client-secret = {{ file = "secret" }}
timeouts.total = "1m"
[targets.acme]
url = "https://upstream.example"
connect = "{}"
tls.ca = "ca.pem"
timeouts.credential = "1m"
"#,
            endpoint.address, upstream.address
        ),
    );
    let process = Process::start(folder.path(), &[]);
    let mut caller = Caller::connect(process.address());
    caller.write(REQUEST);
    let start = Instant::now();
    while endpoint.requests().is_empty() {
        assert!(start.elapsed() < PATIENCE, "nobody asked");
        thread::park_timeout(Duration::from_millis(5));
    }
    process.signal("TERM");
    process.wait_for("finishing what is under way");
    go.send(()).expect("it waits");
    let answer = caller.read();
    assert_eq!(
        (answer.status, answer.header("connection")),
        (200, Some("close"))
    );
    let (status, _) = process.wait();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_bug_ends_the_request_that_runs_into_it_and_no_other() {
    let (upstream, folder) = (Upstream::saying("hi"), Folder::new());
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "");
    let text = format!(
        "workers = 1\n{text}\n[targets.broken]\nurl = \"https://broken.example\"\ncredential = \"none\"\n"
    );
    let loaded = config::parse("proxy.toml", &text, folder.path(), &Store::Disk);
    let mut config = loaded
        .unwrap_or_else(|problems| panic!("{problems}"))
        .config;
    // The route now leads to a target that is not there, which cannot happen.
    assert_eq!(config.targets.pop().expect("a target").name, "broken");
    let proxy = Proxy::start_config(config);
    let mut other = Caller::connect(proxy.address);
    assert_eq!(other.write(REQUEST).read().status, 200);
    let before = countersign::unwind::count();
    for _ in 0..3 {
        let answer = get(proxy.address, "/broken");
        assert_eq!((answer.status, answer.code().as_str()), (500, "internal"));
    }
    assert!(countersign::unwind::count() >= before + 3);
    assert_eq!(other.write(REQUEST).read().status, 200);
}
