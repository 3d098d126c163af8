//! Sockets in the file system.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use countersign::app::{self, StartError};
use countersign::clock::Clock;
use countersign::config;
use countersign::secret::store::Store;

use super::{REQUEST, configuration, start};
use crate::support::{Caller, Folder, Process, Upstream};

fn get(path: &Path) -> u16 {
    let stream = UnixStream::connect(path).expect("the proxy listens");
    Caller::over(stream).write(REQUEST).read().status
}

/// What stands in the way of starting.
fn refused(folder: &Folder) -> StartError {
    let upstream = Upstream::saying("");
    let text = configuration(folder, &upstream, r#"address = "unix:http.sock""#, "");
    let loaded = config::parse("proxy.toml", &text, folder.path(), &Store::Disk).expect("fine");
    app::start(loaded.config, Clock::system()).expect_err("it does not start")
}

#[test]
fn a_socket_stands_in_the_files_folder_for_its_user_alone_and_goes_with_the_proxy() {
    let (proxy, upstream, folder) = start(Folder::new(), r#"address = "unix:http.sock""#, "");
    let path = folder.path().join("http.sock");
    assert_eq!(get(&path), 200);
    assert!(upstream.request().starts_with("GET / HTTP/1.1\r\n"));
    let metadata = fs::symlink_metadata(&path).expect("a socket");
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    drop(proxy);
    assert!(!path.exists());
}

#[test]
fn the_mode_of_a_socket_is_the_one_that_is_asked_for() {
    let keys = "address = \"unix:http.sock\"\nmode = \"0660\"";
    let (_proxy, _upstream, folder) = start(Folder::new(), keys, "");
    let metadata = fs::metadata(folder.path().join("http.sock")).expect("a socket");
    assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
}

#[test]
fn what_a_dead_process_has_left_is_replaced() {
    let folder = Folder::new();
    let upstream = Upstream::saying("");
    let text = configuration(&folder, &upstream, r#"address = "unix:http.sock""#, "");
    folder.write("proxy.toml", text);
    let path = folder.path().join("http.sock");
    let first = Process::start(folder.path(), &[]);
    first.wait_for("listening on unix:");
    first.signal("KILL");
    first.wait();
    assert!(path.exists(), "nobody was left to remove it");
    let second = Process::start(folder.path(), &[]);
    second.wait_for("listening on unix:");
    assert_eq!(get(&path), 200);
    second.signal("TERM");
    second.wait();
    assert!(!path.exists());
}

#[test]
fn a_socket_that_somebody_listens_on_is_in_use() {
    let folder = Folder::new();
    let _theirs = UnixListener::bind(folder.path().join("http.sock")).expect("a socket");
    let error = refused(&folder).to_string();
    assert!(error.contains("another process listens"), "{error}");
    assert!(folder.path().join("http.sock").exists());
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let folder = Folder::new();
    folder.write("http.sock", "precious");
    let error = format!("{:?}", refused(&folder));
    assert!(error.contains("no socket, and is left alone"), "{error}");
    let kept = fs::read_to_string(folder.path().join("http.sock"));
    assert_eq!(kept.expect("a file"), "precious");
}

#[test]
fn only_processes_of_the_users_on_the_list_are_let_in() {
    let own = rustix::process::geteuid().as_raw();
    for (uid, is_let_in) in [(own, true), (own + 1, false)] {
        let keys = format!("address = \"unix:http.sock\"\npeer-uids = [{uid}]");
        let (_proxy, upstream, folder) = start(Folder::new(), &keys, "");
        let stream = UnixStream::connect(folder.path().join("http.sock")).expect("it listens");
        let mut caller = Caller::over(stream);
        if is_let_in {
            assert_eq!(caller.write(REQUEST).read().status, 200);
        } else {
            assert!(caller.is_closed());
            assert!(upstream.requests().is_empty());
        }
    }
}
