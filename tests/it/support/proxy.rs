//! A proxy from the text of a configuration, in this process.

use std::net::SocketAddr;
use std::sync::Arc;

use countersign::app::{self, Running};
use countersign::clock::Clock;
use countersign::config;
use countersign::credential::Credential;
use countersign::secret::store::Store;

use super::folder::Folder;
use super::upstream::{NAME, Upstream};

/// A running proxy. It drains when it is dropped.
pub struct Proxy {
    running: Option<Running>,
    /// The first listener's address.
    pub address: SocketAddr,
}

impl Proxy {
    /// Starts a configuration whose files are in the folder.
    pub fn start(folder: &Folder, text: &str) -> Self {
        Self::start_with(folder, text, Clock::system())
    }

    /// The same, for a test that moves the clock.
    pub fn start_with(folder: &Folder, text: &str, clock: Clock) -> Self {
        let loaded = config::parse("proxy.toml", text, folder.path(), &Store::Disk)
            .unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        let running = app::start(loaded.config, clock).expect("it starts");
        // A listener without one is reached otherwise.
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let address = running.listeners()[0].1.ip().unwrap_or(nowhere);
        Self {
            running: Some(running),
            address,
        }
    }

    /// The credential of that name, for a test that has to know when its next attempt is due.
    pub fn credential(&self, name: &str) -> Arc<Credential> {
        let plan = self.running.as_ref().expect("running").plan();
        let found = plan.credentials.iter().find(|it| it.name() == name);
        Arc::clone(found.expect("a credential"))
    }

    /// The address of the listener of that name.
    pub fn listener(&self, name: &str) -> SocketAddr {
        let running = self.running.as_ref().expect("running");
        running
            .listeners()
            .iter()
            .find(|it| it.0 == name)
            .expect("a listener")
            .1
            .ip()
            .expect("an IP address")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.drain();
        }
    }
}

/// `[listeners.local]` on a free port, and the VDR credential and target `acme`, whose upstream is
/// the given one. `extra` goes into the target's table.
pub fn acme(folder: &Folder, upstream: SocketAddr, ca_pem: &str, extra: &str) -> String {
    folder.write("ca.pem", ca_pem);
    if !folder.path().join("key.pem").exists() {
        folder.write_key("key.pem");
    }
    format!(
        r#"
drain = "5s"

[listeners.local]
address = "127.0.0.1:0"

[credentials.acme.vdr]
instance = "acme"
user = 123
issuer = "an.issuer.text"
client-id = "a-client"
key = {{ file = "key.pem" }}

[targets.acme]
url = "https://{NAME}"
connect = "{upstream}"
tls.ca = "ca.pem"
{extra}
"#
    )
}

/// A proxy with the target `acme`, whose upstream is the given one.
pub fn proxy_to(upstream: &Upstream, extra: &str) -> (Proxy, Folder) {
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, extra);
    (Proxy::start(&folder, &text), folder)
}
