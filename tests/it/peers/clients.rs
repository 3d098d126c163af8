//! wget, Python's requests and httpx, and Node's fetch as callers: GET, a POST with a body, an
//! upload in chunks, HEAD, and several requests over one connection.

use std::process::Command;

use super::{python, run, wrote};
use crate::support::{Folder, Proxy, Upstream, proxy_to};

/// Says of each request what it was, and how many bytes its body had.
pub(super) fn echo() -> Upstream {
    Upstream::with(|conversation| {
        while let Some(request) = conversation.read_request() {
            let (head, body) = request.split_once("\r\n\r\n").expect("a head");
            let mut words = head.split(' ');
            let method = words.next().expect("a method").to_owned();
            let target = words.next().expect("a target");
            let is_chunked = head
                .to_ascii_lowercase()
                .contains("transfer-encoding: chunked");
            let length = if is_chunked {
                without_chunks(body)
            } else {
                body.len()
            };
            let said = format!("{method} {target} {length}");
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", said.len());
            let body = if method == "HEAD" { "" } else { &said };
            conversation.write(head + body);
        }
    })
}

/// How many bytes a body in chunks has.
fn without_chunks(body: &str) -> usize {
    let (mut rest, mut length) = (body, 0);
    loop {
        let (size, after) = rest.split_once("\r\n").expect("a chunk's first line");
        let size = usize::from_str_radix(size, 16).expect("a chunk's size");
        if size == 0 {
            return length;
        }
        length += size;
        rest = &after[size + 2..];
    }
}

pub(super) fn start() -> (Upstream, Proxy, Folder, String) {
    let upstream = echo();
    let (proxy, folder) = proxy_to(&upstream, "");
    let url = format!("http://{}/acme", proxy.address);
    (upstream, proxy, folder, url)
}

/// Each request reached the upstream with one `Authorization`, which is ours.
pub(super) fn all_are_ours(upstream: &Upstream, count: usize) {
    let requests = upstream.requests();
    assert_eq!(requests.len(), count, "{requests:#?}");
    for request in requests {
        let (head, _) = request.split_once("\r\n\r\n").expect("a head");
        let head = head.to_ascii_lowercase();
        assert_eq!(head.matches("\r\nauthorization:").count(), 1, "{head}");
        assert!(head.contains("\r\nauthorization: bearer "), "{head}");
    }
}

#[test]
#[ignore = "needs wget"]
fn wget_is_answered() {
    let (upstream, _proxy, folder, url) = start();
    let wget = || {
        let mut command = Command::new("wget");
        command.args(["--no-config", "--no-proxy", "--tries=1", "-O", "-"]);
        command
    };
    assert_eq!(wrote(wget().arg(format!("{url}/a"))), "GET /a 0");
    let file = folder.write("body", vec![b'x'; 300_000]);
    let file = format!("--post-file={}", file.display());
    assert_eq!(wrote(wget().arg(&file).arg(&url)), "POST / 300000");
    run(wget().arg("--spider").arg(&url));
    assert!(upstream.requests()[2].starts_with("HEAD / HTTP/1.1\r\n"));
    // Its own name and password come to nothing.
    let with_password = ["--user=u", "--password=p", "--auth-no-challenge"];
    assert_eq!(wrote(wget().args(with_password).arg(&url)), "GET / 0");
    let several = run(wget().args(["a", "b", "c"].map(|it| format!("{url}/{it}"))));
    assert_eq!(
        String::from_utf8_lossy(&several.stdout),
        "GET /a 0GET /b 0GET /c 0"
    );
    let said = String::from_utf8_lossy(&several.stderr);
    assert_eq!(
        said.matches("Reusing existing connection").count(),
        2,
        "{said}"
    );
    all_are_ours(&upstream, 7);
}

