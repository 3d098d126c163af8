//! Every refusal has its test; the rest shows that a good token opens what it should.

#![allow(
    clippy::unwrap_used,
    reason = "a test that panics has failed, as it should"
)]

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::Request;

use super::*;
use crate::emulator::client::{Answer, Client as Https, Repeat, block_on};
use crate::emulator::{Body, Clock, Options, Outcome, Running, start};

const HOST: &str = "acme.vdr.secureworks.com";
const NOW: i64 = 1_700_000_000;
/// Of the shape that the vendor's has: a token itself.
const ISSUER: &str = "eyJhbGciOiJFUzUxMiJ9.eyJpc3MiOiJ2ZW5kb3IifQ.c2lnbmF0dXJl";
const CLIENT_ID: &str = "Y2xpZW50";

/// A customer of the vendor's: the key pair, and an emulator that knows it.
struct Customer {
    key: EcdsaKeyPair,
    running: Running<Vdr>,
}

fn key() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P521_SHA512_FIXED_SIGNING).unwrap()
}

fn public_pem(key: &EcdsaKeyPair) -> String {
    let der: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
    let text = STANDARD.encode(der.as_ref());
    format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
}

fn enrolment(instance: &str, key: &EcdsaKeyPair) -> Enrolment {
    Enrolment {
        instance: instance.into(),
        issuer: ISSUER.into(),
        client_id: CLIENT_ID.into(),
        public_key_pem: public_pem(key),
        users: vec![123, 456],
    }
}

fn customer() -> Customer {
    customer_with(Settings::default())
}

fn customer_with(settings: Settings) -> Customer {
    let key = key();
    let vdr = Vdr::new([enrolment("acme", &key)], settings).unwrap();
    let options = Options {
        clock: Clock::fixed(NOW),
        ..Options::default()
    };
    let running = start(vdr, options).unwrap();
    Customer { key, running }
}

fn claims() -> Value {
    json!({
        "iss": ISSUER,
        "iat": NOW,
        "exp": NOW + 60,
        "aud": "acme",
        "sub": "user:123",
        "cid": CLIENT_ID,
        "scp": ["read_only", "full_access"],
    })
}

/// The usual claims with one of them changed, or removed where the value is null.
fn claims_but(claim: &str, value: Value) -> Value {
    let mut claims = claims();
    let object = claims.as_object_mut().unwrap();
    if value.is_null() {
        object.remove(claim);
    } else {
        object.insert(claim.into(), value);
    }
    claims
}

fn signed(key: &EcdsaKeyPair, header: &Value, claims: &Value) -> String {
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = key.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn get(path: &str, authorizations: &[&str]) -> Request<Body> {
    request("GET", path, authorizations, "")
}

fn request(method: &str, path: &str, authorizations: &[&str], body: &'static str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for authorization in authorizations {
        request = request.header("authorization", *authorization);
    }
    request.body(Body::from(Bytes::from(body))).unwrap()
}

impl Customer {
    fn token(&self, claims: &Value) -> String {
        signed(&self.key, &json!({ "alg": "ES512", "typ": "JWT" }), claims)
    }

    fn bearer(&self, claims: &Value) -> String {
        format!("Bearer {}", self.token(claims))
    }

    fn send(&self, request: Request<Body>) -> Answer {
        block_on(async {
            let mut client = Https::connect(&self.running, HOST).await;
            client.send(request).await.unwrap()
        })
    }

    /// A request with a good token.
    fn call(&self, method: &str, path: &str, body: &'static str) -> Answer {
        self.send(request(method, path, &[&self.bearer(&claims())], body))
    }

    fn get(&self, path: &str) -> Value {
        let answer = self.call("GET", path, "");
        assert_eq!(answer.status(), 200, "{path}: {:?}", answer.body);
        answer.json()
    }

    /// Sees to it that these headers are refused for this reason; gives the message.
    fn refuses_all(&self, authorizations: &[&str], reason: &str) -> String {
        let answer = self.send(get("/api/v2/assets", authorizations));
        assert_eq!(answer.status(), 401);
        assert_eq!(answer.json()["reason"], reason);
        assert!(answer.header("www-authenticate").starts_with("Bearer "));
        answer.json()["message"].as_str().unwrap().to_owned()
    }

