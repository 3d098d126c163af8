use super::*;

const CONFIG: Config = Config {
    target: 8192,
    headers: 100,
};

fn request(target: &str) -> Request<()> {
    Request::builder()
        .uri(target)
        .header("host", "localhost")
        .body(())
        .expect("a request")
}

fn verdict(target: &str) -> Result<bool, Refusal> {
    normalize(request(target), &CONFIG).map(|it| it.has_encoded_slash())
}

#[test]
fn a_plain_request_passes_with_its_bytes_untouched() {
    let it = normalize(request("/api/v2/a%20b//c;x=1?q=%2F&r=..%2f"), &CONFIG).expect("passes");
    assert_eq!(it.path(), "/api/v2/a%20b//c;x=1");
    assert_eq!(it.host(), Some("localhost"));
    assert!(!it.has_encoded_slash(), "the query is not the path");
}

#[test]
fn a_segment_of_dots_is_refused_in_every_spelling() {
    for dots in [
        "..",
        ".",
        "%2e%2e",
        ".%2E",
        "%2e.",
        "..;x",
        "%2e%2e%3bx",
        "..%2fx",
        "x%2f..",
        "x%5c..%5cy",
        "%252e%252E",
        ".%25252e",
        "%25%32%65.",
        "..%252fx",
        "..%20",
        "%09..",
        "..%0a;x",
        "..%3fx",
        "..%23",
    ] {
        for path in [
            format!("/{dots}"),
            format!("/a/{dots}/b"),
            format!("/a/{dots}"),
        ] {
            assert_eq!(
                verdict(&path),
                Err(Refusal::Ambiguous("the path contains a segment of dots")),
                "{path}"
            );
        }
    }
}

#[test]
fn names_that_merely_contain_dots_pass() {
    for path in [
        "/...",
        "/.well-known/x",
        "/a.b",
        "/..a",
        "/a..",
        "/%2e%2e%2e",
        "/a%20..",
        "/%252e%252ea",
    ] {
        assert_eq!(verdict(path), Ok(false), "{path}");
    }
}

#[test]
fn an_encoded_slash_is_told_to_the_router() {
    assert_eq!(verdict("/a%2Fb"), Ok(true));
    assert_eq!(verdict("/a%5cb"), Ok(true));
}

#[test]
fn broken_percent_encoding_and_zero_bytes_are_refused() {
    for path in ["/%", "/%2", "/%zz", "/%+1", "/a%00b"] {
        assert!(verdict(path).is_err(), "{path}");
    }
}

#[test]
fn a_query_may_have_anything_but_bytes_that_must_be_encoded() {
    assert_eq!(verdict("/x?a=\\{}|^`%zz%00/../"), Ok(false));
    for query in ["\u{e9}", "\u{85}HTTP/1.0", "a\u{a0}b"] {
        assert!(verdict(&format!("/x?{query}")).is_err(), "{query:?}");
    }
}

#[test]
fn a_character_in_more_bytes_than_it_needs_is_refused() {
    for path in [
        "/%c0%ae%c0%ae/",
        "/a%C0%AFb",
        "/a%c1%9cb",
        "/a%e0%80%afb",
        "/a%f0%80%80%af",
        "/a%25c0%25af",
    ] {
        assert!(verdict(path).is_err(), "{path}");
    }
    for path in [
        "/caf%c3%a9",
        "/%e2%82%ac",
        "/%f0%9f%98%80",
        "/caf%e9",
        "/%c0",
        "/%e0s",
    ] {
        assert_eq!(verdict(path), Ok(false), "{path}");
    }
}

#[test]
fn decoding_ends_when_nothing_is_left_to_decode() {
    assert_eq!(decode_fully(b"/%2541%%34%31%zz%"), b"/AA%zz%");
    let deep = format!("/%{}41", "25".repeat(4000));
    assert_eq!(decode_fully(deep.as_bytes()), b"/A");
}

