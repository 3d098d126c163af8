//! netcat, which shows the end of its input by closing its half of the connection.

use std::io::Write;
use std::process::{Command, Stdio};

use super::clients::echo;
use crate::support::{Folder, Proxy, acme};

#[test]
#[ignore = "needs netcat"]
fn netcat_that_closes_its_half_is_answered_where_the_listener_serves_such_callers() {
    let (upstream, folder) = (echo(), Folder::new());
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "");
    let text = text.replace(
        "[listeners.local]",
        "[listeners.local]\nhalf-close = \"serve\"",
    );
    let proxy = Proxy::start(&folder, &text);
    let mut netcat = Command::new("nc")
        .args(["-N", "-w", "10", "127.0.0.1"])
        .arg(proxy.address.port().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("nc");
    let mut input = netcat.stdin.take().expect("a pipe");
    input
        .write_all(b"GET /acme/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("it reads");
    drop(input);
    let output = netcat.wait_with_output().expect("it ends");
    let answer = String::from_utf8_lossy(&output.stdout);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("GET /a 0"), "{answer}");
}
