//! What the tests stand on: a proxy, upstreams and callers, all with real sockets and real TLS.
//!
//! Everything binds port 0, keeps its files in a folder of its own and ends when it is dropped, so
//! that all tests run side by side. Nothing here knows how the proxy works inside: a test gives it
//! the text of a configuration and looks at the wires on both sides.

pub mod caller;
pub mod canary;
pub mod dns;
pub mod folder;
pub mod http2;
pub mod http2_caller;
pub mod process;
pub mod proxy;
pub mod tls;
pub mod upstream;
pub mod vacant;

pub use caller::{Answer, Caller, get, send};
pub use folder::Folder;
pub use process::Process;
pub use proxy::{Proxy, acme, proxy_to};
pub use upstream::{Upstream, client_certificate};
pub use vacant::Vacant;
