//! A target at several URLs: who gets the requests, and what becomes of a member that is down.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;

use crate::support::caller::PATIENCE;
use crate::support::upstream::{Conversation, Trusted};
use crate::support::{Folder, Process, Proxy, Upstream, get, send};

/// Answers with its own name.
fn saying(name: &'static str) -> impl Fn(&mut Conversation) {
    move |conversation| {
        while conversation.read_request().is_some() {
            let length = name.len();
            conversation.write(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{name}"
            ));
        }
    }
}

fn member(address: SocketAddr, name: &'static str) -> Upstream {
    Upstream::at(address, saying(name))
}

/// An address of loopback that is this test's alone, where nothing listens yet.
fn free(host: u8) -> SocketAddr {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 7, host], 0))).expect("a port");
    listener.local_addr().expect("an address")
}

/// A configuration with a target at these addresses.
fn configuration(addresses: &[SocketAddr], authorities: &[&str], extra: &str) -> (Folder, String) {
    let folder = Folder::new();
    folder.write("ca.pem", authorities.concat());
    let urls: Vec<String> = addresses
        .iter()
        .map(|it| format!("\"https://{it}\""))
        .collect();
    let text = format!(
        r#"
workers = 1

[listeners.local]
address = "127.0.0.1:0"

[targets.acme]
url = [{}]
credential = "none"
tls.ca = ["ca.pem"]
{extra}
"#,
        urls.join(", ")
    );
    (folder, text)
}

fn texts(proxy: &Proxy, count: usize) -> Vec<String> {
    (0..count)
        .map(|_| get(proxy.address, "/acme").text())
        .collect()
}

/// Asks until a member answers; gives all answers.
fn until(proxy: &Proxy, name: &str) -> Vec<String> {
    let start = Instant::now();
    let mut answers = Vec::new();
    while answers.last().is_none_or(|it| it != name) {
        answers.extend(texts(proxy, 1));
        assert!(start.elapsed() < PATIENCE, "{name} never answers");
    }
    answers
}

#[test]
fn requests_are_spread_over_the_members() {
    let (one, two) = (member(free(1), "one"), member(free(2), "two"));
    let (folder, text) =
        configuration(&[one.address, two.address], &[&one.ca_pem, &two.ca_pem], "");
    let proxy = Proxy::start(&folder, &text);
    assert_eq!(texts(&proxy, 6), ["one", "two", "one", "two", "one", "two"]);
    let host = format!("\r\nhost: {}\r\n", two.address);
    assert!(two.requests().iter().all(|it| it.contains(&host)));
}

#[test]
fn the_first_member_serves_alone_if_it_is_to_and_the_others_stand_in_for_it() {
    let (first, two) = (free(3), member(free(4), "two"));
    let one = member(first, "one");
    let authorities = [one.ca_pem.as_str(), &two.ca_pem];
    let extra = "spread = \"first\"";
    let (folder, text) = configuration(&[first, two.address], &authorities, extra);
    let proxy = Proxy::start(&folder, &text);
    assert_eq!(texts(&proxy, 4), ["one"; 4]);
    assert_eq!(two.connections(), 0);
}

#[test]
fn a_member_that_is_down_fails_no_request_and_serves_again_when_it_is_back() {
    let two = member(free(6), "two");
    for spread in ["first", "round-robin"] {
        let one = Trusted::new(free(5));
        let authorities = [one.ca_pem.as_str(), &two.ca_pem];
        let extra = format!("spread = \"{spread}\"");
        let (folder, text) = configuration(&[one.address, two.address], &authorities, &extra);
        let proxy = Proxy::start(&folder, &text);
        assert_eq!(texts(&proxy, 10), ["two"; 10], "{spread}");
        let _one = one.start(saying("one"));
        let answers = until(&proxy, "one");
        let others = &answers[..answers.len() - 1];
        assert!(others.iter().all(|it| it == "two"), "{spread}: {answers:?}");
    }
}

#[test]
fn when_all_are_down_each_request_still_tries_them() {
    let (one, two) = (free(7), Trusted::new(free(8)));
    let (folder, text) = configuration(&[one, two.address], &[&two.ca_pem], "");
    let proxy = Proxy::start(&folder, &text);
    for _ in 0..5 {
        assert_eq!(get(proxy.address, "/acme").code(), "upstream-refused");
    }
    // By now both are left alone for seconds, and the next request is served at once all the same.
    let _two = two.start(saying("two"));
    assert_eq!(get(proxy.address, "/acme").text(), "two");
}

