//! The assertion, check by check.

use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;

#[test]
fn a_good_assertion_gets_an_access_token() {
    let customer = customer();
    customer.get("/v2-edge/sws/recordings");
    let vendor = customer.running.vendor();
    assert_eq!((vendor.token_calls(), vendor.tokens_issued()), (1, 1));
}

#[test]
fn an_assertion_may_be_addressed_to_the_token_endpoint_and_alone_in_a_list() {
    let customer = customer();
    let endpoint = format!("https://{AUTH}{TOKEN}");
    for aud in [json!(endpoint), json!([ISSUER]), json!([endpoint])] {
        customer.tokens(&asserting(&assertion(&claims_but("aud", aud))));
    }
}

#[test]
fn the_type_must_be_there_and_be_the_one() {
    let customer = customer();
    let grant = ("grant_type", "client_credentials");
    let assertion = assertion(&claims());
    let assertion = ("client_assertion", assertion.as_str());
    let words = |text| ("invalid_client", text);
    customer.refuses(
        posted(&form(&[grant, assertion])),
        400,
        words("Parameter client_assertion_type is missing"),
        "no-assertion-type",
    );
    customer.refuses(
        posted(&form(&[grant, ("client_assertion_type", "jwt"), assertion])),
        400,
        words(
            "Parameter client_assertion_type has value 'jwt' but expected is \
             'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'",
        ),
        "wrong-assertion-type",
    );
    customer.refuses(
        posted(&form(&[grant, ("client_assertion_type", ASSERTION_TYPE)])),
        400,
        words("client_assertion parameter missing"),
        "no-assertion",
    );
}

#[test]
fn what_is_no_token_is_refused() {
    let customer = customer();
    let header = URL_SAFE_NO_PAD.encode("{}");
    let refuses = |assertion: &str, reason| {
        customer.refuses_assertion(assertion, "the assertion is not a JWT", reason);
    };
    refuses("abc", "not-three-segments");
    refuses(&format!("{header}.{header}%3D.aa"), "not-base64url");
    refuses(&format!("{header}.YWJj.aa"), "not-json");
}

#[test]
fn a_subject_is_required() {
    let customer = customer();
    for sub in [Value::Null, json!(1), json!([CLIENT])] {
        let claims = claims_but("sub", sub);
        customer.refuses_claims(&claims, "Token sub claim is required", "no-subject");
    }
}

#[test]
fn a_client_id_must_be_the_subject() {
    let customer = customer();
    let with = |client_id| {
        let assertion = asserting(&assertion(&claims()));
        format!("{assertion}&client_id={client_id}")
    };
    customer.tokens(&with(CLIENT));
    customer.refuses(
        posted(&with("other")),
        400,
        (
            "invalid_client",
            "client_id parameter does not match sub claim",
        ),
        "other-client-id",
    );
}

#[test]
fn an_unknown_client_is_refused() {
    let customer = customer();
    let mut claims = claims();
    for client in [
        "other",
        &CLIENT.replace("External", "Internal"),
        "secret client",
    ] {
        claims["iss"] = json!(client);
        claims["sub"] = json!(client);
        let request = posted(&asserting(&assertion(&claims)));
        customer.refuses_client(request, "unknown-client");
    }
}

#[test]
fn a_disabled_or_withdrawn_client_is_as_good_as_none() {
    let customer = customer();
    let vendor = customer.running.vendor();
    let request = || posted(&asserting(&assertion(&claims())));
    vendor
        .enrol(ServiceAccount {
            enabled: false,
            ..account()
        })
        .unwrap();
    customer.refuses_client(request(), "unknown-client");
    vendor.enrol(account()).unwrap();
    customer.access();
    assert!(vendor.withdraw(DataCentre::UnitedStates, CLIENT));
    assert!(!vendor.withdraw(DataCentre::UnitedStates, CLIENT));
    customer.refuses_client(request(), "unknown-client");
}

#[test]
fn a_client_is_unknown_at_another_data_centre() {
    let customer = customer();
    let aud = DataCentre::EuropeanUnion.issuer();
    let body = asserting(&assertion(&claims_but("aud", json!(aud))));
    let answer = customer.send("auth.alero.eu", posted(&body));
    assert_eq!(answer.status(), 401);
    assert_eq!(customer.reason(&answer), Some("unknown-client"));
}

