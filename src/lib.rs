//! An authenticating reverse proxy: plain requests go in, requests with a fresh bearer token go
//! out over TLS.

// For the demo, the tests and the benches: the vendors' own sides, faked.
#[cfg(feature = "emulator")]
pub mod emulator;
