//! The target sees what it would see if it were called directly: the same method, path and body byte
//! for byte, and the same headers less those of the connection, plus ours.

use std::fmt::Write;
use std::io::Read;

use crate::support::caller::Answer;
use crate::support::{Caller, Folder, Proxy, Upstream, acme, get, proxy_to};

/// A request as lines: the first, the headers by name with each one's values in their order, and the
/// body without its chunks.
#[derive(Debug, PartialEq)]
struct Request {
    line: String,
    headers: Vec<(String, String)>,
    body: String,
}

fn read(request: &str) -> Request {
    let (head, body) = request.split_once("\r\n\r\n").expect("a head");
    let mut lines = head.split("\r\n");
    let line = lines.next().expect("a line").to_owned();
    let mut headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    // Stable: what is there twice keeps its order.
    headers.sort_by(|one, other| one.0.cmp(&other.0));
    let is_chunked = headers.iter().any(|it| it.0 == "transfer-encoding");
    let body = if is_chunked {
        without_chunks(body)
    } else {
        body.to_owned()
    };
    Request {
        line,
        headers,
        body,
    }
}

fn without_chunks(mut rest: &str) -> String {
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n").expect("a size");
        let size = usize::from_str_radix(size.split(';').next().expect("it"), 16).expect("hex");
        if size == 0 {
            return body;
        }
        body.push_str(&after[..size]);
        rest = &after[size + 2..];
    }
}

/// What a target should see of a caller's request, which goes to `/acme`.
fn expected(request: &str) -> Request {
    const OF_THE_CONNECTION: [&str; 6] = [
        "connection",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
    ];
    let mut wanted = read(request);
    let version = if wanted.line.ends_with("1.0") {
        "1.0"
    } else {
        "1.1"
    };
    let line = wanted.line.replace("HTTP/1.0", "HTTP/1.1");
    let line = match line.replacen(" /acme", " ", 1) {
        line if line.contains("  ") => line.replacen("  ", " / ", 1),
        line if line.contains(" ?") => line.replacen(" ?", " /?", 1),
        line => line,
    };
    wanted.line = line;
    wanted
        .headers
        .retain(|(name, _)| !OF_THE_CONNECTION.contains(&name.as_str()));
    let ours = [
        ("host", "upstream.example"),
        ("via", version),
        ("authorization", "ours"),
    ];
    wanted
        .headers
        .extend(ours.map(|(name, value)| (name.to_owned(), value.to_owned())));
    wanted.headers.sort_by(|one, other| one.0.cmp(&other.0));
    wanted
}

/// What it did see, with our own values made short.
fn seen(request: &str) -> Request {
    let mut seen = read(request);
    for (name, value) in &mut seen.headers {
        match name.as_str() {
            "via" => value.truncate(3),
            "authorization" => {
                assert!(value.starts_with("Bearer ey"), "{value}");
                *value = "ours".into();
            }
            _ => {}
        }
    }
    seen
}

