use super::*;
use crate::normalize::{self, normalize};
use http_body_util::Empty;

fn config() -> Config {
    Config {
        host: HeaderValue::from_static("acme.example"),
        base: String::new(),
        strip: "/acme".len(),
        encoded_slash: false,
        refuse: vec![RefusedPath::parse("/auth/token").expect("a path")],
        remove: vec![HeaderName::from_static("x-unwanted")],
        set: vec![(
            HeaderName::from_static("x-wanted"),
            HeaderValue::from_static("yes"),
        )],
        placement: Some(Place::Header(header::AUTHORIZATION)),
        client_authorization: ClientAuthorization::Replace,
        upgrades: vec!["websocket".into()],
        pseudonym: Pseudonym::draw(),
    }
}

fn request(target: &str, headers: &[(&str, &str)]) -> Normalized<Empty<&'static [u8]>> {
    let mut builder = Request::builder().uri(target).header("host", "localhost");
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let request = builder.body(Empty::new()).expect("a request");
    normalize(
        request,
        &normalize::Config {
            target: 8192,
            headers: 100,
        },
    )
    .expect("one meaning")
}

fn sent(target: &str, headers: &[(&str, &str)], config: &Config) -> Request<Empty<&'static [u8]>> {
    let outgoing = prepare(request(target, headers), config).expect("may leave");
    let authorized = outgoing.authorize(
        &Place::Header(header::AUTHORIZATION),
        HeaderValue::from_static("Bearer ours"),
    );
    authorized.head().clone()
}

#[test]
fn the_prefix_is_cut_off_and_the_base_put_before() {
    let mut config = config();
    let path = |target: &str, config: &Config| sent(target, &[], config).uri().to_string();
    assert_eq!(path("/acme/api/v2/x?q=%2f", &config), "/api/v2/x?q=%2f");
    assert_eq!(path("/acme", &config), "/");
    assert_eq!(path("/acme?q", &config), "/?q");
    config.base = "/tenant".into();
    assert_eq!(path("/acme//x", &config), "/tenant//x");
    config.strip = 0;
    assert_eq!(path("/acme/x", &config), "/tenant/acme/x");
}

#[test]
fn the_host_is_the_targets_and_never_the_callers() {
    assert_eq!(
        sent("/acme", &[], &config()).headers()["host"],
        "acme.example"
    );
}

#[test]
fn exactly_one_credential_leaves_whatever_the_caller_sends() {
    let callers = [
        ("authorization", "Basic eA=="),
        ("authorization", "Bearer theirs"),
        ("proxy-authorization", "Basic eA=="),
        ("connection", "Authorization, close"),
    ];
    let request = sent("/acme", &callers, &config());
    let values: Vec<_> = request.headers().get_all("authorization").iter().collect();
    assert_eq!(values, ["Bearer ours"]);
    assert!(!request.headers().contains_key("proxy-authorization"));
    assert!(!request.headers().contains_key("connection"));
}

#[test]
fn what_a_caller_must_not_claim_is_dropped() {
    let claims = [
        ("x-forwarded-for", "1.2.3.4"),
        ("forwarded", "for=1.2.3.4"),
        ("x-original-url", "/auth/token"),
        ("x_user", "root"),
        ("x.forwarded.for", "1.2.3.4"),
        ("x.wanted", "no"),
        ("x.http.method-override", "DELETE"),
        ("content.length", "5"),
        ("x-unwanted", "1"),
        ("x-kept", "1"),
        ("te", "gzip"),
        ("upgrade", "h2c"),
        ("expect", "100-continue"),
    ];
    let request = sent("/acme", &claims, &config());
    let mut names: Vec<&str> = request.headers().keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["authorization", "host", "via", "x-kept", "x-wanted"]
    );
}

