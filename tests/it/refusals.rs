//! What a caller sees when something is wrong: a status, a code, and never a half-made request.

use crate::support::caller::SOON;
use crate::support::{Caller, Folder, Proxy, Upstream, Vacant, acme, get, proxy_to, send};

fn request(line: &str, headers: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
}

#[test]
fn every_refusal_has_its_status_and_its_code() {
    let upstream = Upstream::saying("");
    let (proxy, _folder) = proxy_to(&upstream, "");
    let long = format!("GET /acme/{}", "a".repeat(9000));
    let cases = [
        (request("GET /nowhere", ""), 404, "no-route"),
        (request("GET /acmes", ""), 404, "no-route"),
        (request("GET /acme/../x", ""), 400, "bad-request"),
        (request("GET /acme/%2e%2e/x", ""), 400, "bad-request"),
        (request("GET /acme/a%2Fb", ""), 400, "bad-request"),
        (request("GET /acme/a\\b", ""), 400, "bad-request"),
        (request("GET /acme/%zz", ""), 400, "bad-request"),
        (request("GET acme", ""), 400, "bad-request"),
        (request("GET http://other/acme", ""), 400, "bad-request"),
        (
            request("GET /acme", "Host: localhost\r\n"),
            400,
            "bad-request",
        ),
        ("GET /acme HTTP/1.1\r\n\r\n".into(), 400, "bad-request"),
        (
            "GET /acme HTTP/1.1\r\nHost: a b\r\n\r\n".into(),
            400,
            "bad-request",
        ),
        (
            "GET /acme HTTP/1.1\r\nHost: evil.example\r\n\r\n".into(),
            403,
            "forbidden-host",
        ),
        (
            request("GET /acme", "Origin: https://evil.example\r\n"),
            403,
            "cross-site",
        ),
        (
            request("GET /acme", "Sec-Fetch-Site: cross-site\r\n"),
            403,
            "cross-site",
        ),
        (
            request("OPTIONS /acme", "Origin: https://evil.example\r\n"),
            403,
            "cross-site",
        ),
        (
            request("POST /acme/auth/oauth2/token", ""),
            403,
            "path-refused",
        ),
        (request("GET /acme/Auth//oauth2", ""), 403, "path-refused"),
        (request("TRACE /acme", ""), 405, "method-refused"),
        (request("TRACK /acme", ""), 405, "method-refused"),
        (request("CONNECT localhost:443", ""), 405, "method-refused"),
        (
            request("POST /acme", "Expect: 200-ok\r\n"),
            417,
            "expectation",
        ),
        (
            request("POST /acme", "Transfer-Encoding: gzip, chunked\r\n"),
            400,
            "bad-request",
        ),
        (request(&long, ""), 414, "too-large"),
    ];
    for (request, status, code) in cases {
        let answer = send(proxy.address, &request);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{request}"
        );
        let problem = answer.json();
        assert!(!problem["detail"].as_str().expect("a sentence").is_empty());
        assert!(!problem["request-id"].as_str().expect("an id").is_empty());
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    assert_eq!(upstream.connections(), 0, "none of them went anywhere");
}

#[test]
fn a_head_above_the_limits_is_refused_before_anything_reads_it() {
    let (proxy, _folder) = proxy_to(&Upstream::saying(""), "");
    let many = request("GET /acme", &"X-Many: 1\r\n".repeat(101));
    assert_eq!(send(proxy.address, many).status, 431);
    let large = request("GET /acme", &format!("X-Large: {}\r\n", "x".repeat(65_536)));
    assert_eq!(send(proxy.address, large).status, 431);
    let fits = request("GET /acme", &format!("X-Large: {}\r\n", "x".repeat(60_000)));
    assert_eq!(send(proxy.address, fits).status, 200);
}

#[test]
fn an_upstream_that_cannot_be_reached_is_named_by_what_failed() {
    let ask = |extra: &str| {
        let upstream = Upstream::saying("");
        let folder = Folder::new();
        let text = acme(&folder, upstream.address, &upstream.ca_pem, "");
        let text = text.replace(&format!("connect = \"{}\"", upstream.address), extra);
        let proxy = Proxy::start(&folder, &text);
        let answer = get(proxy.address, "/acme");
        (
            answer.status,
            answer.code(),
            answer.header("proxy-status").expect("ours").to_owned(),
        )
    };
    let nobody = Vacant::new();
    let (status, code, error) = ask(&format!("connect = \"{}\"", nobody.address));
    assert_eq!((status, code.as_str()), (502, "upstream-refused"));
    assert!(error.contains("error=connection_refused"), "{error}");

    // A name that can never be looked up (RFC 6761 section 6.4) asks no server.
    let (status, code, error) = ask("");
    assert_eq!((status, code.as_str()), (502, "upstream-name"));
    assert!(error.contains("error=dns_error"), "{error}");
}

