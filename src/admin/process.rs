//! What the system says about this process. What it does not say, because it is confined, is left
//! out.

use std::fs;

use rustix::process::{Resource, getrlimit};

/// Descriptors that are open.
pub(super) fn open_files() -> Option<u64> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    // Without the one that this was read through.
    u64::try_from(open.saturating_sub(1)).ok()
}

/// Descriptors that may be open; `None` without a limit.
pub(super) fn most_files() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Bytes of memory in use.
pub(super) fn resident() -> Option<u64> {
    status("VmRSS:").map(|kibibytes| kibibytes * 1024)
}

/// Threads.
pub(super) fn threads() -> Option<u64> {
    status("Threads:")
}

/// A number of `/proc/self/status` (proc(5)).
fn status(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
