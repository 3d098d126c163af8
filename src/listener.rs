//! Where requests come in: sockets, and who is let in at all.
//!
//! [`bind`](bind::bind) makes a listener's sockets, [`open`](door::open) lets a connection in, and
//! [`Config::admit`] a request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::host::Pattern;

pub mod address;
pub mod admission;
pub mod bind;
pub mod browser;
pub mod complaints;
pub mod door;
pub mod inherited;
pub mod manners;
pub mod network;
pub mod proxy_protocol;
pub mod room;
pub mod stream;
pub mod tls;
mod unix;

pub use address::{Address, Peer};
pub use admission::{Denied, admit_caller};
pub use bind::{BindError, Bound, bind};
pub use browser::is_same_site;
pub use door::Entrance;

use admission::{RequiredHeader, RequiredValue};
use manners::Manners;
use network::Network;
use tls::Terminator;

/// The mode of a socket's file, if none is given: for the user of this process alone.
pub const MODE: u32 = 0o600;

/// A listener. Two are equal if they let in the same callers in the same way; what their files say at
/// the moment is no part of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The operator's name for it.
    pub name: String,
    /// Where it listens.
    pub address: Address,
    /// The names that a `Host` may have.
    pub hosts: Vec<Pattern>,
    /// Whether a request for a whole URL goes to the target that has its host.
    pub forward: bool,
    /// The mode of a Unix socket's file.
    pub mode: u32,
    /// The users whose processes may connect to a Unix socket; whoever the mode lets, if `None`.
    pub peer_uids: Option<Vec<u32>>,
    /// The addresses that callers may have; any if `None`.
    pub allow: Option<Vec<Network>>,
    /// Who says in front of each connection whose it is.
    pub senders: Option<Senders>,
    /// TLS, if it is spoken here.
    pub tls: Option<Arc<Terminator>>,
    /// The headers that every request must have.
    pub require: Vec<Arc<RequiredHeader>>,
    /// How it talks with its callers.
    pub manners: Manners,
    /// The most callers at once; as many as the process takes if `None`.
    pub connections: Option<usize>,
}

/// Who may send PROXY headers, and must.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Senders {
    /// Those with one of these addresses.
    pub networks: Vec<Network>,
    /// Processes on this machine, by way of a Unix socket.
    pub processes: bool,
}

/// Tells listeners apart from one plan to the next. None is ever given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(u64);

impl Id {
    /// One that no other listener of this process has or had.
    #[must_use]
    pub fn fresh() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Config {
    /// Whether both let in the same callers in the same way, whatever they are called.
    #[must_use]
    pub fn has_rule_of(&self, other: &Self) -> bool {
        let renamed = Self {
            name: self.name.clone(),
            ..other.clone()
        };
        *self == renamed
    }

    /// A listener that lets in whoever can connect, and serves no name yet.
    #[must_use]
    pub fn at(name: &str, address: Address) -> Self {
        Self {
            name: name.to_owned(),
            address,
            hosts: Vec::new(),
            forward: false,
            mode: MODE,
            peer_uids: None,
            allow: None,
            senders: None,
            tls: None,
            require: Vec::new(),
            manners: Manners::default(),
            connections: None,
        }
    }

    /// How its URLs begin.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        match self.tls {
            Some(_) => "https",
            None => "http",
        }
    }

    /// Whether more is asked of callers than that they can connect: an address, a certificate or a
    /// secret.
    #[must_use]
    pub fn is_guarded(&self) -> bool {
        let shows_secret = |it: &Arc<RequiredHeader>| matches!(it.value, RequiredValue::Secret(_));
        self.allow.is_some()
            || self
                .tls
                .as_ref()
                .is_some_and(|it| it.requires_certificates())
            || self.require.iter().any(shows_secret)
    }
}

/// How often files are looked at. A tool that renews a certificate keeps the old one good for days;
/// an operator who has just written a file looks at the log.
const LOOK: Duration = Duration::from_secs(2);

/// What is read again when its file changes.
trait Reread: Send + Sync {
    fn reread(&self) -> Result<bool, String>;
}

impl Reread for Terminator {
    fn reread(&self) -> Result<bool, String> {
        self.refresh()
    }
}

impl Reread for RequiredHeader {
    fn reread(&self) -> Result<bool, String> {
        match &self.value {
            RequiredValue::Secret(material) => material.refresh(),
            RequiredValue::Any | RequiredValue::Literal(_) => Ok(false),
        }
    }
}

/// Reads certificates, keys and secrets of a listener again whose files have changed, for as long as
/// anybody uses them. What cannot be read leaves what was there before in use. Returns at once if
/// there is nothing to watch.
pub async fn watch(config: Config) {
    let name = config.name.clone();
    let tls = config.tls.iter();
    let tls = tls.map(|it| Arc::downgrade(&(Arc::clone(it) as Arc<dyn Reread>)));
    let headers = config.require.iter();
    let headers = headers.map(|it| Arc::downgrade(&(Arc::clone(it) as Arc<dyn Reread>)));
    let mut watched: Vec<(Weak<dyn Reread>, Option<String>)> =
        tls.chain(headers).map(|it| (it, None)).collect();
    // It would keep in use what is watched.
    drop(config);
    while !watched.is_empty() {
        tokio::time::sleep(LOOK).await;
        watched.retain(|(it, _)| it.strong_count() > 0);
        for (it, reported) in &mut watched {
            let Some(it) = it.upgrade() else { continue };
            let outcome = tokio::task::spawn_blocking(move || it.reread()).await;
            let fault = match outcome {
                Ok(Ok(is_new)) => {
                    if is_new {
                        tracing::info!("listener `{name}` has a new certificate or secret");
                    }
                    None
                }
                Ok(Err(reason)) => Some(reason),
                // It panicked, which has been said.
                Err(_) => continue,
            };
            if let Some(reason) = &fault
                && *reported != fault
            {
                tracing::error!(
                    reason,
                    "cannot read what has changed for listener `{name}`; what was there before stays in use"
                );
            }
            *reported = fault;
        }
    }
}