#[test]
fn an_upstream_that_misbehaves_is_named_by_what_it_did() {
    let ask = |upstream: &Upstream, extra: &str| {
        let (proxy, _folder) = proxy_to(upstream, extra);
        let answer = get(proxy.address, "/acme");
        (answer.status, answer.code())
    };
    let silent = Upstream::with(|it| while it.read_request().is_some() {});
    let brief = "timeouts.first-byte = \"300ms\"";
    assert_eq!(ask(&silent, brief), (504, "upstream-timeout".into()));

    let closing = Upstream::with(|it| drop(it.read_request()));
    assert_eq!(ask(&closing, ""), (502, "upstream-reset".into()));

    for nonsense in [
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nx",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ] {
        assert_eq!(
            ask(&Upstream::answering(nonsense), ""),
            (502, "upstream-broken".into()),
            "{nonsense}"
        );
    }
}

#[test]
fn an_answer_that_goes_silent_is_broken_off() {
    let upstream = Upstream::with(|conversation| {
        conversation.read_request();
        conversation.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        conversation.read_request();
    });
    let (proxy, _folder) = proxy_to(&upstream, "[targets.acme.timeouts]\nidle = \"200ms\"");
    let mut caller = Caller::connect(proxy.address);
    caller.write("GET /acme HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(caller.try_read().is_err());
}

#[test]
fn an_upstream_that_does_not_shake_hands_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    let text = acme(
        &folder,
        listener.local_addr().expect("an address"),
        &upstream.ca_pem,
        "[targets.acme.timeouts]\ntls = \"200ms\"",
    );
    let proxy = Proxy::start(&folder, &text);
    let answer = get(proxy.address, "/acme");
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (504, "upstream-timeout")
    );
}

#[test]
fn a_request_that_comes_back_is_a_loop() {
    let upstream = Upstream::saying("");
    let (proxy, _folder) = proxy_to(&upstream, "");
    get(proxy.address, "/acme");
    let request = upstream.request();
    let via = request
        .split("\r\n")
        .find_map(|it| it.strip_prefix("via: "))
        .expect("a Via");
    let back = format!("GET /acme HTTP/1.1\r\nHost: localhost\r\nVia: {via}\r\n\r\n");
    let answer = send(proxy.address, back);
    assert_eq!((answer.status, answer.code().as_str()), (508, "loop"));
}

#[test]
fn a_request_from_before_a_reload_is_a_loop_when_it_comes_back_after_it() {
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "");
    folder.write("proxy.toml", &text);
    let proxy = Proxy::following(&folder);
    get(proxy.address, "/acme");
    let request = upstream.request();
    let mut lines = request.split("\r\n");
    let via = lines.find_map(|it| it.strip_prefix("via: "));
    let via = via.expect("a Via");
    folder.write("proxy.toml", text.replace("user = 123", "user = 456"));
    proxy.reload().expect("it can be used");
    let back = format!("GET /acme HTTP/1.1\r\nHost: localhost\r\nVia: {via}\r\n\r\n");
    let answer = send(proxy.address, back);
    assert_eq!((answer.status, answer.code().as_str()), (508, "loop"));
}

#[test]
fn a_caller_that_goes_away_ends_the_work_upstream() {
    let (told, ended) = std::sync::mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let upstream = Upstream::with(move |conversation| {
        conversation.read_request();
        // The proxy closes its connection: nothing else would end this read.
        let another = conversation.read_request();
        told.lock()
            .expect("one thread")
            .send(another.is_none())
            .expect("the test waits");
    });
    let (proxy, _folder) = proxy_to(&upstream, "");
    let mut caller = Caller::connect(proxy.address);
    caller.write("GET /acme HTTP/1.1\r\nHost: localhost\r\n\r\n");
    while upstream.requests().is_empty() {
        std::thread::yield_now();
    }
    drop(caller);
    assert_eq!(ended.recv_timeout(SOON), Ok(true));
}
