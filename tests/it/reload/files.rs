//! What makes the configuration be read again: a signal, or a change of a file that it is made of.

use std::os::unix::fs::symlink;
use std::thread;
use std::time::Duration;

use super::{LOCAL, target, wait_until, write};
use crate::support::{Folder, Process, Proxy, Upstream, get};

/// A configuration whose target is called so.
fn text(folder: &Folder, upstream: &Upstream, name: &str) -> String {
    let target = target(folder, name, upstream, "credential = \"none\"");
    format!("{LOCAL}{target}")
}

#[test]
fn a_file_that_changes_is_read_again() {
    let (upstream, folder) = (Upstream::saying("hi"), Folder::new());
    write(&folder, &text(&folder, &upstream, "one"));
    let proxy = Proxy::following(&folder);
    assert_eq!(get(proxy.address, "/two").status, 404);
    write(&folder, &text(&folder, &upstream, "two"));
    wait_until("the new target is there", || {
        get(proxy.address, "/two").status == 200
    });
    assert_eq!(get(proxy.address, "/one").status, 404);
}

#[test]
fn a_mount_that_changes_over_by_a_link_is_read_again() {
    let (upstream, folder) = (Upstream::saying("hi"), Folder::new());
    // As Kubernetes does it: the file is a link into a link, and that one is replaced.
    for (name, folder_name) in [("one", "..first"), ("two", "..second")] {
        // Paths start at the file's own folder, as it is named.
        folder.write(
            &format!("{folder_name}/proxy.toml"),
            text(&folder, &upstream, name),
        );
    }
    let at = |name: &str| folder.path().join(name);
    symlink("..first", at("..data")).expect("a link");
    symlink("..data/proxy.toml", at("proxy.toml")).expect("a link");
    let proxy = Proxy::following(&folder);
    assert_eq!(get(proxy.address, "/one").status, 200);
    symlink("..second", at("..data.new")).expect("a link");
    std::fs::rename(at("..data.new"), at("..data")).expect("renamed");
    wait_until("the new target is there", || {
        get(proxy.address, "/two").status == 200
    });
}

#[test]
fn a_faulty_file_is_complained_about_once_and_changes_nothing() {
    let (upstream, folder) = (Upstream::saying("hi"), Folder::new());
    let good = text(&folder, &upstream, "one");
    write(&folder, &good);
    let process = Process::start(folder.path(), &[]);
    let address = process.address();
    write(&folder, &format!("worker = 3\n{good}"));
    process.wait_for("unknown key `worker`");
    let said = process.wait_for("what was in force stays in force");
    assert!(
        said.contains("proxy.toml:1:1: unknown key `worker`"),
        "{said}"
    );
    assert_eq!(get(address, "/one").status, 200);
    // Saved again as it is, and put right after that.
    write(&folder, &format!("worker = 3\n{good}"));
    thread::park_timeout(Duration::from_secs(3));
    write(&folder, &good);
    process.wait_for("is in force");
    process.signal("TERM");
    let (status, said) = process.wait();
    assert_eq!(status.code(), Some(0));
    assert_eq!(said.matches("unknown key `worker`").count(), 1, "{said}");
}

#[test]
fn a_file_that_was_missing_is_waited_for() {
    let (upstream, folder) = (Upstream::saying("hi"), Folder::new());
    let good = text(&folder, &upstream, "one");
    write(&folder, &good);
    let proxy = Proxy::following(&folder);
    let second = target(&folder, "two", &upstream, "credential = \"none\"");
    std::fs::remove_file(folder.path().join("two-ca.pem")).expect("removed");
    write(&folder, &format!("{good}{second}"));
    let error = proxy.reload().expect_err("a file is missing").to_string();
    assert!(error.contains("two-ca.pem"), "{error}");
    folder.write("two-ca.pem", &upstream.ca_pem);
    wait_until("the new target is there", || {
        get(proxy.address, "/two").status == 200
    });
}

#[test]
fn a_signal_has_it_read_again_at_once_and_the_log_says_what_came_of_it() {
    let (upstream, folder) = (Upstream::saying("hi"), Folder::new());
    let good = text(&folder, &upstream, "one");
    write(&folder, &good);
    let process = Process::start(folder.path(), &[]);
    let address = process.address();
    assert_eq!(get(address, "/one").status, 200);
    write(
        &folder,
        &format!("log.level = \"debug\"\n{}", text(&folder, &upstream, "two")),
    );
    process.signal("HUP");
    process.wait_for("the configuration was read again and is in force");
    assert_eq!(get(address, "/two").status, 200);
    write(&folder, "nothing = [");
    for _ in 0..2 {
        let before = process.said().matches("what was in force stays").count();
        process.signal("HUP");
        wait_until("it was refused", || {
            process.said().matches("what was in force stays").count() > before
        });
    }
    assert_eq!(get(address, "/two").status, 200);
}

#[test]
fn what_takes_a_restart_is_said() {
    let (upstream, folder) = (Upstream::saying("hi"), Folder::new());
    let good = text(&folder, &upstream, "one");
    write(&folder, &good);
    let proxy = Proxy::following(&folder);
    write(&folder, &good.replace("workers = 2", "workers = 3"));
    let report = proxy.reload().expect("it can be used");
    assert_eq!(report.takes_restart, ["workers"]);
    assert_eq!(get(proxy.address, "/one").status, 200);
}

#[test]
fn what_was_not_read_from_a_file_cannot_be_read_again() {
    let (upstream, folder) = (Upstream::saying("hi"), Folder::new());
    let proxy = Proxy::start(&folder, &text(&folder, &upstream, "one"));
    assert!(proxy.reload().is_err());
}

#[test]
fn many_reloads_at_once_end_with_what_the_file_says_last() {
    let (upstream, folder) = (Upstream::saying("hi"), Folder::new());
    write(&folder, &text(&folder, &upstream, "t0"));
    let proxy = Proxy::following(&folder);
    for number in 1..20 {
        write(&folder, &text(&folder, &upstream, &format!("t{number}")));
        proxy.running().reload().request();
    }
    proxy.reload().expect("it can be used");
    assert_eq!(get(proxy.address, "/t19").status, 200);
    assert_eq!(get(proxy.address, "/t18").status, 404);
}
