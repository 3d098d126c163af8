//! The log: what stands in it, and that nobody waits for whoever should read it.

use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::support::caller::PATIENCE;
use crate::support::{Caller, Folder, Process, Upstream, acme, get};

/// A folder with a configuration that logs each request.
fn logging(upstream: &Upstream, address: &str, more: &str) -> Folder {
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "");
    let text = text.replace("127.0.0.1:0", address);
    folder.write(
        "proxy.toml",
        format!("{text}\n[log]\nrequests = true\n{more}\n"),
    );
    folder
}

/// The program with its standard error going where a test says; killed when it is dropped.
struct Running(Child);

impl Running {
    fn start(folder: &Folder, stderr: impl Into<Stdio>) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_countersign"))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn();
        Self(child.expect("the program starts"))
    }

    fn end(mut self) -> ExitStatus {
        let pid = self.0.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.expect("kill").success());
        let start = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().expect("a child") {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "it does not end");
            thread::park_timeout(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts it with a pipe, and reads that until the address is known.
fn start_with_pipe(folder: &Folder) -> (Running, BufReader<PipeReader>, SocketAddr) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let running = Running::start(folder, writer);
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).expect("text") > 0, "it ended");
        if let Some((_, rest)) = line.split_once("listening on http://") {
            let address = rest.split(' ').next().expect("a word");
            return (running, reader, address.parse().expect("an address"));
        }
    }
}

fn serves(address: SocketAddr, requests: usize) {
    let mut caller = Caller::connect(address);
    let path = "x".repeat(100);
    for _ in 0..requests {
        caller.write(format!(
            "GET /acme/{path} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        ));
        assert_eq!(caller.read().status, 200);
    }
}

#[test]
fn a_pipe_that_nobody_reads_holds_up_no_request_and_not_the_end() {
    let upstream = Upstream::saying("");
    let folder = logging(&upstream, "127.0.0.1:0", "");
    let (running, reader, address) = start_with_pipe(&folder);
    // Several times what a pipe holds.
    serves(address, 2_000);
    assert_eq!(running.end().code(), Some(0));
    drop(reader);
}

#[test]
fn a_pipe_that_was_closed_ends_nothing() {
    let upstream = Upstream::saying("");
    let folder = logging(&upstream, "127.0.0.1:0", "");
    let (running, reader, address) = start_with_pipe(&folder);
    drop(reader);
    serves(address, 200);
    assert_eq!(running.end().code(), Some(0));
}

#[test]
fn a_full_disk_ends_nothing() {
    let upstream = Upstream::saying("");
    // Of a loopback that no other test uses: nobody takes the port in between.
    let free = TcpListener::bind("127.0.10.1:0").expect("a port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let folder = logging(&upstream, &address.to_string(), "");
    let full = File::options().write(true).open("/dev/full");
    let running = Running::start(&folder, full.expect("Linux has it"));
    let start = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(start.elapsed() < PATIENCE, "it does not listen");
        thread::park_timeout(Duration::from_millis(5));
    }
    serves(address, 200);
    assert_eq!(running.end().code(), Some(0));
}

#[test]
fn a_line_tells_of_a_request_and_not_of_its_query() {
    let upstream = Upstream::saying("eight ch");
    let folder = logging(&upstream, "127.0.0.1:0", "");
    let process = Process::start(folder.path(), &[]);
    assert_eq!(get(process.address(), "/acme/x?key=private").status, 200);
    let said = process.wait_for("path=\"/acme/x\"");
    let line = said.lines().find(|it| it.contains("path=\"/acme/x\""));
    let line = line.expect("just seen");
    for part in [
        "peer=127.0.0.1",
        "method=GET",
        "to=\"acme\"",
        "status=200",
        "bytes=8",
        "seconds=",
        "credential=\"",
        "id=\"",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!said.contains("private"), "{said}");
}

#[test]
fn lines_can_be_json() {
    let upstream = Upstream::saying("eight ch");
    let folder = logging(&upstream, "127.0.0.1:0", "format = \"json\"");
    let process = Process::start(folder.path(), &[]);
    assert_eq!(get(process.address(), "/acme/x").status, 200);
    assert_eq!(get(process.address(), "/nowhere").status, 404);
    process.wait_for("\"code\":\"no-route\",\"bytes\"");
    let said = process.said();
    let lines: Vec<Value> = said
        .lines()
        .map(|it| serde_json::from_str(it).unwrap_or_else(|_| panic!("{it}")))
        .collect();
    let request = lines.iter().find(|it| it["path"] == "/acme/x");
    let request = request.expect("a line for it");
    assert_eq!(request["level"], "INFO");
    assert_eq!(request["status"], 200);
    assert_eq!(request["bytes"], 8);
    assert_eq!(request["to"], "acme");
    assert!(request["seconds"].as_f64() > Some(0.0), "{request}");
    assert!(request["time"].as_str().expect("a time").starts_with("20"));
    let fingerprint = request["credential"].as_str().expect("a fingerprint");
    assert_eq!(fingerprint.len(), 16);
}

#[test]
fn a_trace_goes_through_untouched() {
    let upstream = Upstream::saying("");
    let (proxy, _folder) = crate::support::proxy_to(&upstream, "");
    let trace = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = format!(
        "GET /acme HTTP/1.1\r\nHost: localhost\r\n{trace}\r\ntracestate: congo=t61\r\n\r\n"
    );
    assert_eq!(crate::support::send(proxy.address, request).status, 200);
    let sent = upstream.request();
    assert!(sent.contains(trace), "{sent}");
    assert!(sent.contains("tracestate: congo=t61"), "{sent}");
}
