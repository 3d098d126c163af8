//! A tenant, its service accounts and what they can send; the tests themselves stand in files of
//! their own. Every refusal has its test.

#![allow(
    clippy::unwrap_used,
    reason = "a test that panics has failed, as it should"
)]

mod api;
mod assertion;
mod scene;
mod token;

use std::sync::OnceLock;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use serde_json::Value;

use super::token::ASSERTION_TYPE;
use super::*;
use crate::emulator::client::{Answer, Client, block_on};
use crate::emulator::{Body, Clock, Options, Outcome, Running, jwt, start};

const AUTH: &str = "auth.alero.io";
const API: &str = "api.alero.io";
const ISSUER: &str = "https://auth.alero.io/auth/realms/serviceaccounts";
const TOKEN: &str = "/auth/realms/serviceaccounts/protocol/openid-connect/token";
const NOW: i64 = 1_700_000_000;
const CLIENT: &str = "11111111111111111111111111111111.\
                      22222222222222222222222222222222.ExternalServiceAccount";

/// The service account's key and one that nobody knows. RSA keys take long to make, so all tests
/// share them, and the realm's.
fn keys() -> &'static [KeyPair; 2] {
    static KEYS: OnceLock<[KeyPair; 2]> = OnceLock::new();
    KEYS.get_or_init(|| [(); 2].map(|()| KeyPair::generate(KeySize::Rsa2048).unwrap()))
}

fn realm_key() -> RealmKey {
    static KEY: OnceLock<RealmKey> = OnceLock::new();
    KEY.get_or_init(|| RealmKey::generate().unwrap()).clone()
}

fn public_pem(key: &KeyPair) -> String {
    let der: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
    let text = STANDARD.encode(der.as_ref());
    format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
}

fn account() -> ServiceAccount {
    ServiceAccount {
        data_centre: DataCentre::UnitedStates,
        tenant: "1".repeat(32),
        id: "2".repeat(32),
        role: Role::Administrator,
        enabled: true,
        credential: Credential::PublicKey(public_pem(&keys()[0])),
    }
}

fn secret_account() -> ServiceAccount {
    ServiceAccount {
        id: "3".repeat(32),
        credential: Credential::Secret {
            client_id: "secret client".into(),
            secret: "p+s:w%".into(),
        },
        ..account()
    }
}

struct Customer {
    running: Running<Sws>,
}

fn customer() -> Customer {
    customer_with(Settings::default())
}

fn customer_with(settings: Settings) -> Customer {
    let options = Options {
        clock: Clock::fixed(NOW),
        ..Options::default()
    };
    let accounts = [account(), secret_account()];
    let sws = Sws::with_key(realm_key(), accounts, settings).unwrap();
    let running = start(sws, options).unwrap();
    Customer { running }
}

/// Claims whose `jti` is new each time: assertions are good once.
fn claims() -> Value {
    json!({
        "iss": CLIENT,
        "sub": CLIENT,
        "aud": ISSUER,
        "jti": uuid::Uuid::new_v4().to_string(),
        "iat": NOW,
        "exp": NOW + 60,
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

fn signed(key: &KeyPair, header: &Value, claims: &Value) -> String {
    let sign = |text: &[u8]| {
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            text,
            &mut signature,
        )
        .map(|()| signature)
    };
    jwt::compose(header, claims, sign).unwrap()
}

fn assertion(claims: &Value) -> String {
    signed(&keys()[0], &json!({ "alg": "RS256", "typ": "JWT" }), claims)
}

/// A form; the values need no escapes but for what they are given with.
fn form(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

fn asserting(assertion: &str) -> String {
    form(&[
        ("grant_type", "client_credentials"),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", assertion),
    ])
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Bytes::copy_from_slice(body.as_bytes());
    request.body(Body::from(body)).unwrap()
}

fn posted(body: &str) -> Request<Body> {
    let media_type = ("content-type", "application/x-www-form-urlencoded");
    request("POST", TOKEN, &[media_type], body)
}

impl Customer {
    fn send(&self, host: &'static str, request: Request<Body>) -> Answer {
        block_on(async {
            let mut client = Client::connect(&self.running, host).await;
            client.send(request).await.unwrap()
        })
    }

    /// What a form gets that is good.
    fn tokens(&self, form: &str) -> Value {
        let answer = self.send(AUTH, posted(form));
        assert_eq!(answer.status(), 200, "{:?}", answer.body);
        answer.json()
    }

    fn access(&self) -> String {
        let mut claims = claims();
        let now = self.running.clock().now();
        claims["iat"] = json!(now);
        claims["exp"] = json!(now + 60);
        let tokens = self.tokens(&asserting(&assertion(&claims)));
        tokens["access_token"].as_str().unwrap().to_owned()
    }

    fn call_with(&self, access: &str, method: &str, path: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {access}");
        let request = request(method, path, &[("authorization", &bearer)], body);
        self.send(API, request)
    }

    fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        self.call_with(&self.access(), method, path, body)
    }

    fn get(&self, path: &str) -> Value {
        let answer = self.call("GET", path, "");
        assert_eq!(answer.status(), 200, "{path}: {:?}", answer.body);
        answer.json()
    }

    /// The reason that the log has for the latest answer, which had this status.
    fn reason(&self, answer: &Answer) -> Option<&'static str> {
        match self.running.requests().last().unwrap().outcome {
            Outcome::Answered { status, reason } => {
                assert_eq!(status, answer.status());
                reason
            }
            other => panic!("{other:?}"),
        }
    }

    /// Sees to it that a request for a token is refused in these words and for this reason.
    fn refuses(&self, request: Request<Body>, status: u16, words: (&str, &str), reason: &str) {
        let answer = self.send(AUTH, request);
        assert_eq!(answer.status(), status, "{reason}: {:?}", answer.body);
        assert_eq!(self.reason(&answer), Some(reason));
        let (error, description) = words;
        let expected = json!({ "error": error, "error_description": description });
        assert_eq!(answer.json(), expected);
    }

    /// Sees to it that an assertion is refused with 400.
    fn refuses_assertion(&self, assertion: &str, description: &str, reason: &str) {
        let words = ("invalid_client", description);
        self.refuses(posted(&asserting(assertion)), 400, words, reason);
    }

    fn refuses_claims(&self, claims: &Value, description: &str, reason: &str) {
        self.refuses_assertion(&assertion(claims), description, reason);
    }

    /// Sees to it that a client is refused with 401.
    fn refuses_client(&self, request: Request<Body>, reason: &str) {
        let description = "Invalid client or Invalid client credentials";
        self.refuses(request, 401, ("invalid_client", description), reason);
    }
}
