//! Addresses and headers.

use std::time::Duration;

use tokio::time::Instant;

use super::{REQUEST, configuration, is_closed_to, proxy_with};
use crate::support::caller::PATIENCE;
use crate::support::{Folder, Process, Upstream, send};

fn with_header(header: &str) -> String {
    format!("GET /acme HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n")
}

#[test]
fn whoever_is_not_in_allow_finds_the_connection_closed() {
    for (allow, is_let_in) in [
        (r#"["127.0.0.1"]"#, true),
        (r#"["10.0.0.0/8", "127.0.0.0/8"]"#, true),
        (r#"["::ffff:127.0.0.0/104"]"#, true),
        (r#"["10.0.0.0/8", "::1"]"#, false),
    ] {
        let (proxy, upstream, _folder) = proxy_with(&format!("allow = {allow}"), "");
        if is_let_in {
            assert_eq!(send(proxy.address, REQUEST).status, 200, "{allow}");
        } else {
            assert!(is_closed_to(proxy.address, REQUEST), "{allow}");
            assert!(upstream.requests().is_empty());
        }
    }
}

#[test]
fn a_header_that_is_asked_for_must_be_there_and_does_not_leave() {
    let (proxy, upstream, _folder) = proxy_with(r#"require-header = "X-Countersign""#, "");
    assert_eq!(send(proxy.address, REQUEST).code(), "caller-refused");
    let twice = with_header("X-Countersign: 1\r\nX-Countersign: 1");
    assert_eq!(send(proxy.address, twice).code(), "caller-refused");
    assert!(upstream.requests().is_empty());
    let answer = send(proxy.address, with_header("x-countersign: anything"));
    assert_eq!(answer.status, 200);
    let sent = upstream.request().to_lowercase();
    assert!(!sent.contains("x-countersign"), "{sent}");
}

#[test]
fn a_header_may_have_to_say_one_thing() {
    let (proxy, _upstream, _folder) = proxy_with(r#"require-header = { X-Tenant = "acme" }"#, "");
    for (header, status) in [
        ("X-Tenant: acme", 200),
        ("X-Tenant: acm", 403),
        ("X-Tenant: acme2", 403),
        ("X-Tenant: ACME", 403),
        ("X-Tenant:", 403),
        ("X-Other: acme", 403),
    ] {
        assert_eq!(
            send(proxy.address, with_header(header)).status,
            status,
            "{header}"
        );
    }
}

#[test]
fn a_header_with_a_secret_follows_the_secrets_file() {
    let folder = Folder::new();
    folder.write("door", "open sesame\n");
    let keys = "address = \"127.0.0.1:0\"\nrequire-header = { X-Door = { file = \"door\" } }";
    let (proxy, _upstream, folder) = super::start(folder, keys, "");
    let status = |word: &str| send(proxy.address, with_header(&format!("X-Door: {word}"))).status;
    assert_eq!(status("open sesame"), 200);
    assert_eq!(status("open barley"), 403);
    folder.write("door", "open barley\n");
    let start = Instant::now();
    while status("open barley") != 200 {
        assert!(start.elapsed() < PATIENCE, "the new word is not known");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    assert_eq!(status("open sesame"), 403);
}

#[test]
fn the_log_has_the_key_and_the_caller_does_not() {
    let folder = Folder::new();
    let upstream = Upstream::saying("");
    let keys = "address = \"127.0.0.1:0\"\nrequire-header = { X-Door = \"open sesame\" }";
    folder.write("proxy.toml", configuration(&folder, &upstream, keys, ""));
    let process = Process::start(folder.path(), &[]);
    let answer = send(process.address(), with_header("X-Door: open barley"));
    assert_eq!(answer.code(), "caller-refused");
    let text = answer.text();
    assert!(!text.contains("oor") && !text.contains("sesame"), "{text}");
    let said = process.wait_for("listeners.local.require-header");
    assert!(said.contains("`x-door` has another value"), "{said}");
    assert!(
        !said.contains("sesame") && !said.contains("barley"),
        "{said}"
    );
}

#[test]
fn the_log_says_whose_connection_was_closed_and_by_which_key() {
    let folder = Folder::new();
    let upstream = Upstream::saying("");
    let keys = "address = \"127.0.0.1:0\"\nallow = [\"10.0.0.0/8\"]";
    folder.write("proxy.toml", configuration(&folder, &upstream, keys, ""));
    let process = Process::start(folder.path(), &[]);
    for _ in 0..50 {
        assert!(is_closed_to(process.address(), REQUEST));
    }
    let said = process.wait_for("127.0.0.1 is not in listeners.local.allow");
    let lines = said.matches("is not in listeners.local.allow").count();
    assert!(lines < 25, "whoever is not let in fills the log:\n{said}");
}
