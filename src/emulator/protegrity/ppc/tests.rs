//! What is other than the parent's, and that the rest is the same.

#![allow(
    clippy::unwrap_used,
    reason = "a test that panics has failed, as it should"
)]

use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::Role;
use super::super::tests::{form, part, refused, request, send, token, user, users};
use super::*;
use crate::emulator::client::{Answer, block_on, tls};
use crate::emulator::{Body, Clock, Options, Running, start};

const HOST: &str = "esa1.corp.example";
const NOW: i64 = 1_700_000_000;
const FORM_TYPE: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const JSON_TYPE: (&str, &str) = ("content-type", "application/json");
const POLICIES: &str = "/pty/v2/pim/policies";

/// The product at work.
struct Site(Running<Ppc>);

fn site() -> Site {
    site_with(Settings::default())
}

fn site_with(settings: Settings) -> Site {
    let options = Options {
        clock: Clock::fixed(NOW),
        ..Options::default()
    };
    Site(start(Ppc::new(HOST, users(), settings).unwrap(), options).unwrap())
}

impl Site {
    fn send(&self, request: Request<Body>) -> Answer {
        send(&self.0, request)
    }

    fn log_in(&self) -> Answer {
        self.send(request("POST", LOGIN, &[FORM_TYPE], &form("officer")))
    }

    fn refresh(&self, body: &Value) -> Answer {
        self.send(request("POST", REFRESH, &[JSON_TYPE], &body.to_string()))
    }

    fn refresh_with(&self, token: &str) -> Answer {
        self.refresh(&json!({ "refreshToken": token }))
    }

    fn get(&self, token: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        self.send(request("GET", POLICIES, &[("authorization", &bearer)], ""))
    }

    fn takes(&self, token: &str) -> bool {
        self.get(token).status() == 200
    }

    fn refuses(&self, token: &str, reason: &'static str) {
        refused(&self.0, &self.get(token), 401, reason);
    }

    fn refuses_refresh(&self, token: &str, status: u16, reason: &'static str) {
        refused(&self.0, &self.refresh_with(token), status, reason);
    }
}

fn member(answer: &Answer, name: &str) -> String {
    assert_eq!(answer.status(), 200, "{:?}", answer.body);
    answer.json()["data"][name].as_str().unwrap().to_owned()
}

#[test]
fn a_login_is_answered_in_the_body_and_in_the_header() {
    let site = site();
    let answer = site.log_in();
    let mut body = answer.json();
    for name in ["accessToken", "refreshToken"] {
        assert_eq!(part(&member(&answer, name), 0)["alg"], "RS256");
        body["data"][name] = json!("");
    }
    assert_eq!(
        body.to_string(),
        "{\"status\":0,\"data\":{\"accessToken\":\"\",\"refreshToken\":\"\",\
         \"expiresIn\":300,\"refreshExpiresIn\":900},\"messages\":[]}"
    );
    let token = token(&answer);
    assert_eq!(part(&token, 0)["alg"], "RS256");
    assert_eq!(part(&token, 1)["exp"], NOW + 300);
    assert!(site.takes(&token));
}

