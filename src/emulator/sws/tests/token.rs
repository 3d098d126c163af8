//! The rest of the authorization server: discovery, secrets, grants, and what is handed out.

use super::*;
use crate::emulator::Effect;
use crate::emulator::jwt::Jwt;

const SECRET: [(&str, &str); 3] = [
    ("grant_type", "client_credentials"),
    ("client_id", "secret+client"),
    ("client_secret", "p%2Bs%3Aw%25"),
];

/// A request of the account with a secret, by header: the pair is form-encoded, then base64.
fn by_header(pair: &str, body: &str) -> Request<Body> {
    let basic = format!("Basic {}", STANDARD.encode(pair));
    let mut request = posted(body);
    let value = HeaderValue::from_str(&basic).unwrap();
    request.headers_mut().insert(header::AUTHORIZATION, value);
    request
}

#[test]
fn discovery_says_where_everything_is_at_each_data_centre() {
    let customer = customer();
    for (host, issuer) in [
        (AUTH, ISSUER),
        (
            "auth.au.alero.io",
            "https://auth.au.alero.io/auth/realms/serviceaccounts",
        ),
        ("localhost", ISSUER),
    ] {
        let path = "/auth/realms/serviceaccounts/.well-known/openid-configuration";
        let document = customer.send(host, request("GET", path, &[], "")).json();
        assert_eq!(document["issuer"], issuer);
        let endpoint = format!("{issuer}/protocol/openid-connect/token");
        assert_eq!(document["token_endpoint"], endpoint);
        let jwks = format!("{issuer}/protocol/openid-connect/certs");
        assert_eq!(document["jwks_uri"], jwks);
        assert_eq!(
            document["grant_types_supported"],
            json!(["client_credentials"])
        );
        let methods = &document["token_endpoint_auth_methods_supported"];
        assert!(
            methods
                .as_array()
                .unwrap()
                .contains(&json!("private_key_jwt"))
        );
    }
}

#[test]
fn an_access_token_can_be_verified_with_the_keys_that_are_published() {
    let customer = customer();
    let path = "/auth/realms/serviceaccounts/protocol/openid-connect/certs";
    let keys = customer.send(AUTH, request("GET", path, &[], "")).json();
    let key = &keys["keys"][0];
    let number = |name: &str| {
        let text = key[name].as_str().unwrap();
        base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(text)
            .unwrap()
    };
    let access = customer.access();
    let jwt = Jwt::parse(&access).unwrap();
    assert_eq!(jwt.header["kid"], key["kid"]);
    aws_lc_rs::rsa::PublicKeyComponents {
        n: number("n"),
        e: number("e"),
    }
    .verify(
        &RSA_PKCS1_2048_8192_SHA256,
        jwt.signed.as_bytes(),
        &jwt.signature,
    )
    .unwrap();
}

#[test]
fn the_answer_has_what_keycloaks_has() {
    let customer = customer();
    let answer = customer.send(AUTH, posted(&asserting(&assertion(&claims()))));
    assert_eq!(answer.header("cache-control"), "no-store");
    let mut tokens = answer.json();
    let access = tokens["access_token"].take();
    let expected = json!({
        "access_token": null,
        "expires_in": 300,
        "refresh_expires_in": 0,
        "token_type": "Bearer",
        "not-before-policy": 0,
        "scope": "profile email",
    });
    assert_eq!(tokens, expected);
    let jwt = Jwt::parse(access.as_str().unwrap()).unwrap();
    assert_eq!(jwt.claims["iss"], ISSUER);
    assert_eq!(jwt.claims["azp"], CLIENT);
    assert_eq!(jwt.claims["exp"], NOW + 300);
}

#[test]
fn a_setting_gives_tokens_another_life() {
    let customer = customer_with(Settings {
        token_life: Duration::from_secs(60),
        ..Settings::default()
    });
    let tokens = customer.tokens(&form(&SECRET));
    assert_eq!(tokens["expires_in"], 60);
    let jwt = Jwt::parse(tokens["access_token"].as_str().unwrap()).unwrap();
    assert_eq!(jwt.claims["exp"], NOW + 60);
}

