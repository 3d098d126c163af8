//! A proxy from the text of a configuration, in this process.

use std::net::SocketAddr;
use std::sync::Arc;

use countersign::app::reload::{ReloadError, Report};
use countersign::app::{self, Running};
use countersign::clock::Clock;
use countersign::config;
use countersign::credential::Credential;
use countersign::listener::Address;
use countersign::secret::store::Store;
use countersign::secret::trail::Trail;

use super::canary;
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
        canary::listen();
        let loaded = config::parse("proxy.toml", text, folder.path(), &Store::Disk)
            .unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        let running = app::start(loaded.config, clock).expect("it starts");
        let address = address(&running);
        Self {
            running: Some(running),
            address,
        }
    }

    /// Starts the folder's `proxy.toml`, and follows what becomes of it.
    pub fn following(folder: &Folder) -> Self {
        let (path, trail) = (folder.path().join("proxy.toml"), Trail::default());
        let loaded = config::load(&path, &Store::Noted(trail.clone()))
            .unwrap_or_else(|problems| panic!("{problems}"));
        let origin = config::origin(path, trail);
        let running = app::follow(loaded.config, origin, Clock::system()).expect("it starts");
        let address = address(&running);
        Self {
            running: Some(running),
            address,
        }
    }

    /// Starts a configuration that no file could say.
    pub fn start_config(config: app::Config) -> Self {
        let running = app::start(config, Clock::system()).expect("it starts");
        let address = address(&running);
        Self {
            running: Some(running),
            address,
        }
    }

    /// Has the configuration read again.
    pub fn reload(&self) -> Result<Report, Arc<ReloadError>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let reload = self.running().reload();
        runtime.expect("a runtime").block_on(reload.reload())
    }

    /// What runs.
    pub fn running(&self) -> &Running {
        self.running.as_ref().expect("running")
    }

    /// The credential of that name, for a test that has to know when its next attempt is due.
    pub fn credential(&self, name: &str) -> Arc<Credential> {
        let plan = self.running.as_ref().expect("running").plan();
        let found = plan.credentials.iter().find(|it| it.name() == name);
        Arc::clone(found.expect("a credential"))
    }

    /// The address of the admin pages.
    pub fn admin(&self) -> SocketAddr {
        let running = self.running.as_ref().expect("running");
        let address = running.admin().and_then(Address::ip);
        address.expect("a port for admin pages")
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

/// The first listener's address. One without is reached otherwise.
fn address(running: &Running) -> SocketAddr {
    let first = running.listeners().remove(0).1;
    first.ip().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)))
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            for credential in &running.plan().credentials {
                if let Some(token) = &credential.state().token {
                    canary::credential(token.value.as_bytes());
                }
            }
            running.drain();
        }
    }
}

/// `[listeners.local]` on a free port, and the VDR credential and target `acme`, whose upstream is
/// the given one. `extra` goes into the target's table, which has time for a machine where many
/// wait for their turn if `extra` says nothing else.
pub fn acme(folder: &Folder, upstream: SocketAddr, ca_pem: &str, extra: &str) -> String {
    folder.write("ca.pem", ca_pem);
    if !folder.path().join("key.pem").exists() {
        folder.write_key("key.pem");
    }
    let patience = match extra.contains("timeouts") {
        true => "",
        false => "timeouts.connect = \"1m\"\ntimeouts.tls = \"1m\"\ntimeouts.credential = \"1m\"",
    };
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
{patience}
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