#[test]
fn an_issuer_other_than_the_subject_is_refused_like_an_unknown_client() {
    let customer = customer();
    for iss in [json!("other"), Value::Null] {
        let request = posted(&asserting(&assertion(&claims_but("iss", iss))));
        customer.refuses_client(request, "wrong-issuer");
    }
}

#[test]
fn any_algorithm_but_rs256_is_refused() {
    let customer = customer();
    for header in [
        json!({}),
        json!({ "alg": "none" }),
        json!({ "alg": "HS256" }),
        json!({ "alg": "RS512" }),
        json!({ "alg": "PS256" }),
        json!({ "alg": "rs256" }),
    ] {
        let assertion = signed(&keys()[0], &header, &claims());
        customer.refuses_assertion(&assertion, "Invalid signature algorithm", "wrong-algorithm");
    }
}

#[test]
fn a_signature_by_another_key_is_refused() {
    let customer = customer();
    let description = "Client authentication with signed JWT failed: \
                       Signature on JWT token failed validation";
    let refuses =
        |assertion: &str| customer.refuses_assertion(assertion, description, "bad-signature");
    refuses(&signed(&keys()[1], &json!({ "alg": "RS256" }), &claims()));
    let good = assertion(&claims());
    refuses(&good[..=good.rfind('.').unwrap()]);
    let other = assertion(&claims());
    let mut segments: Vec<&str> = good.split('.').collect();
    segments[1] = other.split('.').nth(1).unwrap();
    refuses(&segments.join("."));
}

#[test]
fn an_audience_that_is_not_the_realm_is_refused() {
    let customer = customer();
    for aud in [
        json!("https://auth.alero.eu/auth/realms/serviceaccounts"),
        json!(format!("{ISSUER}/")),
        json!("https://api.alero.io"),
        json!(["other", "another"]),
        json!([]),
        Value::Null,
    ] {
        let claims = claims_but("aud", aud);
        customer.refuses_claims(&claims, "Invalid token audience", "wrong-audience");
    }
}

#[test]
fn a_second_audience_is_refused() {
    let claims = claims_but("aud", json!([ISSUER, "other"]));
    customer().refuses_claims(
        &claims,
        "Multiple audiences not allowed",
        "several-audiences",
    );
}

#[test]
fn an_expiry_is_required() {
    let claims = claims_but("exp", Value::Null);
    customer().refuses_claims(&claims, "Token exp claim is required", "no-expiry");
}

#[test]
fn a_time_that_is_not_whole_seconds_is_refused() {
    let customer = customer();
    let refuses = |claim, value, reason| {
        let words = "a time is not a whole number of seconds";
        customer.refuses_claims(&claims_but(claim, value), words, reason);
    };
    for claim in ["iat", "exp", "nbf"] {
        refuses(claim, json!(1_700_000_000.5), "time-not-integer");
        refuses(claim, json!("soon"), "time-not-integer");
        refuses(claim, json!(NOW * 1000), "time-in-milliseconds");
    }
    refuses("exp", json!((NOW + 60).to_string()), "time-not-integer");
}

#[test]
fn an_assertion_is_good_until_the_second_it_expires_in() {
    let customer = customer();
    customer.tokens(&asserting(&assertion(&claims_but("exp", json!(NOW + 1)))));
    let claims = claims_but("exp", json!(NOW));
    customer.refuses_claims(&claims, "Token is not active", "not-active");
}

#[test]
fn an_assertion_is_not_good_before_its_time_beyond_the_tolerance() {
    let customer = customer();
    for nbf in [json!(NOW + 15), json!("0"), json!(0)] {
        customer.tokens(&asserting(&assertion(&claims_but("nbf", nbf))));
    }
    for nbf in [json!(NOW + 16), json!((NOW + 16).to_string())] {
        let claims = claims_but("nbf", nbf);
        customer.refuses_claims(&claims, "Token is not active", "not-active");
    }
}