/// Odd requests, all of them legal. Each is what stands between `/acme` and the end.
fn requests() -> Vec<String> {
    let host = "Host: localhost\r\n";
    let mut all = Vec::new();
    for path in [
        "",
        "/",
        "?",
        "/?",
        "/x?",
        "/x?a=b&&c==&=",
        "/x?a=/?#".trim_end_matches('#'),
        "//",
        "//x//y/",
        "/a;b=c;d/e,f/g+h/%20i/j%20",
        "/%41%7e~/!$&'()*+,;=:@-._",
        "/a%3fb%23c",
        "/%C3%A9?q=%C3%A9",
        "/x?url=http://other.example/%2F..%2F",
        "/a:b@c",
        "/...",
        "/.hidden/x.",
        "/x?[]",
        "/%E2%80%AE",
        "/?%",
        "/x?a=%zz",
    ] {
        all.push(format!("GET /acme{path} HTTP/1.1\r\n{host}\r\n"));
    }
    for method in [
        "GET",
        "HEAD",
        "OPTIONS",
        "PROPFIND",
        "PROPPATCH",
        "MKCOL",
        "REPORT",
        "PATCH",
        "QUERY",
        "PURGE",
        "M-SEARCH",
        "get",
        "X!$%&'*+-.^_`|~",
        "DELETE",
    ] {
        all.push(format!("{method} /acme/m HTTP/1.1\r\n{host}\r\n"));
    }
    for method in [
        "GET", "POST", "PUT", "PATCH", "DELETE", "QUERY", "PROPFIND", "OPTIONS",
    ] {
        let line = format!("{method} /acme/b HTTP/1.1\r\n{host}");
        all.push(format!("{line}Content-Length: 4\r\n\r\nbody"));
        all.push(format!("{line}Content-Length: 0\r\n\r\n"));
        all.push(format!(
            "{line}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"
        ));
        all.push(format!("{line}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"));
    }
    for headers in [
        "X-Empty:\r\n",
        "X-Twice: 2\r\nX-Other: 3\r\nX-Twice: 1\r\n",
        "ACCEPT: */*\r\naccept: text/html;q=0.5\r\nAccEpt-LanGuage: de\r\n",
        "Cookie: a=1; b=\"2\"; c=\r\n",
        "Range: bytes=0-1,5-\r\nIf-Range: \"x\"\r\n",
        "If-None-Match: \"a\", W/\"b\"\r\nIf-Modified-Since: yesterday\r\n",
        "X-Spaces: a  b\tc\r\n",
        "!#$%&'*+-.^`|~1: odd name\r\n",
        "Content-Encoding: gzip\r\nAccept-Encoding: br, identity;q=0\r\n",
        "User-Agent: legacy/0.1 (\"quoted\") \\ back\r\n",
        "Cache-Control: no-cache\r\nPragma: no-cache\r\nUpgrade-Insecure-Requests: 1\r\n",
        "Connection: close\r\nX-Kept: 1\r\n",
        "Connection: keep-alive\r\nKeep-Alive: 300\r\nX-Kept: 1\r\n",
        "From: a@b\r\nDate: x\r\nWarning: 199 - x\r\nMax-Forwards: 10\r\n",
        "Content-Type: text/plain\r\n",
        "SOAPAction: \"urn:x\"\r\n",
        "DNT: 1\r\nX-Requested-With: XMLHttpRequest\r\n",
    ] {
        all.push(format!("GET /acme/h HTTP/1.1\r\n{host}{headers}\r\n"));
    }
    let long = format!("Cookie: long={}\r\n", "x".repeat(16 * 1024));
    all.push(format!("GET /acme/h HTTP/1.1\r\n{host}{long}\r\n"));
    let many: String = (0..80).fold(String::new(), |mut all, number| {
        let _ = write!(all, "X-{number}: {number}\r\n");
        all
    });
    all.push(format!("GET /acme/h HTTP/1.1\r\n{host}{many}\r\n"));
    let long = format!("/acme/{}?{}", "p".repeat(4000), "q".repeat(4000));
    all.push(format!("GET {long} HTTP/1.1\r\n{host}\r\n"));
    for headers in [
        "",
        host,
        "Connection: keep-alive\r\nHost: localhost\r\n",
        "Connection: close\r\n",
    ] {
        all.push(format!("GET /acme/old HTTP/1.0\r\n{headers}\r\n"));
        all.push(format!(
            "POST /acme/old HTTP/1.0\r\n{headers}Content-Length: 3\r\n\r\nold"
        ));
    }
    all.push(format!(
        "POST /acme/e HTTP/1.1\r\n{host}Expect: 100-continue\r\nContent-Length: 4\r\n\r\nbody"
    ));
    all.push(format!("\r\n\r\nGET /acme/blank HTTP/1.1\r\n{host}\r\n"));
    all
}

