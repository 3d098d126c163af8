//! Verifying an access token that comes back; the order of the checks is in the parent's
//! documentation.

use std::sync::Arc;

use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use super::{Account, DataCentre, Sws, problem, realm};
use crate::emulator::bearer::{self, NoBearer};
use crate::emulator::jwt::{Jwt, Malformed};
use crate::emulator::{Call, Reply};

/// Why an access token is refused: its text is for people, its code for tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    NoBearer(#[from] NoBearer),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("access tokens have the alg RS256")]
    WrongAlgorithm,
    #[error("kid is not that of the realm's key")]
    WrongKeyId,
    #[error("the signature is not the realm's")]
    BadSignature,
    #[error("the token is not an access token")]
    NotAnAccessToken,
    #[error("the token is by another data centre")]
    OtherDataCentre,
    #[error("the token has expired")]
    Expired,
    #[error("the token has been revoked")]
    Revoked,
    #[error("the token's service account is gone or disabled")]
    UnknownAccount,
}

impl Refusal {
    fn code(self) -> &'static str {
        match self {
            Refusal::NoBearer(none) => none.code(),
            Refusal::Malformed(malformed) => malformed.code(),
            Refusal::WrongAlgorithm => "wrong-algorithm",
            Refusal::WrongKeyId => "wrong-key-id",
            Refusal::BadSignature => "bad-signature",
            Refusal::NotAnAccessToken => "not-an-access-token",
            Refusal::OtherDataCentre => "other-data-centre",
            Refusal::Expired => "expired",
            Refusal::Revoked => "revoked",
            Refusal::UnknownAccount => "unknown-account",
        }
    }

    /// RFC 6750, section 3.1: who sent no token at all is told no error, only what is wanted.
    pub(super) fn reply(self) -> Reply {
        let message = self.to_string();
        let challenge = match self {
            Refusal::NoBearer(NoBearer::Missing) => {
                HeaderValue::from_static("Bearer realm=\"sws\"")
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
    pub(super) account: Arc<Account>,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl Caller {
    /// The token, told without the part that makes it one.
    pub(super) fn to_json(&self) -> Value {
        json!({ "scheme": "Bearer", "header": self.header, "claims": self.claims })
    }
}

impl Sws {
    pub(super) fn caller(&self, call: &Call, centre: DataCentre) -> Result<Caller, Refusal> {
        let jwt = Jwt::parse(bearer::token(call.headers())?)?;
        let says = |name: &str| jwt.header.get(name).and_then(Value::as_str);
        if says("alg") != Some("RS256") {
            return Err(Refusal::WrongAlgorithm);
        }
        if says("kid") != Some(self.realm.key_id()) {
            return Err(Refusal::WrongKeyId);
        }
        if !self.realm.signed_access(&jwt) {
            return Err(Refusal::BadSignature);
        }
        if jwt.text("typ") != Some("Bearer") {
            return Err(Refusal::NotAnAccessToken);
        }
        if jwt.text("iss") != Some(&centre.issuer()) {
            return Err(Refusal::OtherDataCentre);
        }
        if realm::death(&jwt, &self.settings).is_none_or(|death| death <= call.now()) {
            return Err(Refusal::Expired);
        }
        if !self.realm.is_live(&jwt) {
            return Err(Refusal::Revoked);
        }
        let account = jwt
            .text("azp")
            .and_then(|client_id| self.account(centre, client_id))
            .ok_or(Refusal::UnknownAccount)?;
        Ok(Caller {
            account,
            header: jwt.header,
            claims: jwt.claims,
        })
    }
}