#[test]
fn a_target_that_is_not_a_path_is_refused() {
    for target in ["admin", "*"] {
        assert!(verdict(target).is_err(), "{target}");
    }
    let mut options = request("*");
    *options.method_mut() = Method::OPTIONS;
    assert!(normalize(options, &CONFIG).is_ok());
}

#[test]
fn an_absolute_target_must_agree_with_the_host() {
    assert_eq!(verdict("http://localhost/x"), Ok(false));
    assert!(verdict("http://evil/x").is_err());
    assert!(verdict("http://user@localhost/x").is_err());
    assert!(verdict("https://localhost/x").is_err());
}

#[test]
fn a_request_needs_exactly_one_host_unless_it_is_http_1_0() {
    let mut two = request("/");
    two.headers_mut()
        .append("host", HeaderValue::from_static("localhost"));
    assert!(normalize(two, &CONFIG).is_err());

    let mut none = request("/");
    none.headers_mut().remove("host");
    assert!(normalize(none, &CONFIG).is_err());

    let mut old = request("/");
    old.headers_mut().remove("host");
    *old.version_mut() = Version::HTTP_10;
    assert_eq!(normalize(old, &CONFIG).expect("passes").host(), None);
}

#[test]
fn any_transfer_coding_but_one_chunked_is_refused() {
    for coding in [
        "gzip, chunked",
        ",chunked",
        "chunked, chunked",
        "identity",
        "chunked ",
    ] {
        let mut it = request("/");
        it.headers_mut()
            .insert("transfer-encoding", HeaderValue::from_static(coding));
        assert!(normalize(it, &CONFIG).is_err(), "{coding:?}");
    }
    let mut twice = request("/");
    twice
        .headers_mut()
        .append("transfer-encoding", HeaderValue::from_static("chunked"));
    twice
        .headers_mut()
        .append("transfer-encoding", HeaderValue::from_static("chunked"));
    assert!(normalize(twice, &CONFIG).is_err());
}

#[test]
fn an_expectation_other_than_100_continue_cannot_be_met() {
    let mut it = request("/");
    it.headers_mut()
        .insert("expect", HeaderValue::from_static("200-ok"));
    assert_eq!(
        normalize(it, &CONFIG).expect_err("refused"),
        Refusal::Expectation
    );
}

#[test]
fn methods_that_would_echo_or_tunnel_are_refused() {
    for method in ["TRACE", "trace", "TRACK", "track", "CONNECT", "Connect"] {
        let mut it = request("/");
        *it.method_mut() = Method::from_bytes(method.as_bytes()).expect("a method");
        assert!(
            matches!(normalize(it, &CONFIG), Err(Refusal::Method(_))),
            "{method}"
        );
    }
}

#[test]
fn they_are_refused_in_a_header_or_a_parameter_that_stands_for_the_method_too() {
    let verdict = |target: &str, header: (&'static str, &str)| {
        let mut it = request(target);
        let value = header.1.parse().expect("a value");
        it.headers_mut().append(header.0, value);
        normalize(it, &CONFIG).map(|_| ())
    };
    for (target, header) in [
        ("/", ("x-http-method-override", "TRACE")),
        ("/", ("x-http-method", " track\t")),
        ("/", ("x-method-override", "Connect")),
        ("/?_method=trace", ("x-other", "")),
        ("/?a;%5Fmethod=%54RACE", ("x-other", "")),
    ] {
        assert_eq!(
            verdict(target, header),
            Err(Refusal::OtherMethod),
            "{target} {header:?}"
        );
    }
    assert_eq!(
        verdict("/?method=trace", ("x-http-method-override", "DELETE")),
        Ok(())
    );
}

#[test]
fn a_target_above_the_limit_is_refused_as_too_long() {
    let long = format!("/{}", "a".repeat(8192));
    assert_eq!(verdict(&long), Err(Refusal::TargetTooLong(8192)));
}
