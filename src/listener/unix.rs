//! Sockets in the file system.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tokio::net::UnixSocket;

use super::bind::BACKLOG;

/// How often, and how long each time, one waits for another process that is binding there as well.
const PATIENCE: (u32, Duration) = (100, Duration::from_millis(10));

/// The file of a socket; removed when this is dropped at the latest.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode: what stands there by then may be somebody else's.
    identity: (u64, u64),
}

impl SocketFile {
    /// Removes it. Whoever cannot find a socket any more does not wait at one that is about to be
    /// closed.
    pub fn remove(&self) {
        if self.is_there() {
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Gives it another mode.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        match self.is_there() {
            true => fs::set_permissions(&self.path, Permissions::from_mode(mode)),
            false => Ok(()),
        }
    }

    fn is_there(&self) -> bool {
        identity(&self.path).is_ok_and(|found| found == self.identity)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove();
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Listens at a path, with a mode for the file. What a dead process has left there is replaced.
/// Blocks for a moment; needs a runtime around.
pub(super) fn listen(path: &Path, mode: u32) -> io::Result<(UnixListener, SocketFile)> {
    // Two that start at once would each take the other's new socket for a dead one.
    let _locked = lock(path.parent().unwrap_or(Path::new(".")))?;
    clear(path)?;
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    let file = SocketFile {
        path: path.to_owned(),
        identity: identity(path)?,
    };
    // Nobody can connect before it listens, so that nobody slips in under another mode.
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok((socket.listen(BACKLOG)?.into_std()?, file))
}

/// Holds the folder while one looks and binds. Unlike a file, a lock dies with its process.
#[expect(
    clippy::disallowed_methods,
    reason = "the thread that binds serves no request"
)]
fn lock(folder: &Path) -> io::Result<File> {
    let folder = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    let file = File::open(folder)?;
    let (times, pause) = PATIENCE;
    for _ in 0..times {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(pause),
            // A file system without locks: nothing is lost but the care for two at once.
            Err(_) => return Ok(file),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::ResourceBusy,
        "another process has locked its folder",
    ))
}

/// Removes a socket that nobody listens on any more.
fn clear(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            let said = "what stands there is no socket, and is left alone";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, said));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        // Connected, or too many wait to be accepted, or it may not be asked: somebody lives there.
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}
