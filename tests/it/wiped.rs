//! What is left of a secret in the process's memory once another one has taken its place: nothing.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign::jws::{KeyKind, generate};
use tokio::time::Instant;
use uuid::Uuid;

use crate::support::caller::PATIENCE;
use crate::support::{Folder, Process, Upstream};

/// Every way in which a secret is used: keys that sign, texts that are sent in a header, in a form
/// and in JSON.
fn configuration(upstream: &Upstream) -> String {
    let address = upstream.address;
    let line = format!("connect = \"{address}\"\ntls.ca = \"ca.pem\"");
    let mut text = format!(
        r#"
confine.dumpable = true

[listeners.local]
address = "127.0.0.1:0"

[credentials.elliptic.self-signed]
algorithm = "ES512"
key = {{ file = "es512.pem" }}
claims = {{ jti = "${{uuid}}" }}

[credentials.rsa.self-signed]
algorithm = "RS256"
key = {{ file = "account.json", pointer = "/key" }}
claims = {{ jti = "${{uuid}}" }}

[credentials.shared.self-signed]
algorithm = "HS256"
key = {{ file = "shared" }}
claims = {{ jti = "${{uuid}}" }}

[credentials.basic.exchange]
url = "https://upstream.example/token"
grant = "client-credentials"
client-id = "me"
client-secret = {{ file = "basic" }}
client-authentication = "basic"
{line}

[credentials.form.exchange]
url = "https://upstream.example/token"
grant = "password"
user = "me"
password = {{ file = "form" }}
client-id = "me"
{line}

[credentials.json.login]
url = "https://upstream.example/login"
token = "/access_token"
password = {{ file = "json" }}
parameters = {{ user = "me", password = "${{secret-of-user}}" }}
{line}
"#
    );
    for target in ["elliptic", "rsa", "shared", "basic", "form", "json"] {
        text.push_str(&format!(
            "[targets.{target}]\nurl = \"https://upstream.example\"\n{line}\n"
        ));
    }
    text
}

/// Writes all secrets anew. Gives what must not be found of them, each with a name.
fn write_secrets(folder: &Folder) -> Vec<(String, Vec<u8>)> {
    let mut pieces = Vec::new();
    let elliptic = generate(KeyKind::EcP521).private_pem;
    let elliptic = elliptic.expose_str().expect("PEM");
    folder.write("es512.pem", elliptic);
    pieces.extend(pieces_of_key("the P-521 key", elliptic));

    let rsa = generate(KeyKind::Rsa2048).private_pem;
    let rsa = rsa.expose_str().expect("PEM");
    folder.write(
        "account.json",
        serde_json::json!({ "key": rsa }).to_string(),
    );
    pieces.extend(pieces_of_key("the RSA key", rsa));

    for name in ["shared", "basic", "form", "json"] {
        let secret = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        folder.write(name, &secret);
        if name == "basic" {
            let pair = STANDARD.encode(format!("me:{secret}"));
            pieces.push(("the header of basic".into(), inner(&pair)));
        }
        pieces.push((name.to_owned(), inner(&secret)));
    }
    pieces
}

/// The middle of a text: what is freed has its first bytes overwritten by the allocator.
fn inner(text: &str) -> Vec<u8> {
    text.as_bytes()[24..56].to_vec()
}

/// A line of the PEM, and the bytes that it stands for in either order: numbers are kept both ways.
fn pieces_of_key(name: &str, pem: &str) -> Vec<(String, Vec<u8>)> {
    let base64: String = pem.lines().filter(|it| !it.starts_with('-')).collect();
    let der = STANDARD.decode(base64).expect("base64");
    // Well inside of the private numbers: a scalar of 66 bytes ends before the public point, an RSA
    // key ends with its primes.
    let at = if der.len() > 400 { der.len() - 400 } else { 40 };
    let number = der[at..at + 24].to_vec();
    let reversed = number.iter().rev().copied().collect();
    // Lines of 64 characters; 48 bytes each.
    let line = pem.lines().nth(at / 48 + 1).expect("a line");
    vec![
        (format!("a line of {name}"), line.as_bytes().to_vec()),
        (format!("a number of {name}"), number),
        (format!("a number of {name}, backwards"), reversed),
    ]
}

