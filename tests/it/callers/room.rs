//! How many callers there may be, and what they cost.

use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use super::{GET, configuration, proxy, wait_until};
use crate::support::caller::SOON;
use crate::support::{Caller, Folder, Process, Upstream, get};

#[test]
fn whoever_comes_when_there_is_no_room_is_told_at_once() {
    for (top, listener) in [("limits.connections = 2", ""), ("", "connections = 2")] {
        let upstream = Upstream::saying("it");
        let (proxy, _folder) = proxy(&upstream, top, listener);
        let mut inside: Vec<Caller> = (0..2).map(|_| Caller::connect(proxy.address)).collect();
        for caller in &mut inside {
            assert_eq!(caller.write(GET).read().text(), "it");
        }
        let start = Instant::now();
        let refused = get(proxy.address, "/acme");
        assert_eq!((refused.status, &*refused.code()), (503, "overloaded"));
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert!(start.elapsed() < SOON);
        drop(inside.pop());
        wait_until("there is room again", || {
            get(proxy.address, "/acme").status == 200
        });
        assert_eq!(inside[0].write(GET).read().text(), "it");
    }
}

pub(super) fn cpu_time(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("a process");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .expect("fields")
        .split_whitespace()
        .collect();
    let ticks = |at: usize| fields[at].parse::<u64>().expect("ticks");
    // Linux counts in hundredths of a second here, whatever it runs at.
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

#[test]
fn without_descriptors_it_neither_ends_nor_spins_and_comes_back() {
    let upstream = Upstream::saying("it");
    let folder = Folder::new();
    let text = configuration(&folder, &upstream, "workers = 1", "");
    // More callers are let in than there are descriptors.
    folder.write("proxy.toml", format!("limits.connections = 1000\n{text}"));
    let process = Process::start_limited(folder.path(), 40);
    let address = process.address();
    let mut first = Caller::connect(address);
    assert_eq!(first.write(GET).read().text(), "it");
    let beginning = Instant::now();
    let crowd: Vec<TcpStream> = (0..60).filter_map(|_| connect(address)).collect();
    process.wait_for("cannot accept a connection");
    let before = cpu_time(process.id());
    thread::park_timeout(Duration::from_secs(2));
    let spent = cpu_time(process.id()) - before;
    assert!(spent < Duration::from_millis(200), "{spent:?} in 2 s");
    // Who is inside is served all the while, over a connection that is there already.
    assert_eq!(first.write(GET).read().text(), "it");
    // It says so every ten seconds.
    let most = 1 + beginning.elapsed().as_secs() / 10;
    let complaints = process.said().matches("cannot accept").count() as u64;
    assert!(complaints <= most, "{}", process.said());
    drop(crowd);
    let start = Instant::now();
    assert_eq!(get(address, "/acme").status, 200);
    assert!(start.elapsed() < SOON);
}

fn connect(address: SocketAddr) -> Option<TcpStream> {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()
}

#[test]
fn half_of_the_descriptors_are_kept_for_the_way_out() {
    let upstream = Upstream::saying("it");
    let folder = Folder::new();
    folder.write(
        "proxy.toml",
        configuration(&folder, &upstream, "workers = 1", ""),
    );
    let process = Process::start_limited(folder.path(), 64);
    let address = process.address();
    let mut inside: Vec<Caller> = (0..32).map(|_| Caller::connect(address)).collect();
    wait_until("all are inside", || get(address, "/acme").status == 503);
    for caller in &mut inside {
        assert_eq!(caller.write(GET).read().text(), "it");
    }
}

#[test]
fn a_caller_that_only_waits_takes_little_memory() {
    const CALLERS: usize = 1000;
    let upstream = Upstream::saying("it");
    let folder = Folder::new();
    // None of them goes away by itself.
    let top = "workers = 1\ntimeouts.keep-alive = \"1h\"";
    folder.write("proxy.toml", configuration(&folder, &upstream, top, ""));
    let process = Process::start(folder.path(), &[]);
    let address = process.address();
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.id()));
        let status = status.expect("a process");
        let line = status.lines().find(|it| it.starts_with("RssAnon:"));
        let size = line.and_then(|it| it.split_whitespace().nth(1));
        size.and_then(|it| it.parse::<usize>().ok())
            .expect("a size")
            * 1024
    };
    let meet = |count: usize| -> Vec<Caller> {
        let all = (0..count).map(|_| {
            let mut caller = Caller::connect(address);
            caller.write(GET).read();
            caller
        });
        all.collect()
    };
    // What serves a caller is given back when it only waits, and the next one is served with it.
    let mut waiting = meet(CALLERS);
    thread::park_timeout(Duration::from_millis(2500));
    let before = resident();
    waiting.extend(meet(CALLERS));
    wait_until("one more takes 20 KiB at most", || {
        resident().saturating_sub(before) / CALLERS <= 20 * 1024
    });
}
