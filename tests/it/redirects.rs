//! Answers that name the target's own URL.

use crate::support::caller::Answer;
use crate::support::upstream::NAME;
use crate::support::{Caller, Folder, Proxy, Upstream, acme, proxy_to, send};

/// What comes of header lines in an answer, asked for as `/acme/x`.
fn through(lines: &str, base: &str, extra: &str) -> Answer {
    let upstream = Upstream::answering(format!(
        "HTTP/1.1 302 Found\r\n{lines}Content-Length: 0\r\n\r\n"
    ));
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, extra);
    let url = format!("url = \"https://{NAME}\"");
    let text = text.replace(&url, &format!("url = \"https://{NAME}{base}\""));
    let proxy = Proxy::start(&folder, &text);
    send(
        proxy.address,
        "GET /acme/x HTTP/1.1\r\nHost: localhost:8080\r\n\r\n",
    )
}

const REWRITE: &str = "redirects = \"rewrite\"";

#[test]
fn the_targets_own_url_becomes_the_proxys() {
    for (base, location, rewritten) in [
        (
            "",
            "https://upstream.example/a?b=1#c",
            "http://localhost:8080/acme/a?b=1#c",
        ),
        (
            "",
            "https://UPSTREAM.example:443/a",
            "http://localhost:8080/acme/a",
        ),
        (
            "",
            "https://upstream.example",
            "http://localhost:8080/acme/",
        ),
        (
            "",
            "https://upstream.example?x",
            "http://localhost:8080/acme/?x",
        ),
        ("", "//upstream.example/a", "http://localhost:8080/acme/a"),
        ("", "/a/b", "/acme/a/b"),
        ("", "a/b?c", "a/b?c"),
        ("", "../b", "../b"),
        ("", "?page=2", "?page=2"),
        (
            "/v1",
            "https://upstream.example/v1/a",
            "http://localhost:8080/acme/a",
        ),
        (
            "/v1",
            "https://upstream.example/v1",
            "http://localhost:8080/acme",
        ),
        ("/v1", "/v1/a", "/acme/a"),
        // What the proxy does not lead to stays the target's.
        (
            "/v1",
            "https://upstream.example/v10",
            "https://upstream.example/v10",
        ),
        ("/v1", "/login", "https://upstream.example/login"),
        // Others are none of its business.
        (
            "",
            "https://upstream.example:8443/a",
            "https://upstream.example:8443/a",
        ),
        ("", "http://upstream.example/a", "http://upstream.example/a"),
        (
            "",
            "https://upstream.example.evil/a",
            "https://upstream.example.evil/a",
        ),
        (
            "",
            "https://upstream.example@evil/a",
            "https://upstream.example@evil/a",
        ),
        (
            "",
            "https://login.example/?next=https://upstream.example/",
            "https://login.example/?next=https://upstream.example/",
        ),
    ] {
        let lines = format!("Location: {location}\r\nContent-Location: {location}\r\n");
        let answer = through(&lines, base, REWRITE);
        assert_eq!(answer.status, 302);
        assert_eq!(
            answer.header("location"),
            Some(rewritten),
            "{base} {location}"
        );
        assert_eq!(answer.header("content-location"), Some(rewritten));
        let answer = through(&lines, base, "");
        assert_eq!(
            answer.header("location"),
            Some(location),
            "passed by default"
        );
    }
}

#[test]
fn cookies_come_back_to_the_proxy() {
    for (base, given, kept) in [
        (
            "",
            "a=1; Domain=upstream.example; Path=/; Secure; HttpOnly",
            "a=1; Path=/acme; HttpOnly",
        ),
        (
            "",
            "a=1; domain=.example;path=/x; Max-Age=5",
            "a=1; Path=/acme/x; Max-Age=5",
        ),
        ("", "a=1; Domain=other.example", "a=1; Domain=other.example"),
        ("/v1", "a=1; Path=/v1/x", "a=1; Path=/acme/x"),
        ("/v1", "a=1; Path=/v1", "a=1; Path=/acme"),
        ("/v1", "a=1; Path=/", "a=1; Path=/acme"),
        ("/v1", "a=1; Path=/v2", "a=1; Path=/v2"),
        ("", "a=1", "a=1"),
    ] {
        let lines = format!("Set-Cookie: {given}\r\nSet-Cookie: b=2; Secure\r\n");
        let cookies = |answer: Answer| -> Vec<String> {
            let headers = answer.headers.into_iter();
            headers
                .filter(|it| it.0 == "set-cookie")
                .map(|it| it.1)
                .collect()
        };
        assert_eq!(
            cookies(through(&lines, base, REWRITE)),
            [kept, "b=2"],
            "{base} {given}"
        );
        assert_eq!(cookies(through(&lines, base, "")), [given, "b=2; Secure"]);
    }
}

#[test]
fn the_address_is_the_one_that_the_caller_used() {
    let upstream = Upstream::answering(
        "HTTP/1.1 201 Created\r\nLocation: https://upstream.example/a\r\nContent-Length: 0\r\n\r\n",
    );
    let extra = format!(
        "{REWRITE}\nroutes = [{{ path = \"/one/two\" }}, {{ path = \"/kept\", strip = false }}]"
    );
    let (proxy, _folder) = proxy_to(&upstream, &extra);
    let location = |request: String| {
        let answer = Caller::connect(proxy.address).write(request).read();
        answer.header("location").expect("one").to_owned()
    };
    let address = proxy.address;
    assert_eq!(
        location(format!("GET /one/two HTTP/1.1\r\nHost: {address}\r\n\r\n")),
        format!("http://{address}/one/two/a")
    );
    assert_eq!(
        location("GET /kept/x HTTP/1.1\r\nHost: localhost\r\n\r\n".into()),
        "http://localhost/a"
    );
    assert_eq!(
        location("GET /one/two/ HTTP/1.0\r\n\r\n".into()),
        "/one/two/a"
    );
}
