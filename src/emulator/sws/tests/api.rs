//! The API.

use super::*;

const RECORDINGS: &str = "/v2-edge/sws/recordings";

/// Sees to it that these headers are refused for this reason.
fn refuses_all(customer: &Customer, authorizations: &[&str], reason: &str) {
    let headers: Vec<(&str, &str)> = authorizations
        .iter()
        .map(|value| ("authorization", *value))
        .collect();
    let answer = customer.send(API, request("GET", RECORDINGS, &headers, ""));
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.json()["reason"], reason);
    assert_eq!(customer.reason(&answer).unwrap(), reason);
    assert!(answer.header("www-authenticate").starts_with("Bearer "));
}

fn refuses(customer: &Customer, access: &str, reason: &str) {
    refuses_all(customer, &[&format!("Bearer {access}")], reason);
}

/// A token that looks like one of the realm's and is by another key.
fn forged(header: &Value, claims: &Value) -> String {
    signed(&keys()[1], header, claims)
}

#[test]
fn an_access_token_opens_the_api() {
    let customer = customer();
    for path in ["recordings", "sessions", "policies", "users", "activities"] {
        assert!(customer.get(&format!("/v2-edge/sws/{path}"))["total"].as_u64() > Some(1));
    }
    for (path, id) in [
        ("recordings", "11ee0b10c0de4b5f8b0000000000b001"),
        ("sessions", "11ee0a10c0de4a5f8b0000000000a001"),
    ] {
        assert_eq!(customer.get(&format!("/v2-edge/sws/{path}/{id}"))["id"], id);
    }
    let steps = "/v2-edge/sws/sessions/11ee0a10c0de4a5f8b0000000000a001/steps";
    assert_eq!(customer.get(steps)["total"], 3);
    assert_eq!(customer.call("HEAD", RECORDINGS, "").status(), 200);
}

#[test]
fn anything_but_one_bearer_token_is_refused() {
    let customer = customer();
    let bearer = format!("Bearer {}", customer.access());
    refuses_all(&customer, &[], "no-authorization");
    refuses_all(&customer, &[&bearer, &bearer], "several-authorizations");
    refuses_all(&customer, &["Basic YTpi"], "not-bearer");
    refuses_all(&customer, &["Bearer abc"], "not-three-segments");
    refuses_all(&customer, &["Bearer a.b.="], "not-base64url");
    refuses_all(&customer, &["Bearer YWJj.YWJj.YWJj"], "not-json");
}

#[test]
fn a_token_that_the_realm_did_not_sign_is_refused() {
    let customer = customer();
    let access = customer.access();
    let real = jwt::Jwt::parse(&access).unwrap();
    let (header, claims) = (Value::from(real.header), Value::from(real.claims));
    refuses(&customer, &forged(&header, &claims), "bad-signature");
    refuses(&customer, &assertion(&super::claims()), "wrong-key-id");
    let mut other = header.clone();
    other["alg"] = json!("HS256");
    refuses(&customer, &forged(&other, &claims), "wrong-algorithm");
}

#[test]
fn a_token_of_another_type_is_refused_although_the_realm_signed_it() {
    let customer = customer();
    let key = realm_key();
    let header = json!({ "alg": "RS256", "kid": key.id() });
    let token = signed(key.pair(), &header, &json!({ "typ": "ID", "iss": ISSUER }));
    refuses(&customer, &token, "not-an-access-token");
}

#[test]
fn another_data_centre_refuses_the_token() {
    let customer = customer();
    let bearer = format!("Bearer {}", customer.access());
    let request = request("GET", RECORDINGS, &[("authorization", &bearer)], "");
    let answer = customer.send("api.uk.alero.io", request);
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.json()["reason"], "other-data-centre");
}

#[test]
fn an_access_token_is_good_until_the_second_it_expires_in() {
    let customer = customer();
    let access = customer.access();
    customer.running.clock().advance(299);
    assert_eq!(
        customer.call_with(&access, "GET", RECORDINGS, "").status(),
        200
    );
    customer.running.clock().advance(1);
    refuses(&customer, &access, "expired");
}

