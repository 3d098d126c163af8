//! Who may look, and what is there to see.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use tokio::time::Instant;

use super::{PAGES, page, post, proxy_to, status, wait_for};
use crate::support::caller::SOON;
use crate::support::{Caller, Folder, Process, Proxy, Upstream, acme, get, send};

#[test]
fn the_process_says_that_it_lives() {
    let (proxy, _folder) = proxy_to(&Upstream::saying(""));
    let alive = page(&proxy, "/livez");
    assert_eq!((alive.status, alive.text().as_str()), (200, "ok\n"));
    let mut caller = Caller::connect(proxy.admin());
    caller.write("HEAD /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(caller.read_head().status, 200);
}

#[test]
fn pages_are_for_this_machines_names_and_no_browsers_other_sites() {
    let (proxy, _folder) = proxy_to(&Upstream::saying(""));
    let ask = |headers: &str| {
        let request = format!("GET /status HTTP/1.1\r\n{headers}\r\n");
        send(proxy.admin(), request).status
    };
    assert_eq!(ask(&format!("Host: {}\r\n", proxy.admin())), 200);
    assert_eq!(ask("Host: evil.example\r\n"), 403);
    assert_eq!(ask("Host: 127.0.0.2\r\n"), 403);
    assert_eq!(ask("Host: localhost\r\nHost: localhost\r\n"), 400);
    assert_eq!(ask(""), 400);
    for foreign in [
        "Sec-Fetch-Site: cross-site",
        "Origin: https://evil.example",
        "Origin: null",
    ] {
        assert_eq!(ask(&format!("Host: localhost\r\n{foreign}\r\n")), 403);
    }
    let absolute = "GET http://localhost/status HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(send(proxy.admin(), absolute).status, 400);
}

#[test]
fn a_probe_gets_through_however_many_connections_are_held_open() {
    let (proxy, _folder) = proxy_to(&Upstream::saying(""));
    let ask = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut held: Vec<Caller> = Vec::new();
    for number in 0..200 {
        let mut caller = Caller::connect(proxy.admin());
        match number % 3 {
            0 => {}
            1 => drop(caller.write("GET /livez HTTP/1.1\r\nHost:")),
            _ => assert_eq!(caller.write(ask).read().status, 200),
        }
        held.push(caller);
        if number % 50 == 49 {
            assert_eq!(page(&proxy, "/livez").status, 200, "with {number}");
        }
    }
    // The first has made room for others; the last is served yet.
    assert!(held[0].is_closed());
    let mut last = held.pop().expect("held");
    assert_eq!(last.write(" localhost\r\n\r\n").read().status, 200);
}

#[test]
fn a_connection_on_which_nothing_is_asked_is_closed_soon() {
    let (proxy, _folder) = proxy_to(&Upstream::saying(""));
    let start = Instant::now();
    let mut silent = Caller::connect(proxy.admin());
    let mut slow = Caller::connect(proxy.admin());
    slow.write("GET /livez HTTP/1.1\r\n");
    let mut served = Caller::connect(proxy.admin());
    served.write("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(served.read().status, 200);
    assert!(silent.is_closed() && slow.is_closed() && served.is_closed());
    let waited = start.elapsed();
    assert!(
        waited > Duration::from_secs(4) && waited < SOON,
        "{waited:?}"
    );
}

#[test]
fn a_name_that_is_listed_may_be_used() {
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "");
    let text = format!("{text}{PAGES}hosts = [\"proxy.corp.example\"]\n");
    let proxy = Proxy::start(&folder, &text);
    let request = "GET /livez HTTP/1.1\r\nHost: proxy.corp.example:9901\r\n\r\n";
    assert_eq!(send(proxy.admin(), request).status, 200);
    assert_eq!(get(proxy.admin(), "/livez").status, 403);
}

#[test]
fn pages_are_got_and_changes_are_posted() {
    let (proxy, _folder) = proxy_to(&Upstream::saying(""));
    let posted = post(&proxy, "/metrics");
    assert_eq!(
        (posted.status, posted.header("allow")),
        (405, Some("GET, HEAD"))
    );
    for path in ["/reload", "/renew/acme"] {
        let got = page(&proxy, path);
        assert_eq!((got.status, got.header("allow")), (405, Some("POST")));
    }
    let nowhere = page(&proxy, "/acme");
    assert_eq!(nowhere.status, 404);
    assert!(nowhere.text().contains("/readyz"), "{}", nowhere.text());
}

#[test]
fn callers_do_not_reach_the_pages() {
    let (proxy, _folder) = proxy_to(&Upstream::saying("the target"));
    for path in ["/livez", "/readyz", "/metrics", "/status", "/renew/acme"] {
        assert_eq!(get(proxy.address, path).status, 404, "{path}");
    }
    assert_eq!(get(proxy.address, "/acme/metrics").text(), "the target");
}

#[test]
fn the_status_tells_how_everything_is_doing() {
    let upstream = Upstream::saying("");
    let (proxy, _folder) = proxy_to(&upstream);
    assert_eq!(get(proxy.address, "/acme/x").status, 200);
    let status = wait_for("a request that is counted", || {
        Some(status(&proxy)).filter(|it| it["targets"][0]["requests"] == 1)
    });
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["draining"], false);
    assert_eq!(status["listeners"][0]["address"], proxy.address.to_string());
    assert_eq!(status["targets"][0]["name"], "acme");
    assert_eq!(status["targets"][0]["credential"], "acme");
    assert_eq!(
        status["targets"][0]["members"][0]["address"],
        "upstream.example:443"
    );
    let acme = &status["credentials"][0];
    assert_eq!(acme["name"], "acme");
    assert_eq!(acme["state"], "green");
    assert_eq!(acme["minted"], 1);
    assert_eq!(acme["error"], serde_json::Value::Null);
    assert!(acme["since"].as_str().expect("a time").starts_with("20"));
    let fingerprint = acme["fingerprint"].as_str().expect("a fingerprint");
    assert_eq!(fingerprint.len(), 16, "{fingerprint}");
    let (left, due) = (&acme["expires-in"], &acme["next-attempt-in"]);
    assert!(left.as_u64() > due.as_u64(), "{left} {due}");
}

