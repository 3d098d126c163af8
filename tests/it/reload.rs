//! The configuration changes while requests go on: what is new holds for all of them at once, what
//! has not changed stays, and what cannot be used changes nothing.

mod files;
mod listeners;
mod stays;
mod traffic;
mod under_load;

use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::support::caller::PATIENCE;
use crate::support::upstream::NAME;
use crate::support::{Folder, Upstream};

/// A token endpoint that gives out one and the same token, for an hour.
fn endpoint() -> Upstream {
    let body = r#"{"access_token":"a-token","token_type":"Bearer","expires_in":3600}"#;
    Upstream::answering(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    ))
}

/// `[credentials.NAME.exchange]` at an endpoint; `extra` goes in there.
fn credential(folder: &Folder, name: &str, endpoint: &Upstream, extra: &str) -> String {
    folder.write(&format!("{name}-idp.pem"), &endpoint.ca_pem);
    credential_at(folder, name, endpoint.address, extra)
}

/// Writes a secret unless it is there: one that was written again is a new one.
fn secret(folder: &Folder, name: &str, text: &str) {
    if !folder.path().join(name).exists() {
        folder.write(name, text);
    }
}

fn credential_at(folder: &Folder, name: &str, endpoint: SocketAddr, extra: &str) -> String {
    secret(folder, "client-secret", "what the client knows");
    let ca = format!("{name}-idp.pem");
    if !folder.path().join(&ca).exists() {
        let authority = countersign::emulator::Authority::new().expect("an authority");
        folder.write(&ca, authority.pem());
    }
    format!(
        r#"
[credentials.{name}.exchange]
url = "https://{NAME}/token"
connect = "{endpoint}"
tls.ca = "{ca}"
client-id = "a-client"
client-secret = {{ file = "client-secret" }}
client-authentication = "post"
{extra}
"#
    )
}

/// `[targets.NAME]` at an upstream.
fn target(folder: &Folder, name: &str, upstream: &Upstream, extra: &str) -> String {
    folder.write(&format!("{name}-ca.pem"), &upstream.ca_pem);
    format!(
        r#"
[targets.{name}]
url = "https://{NAME}"
connect = "{}"
tls.ca = "{name}-ca.pem"
{extra}
"#,
        upstream.address
    )
}

const LOCAL: &str = "workers = 2\ndrain = \"5s\"\n\n[listeners.local]\naddress = \"127.0.0.1:0\"\n";

/// Puts another text in place of the configuration, as a good editor does.
fn write(folder: &Folder, text: &str) {
    folder.write("proxy.toml.new", text);
    let at = |name: &str| folder.path().join(name);
    std::fs::rename(at("proxy.toml.new"), at("proxy.toml")).expect("renamed");
}

/// An address that nobody listens at, of a loopback that no other test uses.
fn free_address() -> SocketAddr {
    let socket = TcpListener::bind("127.0.9.1:0").expect("a free port");
    socket.local_addr().expect("its address")
}

/// Waits until something is so.
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "it never came to this: {what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}