#[test]
fn an_early_death_comes_before_the_time_that_the_token_says() {
    let customer = customer_with(Settings {
        early_death: Some(Duration::from_secs(60)),
        ..Settings::default()
    });
    let access = customer.access();
    customer.running.clock().advance(59);
    assert_eq!(
        customer.call_with(&access, "GET", RECORDINGS, "").status(),
        200
    );
    customer.running.clock().advance(1);
    refuses(&customer, &access, "expired");
}

#[test]
fn revoked_tokens_are_refused_and_new_ones_are_not() {
    let customer = customer();
    let access = customer.access();
    customer.running.vendor().revoke_all();
    refuses(&customer, &access, "revoked");
    customer.get(RECORDINGS);
}

#[test]
fn the_token_of_an_account_that_was_disabled_is_refused() {
    let customer = customer();
    let access = customer.access();
    let disabled = ServiceAccount {
        enabled: false,
        ..account()
    };
    customer.running.vendor().enrol(disabled).unwrap();
    refuses(&customer, &access, "unknown-account");
}

#[test]
fn a_role_decides_what_may_be_done() {
    let customer = customer();
    let activities = "/v2-edge/sws/activities";
    let echo = "/v2-edge/sws/echo";
    let all = [
        ("GET", activities),
        ("HEAD", activities),
        ("GET", RECORDINGS),
        ("GET", echo),
        ("POST", "/v2-edge/sws/users"),
        ("DELETE", echo),
    ];
    for (role, allowed) in [
        (Role::Auditor, 2),
        (Role::Viewer, 4),
        (Role::Administrator, 6),
    ] {
        let vendor = customer.running.vendor();
        vendor.enrol(ServiceAccount { role, ..account() }).unwrap();
        let access = customer.access();
        for (index, (method, path)) in all.into_iter().enumerate() {
            let answer = customer.call_with(&access, method, path, r#"{"name":"a"}"#);
            let status = if index < allowed { 200 } else { 403 };
            assert_eq!(answer.status(), status, "{role:?}: {method} {path}");
            if status == 403 {
                assert_eq!(answer.json()["reason"], "role-missing");
                let challenge = answer.header("www-authenticate");
                assert!(challenge.contains("insufficient_scope"));
            }
        }
    }
}

#[test]
fn an_unknown_path_is_not_found() {
    let customer = customer();
    for path in [
        "/",
        "/v1-edge/sws/recordings",
        "/v2-edge/sws",
        "/v2-edge/sws/recordings/",
        "/v2-edge/sws/recordings/a/b",
        "/v2-edge/sws/sessions/a/steps",
        TOKEN,
    ] {
        let answer = customer.call("GET", path, "");
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(answer.json()["reason"], "not-found");
    }
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    let customer = customer();
    let answer = customer.call("DELETE", "/v2-edge/sws/users", "");
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.json()["reason"], "wrong-method");
    assert_eq!(answer.header("allow"), "GET, HEAD, POST");
}

#[test]
fn a_new_users_id_comes_as_bare_text() {
    let customer = customer();
    let path = "/v2-edge/sws/users";
    let answer = customer.call("POST", path, r#"{"name":"kim@corp.example"}"#);
    assert_eq!(answer.header("content-type"), "text/plain");
    let id = String::from_utf8(answer.body.to_vec()).unwrap();
    assert_eq!(id.len(), 32);
    let expected = json!({ "id": id, "name": "kim@corp.example" });
    assert_eq!(customer.get(path)["items"][2], expected);
    for body in ["", "[]", "{}", r#"{"name":1}"#] {
        let answer = customer.call("POST", path, body);
        assert_eq!(answer.status(), 400, "{body}");
        assert_eq!(answer.json()["reason"], "bad-user");
    }
}

#[test]
fn an_echo_tells_the_request_without_its_token() {
    let customer = customer();
    let access = customer.access();
    let answer = customer.call_with(&access, "PUT", "/v2-edge/sws/echo?a=b", "hello");
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(!text.contains(access.rsplit('.').next().unwrap()));
    let echo = answer.json();
    assert_eq!(echo["query"], "a=b");
    assert_eq!(echo["body"]["text"], "hello");
    assert_eq!(echo["authorization"]["claims"]["azp"], CLIENT);
}
