//! Listeners that come, go and change, and the connections that came in there.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use countersign::app::reload::ReloadError;
use tokio::time::Instant;

use super::{free_address, target, wait_until, write};
use crate::support::caller::SOON;
use crate::support::{Caller, Folder, Proxy, Upstream, get};

const REQUEST: &str = "GET /api HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A configuration with these listeners in front of one target.
fn text(folder: &Folder, upstream: &Upstream, listeners: &[(&str, SocketAddr, &str)]) -> String {
    let mut text = "workers = 2\ndrain = \"5s\"\n".to_owned();
    for (name, address, extra) in listeners {
        text.push_str(&format!(
            "\n[listeners.{name}]\naddress = \"{address}\"\n{extra}\n"
        ));
    }
    text + &target(folder, "api", upstream, "credential = \"none\"")
}

fn any() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

#[test]
fn one_that_is_new_listens_and_one_that_stays_is_not_touched() {
    let (upstream, folder) = (Upstream::saying("hi"), Folder::new());
    write(&folder, &text(&folder, &upstream, &[("local", any(), "")]));
    let proxy = Proxy::following(&folder);
    let mut kept = Caller::connect(proxy.address);
    assert_eq!(kept.write(REQUEST).read().status, 200);
    // The new one comes first in the file, so that the other one has another place.
    write(
        &folder,
        &text(
            &folder,
            &upstream,
            &[("another", any(), ""), ("local", any(), "")],
        ),
    );
    let report = proxy.reload().expect("it can be used");
    assert_eq!(report.opened, ["another"]);
    assert!(report.closed.is_empty());
    assert_eq!(get(proxy.listener("another"), "/api").status, 200);
    assert_eq!(proxy.listener("local"), proxy.address);
    let answer = kept.write(REQUEST).read();
    assert_eq!((answer.status, answer.header("connection")), (200, None));
}

const SWITCH: &str = "GET /api HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Whether a connection that has left HTTP still goes both ways.
fn is_open(tunnel: &mut Caller) -> bool {
    let text = crate::upgrades::text(b"there?");
    crate::upgrades::hear(tunnel.write(text)).is_some()
}

/// Whether it ends at the deadline of a second, and not before.
fn ends_in_time(tunnel: &mut Caller, since: Instant) -> bool {
    let is_closed = tunnel.is_closed();
    let took = since.elapsed();
    is_closed && took > Duration::from_millis(900) && took < SOON
}

#[test]
fn a_tunnel_of_one_that_is_gone_ends_at_the_deadline() {
    let upstream = Upstream::with(crate::upgrades::echo);
    let folder = Folder::new();
    let both = [("local", any(), ""), ("other", any(), "")];
    let text = |listeners: &[_]| {
        text(&folder, &upstream, listeners).replace("drain = \"5s\"", "drain = \"1s\"")
    };
    write(&folder, &text(&both));
    let proxy = Proxy::following(&folder);
    let mut caller = Caller::connect(proxy.listener("other"));
    assert_eq!(caller.write(SWITCH).read().status, 101);
    write(&folder, &text(&both[..1]));
    let start = Instant::now();
    proxy.reload().expect("it can be used");
    assert!(ends_in_time(&mut caller, start));
}

