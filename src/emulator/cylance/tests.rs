//! A tenant, its application and what the two can send; the tests themselves stand in files of
//! their own. Every refusal has its test.

#![allow(
    clippy::unwrap_used,
    reason = "a test that panics has failed, as it should"
)]

mod api;
mod exchange;
mod mtc;
mod scene;

use bytes::Bytes;
use http::Request;
use serde_json::Value;

use super::*;
use crate::emulator::client::{Answer, Client, block_on};
use crate::emulator::{Body, Clock, Options, Outcome, Running, jwt, start};

const HOST: &str = "protectapi.cylance.com";
const NOW: i64 = 1_700_000_000;
const TENANT: &str = "11111111-aaaa-4bbb-8ccc-222222222222";
const APPLICATION: &str = "33333333-dddd-4eee-8fff-444444444444";
/// Of the shape that the vendor's have, and decodable as base64 by mistake.
const SECRET: &str = "0f1e2d3c-4b5a-4697-8879-6a5b4c3d2e1f";

struct Customer {
    running: Running<Cylance>,
}

fn application() -> Application {
    let scopes = [
        "device:list",
        "device:read",
        "threat:list",
        "policy:list",
        "zone:list",
        "globallist:list",
        "globallist:create",
    ];
    Application {
        region: Region::NorthAmerica,
        tenant: TENANT.into(),
        id: APPLICATION.into(),
        secret: SECRET.into(),
        scopes: scopes.map(str::to_owned).into(),
    }
}

fn customer() -> Customer {
    customer_with(Settings::default())
}

fn customer_with(settings: Settings) -> Customer {
    let options = Options {
        clock: Clock::fixed(NOW),
        ..Options::default()
    };
    let running = start(Cylance::new([application()], settings).unwrap(), options).unwrap();
    Customer { running }
}

fn claims() -> Value {
    json!({
        "iss": "http://cylance.com",
        "sub": APPLICATION,
        "tid": TENANT,
        "jti": "d82c7976-ef46-47b6-80ce-4dda3c91bba3",
        "iat": NOW,
        "exp": NOW + 300,
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

fn signed(key: &[u8], header: &Value, claims: &Value) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let sign = |text: &[u8]| Ok::<_, ()>(hmac::sign(&key, text).as_ref().to_vec());
    jwt::compose(header, claims, sign).unwrap()
}

fn auth_token(claims: &Value) -> String {
    signed(
        SECRET.as_bytes(),
        &json!({ "alg": "HS256", "typ": "JWT" }),
        claims,
    )
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Bytes::copy_from_slice(body.as_bytes());
    request.body(Body::from(body)).unwrap()
}

fn exchange(auth_token: &str) -> Request<Body> {
    let body = json!({ "auth_token": auth_token }).to_string();
    let json = ("content-type", "application/json; charset=utf-8");
    request("POST", "/auth/v2/token", &[json], &body)
}

impl Customer {
    fn send_to(&self, host: &'static str, request: Request<Body>) -> Answer {
        block_on(async {
            let mut client = Client::connect(&self.running, host).await;
            client.send(request).await.unwrap()
        })
    }

    fn send(&self, request: Request<Body>) -> Answer {
        self.send_to(HOST, request)
    }

    /// An access token for these claims.
    fn access_for(&self, claims: &Value) -> String {
        let answer = self.send(exchange(&auth_token(claims)));
        assert_eq!(answer.status(), 200, "{:?}", answer.body);
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    fn access(&self) -> String {
        self.access_for(&claims())
    }

    fn call_with(&self, access: &str, method: &str, path: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {access}");
        self.send(request(method, path, &[("authorization", &bearer)], body))
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

    /// Sees to it that an exchange is refused for this reason, and not told which.
    fn refuses(&self, auth_token: &str, reason: &str) {
        let answer = self.send(exchange(auth_token));
        assert_eq!(answer.status(), 401, "{reason}: {:?}", answer.body);
        assert_eq!(self.reason(&answer), Some(reason));
        assert_eq!(answer.json(), json!({ "message": "Invalid JWT payload" }));
    }

    fn refuses_claims(&self, claims: &Value, reason: &str) {
        self.refuses(&auth_token(claims), reason);
    }
}