/// How often each piece stands in what the process may write to.
fn count(process: &Process, pieces: &[(String, Vec<u8>)]) -> Vec<(String, usize)> {
    let maps = fs::read_to_string(format!("/proc/{}/maps", process.id())).expect("its maps");
    let memory = File::open(format!("/proc/{}/mem", process.id())).expect("its memory");
    let pages = File::open(format!("/proc/{}/pagemap", process.id())).expect("its pages");
    let mut found: Vec<(String, usize)> = pieces.iter().map(|it| (it.0.clone(), 0)).collect();
    for map in maps.lines().filter(|it| it.contains(" rw")) {
        let (range, _) = map.split_once(' ').expect("a range");
        let (start, end) = range.split_once('-').expect("two ends");
        let number = |text| u64::from_str_radix(text, 16).expect("a number");
        for (start, end) in in_use(&pages, number(start), number(end)) {
            let mut bytes = vec![0; usize::try_from(end - start).expect("it fits")];
            // A thread that has ended takes its stack with it.
            if memory.read_exact_at(&mut bytes, start).is_err() {
                continue;
            }
            for ((_, piece), (_, times)) in pieces.iter().zip(&mut found) {
                *times += memchr::memmem::find_iter(&bytes, piece).count();
            }
        }
    }
    found
}

/// The parts of a range of memory that have ever been written to (proc_pid_pagemap(5)). The allocator
/// sets a gibibyte aside, and uses a few mebibytes of it.
fn in_use(pages: &File, start: u64, end: u64) -> Vec<(u64, u64)> {
    const ENTRY: usize = size_of::<u64>();
    let size = rustix::param::page_size();
    let fits = |number: u64| usize::try_from(number).expect("it fits");
    let mut entries = vec![0; fits(end - start) / size * ENTRY];
    let at = start / size as u64 * ENTRY as u64;
    if pages.read_exact_at(&mut entries, at).is_err() {
        return Vec::new();
    }
    let mut parts: Vec<(u64, u64)> = Vec::new();
    for (entry, page) in entries.chunks_exact(ENTRY).zip((start..).step_by(size)) {
        let entry = u64::from_ne_bytes(entry.try_into().expect("eight bytes"));
        // Whether it is present, or swapped out.
        if entry >> 62 == 0 {
            continue;
        }
        match parts.last_mut() {
            Some((_, end)) if *end == page => *end += size as u64,
            _ => parts.push((page, page + size as u64)),
        }
    }
    parts
}

fn until<T: std::fmt::Debug>(what: &str, mut is_so: impl FnMut() -> Result<(), T>) {
    let start = Instant::now();
    while let Err(found) = is_so() {
        let is_late = start.elapsed() > PATIENCE;
        assert!(!is_late, "{what}, but {found:?}");
        thread::park_timeout(Duration::from_millis(50));
    }
}

#[test]
fn nothing_of_a_secret_stays_in_memory_once_another_one_is_in_use() {
    let body = r#"{"access_token":"a-token","token_type":"Bearer","expires_in":600}"#;
    let upstream = Upstream::saying(body);
    let folder = Folder::new();
    folder.write("ca.pem", &upstream.ca_pem);
    folder.write("proxy.toml", configuration(&upstream));
    let old = write_secrets(&folder);
    let process = Process::start(folder.path(), &[]);
    let say = |what: &str| match process.said().matches(what).count() {
        6 => Ok(()),
        count => Err(count),
    };
    until("six tokens", || say("has a token"));
    // In use, a secret is there once, and nothing is left of what was read or sent.
    let in_use = ["a number of the RSA key", "shared", "basic", "form", "json"];
    until("one of each that is in use", || {
        let found = count(&process, &old);
        let is_one = |it: &(String, usize)| it.1 == usize::from(in_use.contains(&&*it.0));
        found.iter().all(is_one).then_some(()).ok_or(found)
    });

    let new = write_secrets(&folder);
    until("six new secrets", || say("has a new secret"));
    until("they are sent", || {
        let sent = upstream.requests().concat();
        let missing = ["the header of basic", "form", "json"].iter().find(|name| {
            let piece = &new.iter().find(|it| it.0 == **name).expect("written").1;
            !sent.contains(std::str::from_utf8(piece).expect("text"))
        });
        missing.map_or(Ok(()), Err)
    });
    until("nothing left of the old ones", || {
        let found = count(&process, &old);
        found.iter().all(|it| it.1 == 0).then_some(()).ok_or(found)
    });
}