#[test]
fn the_header_is_in_lower_case_on_the_wire() {
    let site = site();
    let answer = block_on(async {
        let mut stream = tls(&site.0, HOST).await;
        let form = form("officer");
        let request = format!(
            "POST {LOGIN} HTTP/1.1\r\nhost: {HOST}\r\n{}: {}\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{form}",
            FORM_TYPE.0,
            FORM_TYPE.1,
            form.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // The server may close without TLS's own goodbye.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    });
    assert!(answer.contains("\r\npty_access_jwt_token: ey"), "{answer}");
}

#[test]
fn the_appliances_path_logs_in_too_and_does_not_refresh() {
    let site = site();
    let path = "/api/v1/auth/login/token";
    let answer = site.send(request("POST", path, &[FORM_TYPE], &form("officer")));
    assert!(site.takes(&token(&answer)));
    let path = "/api/v1/auth/login/token/refresh";
    let answer = site.send(request("POST", path, &[], ""));
    refused(&site.0, &answer, 404, "not-found");
}

#[test]
fn a_bad_login_is_refused_as_an_appliance_does() {
    let site = site();
    let log_in = |form: &str| site.send(request("POST", LOGIN, &[FORM_TYPE], form));
    refused(&site.0, &log_in("loginname=a"), 400, "other-fields");
    refused(&site.0, &log_in(&form("nobody")), 401, "unknown-user");
    let wrong = "loginname=officer&password=a";
    for _ in 0..5 {
        refused(&site.0, &log_in(wrong), 401, "wrong-password");
    }
    refused(&site.0, &site.log_in(), 401, "locked-out");
    let answer = log_in(&form("stranger"));
    refused(&site.0, &answer, 403, "may-not-create-tokens");
    let answer = site.send(request("GET", LOGIN, &[], ""));
    refused(&site.0, &answer, 405, "wrong-method");
    assert!(site.0.vendor().accounts().unlock("officer"));
    assert_eq!(site.log_in().status(), 200);
}

#[test]
fn the_bodys_token_is_refused_by_the_gateway_unless_set_otherwise() {
    let strict = site();
    strict.refuses(&member(&strict.log_in(), "accessToken"), "wrong-kind");
    let lenient = site_with(Settings {
        takes_body_token: true,
        ..Settings::default()
    });
    let answer = lenient.log_in();
    assert!(lenient.takes(&member(&answer, "accessToken")));
    assert!(lenient.takes(&token(&answer)));
    lenient.refuses(&member(&answer, "refreshToken"), "wrong-kind");
}

#[test]
fn a_token_is_good_for_its_seconds() {
    let site = site();
    let answer = site.log_in();
    let (access, refresh) = (token(&answer), member(&answer, "refreshToken"));
    site.0.clock().advance(299);
    assert!(site.takes(&access));
    site.0.clock().advance(1);
    site.refuses(&access, "expired");
    site.0.clock().advance(599);
    let next = site.refresh_with(&refresh);
    assert!(site.takes(&token(&next)));
    site.0.clock().advance(900);
    site.refuses_refresh(&member(&next, "refreshToken"), 401, "expired");
}

#[test]
fn lives_can_be_set() {
    let site = site_with(Settings {
        expires_in: 60,
        refresh_expires_in: 61,
        ..Settings::default()
    });
    let answer = site.log_in();
    assert_eq!(answer.json()["data"]["expiresIn"], 60);
    assert_eq!(answer.json()["data"]["refreshExpiresIn"], 61);
    assert_eq!(part(&token(&answer), 1)["exp"], NOW + 60);
    let refresh = member(&answer, "refreshToken");
    assert_eq!(part(&refresh, 1)["exp"], NOW + 61);
}

#[test]
fn a_refresh_has_the_answer_of_a_login() {
    let site = site();
    let first = site.log_in();
    let second = site.refresh_with(&member(&first, "refreshToken"));
    assert!(site.takes(&token(&second)) && site.takes(&token(&first)));
    let third = site.refresh_with(&member(&second, "refreshToken"));
    assert!(site.takes(&token(&third)));
    let counts = site.0.vendor().accounts().counts();
    assert_eq!((counts.logins, counts.refreshes), (1, 2));
}

#[test]
fn a_refresh_by_any_method_but_post_is_told_so() {
    let site = site();
    let answer = site.send(request("GET", REFRESH, &[], ""));
    refused(&site.0, &answer, 405, "wrong-method");
    assert_eq!(answer.header("allow"), "POST");
}

#[test]
fn a_refresh_that_is_not_one_member_of_json_is_bad_syntax() {
    let site = site();
    let token = member(&site.log_in(), "refreshToken");
    let good = json!({ "refreshToken": token }).to_string();
    let answer = site.send(request(
        "POST",
        &format!("{REFRESH}?a=b"),
        &[JSON_TYPE],
        &good,
    ));
    refused(&site.0, &answer, 400, "query");
    let answer = site.send(request("POST", REFRESH, &[FORM_TYPE], &good));
    refused(&site.0, &answer, 400, "other-media-type");
    let long = format!("{good}{}", " ".repeat(4096));
    let answer = site.send(request("POST", REFRESH, &[JSON_TYPE], &long));
    refused(&site.0, &answer, 400, "bad-body");
    for body in [
        json!({}),
        json!([token]),
        json!({ "refreshToken": 1 }),
        json!({ "refresh_token": token }),
        json!({ "refreshToken": token, "more": 1 }),
    ] {
        refused(&site.0, &site.refresh(&body), 400, "bad-json");
    }
    let answer = site.send(request("POST", REFRESH, &[JSON_TYPE], ""));
    refused(&site.0, &answer, 400, "bad-json");
    assert_eq!(site.refresh_with(&token).status(), 200);
}

#[test]
fn a_refresh_with_another_token_is_refused() {
    let site = site();
    let answer = site.log_in();
    site.refuses_refresh(&token(&answer), 401, "wrong-kind");
    site.refuses_refresh(&member(&answer, "accessToken"), 401, "wrong-kind");
    site.refuses_refresh("abc", 401, "not-three-segments");
    let other = member(&self::site().log_in(), "refreshToken");
    site.refuses_refresh(&other, 401, "bad-signature");
}

#[test]
fn a_refresh_token_is_good_once_unless_set_otherwise() {
    let strict = site();
    let refresh = member(&strict.log_in(), "refreshToken");
    assert_eq!(strict.refresh_with(&refresh).status(), 200);
    strict.refuses_refresh(&refresh, 401, "used-before");
    let lenient = site_with(Settings {
        single_use: false,
        ..Settings::default()
    });
    let refresh = member(&lenient.log_in(), "refreshToken");
    for _ in 0..2 {
        assert_eq!(lenient.refresh_with(&refresh).status(), 200);
    }
}

#[test]
fn a_refresh_by_a_user_who_changed_is_refused() {
    let site = site();
    let answer = site.log_in();
    let accounts = site.0.vendor().accounts();
    accounts.set(User {
        may_create_tokens: false,
        ..user("officer", Role::SecurityOfficer)
    });
    let refresh = member(&answer, "refreshToken");
    site.refuses_refresh(&refresh, 403, "may-not-create-tokens");
    accounts.remove("officer");
    site.refuses_refresh(&refresh, 401, "user-gone");
    site.refuses(&token(&answer), "user-gone");
}

#[test]
fn a_changed_key_ends_every_token() {
    let site = site();
    let answer = site.log_in();
    site.0.vendor().change_key().unwrap();
    site.refuses(&token(&answer), "bad-signature");
    let refresh = member(&answer, "refreshToken");
    site.refuses_refresh(&refresh, 401, "bad-signature");
    assert!(site.takes(&token(&site.log_in())));
}

#[test]
fn nothing_below_the_apis_goes_without_a_token() {
    let site = site();
    let answer = site.send(request("GET", POLICIES, &[], ""));
    refused(&site.0, &answer, 401, "no-authorization");
    let answer = site.send(request("GET", "/", &[], ""));
    refused(&site.0, &answer, 404, "not-found");
}
