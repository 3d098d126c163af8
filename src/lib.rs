//! An authenticating reverse proxy: plain requests go in, requests with a fresh bearer token go
//! out over TLS.
//!
//! In reading order: how a request goes, what it is given, what holds both together, and the
//! leaves that all of them use.

#[cfg(not(target_os = "linux"))]
compile_error!("countersign runs on Linux (kernel 5.10 or later) and nowhere else");

// The way of a request.
pub mod credential;
pub mod gateway;
pub mod listener;
pub mod normalize;
pub mod outgoing;
pub mod respond;
pub mod router;
pub mod upstream;

// What holds it together.
pub mod admin;
pub mod app;
pub mod caller;
pub mod cli;
pub mod config;
pub mod plan;
pub mod worker;

// Leaves.
pub mod backoff;
pub mod body;
pub mod clock;
pub mod confine;
pub mod dial;
pub mod headers;
pub mod host;
pub mod jws;
pub mod limits;
pub mod metrics;
pub mod secret;
pub mod shutdown;
pub mod supervisor;
pub mod telemetry;
pub mod tls;
pub mod unwind;
pub mod url;

// The vendors' own sides. Nothing of the above is used in there.
#[cfg(feature = "emulator")]
pub mod emulator;