const REQUESTS: &str = r#"
import sys, requests
url = sys.argv[1]
with requests.Session() as session:
    session.trust_env = False
    assert session.get(url + "/a", params={"q": "ä b"}).text == "GET /a?q=%C3%A4+b 0"
    assert session.post(url, data=b"x" * 300000).text == "POST / 300000"
    assert session.post(url, data=(b"x" * 1000 for _ in range(100))).text == "POST / 100000"
    head = session.head(url)
    assert head.status_code == 200 and head.text == "" and int(head.headers["content-length"]) > 0
    assert session.get(url, auth=("u", "p")).text == "GET / 0"
    pools = session.get_adapter(url).poolmanager.pools
    used = [(pools[it].num_requests, pools[it].num_connections) for it in pools.keys()]
    assert used == [(5, 1)], used
"#;

#[test]
#[ignore = "needs Python's requests"]
fn requests_is_answered() {
    let (upstream, _proxy, _folder, url) = start();
    run(python().args(["-c", REQUESTS, &url]));
    all_are_ours(&upstream, 5);
}

const HTTPX: &str = r#"
import asyncio, sys, httpx
url, connections = sys.argv[1], []
def trace(event, info):
    if event == "connection.connect_tcp.complete":
        connections.append(info)
async def atrace(event, info):
    trace(event, info)
def chunks():
    for _ in range(100):
        yield b"x" * 1000
async def achunks():
    for chunk in chunks():
        yield chunk
with httpx.Client(trust_env=False) as client:
    def ask(method, path="", **more):
        return client.request(method, url + path, extensions={"trace": trace}, **more)
    assert ask("GET", "/a", params={"q": "ä b"}).text == "GET /a?q=%C3%A4+b 0"
    assert ask("POST", content=b"x" * 300000).text == "POST / 300000"
    assert ask("POST", content=chunks()).text == "POST / 100000"
    head = ask("HEAD")
    assert head.status_code == 200 and head.text == "" and int(head.headers["content-length"]) > 0
    assert ask("GET", auth=("u", "p")).text == "GET / 0"
assert len(connections) == 1, connections
async def together():
    async with httpx.AsyncClient(trust_env=False) as client:
        answers = await asyncio.gather(*(
            client.put(f"{url}/{n}", content=achunks(), extensions={"trace": atrace})
            for n in range(20)
        ))
    assert [it.text for it in answers] == [f"PUT /{n} 100000" for n in range(20)]
asyncio.run(together())
"#;

#[test]
#[ignore = "needs Python's httpx"]
fn httpx_is_answered() {
    let (upstream, _proxy, _folder, url) = start();
    run(python().args(["-c", HTTPX, &url]));
    all_are_ours(&upstream, 25);
}

const FETCH: &str = r#"
import assert from 'node:assert';
import { subscribe } from 'node:diagnostics_channel';
const url = process.argv[1];
let connections = 0;
subscribe('undici:client:connected', () => { connections += 1; });
async function ask(path, options) {
  const answer = await fetch(url + path, options);
  assert.equal(answer.status, 200);
  return { text: await answer.text(), length: answer.headers.get('content-length') };
}
assert.equal((await ask('/a?q=ä b')).text, 'GET /a?q=%C3%A4%20b 0');
assert.equal((await ask('', { method: 'POST', body: 'x'.repeat(300000) })).text, 'POST / 300000');
let left = 100;
const body = new ReadableStream({
  pull(to) { if (left-- > 0) to.enqueue(new Uint8Array(1000).fill(120)); else to.close(); },
});
assert.equal((await ask('', { method: 'POST', body, duplex: 'half' })).text, 'POST / 100000');
const head = await ask('', { method: 'HEAD' });
assert.equal(head.text, '');
assert(Number(head.length) > 0);
const headers = { authorization: 'Basic eA==' };
assert.equal((await ask('', { headers })).text, 'GET / 0');
// fetch ends a connection after HEAD: its standard lets servers answer HEAD wrongly.
assert(connections <= 2, `${connections} connections`);
"#;

#[test]
#[ignore = "needs Node"]
fn nodes_fetch_is_answered() {
    let (upstream, _proxy, _folder, url) = start();
    run(Command::new("node").args(["--input-type=module", "-e", FETCH, &url]));
    all_are_ours(&upstream, 5);
}