#[test]
fn an_assertion_from_the_future_is_refused_beyond_the_tolerance() {
    let customer = customer();
    customer.tokens(&asserting(&assertion(&claims_but("iat", json!(NOW + 15)))));
    let claims = claims_but("iat", json!(NOW + 16));
    let words = "Token was issued in the future";
    customer.refuses_claims(&claims, words, "issued-in-the-future");
}

#[test]
fn an_assertion_older_than_a_minute_is_refused_unless_a_setting_allows_it() {
    let old = || claims_but("iat", json!(NOW - 61));
    let customer = customer();
    customer.tokens(&asserting(&assertion(&claims_but("iat", json!(NOW - 60)))));
    let words = "Token was issued too far in the past to be used now";
    customer.refuses_claims(&old(), words, "too-old");
    let lenient = customer_with(Settings {
        oldest: None,
        ..Settings::default()
    });
    lenient.tokens(&asserting(&assertion(&old())));
}

#[test]
fn without_the_time_of_issue_the_expiry_may_not_be_far_off() {
    let customer = customer();
    let mut claims = claims_but("iat", Value::Null);
    customer.tokens(&asserting(&assertion(&claims)));
    claims["exp"] = json!(NOW + 61);
    let words = "Token expiration is too far in the future and iat claim not present in token";
    customer.refuses_claims(&claims, words, "too-long-without-iat");
}

#[test]
fn a_long_life_alone_is_no_reason_to_refuse() {
    let claims = claims_but("exp", json!(NOW + 72 * 3600));
    customer().tokens(&asserting(&assertion(&claims)));
}

#[test]
fn an_assertion_without_an_id_is_refused() {
    let customer = customer();
    for id in [Value::Null, json!(""), json!(1)] {
        let claims = claims_but("jti", id);
        customer.refuses_claims(&claims, "Token jti claim is required", "no-token-id");
    }
}

#[test]
fn an_assertion_is_good_once_until_it_expires() {
    let customer = customer();
    let mut claims = claims();
    customer.tokens(&asserting(&assertion(&claims)));
    customer.refuses_claims(&claims, "Token reuse detected", "reused");
    customer.running.clock().advance(59);
    customer.refuses_claims(&claims, "Token reuse detected", "reused");
    customer.running.clock().advance(1);
    claims["iat"] = json!(NOW + 60);
    claims["exp"] = json!(NOW + 120);
    customer.tokens(&asserting(&assertion(&claims)));
}

#[test]
fn a_refused_assertion_does_not_use_up_its_id() {
    let customer = customer();
    let mut claims = claims_but("aud", json!("other"));
    customer.refuses_claims(&claims, "Invalid token audience", "wrong-audience");
    claims["aud"] = json!(ISSUER);
    customer.tokens(&asserting(&assertion(&claims)));
}

#[test]
fn an_older_keycloak_has_other_words() {
    let customer = customer_with(Settings {
        wording: Wording::Older,
        ..Settings::default()
    });
    let refuses = |claims: &Value, status, description: &str, reason| {
        let request = posted(&asserting(&assertion(claims)));
        customer.refuses(
            request,
            status,
            ("unauthorized_client", description),
            reason,
        );
    };
    let failed = "Client authentication with signed JWT failed";
    refuses(
        &claims_but("jti", Value::Null),
        400,
        &format!("{failed}: Missing ID on the token"),
        "no-token-id",
    );
    refuses(
        &claims_but("iss", json!("other")),
        400,
        &format!("{failed}: Issuer mismatch. The issuer should match the subject"),
        "wrong-issuer",
    );
    refuses(
        &claims_but("exp", json!(NOW)),
        400,
        &format!("{failed}: Token is not active"),
        "not-active",
    );
    let assertion = signed(&keys()[1], &json!({ "alg": "RS256" }), &claims());
    customer.refuses(
        posted(&asserting(&assertion)),
        400,
        (
            "unauthorized_client",
            &format!("{failed}: Signature on JWT token failed validation"),
        ),
        "bad-signature",
    );
    let unknown = json!({ "iss": "a", "sub": "a" });
    let words = "Invalid client or Invalid client credentials";
    refuses(&unknown, 401, words, "unknown-client");
}
