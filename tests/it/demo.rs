//! `countersign demo`, as a new user runs it.

use std::net::TcpListener;

use crate::support::{Folder, Process, get};

/// The address in the first line that can be pasted.
fn address(said: &str) -> std::net::SocketAddr {
    let (_, rest) = said
        .split_once("curl 'http://")
        .expect("something to paste");
    rest.split('/')
        .next()
        .expect("an address")
        .parse()
        .expect("an address")
}

#[test]
fn the_demo_answers_what_it_says_can_be_pasted_and_leaves_nothing_behind() {
    let folder = Folder::new();
    // Whether 8080 is free on this machine or not, the demo finds a port.
    let demo = Process::start(folder.path(), &["demo"]);
    let said = demo.wait_for("Ctrl-C ends the demo");
    let pasted: Vec<&str> = said
        .lines()
        .filter_map(|it| it.trim().strip_prefix("curl '"))
        .collect();
    assert!(pasted.len() >= 3, "{said}");
    for line in pasted {
        let path = line
            .trim_end_matches('\'')
            .splitn(4, '/')
            .nth(3)
            .expect("a path");
        assert_eq!(
            get(address(&said), &format!("/{path}")).status,
            200,
            "{line}"
        );
    }
    demo.wait_for("path=\"/acme/api/v2/echo\"");
    demo.signal("INT");
    let (status, said) = demo.wait();
    assert!(status.success(), "{said}");
    assert_eq!(
        std::fs::read_dir(folder.path())
            .expect("the folder")
            .count(),
        0
    );
}

#[test]
fn the_demo_takes_another_port_if_8080_is_taken_and_says_so() {
    let folder = Folder::new();
    loop {
        // Where somebody else has the port already, they may let go of it before the demo starts.
        let taken = TcpListener::bind("127.0.0.1:8080");
        let demo = Process::start(folder.path(), &["demo"]);
        let said = demo.wait_for("Ctrl-C ends the demo");
        if taken.is_err() && address(&said).port() == 8080 {
            continue;
        }
        assert!(said.contains("127.0.0.1:8080 is taken"), "{said}");
        assert_ne!(address(&said).port(), 8080);
        assert_eq!(get(address(&said), "/acme/api/v2/assets").status, 200);
        return;
    }
}