    fn refuses(&self, token: &str, reason: &str) -> String {
        self.refuses_all(&[&format!("Bearer {token}")], reason)
    }

    fn refuses_claims(&self, claims: &Value, reason: &str) -> String {
        self.refuses(&self.token(claims), reason)
    }
}

#[test]
fn a_good_token_passes() {
    let customer = customer();
    assert_eq!(customer.get("/api/v2/assets")["total"], 6);
    let outcome = Outcome::Answered {
        status: StatusCode::OK,
        reason: None,
    };
    assert_eq!(customer.running.requests()[0].outcome, outcome);
}

#[test]
fn each_user_of_an_enrolment_passes() {
    let customer = customer();
    let bearer = customer.bearer(&claims_but("sub", json!("user:456")));
    assert_eq!(
        customer.send(get("/api/v2/assets", &[&bearer])).status(),
        200
    );
}

#[test]
fn no_authorization_is_refused_without_an_error_code() {
    let customer = customer();
    customer.refuses_all(&[], "no-authorization");
    let answer = customer.send(get("/api/v2/assets", &[]));
    assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"vdr\"");
}

#[test]
fn a_refusal_says_in_its_challenge_what_was_wrong() {
    let customer = customer();
    let answer = customer.send(get("/api/v2/assets", &["Bearer abc"]));
    assert_eq!(
        answer.header("www-authenticate"),
        "Bearer error=\"invalid_token\", \
         error_description=\"a token has three segments between dots, and this has 1\""
    );
    let outcome = Outcome::Answered {
        status: StatusCode::UNAUTHORIZED,
        reason: Some("not-three-segments"),
    };
    assert_eq!(customer.running.requests()[0].outcome, outcome);
}

#[test]
fn two_authorizations_are_refused_even_where_both_are_good() {
    let customer = customer();
    let bearer = customer.bearer(&claims());
    customer.refuses_all(&[&bearer, &bearer], "several-authorizations");
}

#[test]
fn another_scheme_is_refused() {
    customer().refuses_all(&["Basic dXNlcjpwYXNz"], "not-bearer");
}

#[test]
fn the_issuer_string_as_a_token_is_refused_for_what_it_is() {
    customer().refuses(ISSUER, "issuer-as-token");
}

#[test]
fn what_is_no_token_is_refused() {
    let customer = customer();
    let header = URL_SAFE_NO_PAD.encode("{}");
    customer.refuses("abc", "not-three-segments");
    customer.refuses(&format!("{header}.{header}=.aa"), "not-base64url");
    customer.refuses(&format!("{header}.YWJj.aa"), "not-json");
}

#[test]
fn any_algorithm_but_es512_is_refused() {
    let customer = customer();
    for alg in [
        json!("none"),
        json!("HS512"),
        json!("es512"),
        json!("ES384"),
        json!(1),
    ] {
        let token = signed(&customer.key, &json!({ "alg": alg }), &claims());
        customer.refuses(&token, "wrong-algorithm");
    }
    customer.refuses(
        &signed(&customer.key, &json!({}), &claims()),
        "wrong-algorithm",
    );
    let token = signed(&customer.key, &json!({ "alg": "none" }), &claims());
    let unsigned = &token[..=token.rfind('.').unwrap()];
    customer.refuses(unsigned, "wrong-algorithm");
}

#[test]
fn an_unknown_pair_of_issuer_and_client_is_refused() {
    let customer = customer();
    for (claim, value) in [
        ("iss", json!("other")),
        ("cid", json!("other")),
        ("iss", Value::Null),
        ("cid", Value::Null),
        ("cid", json!([CLIENT_ID])),
    ] {
        customer.refuses_claims(&claims_but(claim, value), "unknown-client");
    }
}

#[test]
fn a_signature_in_der_is_refused_with_a_hint() {
    let customer = customer();
    let pkcs8 = customer.key.to_pkcs8v1().unwrap();
    let der = EcdsaKeyPair::from_pkcs8(&ECDSA_P521_SHA512_ASN1_SIGNING, pkcs8.as_ref()).unwrap();
    let token = signed(&der, &json!({ "alg": "ES512" }), &claims());
    let message = customer.refuses(&token, "signature-length");
    assert!(message.contains("DER"), "{message}");
}

