//! More than is taken is refused at once, and what is taken goes on.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign::clock::{Clock, Moment};
use tokio::time::Instant;

use crate::support::caller::{PATIENCE, SOON};
use crate::support::upstream::NAME;
use crate::support::{Caller, Folder, Proxy, Upstream, acme, get, proxy_to};

const GET: &str = "GET /acme HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// An upstream that finishes its answers when it is told to.
fn slow() -> (Upstream, mpsc::Sender<()>) {
    let (go, wait) = mpsc::channel();
    let wait = Arc::new(Mutex::new(wait));
    let upstream = Upstream::with(move |conversation| {
        while conversation.read_request().is_some() {
            conversation.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfirst ");
            let _ = wait.lock().expect("one waits after the other").recv();
            conversation.write("end");
        }
    });
    (upstream, go)
}

fn until_it_has(upstream: &Upstream, requests: usize) {
    while upstream.requests().len() < requests {
        std::thread::yield_now();
    }
}

#[test]
fn a_request_above_the_limit_is_refused_at_once_and_those_below_it_go_on() {
    let (upstream, go) = slow();
    let (proxy, _folder) = proxy_to(&upstream, "limits.requests = 2");
    let mut callers = [
        Caller::connect(proxy.address),
        Caller::connect(proxy.address),
    ];
    for caller in &mut callers {
        caller.write(GET);
    }
    until_it_has(&upstream, 2);
    let start = Instant::now();
    let refused = get(proxy.address, "/acme");
    assert!(start.elapsed() < SOON, "it did not wait");
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (503, "overloaded")
    );
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(upstream.requests().len(), 2);
    // Their answers' heads are there; they are under way all the same.
    go.send(()).expect("it waits");
    go.send(()).expect("it waits");
    for caller in &mut callers {
        assert_eq!(caller.read().text(), "first end");
    }
    drop(go);
    assert_eq!(until_taken(&proxy).text(), "first end");
}

/// A place is free again a moment after the last byte was read.
fn until_taken(proxy: &Proxy) -> crate::support::Answer {
    let start = Instant::now();
    loop {
        let answer = get(proxy.address, "/acme");
        if answer.status == 200 {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "{answer:?}");
    }
}

#[test]
fn a_caller_that_goes_away_leaves_its_place_to_others() {
    let (upstream, go) = slow();
    let (proxy, _folder) = proxy_to(&upstream, "limits.requests = 1");
    let mut caller = Caller::connect(proxy.address);
    caller.write(GET);
    until_it_has(&upstream, 1);
    assert_eq!(get(proxy.address, "/acme").status, 503);
    drop(caller);
    drop(go);
    until_taken(&proxy);
}

#[test]
fn what_a_request_becomes_is_under_way_as_it_was() {
    let upstream = Upstream::with(|conversation| {
        let Some(head) = conversation.read_request() else {
            return;
        };
        if head.to_ascii_lowercase().contains("upgrade: websocket") {
            conversation.write(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            );
            conversation.read_exact(&mut [0]);
        } else {
            conversation.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let (proxy, _folder) = proxy_to(&upstream, "limits.requests = 1");
    let mut caller = Caller::connect(proxy.address);
    caller.write(
        "GET /acme HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(caller.read().status, 101);
    assert_eq!(get(proxy.address, "/acme").code(), "overloaded");
    drop(caller);
    until_taken(&proxy);
}

#[test]
fn one_limit_for_all_targets_holds_over_all_workers() {
    let (upstream, go) = slow();
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "");
    let text = format!(
        r#"workers = 4
{text}
[targets.other]
url = "https://{NAME}"
connect = "{}"
tls.ca = "ca.pem"
credential = "none"

[limits]
requests = 3
"#,
        upstream.address
    );
    let proxy = Proxy::start(&folder, &text);
    let mut callers: Vec<Caller> = (0..3).map(|_| Caller::connect(proxy.address)).collect();
    for (caller, path) in callers.iter_mut().zip(["/acme", "/other", "/acme"]) {
        caller.write(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    }
    until_it_has(&upstream, 3);
    for path in ["/acme", "/other", "/acme", "/other", "/acme", "/other"] {
        assert_eq!(get(proxy.address, path).code(), "overloaded");
    }
    drop(go);
}

#[test]
fn requests_that_wait_for_a_token_are_under_way() {
    let endpoint = Upstream::with(|conversation| {
        conversation.read_request();
        conversation.read_request();
    });
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    folder.write("ca.pem", &upstream.ca_pem);
    folder.write("endpoint.pem", &endpoint.ca_pem);
    folder.write("secret", "a-secret-of-the-client");
    let text = format!(
        r#"
[listeners.local]
address = "127.0.0.1:0"
[credentials.acme.exchange]
url = "https://{NAME}/token"
connect = "{}"
tls.ca = ["endpoint.pem"]
client-authentication = "basic"
client-id = "me"
client-secret = {{ file = "secret" }}
timeouts.total = "1m"
[targets.acme]
url = "https://{NAME}"
connect = "{}"
tls.ca = ["ca.pem"]
limits.requests = 1
timeouts.credential = "1m"
[admin]
address = "127.0.0.1:0"
"#,
        endpoint.address, upstream.address
    );
    let proxy = Proxy::start(&folder, &text);
    let mut first = Caller::connect(proxy.address);
    first.write(GET);
    let start = Instant::now();
    while get(proxy.admin(), "/status").json()["credentials"][0]["waiting"] != 1 {
        assert!(start.elapsed() < SOON, "it does not wait");
    }
    assert_eq!(get(proxy.address, "/acme").code(), "overloaded");
}

#[test]
fn what_comes_faster_than_the_rate_is_told_when_to_come_back() {
    let (clock, hand) = Clock::manual(Moment {
        wall: Duration::from_secs(1_900_000_000),
        boot: Duration::from_secs(1000),
    });
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    let rate = "rate = { requests = 2, per = \"5s\", burst = 3 }";
    let text = acme(&folder, upstream.address, &upstream.ca_pem, rate);
    let proxy = Proxy::start_with(&folder, &text, clock);
    for _ in 0..3 {
        assert_eq!(get(proxy.address, "/acme").status, 200);
    }
    let refused = get(proxy.address, "/acme");
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate"));
    // 2.5 s, rounded up to whole ones.
    assert_eq!(refused.header("retry-after"), Some("3"));
    assert_eq!(upstream.requests().len(), 3);
    hand.advance(Duration::from_millis(2500));
    assert_eq!(get(proxy.address, "/acme").status, 200);
    assert_eq!(get(proxy.address, "/acme").status, 429);
}

#[test]
fn what_limits_say_is_shown() {
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    let limits = "limits.requests = 7\nrate.requests = 10\n";
    let text = acme(&folder, upstream.address, &upstream.ca_pem, limits);
    let store = countersign::secret::store::Store::Disk;
    let loaded = countersign::config::parse("proxy.toml", &text, folder.path(), &store);
    let shown = loaded.expect("it is fine").shown;
    for line in [
        "limits.requests = 7",
        "rate.requests = 10",
        "rate.per = \"1s\"",
        "rate.burst = 10",
    ] {
        assert!(shown.contains(line), "{line}:\n{shown}");
    }
}