#[test]
fn only_post_gets_a_token_and_only_get_the_rest() {
    let customer = customer();
    let answer = customer.send(AUTH, request("GET", TOKEN, &[], ""));
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.header("allow"), "POST");
    let path = "/auth/realms/serviceaccounts/protocol/openid-connect/certs";
    let answer = customer.send(AUTH, request("POST", path, &[], ""));
    assert_eq!(answer.status(), 405);
    assert_eq!(customer.reason(&answer), Some("wrong-method"));
    assert_eq!(customer.running.vendor().token_calls(), 0);
}

#[test]
fn what_the_server_does_not_have_is_not_found() {
    let customer = customer();
    for (host, path) in [
        (AUTH, "/auth/realms/master/protocol/openid-connect/token"),
        (AUTH, "/auth/realms/serviceaccounts"),
        (AUTH, "/v2-edge/sws/recordings"),
        ("localhost", "/auth/no"),
    ] {
        let answer = customer.send(host, request("GET", path, &[], ""));
        assert_eq!(answer.status(), 404, "{host}{path}");
        assert_eq!(customer.reason(&answer), Some("not-found"));
    }
}

#[test]
fn a_form_that_makes_no_sense_is_refused() {
    let customer = customer();
    let json = ("content-type", "application/json");
    let not_a_form = request("POST", TOKEN, &[json], "{}");
    let words = |text| ("invalid_request", text);
    customer.refuses(not_a_form, 415, words("a form is due"), "not-a-form");
    customer.refuses(
        posted("grant_type=%"),
        400,
        words("the form is broken"),
        "bad-form",
    );
    let long = format!("a={}", "a".repeat(DOCUMENT));
    customer.refuses(posted(&long), 400, words("the form is broken"), "bad-form");
    customer.refuses(
        posted("grant_type=client_credentials&grant_type=client_credentials"),
        400,
        words("duplicated parameter"),
        "repeated-parameter",
    );
    customer.refuses(
        posted("client_id=a"),
        400,
        words("Missing form parameter: grant_type"),
        "no-grant-type",
    );
    for grant in ["password", "refresh_token", "Client_Credentials"] {
        customer.refuses(
            posted(&form(&[("grant_type", grant)])),
            400,
            ("unsupported_grant_type", "Unsupported grant_type"),
            "wrong-grant-type",
        );
    }
}

#[test]
fn a_secret_is_good_in_the_form_and_in_the_header() {
    let customer = customer();
    customer.tokens(&form(&SECRET));
    let with_type = format!("{}&client_assertion_type={ASSERTION_TYPE}", form(&SECRET));
    customer.tokens(&with_type);
    for body in [&form(&SECRET[..1]), &form(&SECRET[..2])] {
        let request = by_header("secret+client:p%2Bs%3Aw%25", body);
        assert_eq!(customer.send(AUTH, request).status(), 200);
    }
}

#[test]
fn a_wrong_secret_is_refused() {
    let customer = customer();
    let grant = SECRET[0];
    let wrong = [grant, SECRET[1], ("client_secret", "other")];
    customer.refuses_client(posted(&form(&wrong)), "wrong-secret");
    let other = [grant, ("client_id", "other"), SECRET[2]];
    customer.refuses_client(posted(&form(&other)), "unknown-client");
    customer.refuses_client(posted(&form(&[grant, SECRET[2]])), "unknown-client");
    let keyed = [grant, ("client_id", CLIENT), SECRET[2]];
    customer.refuses_client(posted(&form(&keyed)), "wrong-secret");
    let body = form(&[grant]);
    for pair in ["secret+client:other", "secret+client", "secret+client:%"] {
        customer.refuses_client(by_header(pair, &body), "wrong-secret");
    }
    let another = form(&[grant, ("client_id", "another")]);
    let request = by_header("secret+client:p%2Bs%3Aw%25", &another);
    customer.refuses_client(request, "wrong-secret");
}

#[test]
fn two_proofs_are_one_too_many() {
    let customer = customer();
    let words = (
        "invalid_request",
        "more than one way of client authentication",
    );
    let assertion = assertion(&claims());
    let both = format!("{}&client_assertion={assertion}", form(&SECRET));
    customer.refuses(posted(&both), 400, words, "two-ways");
    let pair = "secret+client:p%2Bs%3Aw%25";
    customer.refuses(by_header(pair, &form(&SECRET)), 400, words, "two-ways");
    let request = by_header(pair, &asserting(&assertion));
    customer.refuses(request, 400, words, "two-ways");
}