#[test]
fn no_page_shows_a_token() {
    let upstream = Upstream::answering("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n");
    let (proxy, _folder) = proxy_to(&upstream);
    assert_eq!(get(proxy.address, "/acme").status, 401);
    let request = upstream.requests().remove(0);
    let (_, token) = request.split_once("Bearer ").expect("a token");
    let token = token.split("\r\n").next().expect("a line");
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 3, "a JWT");
    for path in ["/status", "/metrics", "/readyz"] {
        let text = page(&proxy, path).text();
        for part in &parts {
            assert!(!text.contains(&part[..12]), "{path} shows {part}");
        }
    }
    let renewed = post(&proxy, "/renew/acme").text();
    assert!(!renewed.contains(&parts[1][..12]), "{renewed}");
}

#[test]
fn a_socket_in_a_file_is_for_this_user_alone_and_gone_at_the_end() {
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "");
    // Left behind by a process that was killed.
    drop(UnixListener::bind(folder.path().join("admin.sock")).expect("a socket"));
    let proxy = Proxy::start(
        &folder,
        &format!("{text}\n[admin]\naddress = \"unix:admin.sock\"\n"),
    );
    let path = folder.path().join("admin.sock");
    let mode = path.metadata().expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut stream = UnixStream::connect(&path).expect("it listens");
    stream
        .write_all(b"GET /livez HTTP/1.1\r\nHost: whatever\r\nConnection: close\r\n\r\n")
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    drop(proxy);
    assert!(!path.exists());
}

#[test]
fn pages_that_others_can_reach_are_announced_as_such() {
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "");
    folder.write(
        "proxy.toml",
        format!("{text}\n[admin]\naddress = \"0.0.0.0:0\"\n"),
    );
    let process = Process::start(folder.path(), &[]);
    let said = process.wait_for("health, metrics and status are on http://0.0.0.0:");
    let line = said.lines().find(|it| it.contains("metrics and status"));
    assert!(line.expect("just seen").contains("WARN"), "{said}");
}