#[test]
fn tunnels_end_at_the_deadline_where_those_let_in_are_others_now() {
    let upstream = Upstream::with(crate::upgrades::echo);
    let folder = Folder::new();
    let text = |top: &str, rule: &str, route: &str| {
        let text = text(&folder, &upstream, &[("local", any(), rule)]);
        let text = text.replace("drain = \"5s\"", &format!("drain = \"1s\"\n{top}"));
        let other = target(&folder, "other", &upstream, "credential = \"none\"");
        format!("{text}{route}{other}")
    };
    write(&folder, &text("", "", ""));
    let proxy = Proxy::following(&folder);
    let tunnel = || {
        let mut caller = Caller::connect(proxy.address);
        assert_eq!(caller.write(SWITCH).read().status, 101);
        caller
    };
    for (rule, route) in [
        ("allow = [\"127.0.0.1\"]", ""),
        ("require-header = \"X-Door\"", ""),
        ("hosts = [\"proxy.example\"]", ""),
        (
            "",
            "routes = [{ path = \"/api\", headers = { X-Team = \"red\" } }]",
        ),
        ("", "refuse = [\"/secret\"]"),
        ("", "upgrades = []"),
    ] {
        let mut first = tunnel();
        // What has nothing to do with who is let in ends nothing, whether later connections keep to
        // other limits or not.
        write(&folder, &text("limits.headers = 50", "", ""));
        proxy.reload().expect("it can be used");
        assert!(is_open(&mut first));
        let mut second = tunnel();
        write(&folder, &text("limits.headers = 50", rule, route));
        let start = Instant::now();
        proxy.reload().expect("it can be used");
        assert!(ends_in_time(&mut first, start), "{rule}{route}");
        assert!(ends_in_time(&mut second, start), "{rule}{route}");
        write(&folder, &text("", "", ""));
        proxy.reload().expect("it can be used");
    }
}

#[test]
fn the_file_of_a_socket_that_stays_has_the_mode_that_it_is_to_have_now() {
    let (upstream, folder) = (Upstream::saying("hi"), Folder::new());
    let text = |mode: &str| {
        let text = text(&folder, &upstream, &[("local", any(), "")]);
        text.replace(
            "127.0.0.1:0\"",
            &format!("unix:http.sock\"\nmode = \"{mode}\""),
        )
    };
    write(&folder, &text("0666"));
    let proxy = Proxy::following(&folder);
    let mode = || {
        let metadata = std::fs::metadata(folder.path().join("http.sock"));
        metadata.expect("a socket").permissions().mode() & 0o777
    };
    assert_eq!(mode(), 0o666);
    write(&folder, &text("0600"));
    proxy.reload().expect("it can be used");
    assert_eq!(mode(), 0o600);
}

#[test]
fn one_that_is_gone_finishes_what_it_has_begun() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::with(move |conversation| {
        while conversation.read_request().is_some() {
            conversation.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfirst ");
            let _ = wait.lock().expect("one at a time").recv();
            conversation.write("end");
        }
    });
    let folder = Folder::new();
    let both = [("local", any(), ""), ("other", any(), "")];
    write(&folder, &text(&folder, &upstream, &both));
    let proxy = Proxy::following(&folder);
    let gone = proxy.listener("other");
    let mut caller = Caller::connect(gone);
    caller.write(REQUEST);
    wait_until("the request is at the target", || {
        upstream.requests().len() == 1
    });
    write(&folder, &text(&folder, &upstream, &both[..1]));
    let report = proxy.reload().expect("it can be used");
    assert_eq!(report.closed, ["other"]);
    wait_until("nobody listens there", || TcpStream::connect(gone).is_err());
    go.send(()).expect("it waits");
    assert_eq!(caller.read().text(), "first end");
    assert!(caller.is_closed());
    go.send(()).expect("it waits");
    assert_eq!(get(proxy.address, "/api").status, 200);
}

#[test]
fn an_idle_connection_of_one_that_is_gone_is_closed() {
    let (upstream, folder) = (Upstream::saying("hi"), Folder::new());
    let both = [("local", any(), ""), ("other", any(), "")];
    write(&folder, &text(&folder, &upstream, &both));
    let proxy = Proxy::following(&folder);
    let mut idle = Caller::connect(proxy.listener("other"));
    assert_eq!(idle.write(REQUEST).read().status, 200);
    write(&folder, &text(&folder, &upstream, &both[..1]));
    proxy.reload().expect("it can be used");
    assert!(idle.is_closed());
}