#[test]
fn a_scope_is_taken_where_it_is_known() {
    let customer = customer();
    let tokens = customer.tokens(&format!("{}&scope=openid", form(&SECRET)));
    assert_eq!(tokens["scope"], "openid profile email");
    customer.refuses(
        posted(&format!("{}&scope=openid+admin", form(&SECRET))),
        400,
        ("invalid_scope", "Invalid scopes: openid admin"),
        "wrong-scope",
    );
}

fn refreshing(token: &str) -> String {
    form(&[
        ("grant_type", "refresh_token"),
        SECRET[1],
        SECRET[2],
        ("refresh_token", token),
    ])
}

#[test]
fn a_refresh_token_gets_new_tokens_where_a_setting_has_them() {
    let customer = customer_with(Settings {
        refresh_life: Some(Duration::from_secs(1800)),
        ..Settings::default()
    });
    let tokens = customer.tokens(&form(&SECRET));
    assert_eq!(tokens["refresh_expires_in"], 1800);
    let refresh = tokens["refresh_token"].as_str().unwrap();
    customer.running.clock().advance(1799);
    let tokens = customer.tokens(&refreshing(refresh));
    let access = tokens["access_token"].as_str().unwrap();
    let answer = customer.call_with(access, "GET", "/v2-edge/sws/echo", "");
    assert_eq!(answer.status(), 200);
    customer.running.clock().advance(1);
    customer.refuses(
        posted(&refreshing(refresh)),
        400,
        ("invalid_grant", "Token is not active"),
        "refresh-token-expired",
    );
}

#[test]
fn a_refresh_token_is_the_realms_the_clients_and_not_revoked() {
    let customer = customer_with(Settings {
        refresh_life: Some(Duration::from_secs(1800)),
        ..Settings::default()
    });
    let words = ("invalid_grant", "Invalid refresh token");
    let refuses =
        |token: &str| customer.refuses(posted(&refreshing(token)), 400, words, "bad-refresh-token");
    refuses("abc");
    refuses(&assertion(&claims()));
    let own = customer.tokens(&form(&SECRET));
    refuses(own["access_token"].as_str().unwrap());
    let others = customer.tokens(&asserting(&assertion(&claims())));
    refuses(others["refresh_token"].as_str().unwrap());
    customer.running.vendor().revoke_all();
    refuses(own["refresh_token"].as_str().unwrap());
    customer.refuses(
        posted(&refreshing("")),
        400,
        ("invalid_request", "No refresh token"),
        "no-refresh-token",
    );
}

#[test]
fn token_calls_are_counted_and_so_are_tokens() {
    let customer = customer();
    customer.tokens(&form(&SECRET));
    customer.send(AUTH, posted("a=b"));
    let vendor = customer.running.vendor();
    assert_eq!((vendor.token_calls(), vendor.tokens_issued()), (2, 1));
}

#[test]
fn a_fault_can_strike_the_token_endpoint_alone() {
    let customer = customer();
    let access = customer.access();
    let busy = Effect::status(StatusCode::SERVICE_UNAVAILABLE);
    customer.running.faults().next_at("/auth/", 1, busy);
    let path = "/v2-edge/sws/echo";
    assert_eq!(customer.call_with(&access, "GET", path, "").status(), 200);
    assert_eq!(customer.send(AUTH, posted(&form(&SECRET))).status(), 503);
    customer.tokens(&form(&SECRET));
}

#[test]
fn a_key_of_another_kind_cannot_be_enrolled() {
    let ecdsa = rcgen::KeyPair::generate().unwrap().public_key_pem();
    for (pem, fault) in [(ecdsa.as_str(), "RSA"), ("ssh-rsa AAAA", "PEM")] {
        let account = ServiceAccount {
            credential: Credential::PublicKey(pem.into()),
            ..account()
        };
        let sws = Sws::with_key(realm_key(), [account], Settings::default());
        let error = sws.unwrap_err().to_string();
        assert!(error.contains(fault), "{error}");
    }
}