#[test]
fn a_signature_of_another_length_is_refused_without_that_hint() {
    let customer = customer();
    let token = customer.token(&claims());
    let signature = vec![7; 131];
    let signed = &token[..=token.rfind('.').unwrap()];
    let token = format!("{signed}{}", URL_SAFE_NO_PAD.encode(signature));
    let message = customer.refuses(&token, "signature-length");
    assert!(!message.contains("DER"), "{message}");
}

#[test]
fn a_signature_by_another_key_is_refused() {
    let customer = customer();
    let token = signed(&key(), &json!({ "alg": "ES512" }), &claims());
    customer.refuses(&token, "bad-signature");
}

#[test]
fn claims_changed_after_signing_are_refused() {
    let customer = customer();
    let token = customer.token(&claims());
    let other = customer.token(&claims_but("sub", json!("user:456")));
    let mut segments: Vec<&str> = token.split('.').collect();
    segments[1] = other.split('.').nth(1).unwrap();
    customer.refuses(&segments.join("."), "bad-signature");
}

#[test]
fn an_audience_other_than_the_instances_name_is_refused() {
    let customer = customer();
    for aud in [json!("globex"), json!("Acme"), json!(["acme"]), Value::Null] {
        customer.refuses_claims(&claims_but("aud", aud), "wrong-audience");
    }
}

#[test]
fn a_url_as_audience_is_refused_for_what_it_is() {
    let customer = customer();
    for aud in [format!("https://{HOST}"), HOST.into()] {
        customer.refuses_claims(&claims_but("aud", json!(aud)), "audience-is-url");
    }
}

#[test]
fn a_token_sent_to_another_instances_host_is_refused() {
    let customer = customer();
    let mut request = get("/api/v2/assets", &[&customer.bearer(&claims())]);
    let host = HeaderValue::from_static("globex.vdr.secureworks.com:443");
    request.headers_mut().insert(header::HOST, host);
    let answer = customer.send(request);
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.json()["reason"], "other-instance");
}

#[test]
fn a_host_that_is_not_the_vendors_says_nothing_about_the_instance() {
    let customer = customer();
    let mut request = get("/api/v2/assets", &[&customer.bearer(&claims())]);
    let host = HeaderValue::from_static("127.0.0.1:8443");
    request.headers_mut().insert(header::HOST, host);
    assert_eq!(customer.send(request).status(), 200);
}

#[test]
fn a_subject_that_is_not_user_and_digits_is_refused() {
    let customer = customer();
    for sub in [
        json!("123"),
        json!("user:"),
        json!("user:abc"),
        json!("user:+123"),
        json!(123),
        Value::Null,
    ] {
        customer.refuses_claims(&claims_but("sub", sub), "bad-subject");
    }
}

#[test]
fn a_user_that_was_not_enrolled_is_refused() {
    let customer = customer();
    for sub in ["user:789", "user:0123", "user:99999999999999999999999"] {
        customer.refuses_claims(&claims_but("sub", json!(sub)), "unknown-user");
    }
}

#[test]
fn scopes_that_are_not_a_list_of_strings_are_refused() {
    let customer = customer();
    for scp in [json!("read_only full_access"), json!([1]), Value::Null] {
        customer.refuses_claims(&claims_but("scp", scp), "scopes-not-a-list");
    }
}

#[test]
fn an_unknown_scope_is_refused() {
    let customer = customer();
    let claims = claims_but("scp", json!(["read_only", "admin"]));
    let message = customer.refuses_claims(&claims, "unknown-scope");
    assert!(message.contains("admin"), "{message}");
}

#[test]
fn a_time_that_is_not_whole_seconds_is_refused() {
    let customer = customer();
    for claim in ["iat", "exp"] {
        let but = |value| claims_but(claim, value);
        customer.refuses_claims(&but(Value::Null), "no-time");
        customer.refuses_claims(&but(json!(1_700_000_000.5)), "time-not-integer");
        customer.refuses_claims(&but(json!("1700000000")), "time-not-integer");
        let message = customer.refuses_claims(&but(json!(NOW * 1000)), "time-in-milliseconds");
        assert!(message.contains(claim), "{message}");
    }
}

