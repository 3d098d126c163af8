//! Every refusal has its test, in the order of the checks; the rest shows that what is good passes.

#![allow(
    clippy::unwrap_used,
    reason = "a test that panics has failed, as it should"
)]

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::emulator::client::{Answer, Client as Https, Repeat, block_on, tls};
use crate::emulator::{Body, Clock, Effect, Options, Outcome, Running, start};

const HOST: &str = "esa1.corp.example";
const NOW: i64 = 1_700_000_000;
const PASSWORD: &str = "p&s= w%rd+ä";
const FORM: &str = "loginname=officer&password=p%26s%3D+w%25rd%2B%C3%A4";
const FORM_TYPE: &str = "application/x-www-form-urlencoded";
const POLICIES: &str = "/pty/v2/pim/policies";

pub(super) fn user(name: &str, role: Role) -> User {
    User {
        name: name.into(),
        password: PASSWORD.into(),
        may_create_tokens: true,
        role,
    }
}

pub(super) fn users() -> [User; 3] {
    [
        user("officer", Role::SecurityOfficer),
        user("viewer", Role::SecurityViewer),
        User {
            may_create_tokens: false,
            ..user("stranger", Role::SecurityViewer)
        },
    ]
}

/// The good form, for another user.
pub(super) fn form(name: &str) -> String {
    FORM.replace("officer", name)
}

pub(super) fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Bytes::copy_from_slice(body.as_bytes());
    request.body(Body::from(body)).unwrap()
}

/// One request on a connection of its own.
pub(super) fn send<V: Vendor>(running: &Running<V>, request: Request<Body>) -> Answer {
    block_on(async {
        let mut client = Https::connect(running, HOST).await;
        client.send(request).await.unwrap()
    })
}

/// Sees to it that an answer is this refusal, also in the log; gives its text.
pub(super) fn refused<V: Vendor>(
    running: &Running<V>,
    answer: &Answer,
    status: u16,
    reason: &'static str,
) -> String {
    assert_eq!(answer.status(), status, "{reason}: {:?}", answer.body);
    let outcome = Outcome::Answered {
        status: StatusCode::from_u16(status).unwrap(),
        reason: Some(reason),
    };
    assert_eq!(running.requests().last().unwrap().outcome, outcome);
    let token = answer.head.headers.get("pty_access_jwt_token");
    assert!(token.is_none(), "a refusal has no token");
    let body = answer.json();
    assert_eq!(body["status"], status);
    if status == 400 && reason != "bad-item" {
        assert_eq!(
            answer.body,
            r#"{"status":400,"messages":["Incorrect syntax"],"data":null}"#
        );
    } else {
        assert_eq!(body["data"]["reason"], reason);
    }
    body["messages"][0].as_str().unwrap().to_owned()
}

fn options() -> Options {
    Options {
        clock: Clock::fixed(NOW),
        ..Options::default()
    }
}

/// An appliance at work.
struct Site(Running<Appliance>);

fn site() -> Site {
    site_with(&cluster(), Settings::default())
}

fn cluster() -> Cluster {
    Cluster::new(Algorithm::Hs256).unwrap()
}

fn site_with(cluster: &Cluster, settings: Settings) -> Site {
    let appliance = Appliance::new(HOST, users(), cluster, settings);
    Site(start(appliance, options()).unwrap())
}

impl Site {
    fn send(&self, request: Request<Body>) -> Answer {
        send(&self.0, request)
    }

    fn log_in_with(&self, form: &str) -> Answer {
        let headers = [("content-type", FORM_TYPE)];
        self.send(request("POST", LOGIN, &headers, form))
    }

    /// A token for a password.
    fn token_of(&self, name: &str) -> String {
        token(&self.log_in_with(&form(name)))
    }

    fn token(&self) -> String {
        self.token_of("officer")
    }

    fn refresh(&self, token: &str) -> Answer {
        self.call("POST", REFRESH, token, "")
    }

    fn call(&self, method: &str, path: &str, token: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        self.send(request(method, path, &[("authorization", &bearer)], body))
    }

    fn get(&self, path: &str) -> Value {
        let answer = self.call("GET", path, &self.token(), "");
        assert_eq!(answer.status(), 200, "{path}: {:?}", answer.body);
        answer.json()
    }