#[test]
fn odd_but_legal_requests_arrive_as_they_were_sent() {
    let upstream = Upstream::with(|conversation| {
        while let Some(request) = conversation.read_request() {
            conversation.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            assert!(!request.is_empty());
        }
    });
    let (proxy, _folder) = proxy_to(&upstream, "");
    let (mut wrong, all) = (String::new(), requests());
    for (number, request) in all.iter().enumerate() {
        let mut caller = Caller::connect(proxy.address);
        let mut answer = caller.write(request).read_head();
        if answer.status == 100 {
            answer = caller.read_head();
        }
        let arrived = upstream.requests();
        let (Some(arrived), 200) = (arrived.get(number), answer.status) else {
            panic!("{} for {request:?}", answer.status);
        };
        let (seen, wanted) = (seen(arrived), expected(request.trim_start()));
        if seen != wanted {
            let _ = writeln!(wrong, "{request:?}\n  wanted {wanted:?}\n  seen   {seen:?}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Answers as a target may give them, each with what a caller sees of it.
#[test]
fn odd_but_legal_answers_pass_as_they_are() {
    for (method, answer, status, body) in [
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: \r\n\r\n",
            200,
            "",
        ),
        (
            "HEAD",
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            404,
            "",
        ),
        ("GET", "HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n", 204, ""),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
            304,
            "",
        ),
        (
            "GET",
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/5\r\nContent-Length: 2\r\n\r\nab",
            206,
            "ab",
        ),
        (
            "GET",
            "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */5\r\nContent-Length: 0\r\n\r\n",
            416,
            "",
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nSet-Cookie: b=2; Path=/\r\nSet-Cookie: a=1\r\nSet-Cookie: b=3\r\nContent-Length: 1\r\n\r\nx",
            200,
            "x",
        ),
        (
            "GET",
            "HTTP/1.1 207 Multi-Status\r\nContent-Length: 1\r\n\r\nx",
            207,
            "x",
        ),
        (
            "GET",
            "HTTP/1.1 299 Odd Success\r\nContent-Length: 1\r\n\r\nx",
            299,
            "x",
        ),
        (
            "GET",
            "HTTP/1.1 599 Odd Failure\r\nContent-Length: 1\r\n\r\nx",
            599,
            "x",
        ),
        (
            "GET",
            "HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\nx",
            200,
            "x",
        ),
        (
            "GET",
            "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            200,
            "x",
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Type: text/plain\r\nAge: 5\r\nVary: *\r\nContent-Length: 1\r\n\r\nx",
            200,
            "x",
        ),
        (
            "GET",
            "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\", Bearer\r\nContent-Length: 1\r\n\r\nx",
            401,
            "x",
        ),
        (
            "GET",
            "HTTP/1.1 300 Multiple Choices\r\nLocation: /elsewhere\r\nContent-Length: 1\r\n\r\nx",
            300,
            "x",
        ),
        (
            "OPTIONS",
            "HTTP/1.1 200 OK\r\nAllow: GET, OPTIONS\r\nContent-Length: 0\r\n\r\n",
            200,
            "",
        ),
    ] {
        let (proxy, _folder) = proxy_to(&Upstream::answering(answer), "");
        let request = format!("{method} /acme HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let mut caller = Caller::connect(proxy.address);
        caller.write(request);
        let got = if method == "HEAD" {
            caller.read_head()
        } else {
            caller.read()
        };
        assert_eq!(
            (got.status, got.text().as_str()),
            (status, body),
            "{answer}"
        );
        let last = answer.rfind("HTTP/1.1 ").expect("a status line");
        let wanted = headers_of(&answer[last..]);
        assert_eq!(less_date(got), wanted, "{answer}");
    }
}

fn headers_of(answer: &str) -> Vec<(String, String)> {
    let head = answer.split("\r\n\r\n").next().expect("a head");
    let lines = head
        .split("\r\n")
        .skip(1)
        .filter_map(|it| it.split_once(':'));
    let mut headers: Vec<_> = lines
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    headers.sort_by(|one, other| one.0.cmp(&other.0));
    headers
}

/// A server without a clock sends none, and a proxy may add one (RFC 9110 section 6.6.1).
fn less_date(answer: Answer) -> Vec<(String, String)> {
    let mut headers = answer.headers;
    headers.retain(|it| it.0 != "date");
    headers.sort_by(|one, other| one.0.cmp(&other.0));
    headers
}

fn naming() -> Upstream {
    Upstream::with(|conversation| {
        while let Some(request) = conversation.read_request() {
            let target = request.split(' ').nth(1).expect("a target");
            let length = target.len();
            conversation.write(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{target}"
            ));
        }
    })
}

#[test]
fn ten_requests_in_a_row_are_answered_in_their_order() {
    let upstream = naming();
    let (proxy, _folder) = proxy_to(&upstream, "");
    let all: String = (0..10)
        .map(|number| format!("GET /acme/{number} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        .collect();
    let mut caller = Caller::connect(proxy.address);
    caller.write(all);
    for number in 0..10 {
        assert_eq!(caller.read().text(), format!("/{number}"));
    }
}

#[test]
fn an_old_caller_keeps_its_connection_if_it_asks_for_that() {
    let upstream = naming();
    let (proxy, _folder) = proxy_to(&upstream, "");
    let mut caller = Caller::connect(proxy.address);
    for number in 0..3 {
        caller.write(format!(
            "GET /acme/{number} HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"
        ));
        let answer = caller.read();
        assert_eq!(answer.text(), format!("/{number}"));
        assert_eq!(answer.header("connection"), Some("keep-alive"));
    }
    caller.write("GET /acme/last HTTP/1.0\r\n\r\n");
    assert_eq!(caller.read().text(), "/last");
    assert!(caller.is_closed());
}

#[test]
fn an_old_caller_gets_no_chunks() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    );
    let (proxy, _folder) = proxy_to(&upstream, "");
    let mut caller = Caller::connect(proxy.address);
    caller.write("GET /acme HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let mut said = String::new();
    caller.stream().read_to_string(&mut said).expect("an end");
    assert!(
        !said.to_ascii_lowercase().contains("transfer-encoding"),
        "{said}"
    );
    assert!(said.ends_with("\r\n\r\nabc"), "{said}");
}

#[test]
fn a_question_about_the_server_itself_arrives_as_one() {
    let upstream = Upstream::saying("");
    let (proxy, _folder) = proxy_to(&upstream, "routes = [{ host = \"whole.example\" }]");
    let mut caller = Caller::connect(proxy.address);
    caller.write("OPTIONS * HTTP/1.1\r\nHost: whole.example\r\n\r\n");
    assert_eq!(caller.read().status, 200);
    assert!(upstream.request().starts_with("OPTIONS * HTTP/1.1\r\n"));
}

#[test]
fn a_token_in_the_query_stands_behind_what_is_there() {
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    let routes = "routes = [{ path = \"/\" }]";
    let text = acme(&folder, upstream.address, &upstream.ca_pem, routes);
    let text = text.replace(
        "client-id = \"a-client\"",
        "client-id = \"a-client\"\nplacement = { query = \"token\" }",
    );
    let proxy = Proxy::start(&folder, &text);
    assert_eq!(get(proxy.address, "/x?y=1").status, 200);
    assert!(upstream.request().starts_with("GET /x?y=1&token=ey"));
    // There is no query that it could stand in, and without it nothing is sent.
    let mut caller = Caller::connect(proxy.address);
    caller.write("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let answer = caller.read();
    assert_eq!((answer.status, &*answer.code()), (400, "bad-request"));
    assert_eq!(upstream.requests().len(), 1);
}