#[test]
fn a_token_is_good_until_the_second_it_expires_in() {
    let customer = customer();
    let bearer = customer.bearer(&claims());
    customer.running.clock().advance(59);
    assert_eq!(
        customer.send(get("/api/v2/assets", &[&bearer])).status(),
        200
    );
    customer.running.clock().advance(1);
    customer.refuses_all(&[&bearer], "expired");
}

#[test]
fn a_token_from_the_future_is_refused() {
    let claims = claims_but("iat", json!(NOW + 1));
    customer().refuses_claims(&claims, "issued-in-the-future");
}

#[test]
fn a_tolerance_lets_a_token_come_from_the_near_future() {
    let customer = customer_with(Settings {
        tolerance: Duration::from_secs(5),
        ..Settings::default()
    });
    let bearer = customer.bearer(&claims_but("iat", json!(NOW + 5)));
    assert_eq!(
        customer.send(get("/api/v2/assets", &[&bearer])).status(),
        200
    );
    let claims = claims_but("iat", json!(NOW + 6));
    customer.refuses_claims(&claims, "issued-in-the-future");
}

#[test]
fn a_life_beyond_the_longest_is_refused() {
    let customer = customer_with(Settings {
        longest_life: Duration::from_secs(60),
        ..Settings::default()
    });
    customer.get("/api/v2/assets");
    customer.refuses_claims(&claims_but("exp", json!(NOW + 61)), "life-too-long");
}

#[test]
fn nothing_below_the_api_goes_without_a_token() {
    let customer = customer();
    for path in [
        "/api/v2/spec",
        "/api/v2/spec/openapi-2.0.json",
        "/api/v2/echo",
        "/api/v2/no",
        "/api/v2",
    ] {
        assert_eq!(customer.send(get(path, &[])).status(), 401, "{path}");
    }
}

#[test]
fn a_method_beyond_the_scopes_is_forbidden() {
    let customer = customer();
    let cases = [
        (json!(["read_only"]), "POST", "full_access"),
        (json!(["full_access"]), "GET", "read_only"),
        (json!(["full_access"]), "HEAD", "read_only"),
        (json!([]), "DELETE", "full_access"),
    ];
    for (scopes, method, needed) in cases {
        let bearer = customer.bearer(&claims_but("scp", scopes));
        let answer = customer.send(request(method, "/api/v2/echo", &[&bearer], ""));
        assert_eq!(answer.status(), 403, "{method}");
        let challenge = answer.header("www-authenticate");
        assert!(challenge.contains("insufficient_scope") && challenge.contains(needed));
        if method != "HEAD" {
            assert_eq!(answer.json()["reason"], "scope-missing");
        }
    }
}

#[test]
fn a_reader_may_read() {
    let customer = customer();
    let bearer = customer.bearer(&claims_but("scp", json!(["read_only"])));
    for method in ["GET", "HEAD"] {
        let answer = customer.send(request(method, "/api/v2/assets", &[&bearer], ""));
        assert_eq!(answer.status(), 200);
    }
}

#[test]
fn an_unknown_path_is_not_found() {
    let customer = customer();
    for path in [
        "/api/v2/no",
        "/api/v2/assets/",
        "/api/v2/assets/1/2",
        "/api/v2/assets/9999",
        "/api/v1/assets",
        "/",
    ] {
        let answer = customer.call("GET", path, "");
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(answer.json()["reason"], "not-found");
    }
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    let customer = customer();
    let answer = customer.call("DELETE", "/api/v2/vulnerabilities/5001", "");
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.header("allow"), "GET, HEAD, PATCH");
    assert_eq!(customer.call("GET", "/auth/oauth2/token", "").status(), 405);
}

