//! When the process is ready, and why it is not.

use std::sync::{Mutex, mpsc};

use super::{PAGES, page, proxy_to, robot, status, token, wait_for};
use crate::support::{Caller, Folder, Process, Proxy, Upstream, acme, get};

/// A token endpoint that answers 500.
fn broken() -> Upstream {
    Upstream::answering("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
}

fn proxy_with(endpoint: &Upstream, more: &str, pages: &str) -> (Proxy, Folder) {
    let folder = Folder::new();
    let upstream = Upstream::saying("");
    let text = robot(&folder, endpoint, &upstream, more) + PAGES + pages;
    (Proxy::start(&folder, &text), folder)
}

#[test]
fn it_is_ready_once_a_token_is_there() {
    let (proxy, _folder) = proxy_to(&Upstream::saying(""));
    let ready = wait_for("readiness", || {
        Some(page(&proxy, "/readyz")).filter(|it| it.status == 200)
    });
    assert_eq!(ready.json()["ready"], true);
}

#[test]
fn it_is_not_ready_before_the_first_attempt_is_over() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let endpoint = Upstream::with(move |conversation| {
        conversation.read_request();
        let _ = wait.lock().expect("one at a time").recv();
    });
    let (proxy, _folder) = proxy_with(&endpoint, "timeouts.total = \"1m\"", "");
    let early = page(&proxy, "/readyz");
    assert_eq!(early.status, 503, "{}", early.text());
    let reason = early.json()["missing"]["robot"].to_string();
    assert!(reason.contains("first attempt is under way"), "{reason}");
    drop(go);
    wait_for("readiness", || {
        Some(page(&proxy, "/readyz")).filter(|it| it.status == 200)
    });
}

#[test]
fn an_endpoint_that_is_down_makes_one_target_unavailable_and_not_the_process() {
    let (proxy, _folder) = proxy_with(&broken(), "", "");
    wait_for("readiness", || {
        Some(page(&proxy, "/readyz")).filter(|it| it.status == 200)
    });
    let robot = status(&proxy)["credentials"][0].clone();
    assert_eq!(robot["state"], "red");
    assert!(robot["error"].to_string().contains("500"), "{robot}");
    assert!(robot["failed"].as_u64() >= Some(1), "{robot}");
    assert_eq!(get(proxy.address, "/robot").status, 503);
}

#[test]
fn a_token_that_is_required_is_waited_for() {
    for (more, pages) in [("required = true", ""), ("", "ready = \"all\"\n")] {
        let (proxy, _folder) = proxy_with(&broken(), more, pages);
        wait_for("a failure", || {
            status(&proxy)["credentials"][0]["error"].as_str().map(drop)
        });
        let ready = page(&proxy, "/readyz");
        assert_eq!(ready.status, 503);
        let reason = ready.json()["missing"]["robot"].to_string();
        assert!(reason.contains("500"), "{reason}");
    }
}

#[test]
fn a_required_token_that_is_there_is_enough() {
    let (proxy, _folder) = proxy_with(&Upstream::answering(token("one")), "required = true", "");
    wait_for("readiness", || {
        Some(page(&proxy, "/readyz")).filter(|it| it.status == 200)
    });
}

#[test]
fn while_the_process_ends_it_is_not_ready_and_says_so() {
    let upstream = Upstream::with(|conversation| while conversation.read_request().is_some() {});
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "") + PAGES;
    folder.write("proxy.toml", text);
    let process = Process::start(folder.path(), &[]);
    let said = process.wait_for("status are on http://");
    let (_, rest) = said.split_once("status are on http://").expect("just seen");
    let admin = rest.split_whitespace().next().expect("a word");
    let admin = admin.parse().expect("an address");
    let mut caller = Caller::connect(process.address());
    caller.write("GET /acme HTTP/1.1\r\nHost: localhost\r\n\r\n");
    wait_for("a request at the target", || upstream.requests().pop());
    wait_for("readiness", || {
        Some(get(admin, "/readyz")).filter(|it| it.status == 200)
    });
    process.signal("TERM");
    let draining = wait_for("the end", || {
        Some(get(admin, "/readyz")).filter(|it| it.status == 503)
    });
    assert_eq!(draining.json()["draining"], true);
    assert_eq!(get(admin, "/livez").status, 200);
}
