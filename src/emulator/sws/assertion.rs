//! Verifying a client's assertion; the order of the checks is in the parent's documentation.

use std::sync::Arc;

use serde_json::Value;

use super::refusal::Refusal;
use super::token::ASSERTION_TYPE;
use super::{Account, DataCentre, Settings, Sws, seconds};
use crate::emulator::form::Form;
use crate::emulator::jwt::{Jwt, NoTime};

impl Sws {
    /// The account that a form's assertion proves.
    pub(super) fn asserted(
        &self,
        form: &Form,
        centre: DataCentre,
        now: i64,
    ) -> Result<Arc<Account>, Refusal> {
        let jwt = Jwt::parse(assertion(form)?).map_err(Refusal::Malformed)?;
        let subject = jwt.text("sub").ok_or(Refusal::NoSubject)?;
        if form.get("client_id").is_some_and(|id| id != subject) {
            return Err(Refusal::OtherClientId);
        }
        let account = self
            .account(centre, subject)
            .filter(|account| account.key.is_some())
            .ok_or(Refusal::UnknownClient)?;
        if jwt.text("iss") != Some(subject) {
            return Err(Refusal::WrongIssuer);
        }
        algorithm(&jwt)?;
        signature(&jwt, &account)?;
        audience(&jwt, centre)?;
        let expires = times(&jwt, now, &self.settings)?;
        let id = jwt.text("jti").filter(|id| !id.is_empty());
        let id = id.ok_or(Refusal::NoTokenId)?;
        if !self.used.first(id, expires, now) {
            return Err(Refusal::Reused);
        }
        Ok(account)
    }
}

fn assertion(form: &Form) -> Result<&str, Refusal> {
    match form.get("client_assertion_type") {
        Some(ASSERTION_TYPE) => form.get("client_assertion").ok_or(Refusal::NoAssertion),
        Some(other) => Err(Refusal::WrongAssertionType(other.to_owned())),
        None => Err(Refusal::NoAssertionType),
    }
}

fn algorithm(jwt: &Jwt<'_>) -> Result<(), Refusal> {
    match jwt.header.get("alg") {
        Some(Value::String(alg)) if alg == "RS256" => Ok(()),
        _ => Err(Refusal::WrongAlgorithm),
    }
}

fn signature(jwt: &Jwt<'_>, account: &Account) -> Result<(), Refusal> {
    let key = account.key.as_ref().ok_or(Refusal::UnknownClient)?;
    key.verify_sig(jwt.signed.as_bytes(), &jwt.signature)
        .map_err(|_| Refusal::BadSignature)
}

fn audience(jwt: &Jwt<'_>, centre: DataCentre) -> Result<(), Refusal> {
    let right = [centre.issuer(), centre.token_endpoint()];
    let is_right = |value: &Value| {
        value
            .as_str()
            .is_some_and(|text| right.contains(&text.into()))
    };
    match jwt.claims.get("aud") {
        Some(Value::Array(all)) if !all.iter().any(is_right) => Err(Refusal::WrongAudience),
        Some(Value::Array(all)) if all.len() > 1 => Err(Refusal::SeveralAudiences),
        Some(Value::Array(_)) => Ok(()),
        Some(one) if is_right(one) => Ok(()),
        _ => Err(Refusal::WrongAudience),
    }
}

/// Gives the second from which the assertion is expired.
fn times(jwt: &Jwt<'_>, now: i64, settings: &Settings) -> Result<i64, Refusal> {
    let exp = time(jwt, "exp")?.ok_or(Refusal::NoExpiry)?;
    let iat = time(jwt, "iat")?;
    let nbf = not_before(jwt)?;
    let latest = now.saturating_add(seconds(settings.tolerance));
    if exp <= now || nbf.is_some_and(|nbf| nbf > latest) {
        return Err(Refusal::NotActive);
    }
    if iat.is_some_and(|iat| iat > latest) {
        return Err(Refusal::IssuedInTheFuture);
    }
    let Some(oldest) = settings.oldest.map(seconds) else {
        return Ok(exp);
    };
    match iat {
        Some(iat) if now.saturating_sub(iat) > oldest => Err(Refusal::TooOld),
        None if exp.saturating_sub(now) > oldest => Err(Refusal::TooLongWithoutIat),
        _ => Ok(exp),
    }
}

fn time(jwt: &Jwt<'_>, claim: &'static str) -> Result<Option<i64>, Refusal> {
    match jwt.seconds(claim) {
        Ok(seconds) => Ok(Some(seconds)),
        Err(NoTime::Missing(_)) => Ok(None),
        Err(bad) => Err(Refusal::BadTime(bad)),
    }
}

/// The one time that is also taken as digits in a string.
fn not_before(jwt: &Jwt<'_>) -> Result<Option<i64>, Refusal> {
    match jwt.text("nbf").map(str::parse) {
        Some(Ok(seconds)) => Ok(Some(seconds)),
        Some(Err(_)) => Err(Refusal::BadTime(NoTime::NotInteger("nbf"))),
        None => time(jwt, "nbf"),
    }
}
