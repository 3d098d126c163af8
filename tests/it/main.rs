//! The manual in tests: one binary, one module a feature, names that are sentences.

mod support;

mod cli;
mod config;
