//! A parent proxy on the way to a target, and to the endpoint of a credential.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::upstream::NAME;
use crate::support::{Folder, Process, Proxy, Upstream, get};

/// A proxy that notes what it is asked for, answers with `status`, and leads to `to`.
fn parent(to: SocketAddr, status: &'static str) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let notes = Arc::clone(&asked);
    thread::spawn(move || {
        for mut near in listener.incoming().flatten() {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                near.read_exact(&mut byte).expect("a whole head");
                head.push(byte[0]);
            }
            notes
                .lock()
                .expect("one at a time")
                .push(String::from_utf8_lossy(&head).into_owned());
            let answer = format!("HTTP/1.1 {status}\r\nVia: 1.1 parent\r\n\r\n");
            near.write_all(answer.as_bytes()).expect("an answer");
            if status.starts_with('2') {
                lead(near, TcpStream::connect(to).expect("the upstream listens"));
            }
        }
    });
    (address, asked)
}

fn lead(near: TcpStream, far: TcpStream) {
    let ends = (
        near.try_clone().expect("a handle"),
        far.try_clone().expect("a handle"),
    );
    for (mut from, mut into) in [(near, far), (ends.1, ends.0)] {
        thread::spawn(move || std::io::copy(&mut from, &mut into));
    }
}

fn configuration(via: SocketAddr) -> String {
    format!(
        r#"
[listeners.local]
address = "127.0.0.1:0"

[credentials.acme.exchange]
url = "https://{NAME}/token"
client-authentication = "post"
client-id = "a-client"
client-secret = {{ file = "secret" }}
via = "http://{via}"
tls.ca = ["ca.pem"]

[targets.acme]
url = "https://{NAME}:8443"
via = "http://{via}"
tls.ca = ["ca.pem"]
"#
    )
}

fn service() -> (Upstream, Folder) {
    let body = r#"{"access_token":"from-afar","expires_in":300,"token_type":"Bearer"}"#;
    let upstream = Upstream::saying(body);
    let folder = Folder::new();
    folder.write("ca.pem", &upstream.ca_pem);
    folder.write("secret", "a secret");
    (upstream, folder)
}

#[test]
fn tokens_and_requests_go_through_a_parent_proxy_that_sees_names_alone() {
    let (upstream, folder) = service();
    let (via, asked) = parent(upstream.address, "200 OK");
    let proxy = Proxy::start(&folder, &configuration(via));
    assert_eq!(get(proxy.address, "/acme/x").status, 200);
    let asked = asked.lock().expect("nobody asks any more").clone();
    assert_eq!(
        asked,
        [
            format!("CONNECT {NAME}:443 HTTP/1.1\r\nHost: {NAME}:443\r\n\r\n"),
            format!("CONNECT {NAME}:8443 HTTP/1.1\r\nHost: {NAME}:8443\r\n\r\n"),
        ]
    );
    let request = upstream.requests().pop().expect("the request");
    assert!(
        request.contains("\r\nauthorization: Bearer from-afar\r\n"),
        "{request}"
    );
}

#[test]
fn a_parent_proxy_that_refuses_is_told_apart_from_the_target() {
    let (upstream, folder) = service();
    let (via, _asked) = parent(upstream.address, "407 Proxy Authentication Required");
    let text =
        configuration(via).replace("[targets.acme]", "[targets.acme]\ncredential = \"none\"");
    let start = text.find("[credentials.acme.exchange]").expect("a table");
    let end = text.find("[targets.acme]").expect("a table");
    let proxy = Proxy::start(&folder, &[&text[..start], &text[end..]].concat());
    let answer = get(proxy.address, "/acme/x");
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (502, "upstream-refused")
    );
    assert!(upstream.requests().is_empty());
}

#[test]
fn a_parent_proxy_that_asks_is_told_who_we_are_and_the_target_is_not() {
    let (upstream, folder) = service();
    folder.write("proxy-password", "open sesame\n");
    let (via, asked) = parent(upstream.address, "200 OK");
    let with_login = format!(
        "via = {{ url = \"http://{via}\", user = \"Aladdin\", password = {{ file = \"proxy-password\" }} }}"
    );
    let text = configuration(via).replace(&format!("via = \"http://{via}\""), &with_login);
    let loaded = countersign::config::parse(
        "proxy.toml",
        &text,
        folder.path(),
        &countersign::secret::store::Store::Disk,
    );
    let shown = loaded.expect("it can be used").shown;
    assert!(shown.contains("Aladdin"), "{shown}");
    assert!(
        !shown.contains("sesame") && !shown.contains("QWxh"),
        "{shown}"
    );

    let proxy = Proxy::start(&folder, &text);
    assert_eq!(get(proxy.address, "/acme/x").status, 200);
    let login = "\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n";
    let asked = asked.lock().expect("nobody asks any more").clone();
    assert_eq!(asked.len(), 2);
    assert!(asked.iter().all(|it| it.contains(login)), "{asked:?}");
    for request in upstream.requests() {
        assert!(!request.to_lowercase().contains("proxy-auth"), "{request}");
    }
}

#[test]
fn the_log_says_whether_a_login_is_missing_or_refused_and_never_shows_it() {
    for (login, says) in [
        ("", "wants a login (407): give `via` a user and a password"),
        (
            ", user = \"Aladdin\", password = { file = \"secret\" }",
            "refused the login of `Aladdin` (407)",
        ),
    ] {
        let (upstream, folder) = service();
        let (via, _asked) = parent(upstream.address, "407 Proxy Authentication Required");
        let text = format!(
            r#"
[listeners.local]
address = "127.0.0.1:0"

[targets.acme]
url = "https://{NAME}:8443"
credential = "none"
via = {{ url = "http://{via}"{login} }}
tls.ca = ["ca.pem"]
"#
        );
        folder.write("proxy.toml", text);
        let process = Process::start(folder.path(), &[]);
        let answer = get(process.address(), "/acme/x");
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (502, "upstream-refused")
        );
        let said = process.wait_for(says);
        assert!(
            !said.contains("a secret") && !said.contains("Basic "),
            "{said}"
        );
        assert!(!answer.text().contains("Aladdin"), "{}", answer.text());
    }
}
