//! The vendors' own sides, faked: each emulator is a TLS server that checks tokens as strictly as
//! its vendor's page can be read, says exactly what it disliked, and answers with made-up data.
//!
//! It is a second, independent reading of those pages, and so uses nothing of the proxy: a mistake
//! shared by the one who signs and the one who verifies would never be found. It is not a vendor's
//! product, keeps nothing on disk, and has no business on a network that matters.
//!
//! This file starts and stops an emulator. A vendor is a type that implements [`Vendor`], in a file
//! of its own: [`vdr`] is Secureworks Taegis VDR, [`cylance`] the Cylance user API, [`sws`]
//! CyberArk Secure Web Sessions, [`protegrity`] a Protegrity appliance.

mod authority;
mod basic;
mod bearer;
mod call;
mod clock;
pub mod cylance;
mod echo;
mod faults;
mod form;
mod issued;
mod jwt;
mod log;
mod once;
pub mod protegrity;
mod reply;
pub mod scene;
mod server;
mod spelling;
pub mod sws;
pub mod vdr;
mod wire;

#[cfg(test)]
mod client;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::runtime;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use self::reply::{Body, Cut};
use self::server::Server;

pub use self::authority::Authority;
pub use self::call::Call;
pub use self::clock::Clock;
pub use self::faults::{Effect, Faults};
pub use self::log::{Outcome, Received};
pub use self::reply::Reply;
pub use self::wire::Head;

/// What tells one vendor from another: the names it has and the answers it gives.
///
/// The frame does the rest: TLS, HTTP, faults on demand, the log and the clock.
pub trait Vendor: Send + Sync + 'static {
    /// The host names of the vendor's servers, for the certificate.
    fn names(&self) -> Vec<String>;

    /// Answers one request. What is left of its body is drained afterwards, within reason.
    fn answer(&self, call: &mut Call) -> impl Future<Output = Reply> + Send;
}

type MakeScene = fn(Options) -> Result<scene::Scene, Error>;

/// The vendors by name, each with what makes its scene.
const SCENES: [(&str, MakeScene); 4] = [
    ("vdr", vdr::scene::scene),
    ("cylance", cylance::scene::scene),
    ("sws", sws::scene::scene),
    ("protegrity", protegrity::scene::scene),
];

/// The names of all vendors.
pub fn vendors() -> impl Iterator<Item = &'static str> + Clone {
    SCENES.iter().map(|(name, _)| *name)
}

/// A customer of the vendor of that name, made up for a demonstration. `None` if there is no such
/// vendor.
pub fn scene_of(vendor: &str, options: Options) -> Option<Result<scene::Scene, Error>> {
    let (_, make) = SCENES.iter().find(|(name, _)| *name == vendor)?;
    Some(make(options))
}

/// A customer of each vendor, made up for a demonstration.
///
/// # Errors
///
/// What kept an emulator from starting.
pub fn scenes() -> Result<Vec<scene::Scene>, Error> {
    let scenes = SCENES.iter().map(|(_, make)| make(Options::default()));
    scenes.collect()
}

/// What an emulator is started with; the default suits a test.
#[derive(Debug)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// Names and IP addresses that the certificate carries besides the vendor's own.
    pub names: Vec<String>,
    /// Who signs the certificate; without one, an authority is made for this emulator alone.
    pub authority: Option<Authority>,
    /// What time the emulator thinks it is.
    pub clock: Clock,
    /// How many requests the log keeps; the oldest go first, and 0 keeps none.
    pub keep: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            names: vec!["localhost".into(), "127.0.0.1".into()],
            authority: None,
            clock: Clock::system(),
            keep: 1000,
        }
    }
}

/// Why an emulator cannot be started or a client cannot be enrolled with it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A certificate could not be made, which a name that is no host name explains.
    #[error("the emulator's certificate cannot be made")]
    Certificate(#[source] rcgen::Error),
    /// The TLS library took neither the certificate nor the settings.
    #[error("the emulator's TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    /// The address is taken, or is none of this machine's.
    #[error("the emulator cannot listen on {address}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is no thread or no event loop to be had.
    #[error("the emulator's thread cannot be started")]
    Thread(#[source] io::Error),
    /// The cryptographic library has no key to give, for want of randomness.
    #[error("the emulator cannot make a key to sign its own tokens with")]
    Keygen,
    /// A client's public key is not of the kind that the vendor takes.
    #[error("the public key of client {client_id:?} cannot be enrolled: {fault}")]
    Key {
        /// Whose key it is.
        client_id: String,
        /// What is wrong with it.
        fault: &'static str,
    },
}

/// An emulator at work. It stops, and closes its connections, when this is dropped.
#[derive(Debug)]
pub struct Running<V> {
    address: SocketAddr,
    authority: Authority,
    server: Arc<Server<V>>,
    /// Dropped to stop the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Starts an emulator on a thread of its own; it accepts connections once this returns.
pub fn start<V: Vendor>(vendor: V, options: Options) -> Result<Running<V>, Error> {
    let authority = match options.authority {
        Some(authority) => authority,
        None => Authority::new()?,
    };
    let names = [vendor.names(), options.names].concat();
    let tls = TlsAcceptor::from(Arc::new(authority.server_config(names)?));
    let (address, listener) = listen(options.address)?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Thread)?;
    let server = Arc::new(Server::new(vendor, options.clock, options.keep));
    let (stop, stopped) = oneshot::channel();
    let thread = thread::Builder::new()
        .name("emulator".into())
        .spawn({
            let server = Arc::clone(&server);
            move || runtime.block_on(server.run(listener, tls, stopped))
        })
        .map_err(Error::Thread)?;
    Ok(Running {
        address,
        authority,
        server,
        stop: Some(stop),
        thread: Some(thread),
    })
}

fn listen(address: SocketAddr) -> Result<(SocketAddr, TcpListener), Error> {
    let listen = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok((listener.local_addr()?, listener))
    };
    listen().map_err(|source| Error::Listen { address, source })
}

impl<V: Vendor> Running<V> {
    /// Where the emulator listens, with the port it got.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate, in PEM, that a client must trust to believe this server.
    pub fn ca_pem(&self) -> String {
        self.authority.pem()
    }

    /// Who signed the certificate, to sign more with.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The vendor, to change what it knows while it runs.
    pub fn vendor(&self) -> &V {
        self.server.vendor()
    }

    /// What time the emulator thinks it is, to change that.
    pub fn clock(&self) -> &Clock {
        self.server.clock()
    }

    /// The faults that are still to happen, to add to them.
    pub fn faults(&self) -> &Faults {
        self.server.faults()
    }

    /// The requests received, oldest first, as far back as [`Options::keep`] goes.
    pub fn requests(&self) -> Vec<Received> {
        self.server.log().entries()
    }

    /// How many connections have come as far as a finished TLS handshake.
    pub fn connections(&self) -> u64 {
        self.server.connections()
    }
}

impl<V> Drop for Running<V> {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic over there has been printed already; a second one here would abort.
            let _ = thread.join();
        }
    }
}

/// Locks what a panicking thread may have left behind: nothing here is ever half-written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
