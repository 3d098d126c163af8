//! Sockets that systemd hands over. The tests hold a socket as systemd does, and hand it over as the
//! descriptor 3 by way of a shell.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{REQUEST, configuration};
use crate::support::caller::PATIENCE;
use crate::support::{Folder, Process, Upstream, send};

const HAND_OVER: &str = r#"
    exec 3<&0 0</dev/null
    LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES="$NAME" exec "$PROGRAM"
"#;

/// Starts the program with a socket of this name.
fn start(folder: &Folder, socket: &TcpListener, name: &str) -> Process {
    let socket: OwnedFd = socket.try_clone().expect("another descriptor").into();
    let mut command = Command::new("sh");
    command
        .args(["-c", HAND_OVER])
        .env("NAME", name)
        .env("PROGRAM", env!("CARGO_BIN_EXE_countersign"))
        .current_dir(folder.path())
        .stdin(Stdio::from(socket));
    Process::run(command)
}

fn socket() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("an address");
    (socket, address)
}

fn folder(upstream: &Upstream) -> Folder {
    let folder = Folder::new();
    let keys = r#"address = "systemd:http""#;
    folder.write("proxy.toml", configuration(&folder, upstream, keys, ""));
    folder
}

#[test]
fn a_socket_is_taken_over_by_its_name() {
    let upstream = Upstream::saying("");
    let folder = folder(&upstream);
    let (socket, address) = socket();
    let process = start(&folder, &socket, "http");
    process.wait_for(&format!("listening on http://{address} (listener `local`)"));
    assert_eq!(send(address, REQUEST).status, 200);
}

#[test]
fn a_socket_that_was_not_handed_over_is_missed_by_its_name() {
    let upstream = Upstream::saying("");
    let folder = folder(&upstream);
    let (socket, _) = socket();
    let (status, said) = start(&folder, &socket, "other").wait();
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("cannot listen on systemd:http"), "{said}");
    assert!(said.contains("systemd has handed over other"), "{said}");
    let (status, said) = Process::start(folder.path(), &[]).wait();
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("systemd has handed over no socket"), "{said}");
}

/// A request on a connection of its own; `None` if it was closed before it was read, as any server
/// may do to a connection that has brought nothing yet.
fn ask(address: SocketAddr) -> Option<u16> {
    let mut stream = TcpStream::connect(address).expect("no connection is refused");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut answer = Vec::new();
    let asked = stream
        .write_all(
            REQUEST
                .replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
                .as_bytes(),
        )
        .and_then(|()| stream.read_to_end(&mut answer));
    match asked {
        Ok(_) if !answer.is_empty() => {
            let status = answer.get(9..12).and_then(|it| str::from_utf8(it).ok());
            assert!(
                answer.ends_with(b"hello"),
                "cut off: {}",
                answer.escape_ascii()
            );
            status.and_then(|it| it.parse().ok())
        }
        Ok(_) => None,
        Err(error) if answer.is_empty() => {
            let gone = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
            assert!(gone.contains(&error.kind()), "{error}");
            None
        }
        Err(error) => panic!("cut off by {error}: {}", answer.escape_ascii()),
    }
}

#[test]
fn no_connection_is_refused_while_one_process_follows_another() {
    let upstream = Upstream::saying("hello");
    let folder = folder(&upstream);
    let (socket, address) = socket();
    let first = start(&folder, &socket, "http");
    first.wait_for("listening on http://");
    let is_over = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (is_over, answered) = (Arc::clone(&is_over), Arc::clone(&answered));
            std::thread::spawn(move || {
                let mut closed = 0;
                while !is_over.load(Ordering::SeqCst) {
                    match ask(address) {
                        Some(status) => {
                            assert_eq!(status, 200);
                            answered.fetch_add(1, Ordering::SeqCst);
                        }
                        None => closed += 1,
                    }
                }
                closed
            })
        })
        .collect();
    let wait_for_more = || {
        let before = answered.load(Ordering::SeqCst);
        let start = tokio::time::Instant::now();
        while answered.load(Ordering::SeqCst) < before + 20 {
            assert!(start.elapsed() < PATIENCE, "nobody is answered");
            std::thread::yield_now();
        }
    };
    wait_for_more();
    first.signal("TERM");
    let (status, said) = first.wait();
    assert_eq!(status.code(), Some(0), "{said}");
    let second = start(&folder, &socket, "http");
    second.wait_for("listening on http://");
    wait_for_more();
    is_over.store(true, Ordering::SeqCst);
    // Each of the four may have been accepted at the very end, and not yet read: by each worker.
    let closed: usize = callers
        .into_iter()
        .map(|it| it.join().expect("a caller"))
        .sum();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    assert!(closed <= 4 * workers, "{closed} were closed unread");
}
