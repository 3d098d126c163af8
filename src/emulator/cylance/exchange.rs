//! The token endpoint; the order of the checks is in the parent's documentation.

use std::sync::Arc;

use aws_lc_rs::hmac;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::access::Grant;
use super::{Cylance, DOCUMENT, Known, Settings, problem, seconds, wrong_method};
use crate::emulator::jwt::{Jwt, Malformed, NoTime};
use crate::emulator::{Call, Reply};

/// The one issuer there is: no `https`, no slash at its end.
const ISSUER: &str = "http://cylance.com";

/// The longest time from `iat` to `exp`, in seconds.
const LONGEST_LIFE: i64 = 30 * 60;

/// All that a caller with bad credentials is told.
const UNAUTHORIZED: &str = "Invalid JWT payload";

/// Why there is no access token: its text is for people, its code for tests.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("Content-Type must be application/json")]
    NotJsonBody,
    #[error("a JSON object with auth_token, a string, is due")]
    NoAuthToken,
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("alg must be HS256")]
    WrongAlgorithm,
    #[error("iss must be {ISSUER}, one string")]
    WrongIssuer,
    #[error("there is no application with this pair of tid and sub")]
    UnknownApplication,
    #[error("the application is of another region than this host")]
    OtherRegion,
    #[error("the signature is not by the application's secret")]
    BadSignature,
    #[error("jti must be a string, and not empty")]
    NoTokenId,
    #[error(transparent)]
    NoTime(#[from] NoTime),
    #[error("exp is {0} s after iat, and at most {LONGEST_LIFE} s are taken")]
    LifeTooLong(i64),
    #[error("the token has expired")]
    Expired,
    #[error("the token was issued in the future")]
    IssuedInTheFuture,
    #[error("scp must be a string or a list of strings")]
    ScopesMalformed,
    #[error("the scope {0:?} was not granted to the application")]
    ScopeNotGranted(String),
    #[error("this jti has been used before")]
    Replayed,
}

impl Refusal {
    fn code(&self) -> &'static str {
        match self {
            Refusal::NotJsonBody => "not-json-body",
            Refusal::NoAuthToken => "no-auth-token",
            Refusal::Malformed(malformed) => malformed.code(),
            Refusal::WrongAlgorithm => "wrong-algorithm",
            Refusal::WrongIssuer => "wrong-issuer",
            Refusal::UnknownApplication => "unknown-application",
            Refusal::OtherRegion => "other-region",
            Refusal::BadSignature => "bad-signature",
            Refusal::NoTokenId => "no-token-id",
            Refusal::NoTime(none) => none.code(),
            Refusal::LifeTooLong(_) => "life-too-long",
            Refusal::Expired => "expired",
            Refusal::IssuedInTheFuture => "issued-in-the-future",
            Refusal::ScopesMalformed => "scopes-malformed",
            Refusal::ScopeNotGranted(_) => "scope-not-granted",
            Refusal::Replayed => "replayed",
        }
    }

    /// A request that makes no sense is told so; whoever is not let in is not told why.
    fn reply(&self) -> Reply {
        match self {
            Refusal::NotJsonBody | Refusal::NoAuthToken | Refusal::LifeTooLong(_) => {
                problem(StatusCode::BAD_REQUEST, self.code(), &self.to_string())
            }
            _ => problem(StatusCode::UNAUTHORIZED, self.code(), UNAUTHORIZED),
        }
    }
}

impl Cylance {
    pub(super) async fn exchange(&self, call: &mut Call) -> Reply {
        if call.head.method != Method::POST {
            return wrong_method("POST");
        }
        self.count_token_call();
        match self.grant(call).await {
            Ok(grant) => self.hand_out(&grant, call.now()),
            Err(refusal) => refusal.reply(),
        }
    }

    async fn grant(&self, call: &mut Call) -> Result<Grant, Refusal> {
        let token = auth_token(call).await?;
        let jwt = Jwt::parse(&token)?;
        algorithm(&jwt)?;
        issuer(&jwt)?;
        let known = self.signer(&jwt)?;
        region(call, &known)?;
        signature(&jwt, &known)?;
        let id = token_id(&jwt)?;
        let expires = times(&jwt, call.now(), &self.settings)?;
        let scopes = scopes(&jwt, &known)?;
        if self.settings.refuse_replays && !self.used.first(id, expires, call.now()) {
            return Err(Refusal::Replayed);
        }
        Ok(Grant {
            tenant: known.application.tenant.clone(),
            application: known.application.id.clone(),
            scopes,
        })
    }

