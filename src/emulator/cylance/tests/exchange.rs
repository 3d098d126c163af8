//! The token endpoint.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::emulator::Effect;
use crate::emulator::jwt::Jwt;

/// An exchange that is no sensible request.
fn bad_request(customer: &Customer, request: Request<Body>, reason: &str) {
    let answer = customer.send(request);
    assert_eq!(answer.status(), 400, "{reason}");
    assert_eq!(customer.reason(&answer), Some(reason));
    assert!(answer.json()["message"].is_string());
}

#[test]
fn a_good_token_is_exchanged_for_another_and_nothing_else() {
    let customer = customer();
    let answer = customer.send(exchange(&auth_token(&claims())));
    assert_eq!(answer.status(), 200);
    assert_eq!(customer.reason(&answer), None);
    let document = answer.json();
    assert_eq!(document.as_object().unwrap().len(), 1);
    let access = document["access_token"].as_str().unwrap();
    let jwt = Jwt::parse(access).unwrap();
    assert_eq!(jwt.claims["exp"], NOW + 1800);
    assert_eq!(jwt.claims["sub"], APPLICATION);
    assert_eq!(jwt.claims["tid"], TENANT);
    assert_eq!(jwt.claims["scp"].as_array().unwrap().len(), 7);
}

#[test]
fn a_setting_adds_the_life_of_the_token_to_the_answer() {
    let customer = customer_with(Settings {
        say_expires_in: true,
        token_life: Duration::from_secs(60),
        ..Settings::default()
    });
    let answer = customer.send(exchange(&auth_token(&claims()))).json();
    assert_eq!(answer["expires_in"], 60);
    let jwt = Jwt::parse(answer["access_token"].as_str().unwrap()).unwrap();
    assert_eq!(jwt.claims["exp"], NOW + 60);
}

#[test]
fn a_token_that_does_not_come_in_json_is_a_bad_request() {
    let customer = customer();
    let body = json!({ "auth_token": auth_token(&claims()) }).to_string();
    let form = ("content-type", "application/x-www-form-urlencoded");
    let json = ("content-type", "application/json");
    for headers in [&[][..], &[form], &[json, json]] {
        let request = request("POST", TOKEN, headers, &body);
        bad_request(&customer, request, "not-json-body");
    }
    let long = format!("{{\"auth_token\":\"{}\"}}", "a".repeat(DOCUMENT));
    for body in ["", "[]", "{}", "{\"auth_token\":1}", &long] {
        let request = request("POST", TOKEN, &[json], body);
        bad_request(&customer, request, "no-auth-token");
    }
}

#[test]
fn the_token_endpoint_has_only_post() {
    let customer = customer();
    let answer = customer.send(request("GET", TOKEN, &[], ""));
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.header("allow"), "POST");
    assert_eq!(customer.running.vendor().token_calls(), 0);
}

#[test]
fn what_is_no_token_is_refused() {
    let customer = customer();
    let header = URL_SAFE_NO_PAD.encode("{}");
    customer.refuses("", "not-three-segments");
    customer.refuses("abc", "not-three-segments");
    customer.refuses(&format!("{header}.{header}=.aa"), "not-base64url");
    customer.refuses(&format!("{header}.YWJj.aa"), "not-json");
}

#[test]
fn any_algorithm_but_hs256_is_refused() {
    let customer = customer();
    for header in [
        json!({}),
        json!({ "alg": "none" }),
        json!({ "alg": "hs256" }),
        json!({ "alg": "HS512" }),
        json!({ "alg": "RS256" }),
        json!({ "alg": ["HS256"] }),
    ] {
        let token = signed(SECRET.as_bytes(), &header, &claims());
        customer.refuses(&token, "wrong-algorithm");
    }
}