    fn takes(&self, token: &str) -> bool {
        let status = self.call("GET", POLICIES, token, "").status();
        assert!(status == 200 || status == 401, "{status}");
        status == 200
    }

    fn refuses_form(&self, form: &str, status: u16, reason: &'static str) -> String {
        refused(&self.0, &self.log_in_with(form), status, reason)
    }

    fn refuses_login(&self, request: Request<Body>, status: u16, reason: &'static str) {
        refused(&self.0, &self.send(request), status, reason);
    }

    /// Sees to it that neither the APIs nor the refresh take these headers.
    fn refuses_all(&self, authorizations: &[&str], reason: &'static str) -> String {
        let headers: Vec<(&str, &str)> = authorizations
            .iter()
            .map(|it| ("authorization", *it))
            .collect();
        let answer = self.send(request("POST", REFRESH, &headers, ""));
        refused(&self.0, &answer, 401, reason);
        let answer = self.send(request("GET", POLICIES, &headers, ""));
        assert!(answer.header("www-authenticate").starts_with("Bearer "));
        refused(&self.0, &answer, 401, reason)
    }

    fn refuses(&self, token: &str, reason: &'static str) -> String {
        self.refuses_all(&[&format!("Bearer {token}")], reason)
    }
}

/// The token that a good answer has in its header.
pub(super) fn token(answer: &Answer) -> String {
    assert_eq!(answer.status(), 200, "{:?}", answer.body);
    answer.header("pty_access_jwt_token").to_owned()
}

pub(super) fn part(token: &str, index: usize) -> Value {
    let segment = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(segment).unwrap()).unwrap()
}

fn claims(token: &str) -> Value {
    part(token, 1)
}

