//! `countersign serve`: starting, announcing, ending.

use std::io::Read;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::caller::{PATIENCE, SOON};
use crate::support::{Caller, Folder, Process, Upstream, acme, get};

fn serve(upstream: &Upstream) -> (Process, Folder) {
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "");
    // What does not end by itself lasts longer than any of these tests.
    folder.write(
        "proxy.toml",
        text.replace("drain = \"5s\"", "drain = \"2m\""),
    );
    (Process::start(folder.path(), &[]), folder)
}

#[test]
fn it_says_what_it_bound_and_what_leads_where() {
    let upstream = Upstream::saying("");
    let (process, _folder) = serve(&upstream);
    let said = process.wait_for("/acme goes to");
    assert!(
        said.contains("(listener `local`): this machine only"),
        "{said}"
    );
    assert!(
        said.contains("/acme goes to upstream.example (target `acme`) with credential `acme`"),
        "{said}"
    );
    assert_eq!(get(process.address(), "/acme").status, 200);
}

#[test]
fn sigterm_lets_what_is_under_way_finish_and_ends_with_0() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    let upstream = Upstream::with(move |conversation| {
        conversation.read_request();
        conversation.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfirst ");
        let _ = wait.lock().expect("one waits after the other").recv();
        conversation.write("end");
    });
    let (process, _folder) = serve(&upstream);
    let address = process.address();
    let mut callers: Vec<Caller> = (0..20).map(|_| Caller::connect(address)).collect();
    for caller in &mut callers {
        caller.write("GET /acme HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    while upstream.requests().len() < callers.len() {
        std::thread::yield_now();
    }
    process.signal("TERM");
    process.wait_for("finishing what is under way");
    // Nobody is let in any more, as soon as the workers have heard of it.
    let start = tokio::time::Instant::now();
    while std::net::TcpStream::connect(address).is_ok() {
        assert!(start.elapsed() < PATIENCE, "it still listens");
    }
    drop(go);
    for caller in &mut callers {
        assert_eq!(caller.read().text(), "first end");
    }
    let (status, said) = process.wait();
    assert_eq!(status.code(), Some(0), "{said}");
}

#[test]
fn a_second_signal_ends_at_once() {
    let upstream = Upstream::with(|conversation| while conversation.read_request().is_some() {});
    let (process, _folder) = serve(&upstream);
    let mut caller = Caller::connect(process.address());
    caller.write("GET /acme HTTP/1.1\r\nHost: localhost\r\n\r\n");
    while upstream.requests().is_empty() {
        std::thread::yield_now();
    }
    process.signal("INT");
    process.wait_for("finishing what is under way");
    // One that follows at once counts as the same.
    std::thread::park_timeout(Duration::from_millis(300));
    process.signal("INT");
    let (status, _) = process.wait();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn what_takes_longer_than_the_drain_is_cut_off_and_seen_to_be() {
    let upstream = Upstream::with(|conversation| {
        conversation.read_request();
        conversation.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfirst ");
        conversation.read_request();
    });
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "");
    folder.write(
        "proxy.toml",
        text.replace("drain = \"5s\"", "drain = \"300ms\""),
    );
    let process = Process::start(folder.path(), &["serve", "--config", "proxy.toml"]);
    let mut caller = Caller::connect(process.address());
    caller.write("GET /acme HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut start = [0; 17];
    caller
        .stream()
        .read_exact(&mut start)
        .expect("the answer begins");
    process.signal("TERM");
    assert!(caller.try_read().is_err() || caller.is_closed());
    let (status, said) = process.wait();
    assert_eq!(status.code(), Some(0));
    assert!(said.contains("requests under way were cut off"), "{said}");
}

#[test]
fn idle_callers_do_not_hold_up_the_end() {
    let upstream = Upstream::saying("");
    let (process, _folder) = serve(&upstream);
    let mut caller = Caller::connect(process.address());
    let _never_used = Caller::connect(process.address());
    caller
        .write("GET /acme HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .read();
    let start = tokio::time::Instant::now();
    process.signal("TERM");
    let (status, _) = process.wait();
    assert_eq!(status.code(), Some(0));
    assert!(start.elapsed() < SOON);
}

#[test]
fn a_second_instance_hears_that_the_address_is_taken() {
    let upstream = Upstream::saying("");
    let (process, folder) = serve(&upstream);
    let address = process.address().to_string();
    let text = std::fs::read_to_string(folder.path().join("proxy.toml")).expect("just written");
    folder.write("second.toml", text.replace("127.0.0.1:0", &address));
    let second = Process::start(folder.path(), &["serve", "--config", "second.toml"]);
    let (status, said) = second.wait();
    assert_eq!(status.code(), Some(1));
    assert!(
        said.contains(&format!("cannot listen on {address}")),
        "{said}"
    );
    assert!(said.contains("another process listens"), "{said}");
}

#[test]
fn a_listener_that_others_can_reach_is_announced_as_such() {
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "");
    folder.write("proxy.toml", text.replace("127.0.0.1:0", "0.0.0.0:0"));
    let process = Process::start(folder.path(), &[]);
    let said = process.wait_for("whoever can reach this address");
    assert!(said.contains("WARN"), "{said}");
}

#[test]
fn no_token_and_no_key_is_ever_logged() {
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "");
    folder.write(
        "proxy.toml",
        format!("log = {{ level = \"trace\", requests = true }}\n{text}"),
    );
    let process = Process::start(folder.path(), &[]);
    let address = process.address();
    for path in ["/acme", "/acme/auth/oauth2", "/nowhere"] {
        get(address, path);
    }
    process.signal("TERM");
    let (_, said) = process.wait();
    let request = upstream.request();
    let (_, token) = request.split_once("Bearer ").expect("a token");
    let signature = token
        .split("\r\n")
        .next()
        .and_then(|it| it.rsplit('.').next())
        .expect("parts");
    let key = std::fs::read_to_string(folder.path().join("key.pem")).expect("just written");
    let key = key.lines().nth(1).expect("the key itself");
    for secret in [
        &signature[..24],
        &signature[60..84],
        &key[..24],
        &key[30..54],
        "an.issuer.text",
    ] {
        assert!(!said.contains(secret), "{secret} is in:\n{said}");
    }
    assert!(said.contains("path=\"/acme\""), "{said}");
}

#[test]
fn the_operator_hears_of_a_token_and_of_a_target_that_refuses_it() {
    let upstream = Upstream::answering("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
    let (process, _folder) = serve(&upstream);
    process.wait_for("has a token, good for");
    for _ in 0..3 {
        assert_eq!(get(process.address(), "/acme").status, 401);
    }
    process.wait_for("the target answers 401 to our credential");
    process.signal("TERM");
    let (_, said) = process.wait();
    assert_eq!(
        said.matches("answers 401 to our credential").count(),
        1,
        "{said}"
    );
}