#[test]
fn the_specification_describes_exactly_what_is_served() {
    let customer = customer();
    let spec = customer.get("/api/v2/spec/openapi-2.0.json");
    assert_eq!(spec["swagger"], "2.0");
    let all = ["get", "head", "post", "put", "patch", "delete", "options"];
    for (path, item) in spec["paths"].as_object().unwrap() {
        let id = if path.contains("assets") {
            "1001"
        } else {
            "5001"
        };
        for method in all {
            let method_name = method.to_uppercase();
            let answer = customer.call(&method_name, &path.replace("{id}", id), "{}");
            let served = answer.status() != 405 && answer.status() != 404;
            assert_eq!(served, item.get(method).is_some(), "{method} {path}");
        }
    }
    let page = customer.call("GET", "/api/v2/spec", "");
    assert!(String::from_utf8_lossy(&page.body).contains("/api/v2/spec/openapi-2.0.json"));
}

#[test]
fn assets_come_by_page() {
    let customer = customer();
    let page = customer.get("/api/v2/assets?limit=2&offset=4");
    assert_eq!(page["total"], 6);
    assert_eq!(page["items"][0]["id"], 1005);
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    let past = customer.get("/api/v2/assets?offset=99");
    assert_eq!(past["items"], json!([]));
    for query in ["limit=0", "limit=x", "offset=-1"] {
        let answer = customer.call("GET", &format!("/api/v2/assets?{query}"), "");
        assert_eq!(answer.status(), 400, "{query}");
    }
    assert_eq!(
        customer.get("/api/v2/assets/1001")["hostname"],
        "www.corp.example"
    );
}

#[test]
fn vulnerabilities_are_found_by_asset_and_severity() {
    let customer = customer();
    let total =
        |query: &str| customer.get(&format!("/api/v2/vulnerabilities?{query}"))["total"].clone();
    assert_eq!(total(""), 12);
    assert_eq!(total("asset_id=1001"), 3);
    assert_eq!(total("asset_id=1001&severity=high"), 1);
    assert_eq!(total("severity=none"), 0);
}

