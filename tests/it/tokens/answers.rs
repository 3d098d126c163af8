//! Answers of a token endpoint that is broken or hostile.

use std::time::Duration;

use super::{Endpoint, START, Say, Setting, answer, ok, token};
use crate::support::Upstream;

fn chunked(body: &[u8]) -> Vec<u8> {
    let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    bytes.extend(format!("{:x}\r\n", body.len()).into_bytes());
    bytes.extend(body);
    bytes.extend(b"\r\n0\r\n\r\n");
    bytes
}

fn with_token(token: &str) -> Vec<u8> {
    ok(serde_json::json!({ "access_token": token, "expires_in": 300 }).to_string())
}

fn with(rest: &str) -> Vec<u8> {
    ok(format!(r#"{{"access_token":"abc"{rest}}}"#))
}

/// What no token can be taken from, each with a name.
fn hostile() -> Vec<(&'static str, Say)> {
    let good = r#"{"access_token":"abc","expires_in":300}"#;
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let deep = format!(
        r#"{{"access_token":"abc","x":{}{}}}"#,
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    let deep_objects = format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
    // A stored block, as gzip has it, and the wrong sum after it: nobody looks at that.
    let gzip = [
        &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 39, 0, 216, 255][..],
        good.as_bytes(),
        &[0; 8],
    ]
    .concat();
    let head = "HTTP/1.1 200 OK\r\n";
    let this = |bytes: &[u8]| Say::This(bytes.to_vec());
    vec![
        ("nothing", Say::Hangup),
        ("200 and no body", Say::This(ok(""))),
        ("204", this(b"HTTP/1.1 204 No Content\r\n\r\n")),
        (
            "a page",
            Say::This(ok("<html><title>Log in</title></html>")),
        ),
        ("null", Say::This(ok("null"))),
        ("a list", Say::This(ok("[]"))),
        ("a text", Say::This(ok(r#""abc""#))),
        ("a number", Say::This(ok("17"))),
        ("an empty object", Say::This(ok("{}"))),
        ("no token", Say::This(ok(r#"{"expires_in":300}"#))),
        ("a null token", Say::This(ok(r#"{"access_token":null}"#))),
        (
            "a number for a token",
            Say::This(ok(r#"{"access_token":1}"#)),
        ),
        (
            "a list for a token",
            Say::This(ok(r#"{"access_token":["abc"]}"#)),
        ),
        (
            "an object for a token",
            Say::This(ok(r#"{"access_token":{"a":"b"}}"#)),
        ),
        ("an empty token", Say::This(with_token(""))),
        ("a token of one space", Say::This(with_token(" "))),
        ("a token with a space", Say::This(with_token("a b"))),
        (
            "a token with CR LF",
            Say::This(with_token("a\r\nX-Admin: 1")),
        ),
        ("a token with LF", Say::This(with_token("a\nb"))),
        ("a token with NUL", Say::This(with_token("a\0b"))),
        ("a token with DEL", Say::This(with_token("a\u{7f}b"))),
        ("a token beyond ASCII", Say::This(with_token("ä"))),
        (
            "a token of 16 KiB and one",
            Say::This(with_token(&"a".repeat(16 * 1024 + 1))),
        ),
        (
            "a token of 1 MB",
            Say::This(with_token(&"a".repeat(1 << 20))),
        ),
        (
            "a lone surrogate",
            Say::This(ok(r#"{"access_token":"\ud800"}"#)),
        ),
        (
            "two tokens",
            Say::This(ok(r#"{"access_token":"abc","access_token":"def"}"#)),
        ),
        (
            "two lives",
            Say::This(with(r#","expires_in":300,"expires_in":1"#)),
        ),
        (
            "a byte order mark",
            Say::This(ok([b"\xef\xbb\xbf", good.as_bytes()].concat())),
        ),
        ("UTF-16", Say::This(ok(utf16))),
        ("not UTF-8", Say::This(ok(b"{\"access_token\":\"\xff\"}"))),
        ("more after it", Say::This(ok(format!("{good}{good}")))),
        ("cut off", Say::This(ok(&good[..good.len() - 1]))),
        ("10 MB", Say::This(ok("a".repeat(10 << 20)))),
        (
            "10 MB of spaces first",
            Say::This(ok(" ".repeat(10 << 20) + good)),
        ),
        (
            "an endless body",
            Say::Forever(format!("{head}\r\n").into(), vec![b' '; 4096]),
        ),
        (
            "endless chunks",
            Say::Forever(
                format!("{head}Transfer-Encoding: chunked\r\n\r\n").into(),
                b"10\r\n                \r\n".to_vec(),
            ),
        ),
        (
            "a promise of more",
            this(format!("{head}Content-Length: 100\r\n\r\n{good}").as_bytes()),
        ),
        (
            "a promise of less",
            this(format!("{head}Content-Length: 10\r\n\r\n{good}").as_bytes()),
        ),
        (
            "two lengths",
            this(
                format!("{head}Content-Length: 39\r\nContent-Length: 38\r\n\r\n{good}").as_bytes(),
            ),
        ),
        (
            "no length at all",
            this(format!("{head}Content-Length: many\r\n\r\n{good}").as_bytes()),
        ),
        (
            "chunks that are none",
            this(format!("{head}Transfer-Encoding: chunked\r\n\r\n{good}").as_bytes()),
        ),
        ("a broken chunk", {
            let whole = chunked(good.as_bytes());
            Say::This(whole[..whole.len() - 9].to_vec())
        }),
        (
            "gzip",
            Say::This(answer("200 OK", "Content-Encoding: gzip\r\n", gzip)),
        ),
        ("10,000 deep", Say::This(ok(deep))),
        ("10,000 objects deep", Say::This(ok(deep_objects))),
        ("a head of 1 MB", {
            let line = format!("X-Long: {}\r\n", "a".repeat(1 << 20));
            Say::This(answer("200 OK", &line, good))
        }),
        ("5,000 headers", {
            Say::This(answer("200 OK", &"X-Many: 1\r\n".repeat(5000), good))
        }),
        ("not HTTP", this(b"SSH-2.0-OpenSSH_9.6\r\n")),
        ("HTTP of another kind", this(b"HTTP/2 200\r\n\r\n")),
        ("a hundred", this(b"HTTP/1.1 100 Continue\r\n\r\n")),
        (
            "another protocol",
            this(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
        ),
        (
            "a type that is not Bearer",
            Say::This(with(r#","token_type":"mac""#)),
        ),
        (
            "a type that is no text",
            Say::This(with(r#","token_type":1"#)),
        ),
        ("a life of nothing", Say::This(with(r#","expires_in":0"#))),
        ("a life of less", Say::This(with(r#","expires_in":-1"#))),
        (
            "a life of next to nothing",
            Say::This(with(r#","expires_in":0.0001"#)),
        ),
        ("a true life", Say::This(with(r#","expires_in":true"#))),
        (
            "a life in words",
            Say::This(with(r#","expires_in":"an hour""#)),
        ),
        (
            "a life that is no number",
            Say::This(with(r#","expires_in":"NaN""#)),
        ),
        (
            "a life too large to be read",
            Say::This(with(r#","expires_in":1e400"#)),
        ),
        ("a list of lives", Say::This(with(r#","expires_in":[300]"#))),
        (
            "301",
            Say::This(answer("301 Moved", "Location: /elsewhere\r\n", good)),
        ),
        (
            "302",
            Say::This(answer(
                "302 Found",
                "Location: https://evil.example/\r\n",
                good,
            )),
        ),
        (
            "307",
            Say::This(answer("307 Again", "Location: /token\r\n", good)),
        ),
        (
            "308",
            Say::This(answer("308 Again", "Location: /token\r\n", good)),
        ),
        ("500 with a token", Say::This(answer("500 Oh", "", good))),
        ("400 with a token", Say::This(answer("400 Bad", "", good))),
    ]
}

#[test]
fn no_hostile_answer_is_taken_for_a_token_and_each_is_asked_again() {
    let (names, says): (Vec<&str>, Vec<Say>) = hostile().into_iter().unzip();
    let all = names.len();
    assert!(all >= 40);
    let mut says = says.into_iter();
    let before = resident();
    let endpoint =
        Endpoint::with(move |number, _| says.next().unwrap_or_else(|| token(number, 300)));
    let api = Upstream::saying("");
    let it = Setting::new(&endpoint, &api, "timeouts.total = \"3s\"");
    let mut now = START;
    for (number, name) in names.iter().enumerate() {
        let failure = it.failure();
        assert_eq!(endpoint.calls(), number + 1, "{name}");
        let answer = it.get();
        assert_eq!(answer.code(), "credential-unavailable", "{name}");
        assert!(
            !failure.reason.contains("abc"),
            "{name}: {}",
            failure.reason
        );
        assert!(failure.until.left(now) <= Duration::from_secs(30), "{name}");
        let succeeded;
        (now, succeeded) = it.next_attempt(&failure, now);
        assert_eq!(succeeded, number + 1 == all, "after {name}");
    }
    assert!(api.requests().is_empty());
    assert_eq!(it.get().status, 200);
    // This process holds the endpoint and what it says, too, and other tests run in it.
    let grown = resident().saturating_sub(before);
    assert!(grown < 150 << 20, "{grown}");
    let requests = endpoint.upstream.requests();
    assert!(requests.iter().all(|it| it.starts_with("POST /token ")));
}

/// How much memory this process has.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = text.split(' ').nth(1).expect("the resident pages");
    pages.parse::<usize>().expect("a number") * 4096
}

#[test]
fn odd_answers_that_are_good_are_taken() {
    for bytes in [
        with(r#","token_type":"BEARER","expires_in":"3600""#),
        with(r#","token_type":null,"expires_in":3600.5"#),
        with(r#","expires_in":1e308"#),
        answer("201 Made", "", r#"{"access_token":"abc"}"#),
        chunked(br#"{"access_token":"abc"}"#),
        [
            b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".to_vec(),
            with(""),
        ]
        .concat(),
        with_token(&"a".repeat(16 * 1024)),
        ok(" \r\n{\"access_token\" : \"abc\"}\n"),
    ] {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
        let endpoint = Endpoint::with(move |_, _| Say::This(bytes.clone()));
        let it = Setting::new(&endpoint, &Upstream::saying(""), "");
        it.token();
        assert_eq!(it.get().status, 200, "{shown}");
    }
}

#[test]
fn what_an_endpoint_says_is_told_without_the_secrets_that_it_echoes() {
    let endpoint = Endpoint::with(|_, _| {
        let said = serde_json::json!({
            "error": "invalid_client",
            "error_description": "what the client knows is wrong",
        });
        Say::This(answer("401 No", "", said.to_string()))
    });
    let it = Setting::new(&endpoint, &Upstream::saying(""), "");
    let reason = it.failure().reason;
    assert!(reason.contains("invalid_client"), "{reason}");
    assert!(!reason.contains("what the client knows"), "{reason}");
    let answer = it.get();
    assert!(
        !answer.text().contains("invalid_client"),
        "callers are told less"
    );
}
