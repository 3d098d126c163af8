//! Programs that write a secret.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{LARGEST, Unresolved};

/// How long a program may take to write a secret.
const COMMAND: Duration = Duration::from_secs(5);

/// Runs a program and takes what it writes to its standard output. Blocks until it is done, so it
/// is not called where requests are served.
pub(super) fn run(words: &[String], folder: &Path) -> Result<Vec<u8>, Unresolved> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(Unresolved::new(
            "the command is empty",
            "name a program and its arguments",
        ));
    };
    let failed = |why: String| Unresolved::new(format!("the command `{program}` {why}"), "");
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        })
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(format!("cannot be run: {error}")))?;
    let output = child
        .stdout
        .take()
        .ok_or_else(|| failed("has no output".into()))?;
    // Read on a thread of its own: a program that neither writes nor ends must not be waited for.
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::with_capacity(4096);
        let read = output
            .take(LARGEST + 1)
            .read_to_end(&mut bytes)
            .map(|_| bytes);
        let _ = done.send(read);
    });
    let read = is_done.recv_timeout(COMMAND);
    if read.is_err() {
        let _ = child.kill();
    }
    let status = child
        .wait()
        .map_err(|error| failed(format!("cannot be waited for: {error}")))?;
    match read {
        Err(_) => Err(failed(format!("takes longer than {} s", COMMAND.as_secs()))),
        Ok(Err(error)) => Err(failed(format!("cannot be read from: {error}"))),
        Ok(Ok(_)) if !status.success() => Err(failed(format!("fails: {status}"))),
        Ok(Ok(bytes)) if bytes.len() as u64 > LARGEST => {
            Err(failed("writes more than 1 MiB".into()))
        }
        Ok(Ok(bytes)) => Ok(bytes),
    }
}
