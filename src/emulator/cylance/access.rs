//! The server's own tokens: made here, and verified when they come back.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use super::{Cylance, Known, problem, seconds};
use crate::emulator::bearer::{self, NoBearer};
use crate::emulator::issued::Issued;
use crate::emulator::jwt::{self, Jwt, Malformed};
use crate::emulator::{Call, Error, Reply};

/// What a token for the user API is for.
const API: &str = "user-api";

/// What a token for the multi-tenant console is for.
const CONSOLE: &str = "multi-tenant-console";

/// What an exchange grants.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) tenant: String,
    pub(super) application: String,
    pub(super) scopes: Vec<String>,
}

/// Signs access tokens with a key that nobody else has.
pub(super) struct Mint {
    key: hmac::Key,
    pub(super) issued: Issued,
}

impl fmt::Debug for Mint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mint")
            .field("issued", &self.issued)
            .finish_non_exhaustive()
    }
}

impl Mint {
    pub(super) fn new() -> Result<Self, Error> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| Error::Keygen)?;
        Ok(Mint {
            key,
            issued: Issued::default(),
        })
    }

    pub(super) fn for_api(&self, grant: &Grant, now: i64, life: i64) -> String {
        self.token(&json!({
            "aud": API,
            "sub": grant.application,
            "tid": grant.tenant,
            "scp": grant.scopes,
            "jti": self.issued.next(),
            "iat": now,
            "exp": now.saturating_add(life),
        }))
    }

    pub(super) fn for_console(&self, id: &str, now: i64, life: i64) -> String {
        self.token(&json!({
            "aud": CONSOLE,
            "sub": id,
            "jti": self.issued.next(),
            "iat": now,
            "exp": now.saturating_add(life),
        }))
    }

    fn token(&self, claims: &Value) -> String {
        let header = json!({ "alg": "HS256", "typ": "JWT" });
        let sign = |signed: &[u8]| Ok(hmac::sign(&self.key, signed).as_ref().to_vec());
        let Ok(token) = jwt::compose::<Infallible>(&header, claims, sign);
        token
    }
}

/// Why an access token is refused: its text is for people, its code for tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    NoBearer(#[from] NoBearer),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("access tokens have the alg HS256")]
    WrongAlgorithm,
    #[error("the token is not one that was handed out here")]
    BadSignature,
    #[error("the token is for the other one of user API and console")]
    OtherUse,
    #[error("the token has expired")]
    Expired,
    #[error("the token has been revoked")]
    Revoked,
    #[error("the token's application is gone")]
    UnknownApplication,
    #[error("the token's application is of another region than this host")]
    OtherRegion,
}

impl Refusal {
    fn code(self) -> &'static str {
        match self {
            Refusal::NoBearer(none) => none.code(),
            Refusal::Malformed(malformed) => malformed.code(),
            Refusal::WrongAlgorithm => "wrong-algorithm",
            Refusal::BadSignature => "bad-signature",
            Refusal::OtherUse => "other-use",
            Refusal::Expired => "expired",
            Refusal::Revoked => "revoked",
            Refusal::UnknownApplication => "unknown-application",
            Refusal::OtherRegion => "other-region",
        }
    }

    /// Whoever is at the wrong region's host is not told so: there, the token is one from
    /// elsewhere.
    pub(super) fn reply(self) -> Reply {
        let told = match self {
            Refusal::UnknownApplication | Refusal::OtherRegion => Refusal::BadSignature,
            other => other,
        };
        let message = told.to_string();
        let challenge = match told {
            Refusal::NoBearer(NoBearer::Missing) => {
                HeaderValue::from_static("Bearer realm=\"cylance\"")
            }
            _ => bearer::challenge("invalid_token", &message),
        };
        problem(StatusCode::UNAUTHORIZED, self.code(), &message)
            .header(header::WWW_AUTHENTICATE, challenge)
    }
}

/// Whom a good token speaks for.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) tenant: String,
    scopes: Vec<String>,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl Caller {
    pub(super) fn has(&self, scope: &str) -> bool {
        self.scopes.iter().any(|it| it == scope)
    }

    /// The token, told without the part that makes it one.
    pub(super) fn to_json(&self) -> Value {
        json!({ "scheme": "Bearer", "header": self.header, "claims": self.claims })
    }
}

impl Cylance {
    /// Verifies a token for the user API.
    pub(super) fn caller(&self, call: &Call) -> Result<Caller, Refusal> {
        let jwt = self.live(call, API)?;
        let known = self.bearer_of(&jwt).ok_or(Refusal::UnknownApplication)?;
        let host = call.host().unwrap_or_default();
        if !known.application.region.answers_at(&host) {
            return Err(Refusal::OtherRegion);
        }
        Ok(Caller {
            tenant: known.application.tenant.clone(),
            scopes: scopes(&jwt),
            header: jwt.header,
            claims: jwt.claims,
        })
    }

    /// Verifies a token for the console; gives the id of the console it was handed out to.
    pub(super) fn console_caller(&self, call: &Call) -> Result<String, Refusal> {
        let jwt = self.live(call, CONSOLE)?;
        jwt.text("sub")
            .map(str::to_owned)
            .ok_or(Refusal::UnknownApplication)
    }

    fn live<'a>(&self, call: &'a Call, audience: &str) -> Result<Jwt<'a>, Refusal> {
        let jwt = Jwt::parse(bearer::token(call.headers())?)?;
        if jwt.header.get("alg").and_then(Value::as_str) != Some("HS256") {
            return Err(Refusal::WrongAlgorithm);
        }
        hmac::verify(&self.mint.key, jwt.signed.as_bytes(), &jwt.signature)
            .map_err(|_| Refusal::BadSignature)?;
        if jwt.text("aud") != Some(audience) {
            return Err(Refusal::OtherUse);
        }
        if self.death(&jwt).is_none_or(|death| death <= call.now()) {
            return Err(Refusal::Expired);
        }
        if !jwt
            .text("jti")
            .is_some_and(|jti| self.mint.issued.is_live(jti))
        {
            return Err(Refusal::Revoked);
        }
        Ok(jwt)
    }

    /// The second from which a token is dead, whatever it says itself.
    fn death(&self, jwt: &Jwt<'_>) -> Option<i64> {
        let (iat, exp) = (jwt.seconds("iat").ok()?, jwt.seconds("exp").ok()?);
        Some(match self.settings.early_death {
            Some(early) => exp.min(iat.saturating_add(seconds(early))),
            None => exp,
        })
    }

    fn bearer_of(&self, jwt: &Jwt<'_>) -> Option<Arc<Known>> {
        self.application(jwt.text("tid")?, jwt.text("sub")?)
    }
}

fn scopes(jwt: &Jwt<'_>) -> Vec<String> {
    let scopes = jwt.claims.get("scp").and_then(Value::as_array);
    scopes
        .into_iter()
        .flatten()
        .filter_map(|scope| scope.as_str().map(str::to_owned))
        .collect()
}