#[test]
fn a_member_that_hangs_up_on_requests_is_left_alone() {
    let is_ill = Arc::new(AtomicBool::new(true));
    let state = Arc::clone(&is_ill);
    let one = Upstream::at(free(9), move |conversation| {
        while conversation.read_request().is_some() && !state.load(Ordering::SeqCst) {
            conversation.write("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none");
        }
    });
    let two = member(free(10), "two");
    let authorities = [one.ca_pem.as_str(), &two.ca_pem];
    let (folder, text) = configuration(&[one.address, two.address], &authorities, "");
    let proxy = Proxy::start(&folder, &text);
    let post = || {
        let request = "POST /acme HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
        send(proxy.address, request)
    };
    // Every other request goes to the one that hangs up, until three have.
    let statuses: Vec<u16> = (0..6).map(|_| post().status).collect();
    assert_eq!(statuses, [502, 200, 502, 200, 502, 200]);
    // It is left alone now: no longer is every other request its own, but one in a second at most.
    let statuses: Vec<u16> = (0..6).map(|_| post().status).collect();
    let failed = statuses.iter().filter(|it| **it == 502).count();
    assert!(failed < 3, "{statuses:?}");
    is_ill.store(false, Ordering::SeqCst);
    until(&proxy, "one");
    assert_eq!(
        one.requests()
            .iter()
            .filter(|it| it.starts_with("POST"))
            .count(),
        3 + failed
    );
}

#[test]
fn a_request_whose_connection_was_stale_goes_to_the_next_member_if_its_own_is_gone() {
    let one = Upstream::at(free(13), |conversation| {
        // The first connection breaks at its second request, and no other comes about.
        if conversation.number == 0 && conversation.read_request().is_some() {
            conversation.write("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none");
            conversation.read_request();
        }
    });
    let two = member(free(14), "two");
    let authorities = [one.ca_pem.as_str(), &two.ca_pem];
    let (folder, text) = configuration(&[one.address, two.address], &authorities, "");
    let proxy = Proxy::start(&folder, &text);
    assert_eq!(texts(&proxy, 3), ["one", "two", "two"]);
    assert_eq!((one.requests().len(), one.connections()), (2, 2));
    assert_eq!(texts(&proxy, 2), ["two"; 2]);
}

#[test]
fn a_reload_does_not_forget_that_a_member_is_down() {
    let (one, two) = (Trusted::new(free(15)), member(free(16), "two"));
    let authorities = [one.ca_pem.as_str(), &two.ca_pem];
    let (folder, text) = configuration(&[one.address, two.address], &authorities, "");
    folder.write("proxy.toml", text);
    let process = Process::start(folder.path(), &[]);
    let ask = || assert_eq!(get(process.address(), "/acme").text(), "two");
    (0..3).for_each(|_| ask());
    process.wait_for("left alone");
    process.signal("HUP");
    process.wait_for("was read again and is in force");
    (0..3).for_each(|_| ask());
    process.signal("TERM");
    let (_, said) = process.wait();
    assert_eq!(said.matches("left alone").count(), 1, "{said}");
}

#[test]
fn the_log_tells_once_that_a_member_is_down_and_once_that_it_is_back() {
    let (one, two) = (Trusted::new(free(11)), member(free(12), "two"));
    let authorities = [one.ca_pem.as_str(), &two.ca_pem];
    let (folder, text) = configuration(&[one.address, two.address], &authorities, "");
    folder.write("proxy.toml", text);
    let process = Process::start(folder.path(), &[]);
    let address = process.address();
    for _ in 0..10 {
        assert_eq!(get(address, "/acme").text(), "two");
    }
    let told = format!("member=\"{}\"", one.address);
    let _one = one.start(saying("one"));
    let start = Instant::now();
    while get(address, "/acme").text() != "one" {
        assert!(start.elapsed() < PATIENCE, "it serves again");
    }
    let said = process.wait_for("answers again");
    let lines: Vec<&str> = said.lines().filter(|it| it.contains(&told)).collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0].contains("left alone"), "{said}");
}

#[test]
fn the_status_page_says_how_each_member_is_doing() {
    let (first, two) = (Trusted::new(free(61)), free(62));
    let (one, second) = (first.address, member(two, "two"));
    let pages = "spread = \"first\"\n[admin]\naddress = \"127.0.0.1:0\"";
    let (folder, text) = configuration(&[one, two], &[&first.ca_pem, &second.ca_pem], pages);
    folder.write("proxy.toml", text);
    let proxy = Proxy::following(&folder);
    let members = || get(proxy.admin(), "/status").json()["targets"][0]["members"].clone();
    let state = |it: &serde_json::Value| it["state"].as_str().map(str::to_owned);
    assert_eq!(state(&members()[0]).as_deref(), Some("green"));
    assert_eq!(texts(&proxy, 1), ["two"]);
    let seen = members();
    assert_eq!(seen[0]["address"], one.to_string());
    assert_eq!(state(&seen[0]).as_deref(), Some("red"));
    assert!(
        seen[0]["error"]
            .as_str()
            .expect("a text")
            .contains("refused"),
        "{seen}"
    );
    assert!(
        seen[0]["since"].as_str().expect("a time").starts_with("20"),
        "{seen}"
    );
    assert_eq!(
        seen[1],
        serde_json::json!({
            "address": two.to_string(), "state": "green", "since": null, "error": null,
            "workers": null, "passed-over-for": null,
        })
    );
    // A reload makes no member well.
    proxy.reload().expect("it can be used");
    assert_eq!(state(&members()[0]).as_deref(), Some("red"));
    let _first = first.start(saying("one"));
    until(&proxy, "one");
    // The answer is noted when it is passed on, which the caller may see before.
    let begin = Instant::now();
    while state(&members()[0]).as_deref() != Some("green") {
        assert!(begin.elapsed() < PATIENCE, "it never is well again");
    }
}