fn segment(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

#[test]
fn a_password_buys_a_token_that_opens_the_apis() {
    let site = site();
    let answer = site.log_in_with(FORM);
    assert_eq!(answer.body, r#"{"status":0,"messages":[],"data":null}"#);
    assert_eq!(answer.header("content-type"), "application/json");
    let token = token(&answer);
    assert_eq!(part(&token, 0), json!({ "alg": "HS256", "typ": "JWT" }));
    assert_eq!(claims(&token)["exp"], NOW + 3600);
    assert!(site.takes(&token));
}

#[test]
fn the_order_of_the_fields_does_not_matter_nor_do_parameters_of_the_type() {
    let site = site();
    let (name, password) = FORM.split_once('&').unwrap();
    let form = format!("{password}&{name}");
    let headers = [(
        "content-type",
        "Application/X-WWW-Form-URLencoded; charset=utf-8",
    )];
    let answer = site.send(request("POST", LOGIN, &headers, &form));
    assert_eq!(answer.status(), 200);
}

#[test]
fn the_tokens_header_is_in_capitals_on_the_wire_unless_set_otherwise() {
    let head = |case| {
        let settings = Settings {
            header_case: case,
            ..Settings::default()
        };
        let site = site_with(&cluster(), settings);
        block_on(async {
            let mut stream = tls(&site.0, HOST).await;
            let length = FORM.len();
            let request = format!(
                "POST {LOGIN} HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: {FORM_TYPE}\r\n\
                 content-length: {length}\r\nconnection: close\r\n\r\n{FORM}"
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            // The server may close without TLS's own goodbye.
            let _ = stream.read_to_end(&mut answer).await;
            String::from_utf8(answer).unwrap()
        })
    };
    let upper = head(HeaderCase::Upper);
    assert!(upper.starts_with("HTTP/1.1 200 "), "{upper}");
    assert!(upper.contains("\r\nPTY_ACCESS_JWT_TOKEN: ey"), "{upper}");
    assert!(upper.contains("\r\ncontent-type: "), "{upper}");
    let lower = head(HeaderCase::Lower);
    assert!(lower.contains("\r\npty_access_jwt_token: ey"), "{lower}");
}

#[test]
fn a_login_by_any_method_but_post_is_told_so() {
    let site = site();
    for path in [LOGIN, REFRESH] {
        for method in ["GET", "HEAD", "PUT"] {
            let answer = site.send(request(method, path, &[], ""));
            assert_eq!(answer.status(), 405, "{method} {path}");
            assert_eq!(answer.header("allow"), "POST");
        }
        let answer = site.send(request("GET", path, &[], ""));
        refused(&site.0, &answer, 405, "wrong-method");
    }
}

#[test]
fn a_login_with_a_query_is_bad_syntax() {
    let site = site();
    let headers = [("content-type", FORM_TYPE)];
    let path = format!("{LOGIN}?{FORM}");
    site.refuses_login(request("POST", &path, &headers, FORM), 400, "query");
}

#[test]
fn a_login_of_another_media_type_is_bad_syntax() {
    let site = site();
    let json = r#"{"loginname":"officer","password":"x"}"#;
    let cases: [&[(&str, &str)]; 3] = [
        &[("content-type", "application/json")],
        &[],
        &[("content-type", FORM_TYPE), ("content-type", FORM_TYPE)],
    ];
    for headers in cases {
        let request = request("POST", LOGIN, headers, json);
        site.refuses_login(request, 400, "other-media-type");
    }
}

#[test]
fn a_login_that_goes_on_and_on_is_bad_syntax() {
    let form = format!("{FORM}{}", "a".repeat(4096));
    site().refuses_form(&form, 400, "bad-body");
}

#[test]
fn a_form_with_what_a_form_cannot_have_is_bad_syntax() {
    let site = site();
    for form in [
        "",
        "loginname",
        "loginname=officer&password=a%zz",
        "loginname=officer&password=a\n",
        "loginname=officer&password=a b",
    ] {
        site.refuses_form(form, 400, "bad-form");
    }
}

#[test]
fn a_form_with_other_fields_is_bad_syntax() {
    let site = site();
    for form in [
        "loginname=officer".into(),
        "loginname=officer&loginname=officer".into(),
        "username=officer&password=a".into(),
        format!("{FORM}&password=a"),
        format!("{FORM}&remember=1"),
    ] {
        site.refuses_form(&form, 400, "other-fields");
    }
}

#[test]
fn a_form_with_an_empty_field_is_bad_syntax() {
    let site = site();
    site.refuses_form("loginname=officer&password=", 400, "empty-field");
    site.refuses_form("loginname=&password=a", 400, "empty-field");
}

#[test]
fn an_unknown_user_is_refused() {
    let site = site();
    site.refuses_form(&form("nobody"), 401, "unknown-user");
    site.refuses_form(&form("Officer"), 401, "unknown-user");
}

#[test]
fn a_wrong_password_is_refused_and_remembered_without_being_told() {
    let site = site();
    let message = site.refuses_form(
        "loginname=officer&password=s3cret+newline",
        401,
        "wrong-password",
    );
    assert!(message.contains("number 1"), "{message}");
    site.0.clock().advance(5);
    site.refuses_form(&form("nobody"), 401, "unknown-user");
    let accounts = site.0.vendor().accounts();
    let refused = |at, name: &str, reason| RefusedLogin {
        at,
        name: name.into(),
        reason,
    };
    assert_eq!(
        accounts.refused_logins(),
        [
            refused(NOW, "officer", "wrong-password"),
            refused(NOW + 5, "nobody", "unknown-user"),
        ]
    );
    assert!(!format!("{:?} {:?}", site.0, site.0.requests()).contains("s3cret"));
}

#[test]
fn wrong_passwords_in_a_row_lock_a_user_out_until_unlocked() {
    let site = site();
    let token = site.token();
    for _ in 0..5 {
        site.refuses_form("loginname=officer&password=a", 401, "wrong-password");
    }
    site.refuses_form(FORM, 401, "locked-out");
    assert!(site.takes(&token));
    assert_eq!(site.refresh(&token).status(), 200);
    assert_eq!(site.log_in_with(&form("viewer")).status(), 200);
    let accounts = site.0.vendor().accounts();
    assert_eq!(accounts.refused_logins().len(), 6);
    assert!(accounts.unlock("officer"));
    assert!(!accounts.unlock("officer"));
    assert!(!accounts.unlock("nobody"));
    assert_eq!(site.log_in_with(FORM).status(), 200);
}

#[test]
fn a_right_password_ends_a_row_of_wrong_ones() {
    let settings = Settings {
        wrong_passwords: 2,
        ..Settings::default()
    };
    let site = site_with(&cluster(), settings);
    for _ in 0..3 {
        site.refuses_form("loginname=officer&password=a", 401, "wrong-password");
        site.token();
    }
    for reason in ["wrong-password", "wrong-password", "locked-out"] {
        site.refuses_form("loginname=officer&password=a", 401, reason);
    }
}

#[test]
fn a_user_who_may_not_create_tokens_gets_none() {
    let site = site();
    let message = site.refuses_form(&form("stranger"), 403, "may-not-create-tokens");
    assert!(message.contains("Can Create JWT Token"), "{message}");
    let wrong = "loginname=stranger&password=a";
    site.refuses_form(wrong, 401, "wrong-password");
}

#[test]
fn a_live_token_buys_the_next_and_both_live_on() {
    let site = site();
    let first = site.token();
    site.0.clock().advance(3599);
    let answer = site.refresh(&first);
    assert_eq!(answer.body, r#"{"status":0,"messages":[],"data":null}"#);
    let second = token(&answer);
    assert_ne!(first, second);
    assert!(site.takes(&first) && site.takes(&second));
    site.0.clock().advance(1);
    site.refuses(&first, "expired");
    assert!(site.takes(&second));
}

#[test]
fn two_tokens_of_one_second_differ() {
    let site = site();
    assert_ne!(site.token(), site.token());
}

#[test]
fn a_refresh_with_a_body_is_bad_syntax() {
    let site = site();
    let token = site.token();
    let answer = site.call("POST", REFRESH, &token, FORM);
    refused(&site.0, &answer, 400, "body");
}

#[test]
fn a_refresh_by_a_user_who_may_no_longer_create_tokens_is_forbidden() {
    let site = site();
    let token = site.token();
    site.0.vendor().accounts().set(User {
        may_create_tokens: false,
        ..user("officer", Role::SecurityOfficer)
    });
    let answer = site.refresh(&token);
    refused(&site.0, &answer, 403, "may-not-create-tokens");
    assert!(site.takes(&token));
}

#[test]
fn no_authorization_is_refused_without_an_error_code() {
    let site = site();
    site.refuses_all(&[], "no-authorization");
    let answer = site.send(request("GET", POLICIES, &[], ""));
    assert_eq!(
        answer.header("www-authenticate"),
        "Bearer realm=\"protegrity\""
    );
}

#[test]
fn two_authorizations_are_refused_even_where_both_are_good() {
    let site = site();
    let bearer = format!("Bearer {}", site.token());
    site.refuses_all(&[&bearer, &bearer], "several-authorizations");
}

#[test]
fn another_scheme_is_refused_even_with_the_right_password() {
    let site = site();
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("officer:{PASSWORD}"));
    site.refuses_all(&[&format!("Basic {basic}")], "not-bearer");
}

#[test]
fn what_is_no_token_is_refused() {
    let site = site();
    let object = segment(&json!({}));
    site.refuses("abc", "not-three-segments");
    site.refuses(&format!("{object}.{object}=.aa"), "not-base64url");
    site.refuses(&format!("{object}.YWJj.aa"), "not-json");
}

#[test]
fn any_algorithm_but_the_clusters_is_refused() {
    let site = site();
    let token = site.token();
    let rest = token.split_once('.').unwrap().1;
    for header in [
        json!({ "alg": "none" }),
        json!({ "alg": "HS512" }),
        json!({ "alg": "hs256" }),
        json!({ "alg": 1 }),
        json!({}),
    ] {
        site.refuses(&format!("{}.{rest}", segment(&header)), "wrong-algorithm");
    }
}

#[test]
fn a_signature_with_another_secret_is_refused() {
    let site = site();
    let token = site.token();
    let signed = token.rsplit_once('.').unwrap().0;
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()));
    site.refuses(&format!("{signed}.{signature}"), "bad-signature");
    site.refuses(&format!("{signed}."), "bad-signature");
    let short = URL_SAFE_NO_PAD.encode([7; 31]);
    site.refuses(&format!("{signed}.{short}"), "bad-signature");
}

#[test]
fn claims_changed_after_signing_are_refused() {
    let site = site();
    let (token, other) = (site.token(), site.token_of("viewer"));
    let mut segments: Vec<&str> = token.split('.').collect();
    segments[1] = other.split('.').nth(1).unwrap();
    site.refuses(&segments.join("."), "bad-signature");
}

#[test]
fn a_token_for_something_else_is_refused() {
    let cluster = cluster();
    let site = site_with(&cluster, Settings::default());
    let token = cluster.issue(Kind::Refresh, "officer", NOW, None);
    let message = site.refuses(&token, "wrong-kind");
    assert!(message.contains("refresh"), "{message}");
}

#[test]
fn a_token_is_good_until_the_second_it_expires_in() {
    let site = site();
    let token = site.token();
    site.0.clock().advance(3599);
    assert!(site.takes(&token));
    site.0.clock().advance(1);
    let message = site.refuses(&token, "expired");
    assert!(message.contains("expired 0 s ago"), "{message}");
}

#[test]
fn a_token_of_a_removed_user_is_refused() {
    let site = site();
    let token = site.token();
    let accounts = site.0.vendor().accounts();
    assert!(accounts.remove("officer"));
    assert!(!accounts.remove("officer"));
    site.refuses(&token, "user-gone");
}

#[test]
fn every_algorithm_signs_what_it_verifies() {
    for (algorithm, name, length) in [
        (Algorithm::Hs256, "HS256", 32),
        (Algorithm::Hs384, "HS384", 48),
        (Algorithm::Hs512, "HS512", 64),
        (Algorithm::Rs256, "RS256", 256),
    ] {
        let cluster = Cluster::new(algorithm).unwrap();
        let site = site_with(&cluster, Settings::default());
        let token = site.token();
        assert_eq!(part(&token, 0)["alg"], name);
        let signature = token.rsplit_once('.').unwrap().1;
        assert_eq!(URL_SAFE_NO_PAD.decode(signature).unwrap().len(), length);
        assert!(site.takes(&token), "{name}");
        cluster.change_secret().unwrap();
        site.refuses(&token, "bad-signature");
        assert!(site.takes(&site.token()), "{name}");
    }
}

#[test]
fn a_changed_secret_ends_every_token_and_no_password() {
    let site = site();
    let (first, second) = (site.token(), site.token_of("viewer"));
    site.0.vendor().cluster().change_secret().unwrap();
    site.refuses(&first, "bad-signature");
    site.refuses(&second, "bad-signature");
    assert!(site.takes(&site.token()));
}

#[test]
fn a_token_of_one_appliance_is_good_at_another_of_its_cluster() {
    let cluster = cluster();
    let (one, other) = (
        site_with(&cluster, Settings::default()),
        site_with(&cluster, Settings::default()),
    );
    let alone = site();
    let first = one.token();
    assert!(other.takes(&first));
    let second = token(&other.refresh(&first));
    assert!(one.takes(&second));
    alone.refuses(&first, "bad-signature");
    one.0.vendor().cluster().change_secret().unwrap();
    other.refuses(&first, "bad-signature");
}

#[test]
fn an_expiry_is_a_number_and_a_unit() {
    let seconds = |number, unit| Expiry::new(number, unit).seconds();
    assert_eq!(seconds(90, Unit::Seconds), 90);
    assert_eq!(seconds(30, Unit::Minutes), 1800);
    assert_eq!(seconds(2, Unit::Hours), 7200);
    assert_eq!(seconds(1, Unit::Days), 86_400);
    assert_eq!(seconds(1, Unit::Weeks), 604_800);
    assert_eq!(seconds(1, Unit::Months), 2_592_000);
    assert_eq!(seconds(10, Unit::Years), 315_360_000);
    assert!(seconds(u32::MAX, Unit::Years) > 0);
}

#[test]
fn a_token_lives_as_long_as_it_is_set_to() {
    let settings = Settings {
        expiry: Some(Expiry::new(2, Unit::Minutes)),
        ..Settings::default()
    };
    let site = site_with(&cluster(), settings);
    assert_eq!(claims(&site.token())["exp"], NOW + 120);
}

#[test]
fn a_token_without_expiry_lives_until_the_secret_changes() {
    let settings = Settings {
        expiry: None,
        ..Settings::default()
    };
    let site = site_with(&cluster(), settings);
    let token = site.token();
    assert!(claims(&token).get("exp").is_none());
    site.0.clock().advance(1_000_000_000);
    assert!(site.takes(&token));
    site.0.vendor().cluster().change_secret().unwrap();
    assert!(!site.takes(&token));
}

#[test]
fn logins_and_refreshes_are_counted_where_they_went_well() {
    let site = site();
    let token = site.token();
    site.token_of("viewer");
    site.refresh(&token);
    site.refresh("abc");
    site.log_in_with("loginname=officer&password=a");
    site.log_in_with(&form("stranger"));
    site.log_in_with("");
    let counts = Counts {
        logins: 2,
        refreshes: 1,
        refused_logins: 1,
    };
    assert_eq!(site.0.vendor().accounts().counts(), counts);
}

#[test]
fn nothing_below_the_apis_goes_without_a_token() {
    let site = site();
    for path in [
        "/pty",
        "/pty/v1/rps/version",
        "/pty/v2/pim/health",
        "/pty/v2/pim/echo",
        "/pty/v1/auth/login/token",
        "/pty/no",
    ] {
        let answer = site.send(request("GET", path, &[], ""));
        refused(&site.0, &answer, 401, "no-authorization");
    }
}

#[test]
fn a_viewer_reads_and_does_not_write() {
    let site = site();
    let token = site.token_of("viewer");
    for method in ["GET", "HEAD"] {
        assert_eq!(site.call(method, POLICIES, &token, "").status(), 200);
    }
    for (method, path) in [
        ("POST", POLICIES),
        ("DELETE", POLICIES),
        ("PUT", "/pty/v2/pim/echo"),
        ("POST", "/pty/no"),
    ] {
        let answer = site.call(method, path, &token, r#"{"name":"a"}"#);
        let message = refused(&site.0, &answer, 403, "may-only-read");
        assert!(message.contains("Security Viewer"), "{message}");
        assert!(
            answer
                .header("www-authenticate")
                .contains("insufficient_scope")
        );
    }
}

#[test]
fn a_role_is_the_one_of_today() {
    let site = site();
    let token = site.token_of("viewer");
    let accounts = site.0.vendor().accounts();
    accounts.set(user("viewer", Role::SecurityOfficer));
    let answer = site.call("POST", POLICIES, &token, r#"{"name":"a"}"#);
    assert_eq!(answer.status(), 201);
}

#[test]
fn an_unknown_path_is_not_found() {
    let site = site();
    let token = site.token();
    for path in [
        "/",
        "/api/v1/auth/login",
        "/pty/v1/pim/policies",
        "/pty/v1/rps/policies",
        "/pty/v2/pim/policies/",
        "/pty/v2/pimpolicies",
        "/pty/v2/pim",
    ] {
        let answer = site.call("GET", path, &token, "");
        refused(&site.0, &answer, 404, "not-found");
    }
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    let site = site();
    let token = site.token();
    let answer = site.call("DELETE", POLICIES, &token, "");
    refused(&site.0, &answer, 405, "wrong-method");
    assert_eq!(answer.header("allow"), "GET, HEAD, POST");
    let answer = site.call("POST", "/pty/v1/rps/health", &token, "");
    assert_eq!(answer.header("allow"), "GET, HEAD");
}

#[test]
fn each_api_tells_about_itself() {
    let site = site();
    for (api, version) in [("/pty/v1/rps", "1"), ("/pty/v2/pim", "2")] {
        assert_eq!(site.get(&format!("{api}/version"))["version"], version);
        assert_eq!(site.get(&format!("{api}/health"))["isHealthy"], true);
        assert_eq!(site.get(&format!("{api}/log"))["level"], "info");
        let doc = site.call("GET", &format!("{api}/doc"), &site.token(), "");
        assert!(String::from_utf8_lossy(&doc.body).contains(&format!("{api}/echo")));
    }
}

#[test]
fn what_an_officer_adds_is_there_afterwards() {
    let site = site();
    let token = site.token();
    for (path, count) in [("datastores", 2), ("policies", 2), ("dataelements", 3)] {
        let path = format!("/pty/v2/pim/{path}");
        assert_eq!(site.get(&path).as_array().unwrap().len(), count);
        let item = r#"{"name":"new","description":"just so"}"#;
        let answer = site.call("POST", &path, &token, item);
        assert_eq!(answer.status(), 201);
        let added = json!({ "uid": count + 1, "name": "new", "description": "just so" });
        assert_eq!(answer.json(), added);
        assert_eq!(site.get(&path)[count], added);
    }
}

#[test]
fn an_item_that_makes_no_sense_is_a_bad_request() {
    let site = site();
    let token = site.token();
    for item in [
        "",
        "[]",
        "{}",
        r#"{"name":""}"#,
        r#"{"name":1}"#,
        r#"{"name":"cards"}"#,
        r#"{"name":"a","description":1}"#,
    ] {
        let answer = site.call("POST", POLICIES, &token, item);
        refused(&site.0, &answer, 400, "bad-item");
    }
}

#[test]
fn an_echo_tells_the_request_without_its_token() {
    let site = site();
    let token = site.token();
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("x-twice", "1"),
        ("x-twice", "2"),
    ];
    let path = "/pty/v2/pim/echo?a=b%20c";
    let answer = site.send(request("PUT", path, &headers, "hello"));
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(!text.contains(token.rsplit_once('.').unwrap().1));
    let echo = answer.json();
    assert_eq!(echo["method"], "PUT");
    assert_eq!(echo["query"], "a=b%20c");
    assert_eq!(echo["authorization"]["claims"], claims(&token));
    assert_eq!(echo["body"]["text"], "hello");
}

#[test]
fn a_refused_upload_sees_its_refusal() {
    let site = site();
    let upload = Repeat {
        chunk: Bytes::from(vec![b'a'; 64 * 1024]),
        times: 8,
    };
    let request = Request::post(LOGIN)
        .header(header::CONTENT_TYPE, FORM_TYPE)
        .body(upload)
        .unwrap();
    let status = block_on(async {
        let mut client = Https::connect(&site.0, HOST).await;
        client.send(request).await.unwrap().status()
    });
    assert_eq!(status, 400);
}

#[test]
fn a_fault_strikes_where_it_was_asked_for_and_counts_as_no_login() {
    let site = site();
    let token = site.token();
    let fault = Effect::status(StatusCode::SERVICE_UNAVAILABLE);
    site.0.faults().next_at(LOGIN, 1, fault.clone());
    assert!(site.takes(&token));
    assert_eq!(site.log_in_with(FORM).status(), 503);
    site.0.faults().next_at(REFRESH, 1, fault);
    assert_eq!(site.log_in_with(FORM).status(), 200);
    assert_eq!(site.refresh(&token).status(), 503);
    assert_eq!(site.refresh(&token).status(), 200);
    assert_eq!(site.0.vendor().accounts().counts().logins, 2);
}

#[test]
fn an_appliance_can_be_made_within_a_runtime() {
    block_on(async {
        let appliance = Appliance::new(HOST, users(), &cluster(), Settings::default());
        assert_eq!(appliance.names(), [HOST]);
    });
}

#[test]
fn neither_a_password_nor_a_secret_is_printed() {
    let cluster = cluster();
    let appliance = Appliance::new(HOST, users(), &cluster, Settings::default());
    let printed = format!("{appliance:?}");
    assert!(printed.contains("officer") && printed.contains("Hs256"));
    assert!(!printed.contains(PASSWORD) && !printed.contains("key"));
}

#[test]
fn the_scenes_files_are_the_ones_its_configuration_names() {
    let scene = scene::scene(Options::default()).unwrap();
    assert_eq!(scene.files.len(), 2);
    for (name, _) in &scene.files {
        assert!(name.starts_with(scene.name), "{name}");
        assert!(scene.configuration.contains(&format!("\"{name}\"")));
    }
    let (_, password) = &scene.files[0];
    assert!(!scene.configuration.contains(password.as_str()));
}
