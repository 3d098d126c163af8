//! The program: its arguments go to [`countersign::cli`], which gives back an exit code.

use std::process::ExitCode;

use mimalloc::MiMalloc;
use zeroizing_alloc::ZeroAlloc;

/// What is freed is wiped. Secrets pass through buffers of others, which know nothing of them: a
/// request to a token endpoint is copied by the HTTP and TLS libraries, a JSON file by its parser.
/// `benches/README.md` says what it costs.
#[global_allocator]
static WIPING: ZeroAlloc<MiMalloc> = ZeroAlloc(MiMalloc);

fn main() -> ExitCode {
    // mimalloc asks for huge pages where the system leaves that to its programs, and each thread's heap
    // then takes them by two megabytes: 25 in place of 12, for no gain in speed. Where the system
    // refuses, that is all.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    countersign::cli::run(std::env::args_os().skip(1))
}