#[test]
fn a_changed_status_stays_changed_for_its_instance() {
    let customer = customer();
    let path = "/api/v2/vulnerabilities/5006";
    let answer = customer.call("PATCH", path, r#"{"status":"remediated"}"#);
    assert_eq!(answer.json()["status"], "remediated");
    assert_eq!(customer.get(path)["status"], "remediated");
    assert_eq!(
        customer.get("/api/v2/vulnerabilities/5007")["status"],
        "open"
    );
}

#[test]
fn a_change_that_makes_no_sense_is_a_bad_request() {
    let customer = customer();
    for body in ["", "{}", "[]", r#"{"status":"gone"}"#, r#"{"status":1}"#] {
        let answer = customer.call("PATCH", "/api/v2/vulnerabilities/5001", body);
        assert_eq!(answer.status(), 400, "{body}");
        assert_eq!(answer.json()["reason"], "bad-change");
    }
}

#[test]
fn an_echo_tells_the_request_without_its_token() {
    let customer = customer();
    let token = customer.token(&claims());
    let mut request = request(
        "PUT",
        "/api/v2/echo?a=b%20c",
        &[&format!("Bearer {token}")],
        "hello",
    );
    request
        .headers_mut()
        .append("x-twice", HeaderValue::from_static("1"));
    request
        .headers_mut()
        .append("x-twice", HeaderValue::from_static("2"));
    let answer = customer.send(request);
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(!text.contains(&token) && !text.contains(token.rsplit('.').next().unwrap()));
    let echo = answer.json();
    assert_eq!(echo["method"], "PUT");
    assert_eq!(echo["path"], "/api/v2/echo");
    assert_eq!(echo["query"], "a=b%20c");
    assert_eq!(echo["authorization"]["scheme"], "Bearer");
    assert_eq!(echo["authorization"]["claims"], claims());
    let twice: Vec<&Value> = echo["headers"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|pair| pair[0] == "x-twice")
        .collect();
    assert_eq!(twice, [&json!(["x-twice", "1"]), &json!(["x-twice", "2"])]);
    assert_eq!(echo["body"]["length"], 5);
    assert_eq!(echo["body"]["text"], "hello");
    assert_eq!(
        echo["body"]["sha256"],
        "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    );
}

#[test]
fn an_echo_takes_an_upload_of_any_size() {
    let customer = customer();
    let upload = Repeat {
        chunk: Bytes::from(vec![b'a'; 64 * 1024]),
        times: 256,
    };
    let request = Request::post("/api/v2/echo")
        .header("authorization", customer.bearer(&claims()))
        .body(upload)
        .unwrap();
    let echo = block_on(async {
        let mut client = Https::connect(&customer.running, HOST).await;
        client.send(request).await.unwrap().json()
    });
    assert_eq!(echo["body"]["length"], 16 * 1024 * 1024);
    assert_eq!(echo["body"]["text"].as_str().unwrap().len(), 1024);
}

#[test]
fn a_refused_upload_sees_its_refusal() {
    let customer = customer();
    let upload = Repeat {
        chunk: Bytes::from(vec![b'a'; 64 * 1024]),
        times: 8,
    };
    let request = Request::post("/api/v2/echo").body(upload).unwrap();
    let status = block_on(async {
        let mut client = Https::connect(&customer.running, HOST).await;
        client.send(request).await.unwrap().status()
    });
    assert_eq!(status, 401);
}

#[test]
fn the_login_hands_out_a_token_that_the_api_refuses() {
    let customer = customer();
    let answer = customer.send(request("POST", "/auth/oauth2/token", &[], "grant_type=x"));
    assert_eq!(answer.status(), 200);
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    customer.refuses(&token, "wrong-algorithm");
}

#[test]
fn several_instances_stand_side_by_side() {
    let (acme, globex) = (key(), key());
    let other = Enrolment {
        issuer: "globex-issuer".into(),
        ..enrolment("globex", &globex)
    };
    let vdr = Vdr::new([enrolment("acme", &acme), other], Settings::default()).unwrap();
    let options = Options {
        clock: Clock::fixed(NOW),
        ..Options::default()
    };
    let running = start(vdr, options).unwrap();
    let mut claims = claims_but("iss", json!("globex-issuer"));
    let header = json!({ "alg": "ES512" });
    let status = |token: &str| {
        let request = get("/api/v2/assets", &[&format!("Bearer {token}")]);
        block_on(async {
            let mut client = Https::connect(&running, "globex.vdr.secureworks.com").await;
            client.send(request).await.unwrap().status()
        })
    };
    assert_eq!(status(&signed(&globex, &header, &claims)), 401);
    claims["aud"] = json!("globex");
    assert_eq!(status(&signed(&globex, &header, &claims)), 200);
    assert_eq!(status(&signed(&acme, &header, &claims)), 401);
}

#[test]
fn a_new_key_takes_the_old_ones_place() {
    let customer = customer();
    let new = key();
    customer
        .running
        .vendor()
        .enrol(enrolment("acme", &new))
        .unwrap();
    customer.refuses_claims(&claims(), "bad-signature");
    let token = signed(&new, &json!({ "alg": "ES512" }), &claims());
    let bearer = format!("Bearer {token}");
    assert_eq!(
        customer.send(get("/api/v2/assets", &[&bearer])).status(),
        200
    );
}

#[test]
fn a_withdrawn_client_is_unknown() {
    let customer = customer();
    assert!(customer.running.vendor().withdraw(ISSUER, CLIENT_ID));
    assert!(!customer.running.vendor().withdraw(ISSUER, CLIENT_ID));
    customer.refuses_claims(&claims(), "unknown-client");
}

#[test]
fn a_key_of_another_kind_cannot_be_enrolled() {
    let small: &EcdsaSigningAlgorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let small = EcdsaKeyPair::generate(small).unwrap();
    let error = Vdr::new([enrolment("acme", &small)], Settings::default()).unwrap_err();
    assert!(error.to_string().contains("P-521"), "{error}");
    let no_key = Enrolment {
        public_key_pem: "ssh-rsa AAAA".into(),
        ..enrolment("acme", &key())
    };
    let error = Vdr::new([no_key], Settings::default()).unwrap_err();
    assert!(error.to_string().contains("PEM"), "{error}");
}

#[test]
fn a_good_token_over_one_connection_passes_again_and_again() {
    let customer = customer();
    let bearer = customer.bearer(&claims());
    block_on(async {
        let mut client = Https::connect(&customer.running, HOST).await;
        for _ in 0..3 {
            let request = get("/api/v2/assets", &[&bearer]);
            assert_eq!(client.send(request).await.unwrap().status(), 200);
        }
    });
    assert_eq!(customer.running.connections(), 1);
}