#[test]
fn any_issuer_but_the_one_is_refused_to_the_letter() {
    let customer = customer();
    for issuer in [
        json!("https://cylance.com"),
        json!("http://cylance.com/"),
        json!("http://Cylance.com"),
        json!(["http://cylance.com"]),
        Value::Null,
    ] {
        customer.refuses_claims(&claims_but("iss", issuer), "wrong-issuer");
    }
}

#[test]
fn an_unknown_pair_of_tenant_and_application_is_refused() {
    let customer = customer();
    for (claim, value) in [
        ("tid", json!("other")),
        ("sub", json!("other")),
        ("tid", json!(APPLICATION)),
        ("sub", json!(APPLICATION.to_uppercase())),
        ("tid", Value::Null),
        ("sub", Value::Null),
        ("sub", json!([APPLICATION])),
    ] {
        customer.refuses_claims(&claims_but(claim, value), "unknown-application");
    }
}

#[test]
fn the_host_of_another_region_refuses_as_it_would_bad_credentials() {
    let customer = customer();
    for region in Region::ALL {
        let answer = customer.send_to(region.host(), exchange(&auth_token(&claims())));
        if region == Region::NorthAmerica {
            assert_eq!(answer.status(), 200);
            continue;
        }
        assert_eq!(answer.status(), 401, "{region:?}");
        assert_eq!(customer.reason(&answer), Some("other-region"));
        assert_eq!(answer.json(), json!({ "message": "Invalid JWT payload" }));
    }
}

#[test]
fn a_host_that_is_not_the_vendors_says_nothing_about_the_region() {
    let customer = customer();
    let answer = customer.send_to("localhost", exchange(&auth_token(&claims())));
    assert_eq!(answer.status(), 200);
}

#[test]
fn a_signature_by_anything_but_the_secrets_text_is_refused() {
    let customer = customer();
    let header = json!({ "alg": "HS256" });
    let bare: String = SECRET.split('-').collect();
    for key in ["", "other", &bare, &SECRET.to_uppercase()] {
        customer.refuses(&signed(key.as_bytes(), &header, &claims()), "bad-signature");
    }
    let token = auth_token(&claims());
    let unsigned = &token[..=token.rfind('.').unwrap()];
    customer.refuses(unsigned, "bad-signature");
}

#[test]
fn claims_changed_after_signing_are_refused() {
    let token = auth_token(&claims());
    let other = auth_token(&claims_but("scp", json!("device:list")));
    let mut segments: Vec<&str> = token.split('.').collect();
    segments[1] = other.split('.').nth(1).unwrap();
    customer().refuses(&segments.join("."), "bad-signature");
}

#[test]
fn a_token_without_an_id_is_refused() {
    let customer = customer();
    for id in [Value::Null, json!(""), json!(1)] {
        customer.refuses_claims(&claims_but("jti", id), "no-token-id");
    }
}

#[test]
fn a_time_that_is_not_whole_seconds_is_refused() {
    let customer = customer();
    for claim in ["iat", "exp"] {
        let but = |value| claims_but(claim, value);
        customer.refuses_claims(&but(Value::Null), "no-time");
        customer.refuses_claims(&but(json!(1_700_000_000.5)), "time-not-integer");
        customer.refuses_claims(&but(json!("1700000000")), "time-not-integer");
        customer.refuses_claims(&but(json!(NOW * 1000)), "time-in-milliseconds");
    }
}

#[test]
fn a_life_of_more_than_half_an_hour_is_a_bad_request() {
    let customer = customer();
    customer.access_for(&claims_but("exp", json!(NOW + 1800)));
    let token = auth_token(&claims_but("exp", json!(NOW + 1801)));
    bad_request(&customer, exchange(&token), "life-too-long");
}

#[test]
fn a_token_is_good_until_the_second_it_expires_in() {
    let customer = customer();
    customer.running.clock().advance(299);
    customer.access();
    customer.running.clock().advance(1);
    customer.refuses_claims(&claims(), "expired");
}

