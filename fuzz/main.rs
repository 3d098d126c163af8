//! Hostile inputs by the million, on stable Rust: what is kept in `fuzz/corpus` is changed at random,
//! and what must hold of every input is held against it. `fuzz/README.md` tells how to use it.

#![expect(
    unreachable_pub,
    reason = "the driver's items are public to the targets"
)]

mod answers;
mod configurations;
mod driver;
mod paths;
mod requests;
mod upstreams;