#[test]
fn a_taken_address_refuses_all_of_it() {
    let (upstream, folder) = (Upstream::saying("hi"), Folder::new());
    write(&folder, &text(&folder, &upstream, &[("local", any(), "")]));
    let proxy = Proxy::following(&folder);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken.local_addr().map(|address| (taken, address));
    let (_taken, address) = taken.expect("its address");
    let with_other = [("other", any(), ""), ("taken", address, "")];
    write(&folder, &text(&folder, &upstream, &with_other));
    let error = proxy.reload().expect_err("the address is taken");
    assert!(matches!(&*error, ReloadError::Bind(_)), "{error}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    assert_eq!(proxy.running().listeners().len(), 1);
    let answer = get(proxy.address, "/api");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(proxy.running().reload().is_refused());
}

#[test]
fn another_name_for_an_address_is_no_reason_to_close_anything() {
    let (upstream, folder) = (Upstream::saying("hi"), Folder::new());
    let address = free_address();
    write(
        &folder,
        &text(&folder, &upstream, &[("local", address, "")]),
    );
    let proxy = Proxy::following(&folder);
    let mut kept = Caller::connect(address);
    assert_eq!(kept.write(REQUEST).read().status, 200);
    write(
        &folder,
        &text(&folder, &upstream, &[("renamed", address, "")]),
    );
    let report = proxy.reload().expect("it can be used");
    assert!(report.opened.is_empty() && report.closed.is_empty());
    assert_eq!(proxy.listener("renamed"), address);
    let answer = kept.write(REQUEST).read();
    assert_eq!((answer.status, answer.header("connection")), (200, None));
}

#[test]
fn where_another_rule_holds_now_those_who_came_in_by_the_old_one_end() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::with(move |conversation| {
        while conversation.read_request().is_some() {
            let _ = wait.lock().expect("one at a time").recv();
            conversation.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        }
    });
    let folder = Folder::new();
    write(&folder, &text(&folder, &upstream, &[("local", any(), "")]));
    let proxy = Proxy::following(&folder);
    let (mut idle, mut busy) = (
        Caller::connect(proxy.address),
        Caller::connect(proxy.address),
    );
    go.send(()).expect("it waits");
    assert_eq!(idle.write(REQUEST).read().status, 200);
    busy.write(REQUEST);
    wait_until("the request is at the target", || {
        upstream.requests().len() == 2
    });
    let hosts = "hosts = [\"localhost\", \"proxy.example\"]";
    write(
        &folder,
        &text(&folder, &upstream, &[("local", any(), hosts)]),
    );
    let report = proxy.reload().expect("it can be used");
    assert!(report.opened.is_empty() && report.closed.is_empty());
    assert!(idle.is_closed());
    go.send(()).expect("it waits");
    let answer = busy.read();
    assert_eq!(
        (answer.status, answer.header("connection")),
        (200, Some("close"))
    );
    assert!(busy.is_closed());
    // The socket itself was never closed, and lets in by the new rule.
    let asked = REQUEST.replace("localhost", "proxy.example");
    go.send(()).expect("it waits");
    assert_eq!(
        Caller::connect(proxy.address).write(asked).read().status,
        200
    );
}

#[test]
fn new_connections_keep_to_new_limits_and_old_ones_to_theirs() {
    let (upstream, folder) = (Upstream::saying("hi"), Folder::new());
    let plain = text(&folder, &upstream, &[("local", any(), "")]);
    write(&folder, &plain);
    let proxy = Proxy::following(&folder);
    let mut old = Caller::connect(proxy.address);
    assert_eq!(old.write(REQUEST).read().status, 200);
    write(&folder, &format!("limits.headers = 8\n{plain}"));
    proxy.reload().expect("it can be used");
    let more = "X-A: 1\r\n".repeat(10);
    let request = REQUEST.replace("\r\n\r\n", &format!("\r\n{more}\r\n"));
    assert_eq!(old.write(&request).read().status, 200);
    let mut new = Caller::connect(proxy.address);
    assert_eq!(new.write(&request).read().status, 431);
}
