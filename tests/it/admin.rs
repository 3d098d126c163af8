//! The admin pages: what an operator and their tools see of the running process.

mod certificates;
mod counts;
mod documented;
mod pages;
mod readiness;
mod renew;

use std::thread;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::support::caller::PATIENCE;
use crate::support::{Answer, Folder, Proxy, Upstream, acme, get, send};

const PAGES: &str = "\n[admin]\naddress = \"127.0.0.1:0\"\n";

/// A proxy with the target `acme` and with admin pages.
fn proxy_to(upstream: &Upstream) -> (Proxy, Folder) {
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "") + PAGES;
    (Proxy::start(&folder, &text), folder)
}

fn page(proxy: &Proxy, path: &str) -> Answer {
    get(proxy.admin(), path)
}

fn post(proxy: &Proxy, path: &str) -> Answer {
    let request = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    send(proxy.admin(), request)
}

fn status(proxy: &Proxy) -> Value {
    page(proxy, "/status").json()
}

/// Looks until there is something to see.
fn wait_for<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "there never was {what}");
        thread::park_timeout(Duration::from_millis(10));
    }
}

/// The value of a sample, by its name and labels as they are written.
fn sample(proxy: &Proxy, series: &str) -> Option<f64> {
    let text = page(proxy, "/metrics").text();
    let line = text.lines().find_map(|it| it.strip_prefix(series))?;
    line.trim().parse().ok()
}

fn wait_for_sample(proxy: &Proxy, series: &str, value: f64) {
    wait_for(&format!("{series} {value}"), || {
        sample(proxy, series).filter(|it| (it - value).abs() < 1e-9)
    });
}

/// A credential `robot` that trades a user's password at a token endpoint, and a target for it.
fn robot(folder: &Folder, endpoint: &Upstream, upstream: &Upstream, more: &str) -> String {
    folder.write("endpoint.pem", &endpoint.ca_pem);
    folder.write("ca.pem", &upstream.ca_pem);
    folder.write("password", "a-password-of-robots");
    format!(
        r#"
drain = "5s"
[listeners.local]
address = "127.0.0.1:0"
[credentials.robot.exchange]
url = "https://upstream.example/token"
connect = "{}"
tls.ca = ["endpoint.pem"]
grant = "password"
user = "robot"
password = {{ file = "password" }}
{more}
[targets.robot]
url = "https://upstream.example"
connect = "{}"
tls.ca = ["ca.pem"]
"#,
        endpoint.address, upstream.address
    )
}

/// A token endpoint's answer.
fn token(name: &str) -> String {
    let body = format!(r#"{{"access_token":"{name}","token_type":"Bearer","expires_in":3600}}"#);
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