#[test]
fn a_token_from_the_future_is_refused_beyond_the_tolerance() {
    let claims = claims_but("iat", json!(NOW + 5));
    customer().refuses_claims(&claims, "issued-in-the-future");
    let tolerant = customer_with(Settings {
        tolerance: Duration::from_secs(5),
        ..Settings::default()
    });
    tolerant.access_for(&claims);
    let claims = claims_but("iat", json!(NOW + 6));
    tolerant.refuses_claims(&claims, "issued-in-the-future");
}

#[test]
fn scopes_come_as_a_string_with_commas_or_as_a_list() {
    let customer = customer();
    for scp in [
        json!("device:list, threat:list"),
        json!(" device:list,threat:list "),
        json!(["device:list", "threat:list"]),
        json!(["device:list, threat:list"]),
    ] {
        let access = customer.access_for(&claims_but("scp", scp));
        let jwt = Jwt::parse(&access).unwrap();
        assert_eq!(jwt.claims["scp"], json!(["device:list", "threat:list"]));
    }
}

#[test]
fn scopes_of_another_form_are_refused() {
    let customer = customer();
    for scp in [
        json!(1),
        json!({}),
        json!([1]),
        json!(["device:list", null]),
    ] {
        customer.refuses_claims(&claims_but("scp", scp), "scopes-malformed");
    }
}

#[test]
fn a_scope_that_was_not_granted_is_refused() {
    let customer = customer();
    for scp in [
        json!("device:delete"),
        json!("device:list, device:delete"),
        json!("device:list device:read"),
        json!("Device:List"),
        json!("device:list,"),
        json!(""),
    ] {
        customer.refuses_claims(&claims_but("scp", scp), "scope-not-granted");
    }
}

#[test]
fn a_token_may_come_twice_unless_a_setting_forbids_it() {
    let lenient = customer();
    lenient.access();
    lenient.access();
    let strict = customer_with(Settings {
        refuse_replays: true,
        ..Settings::default()
    });
    strict.access();
    strict.refuses_claims(&claims(), "replayed");
    strict.access_for(&claims_but("jti", json!("another")));
}

#[test]
fn a_refused_token_does_not_use_up_its_id() {
    let customer = customer_with(Settings {
        refuse_replays: true,
        ..Settings::default()
    });
    customer.refuses_claims(&claims_but("scp", json!("no")), "scope-not-granted");
    customer.access();
}

#[test]
fn a_new_secret_takes_the_old_ones_place() {
    let customer = customer();
    customer.running.vendor().enrol(Application {
        secret: "new".into(),
        ..application()
    });
    customer.refuses_claims(&claims(), "bad-signature");
    let token = signed(b"new", &json!({ "alg": "HS256" }), &claims());
    assert_eq!(customer.send(exchange(&token)).status(), 200);
}

#[test]
fn a_withdrawn_application_is_unknown() {
    let customer = customer();
    assert!(customer.running.vendor().withdraw(TENANT, APPLICATION));
    assert!(!customer.running.vendor().withdraw(TENANT, APPLICATION));
    customer.refuses_claims(&claims(), "unknown-application");
}

#[test]
fn token_calls_are_counted_and_so_are_tokens() {
    let customer = customer();
    customer.access();
    customer.refuses("abc", "not-three-segments");
    customer.get("/echo");
    let vendor = customer.running.vendor();
    assert_eq!(vendor.token_calls(), 3);
    assert_eq!(vendor.tokens_issued(), 2);
}

#[test]
fn a_fault_can_strike_the_exchange_alone() {
    let customer = customer();
    let access = customer.access();
    let too_many = Effect::status(StatusCode::TOO_MANY_REQUESTS);
    customer.running.faults().next_at("/auth", 1, too_many);
    assert_eq!(
        customer.call_with(&access, "GET", "/echo", "").status(),
        200
    );
    assert_eq!(
        customer.send(exchange(&auth_token(&claims()))).status(),
        429
    );
    assert_eq!(customer.running.vendor().token_calls(), 1);
    customer.access();
}