    fn signer(&self, jwt: &Jwt<'_>) -> Result<Arc<Known>, Refusal> {
        jwt.text("tid")
            .zip(jwt.text("sub"))
            .and_then(|(tenant, id)| self.application(tenant, id))
            .ok_or(Refusal::UnknownApplication)
    }

    fn hand_out(&self, grant: &Grant, now: i64) -> Reply {
        let life = seconds(self.settings.token_life);
        let mut answer = json!({ "access_token": self.mint.for_api(grant, now, life) });
        if self.settings.say_expires_in {
            answer["expires_in"] = json!(life);
        }
        Reply::json(StatusCode::OK, &answer)
    }
}

async fn auth_token(call: &mut Call) -> Result<String, Refusal> {
    if call.media_type().as_deref() != Some("application/json") {
        return Err(Refusal::NotJsonBody);
    }
    call.collect(DOCUMENT)
        .await
        .and_then(|body| serde_json::from_slice::<Value>(&body).ok())
        .and_then(|document| document.get("auth_token")?.as_str().map(str::to_owned))
        .ok_or(Refusal::NoAuthToken)
}

fn algorithm(jwt: &Jwt<'_>) -> Result<(), Refusal> {
    match jwt.header.get("alg") {
        Some(Value::String(alg)) if alg == "HS256" => Ok(()),
        _ => Err(Refusal::WrongAlgorithm),
    }
}

fn issuer(jwt: &Jwt<'_>) -> Result<(), Refusal> {
    match jwt.text("iss") {
        Some(ISSUER) => Ok(()),
        _ => Err(Refusal::WrongIssuer),
    }
}

fn region(call: &Call, known: &Known) -> Result<(), Refusal> {
    let host = call.host().unwrap_or_default();
    if known.application.region.answers_at(&host) {
        Ok(())
    } else {
        Err(Refusal::OtherRegion)
    }
}

fn signature(jwt: &Jwt<'_>, known: &Known) -> Result<(), Refusal> {
    hmac::verify(&known.key, jwt.signed.as_bytes(), &jwt.signature)
        .map_err(|_| Refusal::BadSignature)
}

fn token_id<'a>(jwt: &'a Jwt<'_>) -> Result<&'a str, Refusal> {
    jwt.text("jti")
        .filter(|id| !id.is_empty())
        .ok_or(Refusal::NoTokenId)
}

/// Gives the second from which the token is expired.
fn times(jwt: &Jwt<'_>, now: i64, settings: &Settings) -> Result<i64, Refusal> {
    let (iat, exp) = (jwt.seconds("iat")?, jwt.seconds("exp")?);
    let life = exp.saturating_sub(iat);
    if life > LONGEST_LIFE {
        return Err(Refusal::LifeTooLong(life));
    }
    if exp <= now {
        return Err(Refusal::Expired);
    }
    if iat > now.saturating_add(seconds(settings.tolerance)) {
        return Err(Refusal::IssuedInTheFuture);
    }
    Ok(exp)
}

fn scopes(jwt: &Jwt<'_>, known: &Known) -> Result<Vec<String>, Refusal> {
    let granted = &known.application.scopes;
    let texts: Vec<&str> = match jwt.claims.get("scp") {
        None => return Ok(granted.clone()),
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) => items
            .iter()
            .map(Value::as_str)
            .collect::<Option<_>>()
            .ok_or(Refusal::ScopesMalformed)?,
        Some(_) => return Err(Refusal::ScopesMalformed),
    };
    texts
        .into_iter()
        .flat_map(|text| text.split(','))
        .map(|scope| scope.trim().to_owned())
        .map(|scope| {
            if granted.contains(&scope) {
                Ok(scope)
            } else {
                Err(Refusal::ScopeNotGranted(scope))
            }
        })
        .collect()
}
