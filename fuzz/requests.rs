//! Bytes of a caller, as far as the upstream's wire: what leaves is one request with one framing, one
//! host and one credential, whatever came in.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use countersign::body::{self, RequestBody};
use countersign::caller::strict::Strict;
use countersign::normalize::{self, normalize};
use countersign::outgoing::{
    self, Authorized, ClientAuthorization, Place, Pseudonym, RefusedPath, prepare,
};
use countersign::upstream::http1::Sending;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::driver::Driver;

/// The host that everything goes to.
const HOST: &str = "target.example";
/// How large and how slow a body may be.
const BODY: body::Config = body::Config {
    limit: None,
    idle: Duration::from_secs(60),
};
/// The credential that everything has.
const OURS: &str = "Bearer ours";

const WORDS: &[&str] = &[
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    "0\r\n\r\n",
    "5\r\nhello\r\n",
    ";x=y",
    "chunked",
    "gzip, chunked",
    "identity",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Transfer-Encoding:\x0bchunked\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: +5\r\n",
    "Content-Length: 5, 5\r\n",
    "Content-Length: 18446744073709551616\r\n",
    "Content_Length: 5\r\n",
    "Host: localhost\r\n",
    "Host: evil.example\r\n",
    "Host: a@b\r\n",
    "Authorization: Bearer theirs\r\n",
    "AUTHORIZATION: Basic eDp5\r\n",
    "Authorization_: x\r\n",
    "Connection: authorization\r\n",
    "Connection: close, host, content-length\r\n",
    "Connection: upgrade\r\n",
    "Upgrade: h2c\r\n",
    "Upgrade: websocket\r\n",
    "HTTP2-Settings: AAMAAABk\r\n",
    "Expect: 100-continue\r\n",
    "TE: trailers\r\n",
    "Trailer: Authorization\r\n",
    "Proxy-Authorization: Basic eDp5\r\n",
    "X-Forwarded-For: 10.0.0.1\r\n",
    "Via: 1.1 x\r\n",
    "X-HTTP-Method-Override: PUT\r\n",
    "GET ",
    "POST ",
    "HEAD ",
    "OPTIONS * ",
    "CONNECT ",
    "TRACE ",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    " HTTP/0.9\r\n",
    " HTTP/2.0\r\n",
    "http://evil.example/",
    "//evil.example",
    "@evil.example",
    "/../",
    "/%2e%2e/",
    "%2f",
    "%5c",
    "%00",
    "%",
    "\\",
    ";",
    "#",
    "?",
    "*",
    "\u{e9}",
];

/// What the fuzzer configures: the three things that can be done with a caller's credential.
fn config(client_authorization: ClientAuthorization) -> outgoing::Config {
    outgoing::Config {
        host: HeaderValue::from_static(HOST),
        base: "/base".into(),
        strip: 0,
        encoded_slash: false,
        refuse: vec![RefusedPath::parse("/base/token").expect("a path")],
        remove: Vec::new(),
        set: vec![(
            HeaderName::from_static("x-set"),
            HeaderValue::from_static("by us"),
        )],
        placement: Some(Place::Header(AUTHORIZATION)),
        client_authorization,
        upgrades: Vec::new(),
        pseudonym: Pseudonym::draw(),
    }
}

/// What an upstream is sent for one request, byte for byte.
async fn sent(mut request: Authorized<RequestBody>) -> Vec<u8> {
    let (mut ours, mut theirs) = tokio::io::duplex(1 << 20);
    let body = request.body_mut().take();
    let authority = HeaderValue::from_static(HOST);
    let mut sending = Sending::begin(request.head(), &authority, body, false, Vec::new());
    tokio::select! {
        biased;
        // A body that breaks off breaks this off.
        _ = poll_fn(|context| sending.poll(&mut ours, context)) => {}
        () = quiet() => {}
    }
    drop(ours);
    let mut wire = Vec::new();
    let _ = theirs.read_to_end(&mut wire).await;
    wire
}

