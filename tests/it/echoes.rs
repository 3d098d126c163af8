//! Targets that repeat what they were sent.

use std::io::Read;

use crate::support::{Caller, Folder, Process, Proxy, Upstream, acme, get};

fn bearer(request: &str) -> String {
    let (_, rest) = request
        .split_once("\r\nauthorization: Bearer ")
        .expect("a token");
    rest.split("\r\n").next().expect("a line").to_owned()
}

/// All of a token but its signature: header and claims are no secret.
fn unsigned(token: &str) -> &str {
    let (unsigned, _) = token.rsplit_once('.').expect("a JWT");
    unsigned
}

#[test]
fn our_token_leaves_in_no_header_and_the_operator_hears_of_it_once() {
    let upstream = Upstream::with(|conversation| {
        while let Some(request) = conversation.read_request() {
            let token = bearer(&request);
            let unsigned = unsigned(&token);
            conversation.write(format!(
                "HTTP/1.1 200 OK\r\nX-Request: GET / Authorization=Bearer {token}; end\r\n\
                 Set-Cookie: session={token}; Path=/\r\nLocation: https://x.example/?t={token}&u=1\r\n\
                 Authorization: Bearer {token}\r\nX-Fine: {unsigned}\r\nContent-Length: 2\r\n\r\nok"
            ));
        }
    });
    let folder = Folder::new();
    folder.write(
        "proxy.toml",
        acme(&folder, upstream.address, &upstream.ca_pem, ""),
    );
    let process = Process::start(folder.path(), &[]);
    for _ in 0..3 {
        let answer = get(process.address(), "/acme");
        assert_eq!(answer.text(), "ok");
        assert_eq!(answer.header("authorization"), None);
        let token = bearer(&upstream.requests().pop().expect("just sent"));
        assert!(
            answer
                .headers
                .iter()
                .all(|(_, value)| !value.contains(&token))
        );
        assert_eq!(
            answer.header("set-cookie"),
            Some("session=REDACTED; Path=/")
        );
        assert_eq!(
            answer.header("location"),
            Some("https://x.example/?t=REDACTED&u=1")
        );
        assert_eq!(
            answer.header("x-request"),
            Some("GET / Authorization=Bearer REDACTED; end")
        );
        assert_eq!(answer.header("x-fine"), Some(unsigned(&token)));
    }
    let said = process.wait_for("repeats our token");
    assert_eq!(said.matches("repeats our token").count(), 1, "{said}");
    let token = bearer(&upstream.requests()[0]);
    assert!(!said.contains(&token));
}

#[test]
fn our_token_leaves_in_no_trailer_either() {
    let upstream = Upstream::with(|conversation| {
        while let Some(request) = conversation.read_request() {
            let token = bearer(&request);
            conversation.write(format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-Seen\r\n\r\n\
                 2\r\nok\r\n0\r\nX-Sum: 7\r\nX-Seen: <{token}>\r\n\r\n"
            ));
        }
    });
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "");
    let text = text + "\n[admin]\naddress = \"127.0.0.1:0\"\n";
    let proxy = Proxy::start(&folder, &text);
    let mut caller = Caller::connect(proxy.address);
    caller.write(
        "GET /acme HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n",
    );
    let mut said = String::new();
    caller.stream().read_to_string(&mut said).expect("an end");
    let said = said.to_ascii_lowercase();
    assert!(said.contains("\r\nx-sum: 7\r\n"), "{said}");
    assert!(said.contains("\r\nx-seen: <redacted>\r\n"), "{said}");
    let counts = get(proxy.admin(), "/metrics").text();
    let series = counts.lines().find(|it| it.contains("echoes_total{"));
    assert!(series.is_some_and(|it| it.ends_with(" 1")), "{series:?}");
}
