//! Requests go on while the configuration and its secrets change.

use std::fs;
use std::time::Duration;

use tokio::time::Instant;

use super::traffic::Traffic;
use super::{LOCAL, credential, endpoint, target, wait_until, write};
use crate::support::caller::SOON;
use crate::support::{Folder, Process, Proxy, Upstream, acme};
use crate::tokens::is_signed_by;

/// A configuration that differs from the others by its number, in what a reload may change.
fn text(folder: &Folder, endpoint: &Upstream, upstream: &Upstream, number: usize) -> String {
    let api = credential(folder, "api", endpoint, "");
    let idle = format!("timeouts.idle = \"{}s\"", 10 + number % 50);
    let mut text = format!("{LOCAL}{api}{}", target(folder, "api", upstream, &idle));
    if number % 2 == 1 {
        text.push_str(&target(folder, "odd", upstream, "credential = \"none\""));
        text.push_str("\n[listeners.odd]\naddress = \"127.0.0.1:0\"\n");
    }
    text
}

#[test]
fn no_request_fails_whether_reloads_are_good_or_bad() {
    reload_under_load(20);
}

#[test]
#[ignore = "takes a minute"]
fn long_no_request_fails_whether_reloads_are_good_or_bad() {
    reload_under_load(100);
}

fn reload_under_load(count: usize) {
    let (endpoint, upstream, folder) = (endpoint(), Upstream::saying("hi"), Folder::new());
    write(&folder, &text(&folder, &endpoint, &upstream, 0));
    let proxy = Proxy::following(&folder);
    let traffic = Traffic::at(proxy.address, "/api");
    for number in 0..count {
        write(&folder, &text(&folder, &endpoint, &upstream, number));
        proxy.reload().expect("it can be used");
        write(&folder, "[listeners.local]\naddress = 7\n");
        proxy.reload().expect_err("it cannot be used");
        let answered = traffic.answered();
        wait_until("requests go on", || traffic.answered() > answered + 4);
    }
    let failed = traffic.end();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(endpoint.requests().len(), 1, "the token was kept");
    let reload = proxy.running().reload();
    assert!(reload.succeeded() >= count as u64 && reload.refused() >= count as u64);
}

#[test]
fn no_request_fails_while_keys_change() {
    change_keys_under_load(10);
}

#[test]
#[ignore = "takes a minute"]
fn long_no_request_fails_while_a_hundred_keys_change() {
    change_keys_under_load(100);
}

fn change_keys_under_load(count: usize) {
    let (upstream, folder) = (Upstream::saying("hi"), Folder::new());
    folder.write(
        "proxy.toml",
        acme(&folder, upstream.address, &upstream.ca_pem, ""),
    );
    let proxy = Proxy::following(&folder);
    let traffic = Traffic::at(proxy.address, "/acme");
    rotate_keys(&folder, &upstream, &traffic, count);
    let failed = traffic.end();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Replaces the key again and again, and waits until the last one is in use.
fn rotate_keys(folder: &Folder, upstream: &Upstream, traffic: &Traffic, count: usize) {
    let mut last = String::new();
    for _ in 0..count {
        last = folder.write_key("key.pem.new");
        // Half a key, as somebody sees it who looks at the wrong moment.
        let at = |name: &str| folder.path().join(name);
        let pem = fs::read(at("key.pem.new")).expect("just written");
        folder.write("key.pem", &pem[..pem.len() / 2]);
        fs::rename(at("key.pem.new"), at("key.pem")).expect("renamed");
        let answered = traffic.answered();
        wait_until("requests go on", || traffic.answered() > answered + 4);
    }
    let start = Instant::now();
    wait_until("the last key is in use", || {
        is_signed_by(bearer(&upstream.requests().pop().expect("traffic")), &last)
    });
    // Before the token is due.
    assert!(start.elapsed() < SOON);
}

fn bearer(request: &str) -> &str {
    let (_, token) = request.split_once("Bearer ").expect("a token");
    token.split("\r\n").next().expect("a line")
}

#[test]
#[ignore = "takes some minutes"]
fn long_memory_stays_as_it_is_through_hundreds_of_reloads() {
    let (endpoint, upstream, folder) = (endpoint(), Upstream::saying("hi"), Folder::new());
    write(&folder, &text(&folder, &endpoint, &upstream, 0));
    let process = Process::start(folder.path(), &[]);
    let traffic = Traffic::at(process.address(), "/api");
    let round = |count: usize| {
        for number in 0..count {
            for (content, said) in [
                (text(&folder, &endpoint, &upstream, number), "is in force;"),
                ("nothing = [".to_owned(), "stays in force"),
            ] {
                let before = process.said().matches(said).count();
                write(&folder, &content);
                process.signal("HUP");
                wait_until(said, || process.said().matches(said).count() > before);
            }
        }
        // Credentials and pools that are gone are let go of within a second or so.
        std::thread::park_timeout(Duration::from_secs(3));
        resident(process.id())
    };
    let warm = round(40);
    let after = round(100);
    let failed = traffic.end();
    assert!(failed.is_empty(), "{failed:#?}");
    // What a reload kept would add up: a plan alone is larger than a hundredth of this.
    assert!(after <= warm + 1024, "{warm} KiB became {after} KiB");
}

/// How much memory a process has, in KiB.
fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find(|it| it.starts_with("VmRSS:"));
    let number = line.and_then(|it| it.split_whitespace().nth(1)?.parse().ok());
    number.expect("a number")
}