/// Long enough for all that can still happen to have happened: nothing here waits for a clock.
async fn quiet() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Serves the caller's bytes with the stages of the gateway, and gives the wire of each request that
/// left.
async fn forwarded(bytes: &[u8], config: &Rc<outgoing::Config>) -> Vec<(Vec<u8>, bool)> {
    let wires = Rc::new(RefCell::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let (wires, config) = (Rc::clone(&wires), Rc::clone(config));
        async move {
            let limits = normalize::Config {
                target: 8192,
                headers: 100,
            };
            let (head, incoming) = request.into_parts();
            let body = RequestBody::new(incoming, BODY, Instant::now()).expect("no limit");
            let request = Request::from_parts(head, body);
            if let Ok(request) = normalize(request, &limits) {
                let request = again(request, &limits);
                if let Ok(outgoing) = prepare(request, &config) {
                    let theirs = outgoing.has_callers_credential();
                    let authorized = match theirs {
                        true => outgoing.as_it_is(),
                        false => outgoing.authorize(
                            &Place::Header(AUTHORIZATION),
                            HeaderValue::from_static(OURS),
                        ),
                    };
                    let wire = sent(authorized).await;
                    wires.borrow_mut().push((wire, theirs));
                }
            }
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let (mut caller, ours) = tokio::io::duplex(1 << 20);
    caller.write_all(bytes).await.expect("it fits");
    caller.shutdown().await.expect("it ends");
    let serving = hyper::server::conn::http1::Builder::new()
        .max_headers(100)
        .half_close(true)
        .serve_connection(TokioIo::new(Strict::alone(ours)), service);
    let mut answers = Vec::new();
    // An error is as good an end as any.
    let _ = tokio::join!(serving, caller.read_to_end(&mut answers));
    // Where the body broke before anything was written, nothing left.
    wires
        .take()
        .into_iter()
        .filter(|(wire, _)| !wire.is_empty())
        .collect()
}

/// What is normal stays as it is when it is normalized once more.
fn again<B>(
    request: normalize::Normalized<B>,
    limits: &normalize::Config,
) -> normalize::Normalized<B> {
    let seen = |it: &normalize::Normalized<B>| {
        (
            it.host().map(str::to_owned),
            it.path().to_owned(),
            it.headers().clone(),
            it.has_encoded_slash(),
        )
    };
    let first = seen(&request);
    let (parts, body) = request.into_parts();
    let request = normalize(Request::from_parts(parts, body), limits).expect("it is normal");
    assert_eq!(seen(&request), first);
    request
}

/// One request and nothing else, read by the letter of RFC 9112. A body may be cut short where the
/// caller's was.
fn check(wire: &[u8], has_callers_credential: bool) {
    let text = String::from_utf8_lossy(wire);
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no head: {text:?}"));
    let mut lines = head.split("\r\n");
    let line: Vec<&str> = lines.next().expect("a line").split(' ').collect();
    let [method, target, "HTTP/1.1"] = line[..] else {
        panic!("not a request line: {text:?}");
    };
    assert!(!["TRACE", "TRACK", "CONNECT"].contains(&method), "{text:?}");
    let is_ours = target.starts_with("/base") || target == "*";
    assert!(is_ours && !target.contains(['#', '\\']), "{text:?}");
    assert!(!target.starts_with("/base/token"), "{text:?}");
    let mut framings = Vec::new();
    let mut credentials = Vec::new();
    let mut hosts = Vec::new();
    for line in lines {
        let (name, value) = line
            .split_once(": ")
            .unwrap_or_else(|| panic!("not a header: {line:?}"));
        assert!(
            !value.contains(['\r', '\n', '\0']) && !name.contains([' ', '\t', '_']),
            "{line:?}"
        );
        match name.to_ascii_lowercase().as_str() {
            "content-length" => framings.push(format!("length {value}")),
            "transfer-encoding" => framings.push(value.to_owned()),
            "authorization" => credentials.push(value.to_owned()),
            // Said anew for this connection, where the caller takes trailers (RFC 9110 section 10.1.4).
            "te" => assert_eq!(value, "trailers", "{text:?}"),
            "host" => hosts.push(value.to_owned()),
            "connection"
            | "keep-alive"
            | "trailer"
            | "upgrade"
            | "http2-settings"
            | "proxy-connection"
            | "proxy-authorization"
            | "expect" => panic!("not of this connection: {line:?}"),
            _ => {}
        }
    }
    assert_eq!(hosts, [HOST], "{text:?}");
    assert_eq!(credentials.len(), 1, "{text:?}");
    assert_eq!(credentials[0] == OURS, !has_callers_credential, "{text:?}");
    match framings.as_slice() {
        [] => assert_eq!(body, "", "a body without a framing: {text:?}"),
        [length] if length.starts_with("length ") => {
            let length: usize = length[7..].parse().expect("a length in digits");
            assert!(
                wire.len() - (head.len() + 4) <= length || text.contains('\u{fffd}'),
                "{text:?}"
            );
        }
        [chunked] if chunked == "chunked" => check_chunks(&wire[wire.len() - body_length(wire)..]),
        _ => panic!("two framings: {text:?}"),
    }
}

fn body_length(wire: &[u8]) -> usize {
    let end = wire
        .windows(4)
        .position(|it| it == b"\r\n\r\n")
        .expect("a head");
    wire.len() - end - 4
}

fn check_chunks(mut body: &[u8]) {
    loop {
        let Some(end) = body.windows(2).position(|it| it == b"\r\n") else {
            assert!(body.len() < 20, "no line of a chunk: {body:?}");
            return;
        };
        let size = std::str::from_utf8(&body[..end]).expect("digits");
        let size = usize::from_str_radix(size, 16).expect("a size and no extension");
        let Some(rest) = body.get(end + 2 + size..) else {
            // Cut short, as the caller's was.
            return;
        };
        if size == 0 {
            assert_eq!(rest, b"\r\n", "nothing follows, and no trailers");
            return;
        }
        body = rest.strip_prefix(b"\r\n").unwrap_or_else(|| {
            assert!(rest.len() < 2, "no end of a chunk: {rest:?}");
            b""
        });
        if body.is_empty() {
            return;
        }
    }
}

#[test]
fn whatever_comes_in_one_request_with_one_credential_goes_out() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let policies = [
        ClientAuthorization::Replace,
        ClientAuthorization::Reject,
        ClientAuthorization::Pass,
    ];
    let configs = policies.map(|it| Rc::new(config(it)));
    let mut left = 0;
    let driver = Driver::new("requests", WORDS);
    driver.run(4_000, |input| {
        for config in &configs {
            for (wire, theirs) in runtime.block_on(forwarded(input, config)) {
                assert!(
                    !theirs || matches!(config.client_authorization, ClientAuthorization::Pass)
                );
                check(&wire, theirs);
                left += 1;
            }
        }
    });
    assert!(
        left > 1_000,
        "only {left} requests left, so little was tried"
    );
}
