//! The program: its arguments go to [`countersign::cli`], which gives back an exit code.

use std::alloc::System;
use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

/// What is freed is wiped. Secrets pass through buffers of others, which know nothing of them: a
/// request to a token endpoint is copied by the HTTP and TLS libraries, a JSON file by its parser.
#[global_allocator]
static WIPING: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    countersign::cli::run(std::env::args_os().skip(1))
}