#[test]
fn a_target_may_refuse_or_pass_on_a_callers_credential() {
    let mut config = config();
    let theirs = [("authorization", "Bearer theirs")];
    config.client_authorization = ClientAuthorization::Reject;
    assert_eq!(
        prepare(request("/acme", &theirs), &config).expect_err("refused"),
        Refusal::CallersCredential
    );
    config.client_authorization = ClientAuthorization::Pass;
    let outgoing = prepare(request("/acme", &theirs), &config).expect("may leave");
    assert!(outgoing.has_callers_credential());
    assert_eq!(
        outgoing.as_it_is().head().headers()["authorization"],
        "Bearer theirs"
    );

    let dropped = [
        ("authorization", "Bearer theirs"),
        ("connection", "authorization"),
    ];
    let outgoing = prepare(request("/acme", &dropped), &config).expect("may leave");
    assert!(!outgoing.has_callers_credential(), "ours has to be put on");

    let empty = [("authorization", "")];
    let outgoing = prepare(request("/acme", &empty), &config).expect("may leave");
    assert!(!outgoing.has_callers_credential(), "ours has to be put on");

    let two = [theirs[0], ("authorization", "Basic eA==")];
    assert_eq!(
        prepare(request("/acme", &two), &config).expect_err("refused"),
        Refusal::TwoCredentials
    );

    config.placement = Some(Place::Header(HeaderName::from_static("x-api-key")));
    let outgoing = prepare(request("/acme", &theirs), &config).expect("may leave");
    assert!(!outgoing.has_callers_credential(), "ours has to be put on");
    let request = outgoing.as_it_is();
    assert!(
        !request.head().headers().contains_key("authorization"),
        "it would be the second"
    );
}

#[test]
fn a_refused_path_is_refused_in_every_spelling() {
    for path in [
        "/auth/token",
        "/auth/token/",
        "/auth/token/refresh",
        "/auth/token?x",
        "//auth///token",
        "/Auth/TOKEN",
        "/%61uth/t%6Fken",
        "/auth;v=1/token;x",
        "/auth/token;x/y",
        "/%2561uth/%2574%256fken",
        "/auth%20/token%09",
        "/auth./token..",
        "/auth.%20./token",
        "/auth/token.json",
        "/auth/token%3fx",
        "/auth/token%23",
        "/auth%252ftoken",
        "/%EF%BD%81uth/token",
        "/auth%EF%BC%8Ftoken?",
        "/auth%E2%88%95token",
        "/auth/to%E2%84%AAen",
    ] {
        let refusal = prepare(request(&format!("/acme{path}"), &[]), &config());
        assert_eq!(refusal.expect_err(path), Refusal::Path, "{path}");
    }
    for path in [
        "/auth",
        "/auth/tokens",
        "/x/auth/token",
        "/authtoken",
        "/auth.x/token",
        "/auth/to.ken",
    ] {
        assert!(
            prepare(request(&format!("/acme{path}"), &[]), &config()).is_ok(),
            "{path}"
        );
    }
}

#[test]
fn an_encoded_slash_hides_no_refused_path_even_where_it_is_passed() {
    let mut config = config();
    let encoded = || request("/acme/auth%2ftoken", &[]);
    assert_eq!(
        prepare(encoded(), &config).expect_err("refused"),
        Refusal::EncodedSlash
    );
    config.encoded_slash = true;
    assert_eq!(
        prepare(encoded(), &config).expect_err("refused"),
        Refusal::Path
    );
}

#[test]
fn a_request_that_comes_back_is_a_loop() {
    let config = config();
    let via = sent("/acme", &[], &config).headers()["via"]
        .to_str()
        .expect("text")
        .to_owned();
    let back = request("/acme", &[("via", &format!("1.1 other, {via}"))]);
    assert_eq!(prepare(back, &config).expect_err("refused"), Refusal::Loop);
    assert!(prepare(request("/acme", &[("via", "1.1 countersign-0")]), &config).is_ok());
}

#[test]
fn a_refused_path_is_refused_however_often_it_is_encoded() {
    let refused = RefusedPath::parse("/api/v1/auth").expect("a path");
    for path in [
        "/api/v1/auth",
        "/%61pi/v1/auth/login",
        "/%2561pi/v1/auth",
        "/%252561pi/v1/auth",
        "/api/v1/auth/%252e%252e/x",
        "/api%252fv1%252fauth",
        "/api/v1/auth.",
        "/api/v1/auth%20/x",
        "/API;a=b//v1/./auth",
    ] {
        assert!(refused.refuses(path), "{path}");
    }
    for path in [
        "/api/v1/authors",
        "/api/v1",
        "/x/api/v1/auth",
        "/api/v1/%61",
        "/",
    ] {
        assert!(!refused.refuses(path), "{path}");
    }
}
