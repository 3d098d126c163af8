//! The manual in tests: one binary, one module a feature, names that are sentences.

#![expect(
    unreachable_pub,
    reason = "the support's items are public to the tests"
)]

mod support;

// The way of a request.
mod bodies;
mod callers;
mod cluster;
mod credential;
mod deadlines;
mod dns;
mod echoes;
mod faithful;
mod forward;
mod headers;
mod hostile;
mod http2;
mod http2_in;
mod hygiene;
mod identity;
mod limits;
mod listeners;
mod members;
mod mixup;
mod race;
mod redirects;
mod refusals;
mod reuse;
mod routing;
mod streams;
mod tokens;
mod upgrades;
mod vendor;
mod verification;
mod via;

// The configuration.
mod config;

// The program.
mod admin;
mod blocked_log;
mod cli;
mod confine;
mod demo;
mod drain;
mod emulated;
mod reload;
mod serve;
mod soak;
mod structure;
mod wiped;

// Other people's tools; run with `--ignored`, where a missing tool is a failure.
mod peers;
