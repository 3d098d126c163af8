//! Verifying a self-signed token; the order of the checks is in the parent's documentation.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::{Map, Value, json};

use super::{Client, DOMAIN, Settings, Vdr};
use crate::emulator::Call;
use crate::emulator::bearer::{self, NoBearer};
use crate::emulator::jwt::{Jwt, Malformed, NoTime};

/// R and S of a P-521 signature, 66 bytes each (RFC 7518, section 3.4).
const SIGNATURE: usize = 132;

/// The first byte of a signature that was left in DER: an ASN.1 sequence.
const DER_SEQUENCE: u8 = 0x30;

const READ_ONLY: &str = "read_only";
const FULL_ACCESS: &str = "full_access";

/// Why a token is refused: its text is for people, its code for tests.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    NoBearer(#[from] NoBearer),
    #[error("this is the issuer string, which goes into a token's iss and is no token for the API")]
    IssuerAsToken,
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("alg is {0}, and only ES512 is taken")]
    WrongAlgorithm(String),
    #[error("no client is enrolled with this pair of iss and cid")]
    UnknownClient,
    #[error("an ES512 signature has 132 bytes, R and S, and this has {length}{}", der_hint(*.der))]
    SignatureLength { length: usize, der: bool },
    #[error("the signature is not by the key enrolled for this iss and cid")]
    BadSignature,
    #[error("aud is a URL or a host name, and must be the instance's name alone")]
    AudienceIsUrl,
    #[error("aud must be the instance's name, one string")]
    WrongAudience,
    #[error("the token is for the instance {instance}, and was sent to {host}")]
    OtherInstance { instance: String, host: String },
    #[error("sub must be user: and the digits of a user id, one string")]
    BadSubject,
    #[error("this client may not act as {0}")]
    UnknownUser(String),
    #[error("scp must be a list of strings")]
    ScopesNotAList,
    #[error("{0} is not a scope; there are read_only and full_access")]
    UnknownScope(String),
    #[error(transparent)]
    NoTime(#[from] NoTime),
    #[error("the token expired {ago} s ago: exp is {exp}, and here it is {now}")]
    Expired { ago: i64, exp: i64, now: i64 },
    #[error("the token was issued in the future: iat is {iat}, and here it is {now}")]
    IssuedInTheFuture { iat: i64, now: i64 },
    #[error("exp is {life} s after iat, and at most {longest} s are taken")]
    LifeTooLong { life: i64, longest: i64 },
}

fn der_hint(der: bool) -> &'static str {
    if der {
        "; it looks like DER, as openssl writes it, and must be converted"
    } else {
        ""
    }
}

impl Refusal {
    pub(super) fn code(&self) -> &'static str {
        match self {
            Refusal::NoBearer(none) => none.code(),
            Refusal::IssuerAsToken => "issuer-as-token",
            Refusal::Malformed(malformed) => malformed.code(),
            Refusal::WrongAlgorithm(_) => "wrong-algorithm",
            Refusal::UnknownClient => "unknown-client",
            Refusal::SignatureLength { .. } => "signature-length",
            Refusal::BadSignature => "bad-signature",
            Refusal::AudienceIsUrl => "audience-is-url",
            Refusal::WrongAudience => "wrong-audience",
            Refusal::OtherInstance { .. } => "other-instance",
            Refusal::BadSubject => "bad-subject",
            Refusal::UnknownUser(_) => "unknown-user",
            Refusal::ScopesNotAList => "scopes-not-a-list",
            Refusal::UnknownScope(_) => "unknown-scope",
            Refusal::NoTime(none) => none.code(),
            Refusal::Expired { .. } => "expired",
            Refusal::IssuedInTheFuture { .. } => "issued-in-the-future",
            Refusal::LifeTooLong { .. } => "life-too-long",
        }
    }
}

/// Whom a good token speaks for.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) instance: String,
    scopes: Vec<String>,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl Caller {
    /// Whether the token's scopes cover a method; if not, the scope that would.
    pub(super) fn may(&self, method: &Method) -> Result<(), &'static str> {
        let needed = if matches!(*method, Method::GET | Method::HEAD) {
            READ_ONLY
        } else {
            FULL_ACCESS
        };
        if self.scopes.iter().any(|scope| scope == needed) {
            Ok(())
        } else {
            Err(needed)
        }
    }

    /// The token, told without the part that makes it one.
    pub(super) fn to_json(&self) -> Value {
        json!({ "scheme": "Bearer", "header": self.header, "claims": self.claims })
    }
}

impl Vdr {
    pub(super) fn verify(&self, call: &Call) -> Result<Caller, Refusal> {
        let token = bearer::token(call.headers())?;
        if self.is_issuer(token) {
            return Err(Refusal::IssuerAsToken);
        }
        let jwt = Jwt::parse(token)?;
        algorithm(&jwt)?;
        let client = self.signer(&jwt)?;
        signature(&jwt, &client)?;
        audience(&jwt, &client)?;
        host(call, &client)?;
        subject(&jwt, &client)?;
        let scopes = scopes(&jwt)?;
        times(&jwt, call.now(), &self.settings)?;
        Ok(Caller {
            instance: client.enrolment.instance.clone(),
            scopes,
            header: jwt.header,
            claims: jwt.claims,
        })
    }

    fn signer(&self, jwt: &Jwt<'_>) -> Result<Arc<Client>, Refusal> {
        jwt.text("iss")
            .zip(jwt.text("cid"))
            .and_then(|(issuer, client_id)| self.client(issuer, client_id))
            .ok_or(Refusal::UnknownClient)
    }
}

fn algorithm(jwt: &Jwt<'_>) -> Result<(), Refusal> {
    match jwt.header.get("alg") {
        Some(Value::String(alg)) if alg == "ES512" => Ok(()),
        Some(other) => Err(Refusal::WrongAlgorithm(other.to_string())),
        None => Err(Refusal::WrongAlgorithm("missing".into())),
    }
}

fn signature(jwt: &Jwt<'_>, client: &Client) -> Result<(), Refusal> {
    if jwt.signature.len() != SIGNATURE {
        return Err(Refusal::SignatureLength {
            length: jwt.signature.len(),
            der: jwt.signature.first() == Some(&DER_SEQUENCE),
        });
    }
    client
        .key
        .verify_sig(jwt.signed.as_bytes(), &jwt.signature)
        .map_err(|_| Refusal::BadSignature)
}

fn audience(jwt: &Jwt<'_>, client: &Client) -> Result<(), Refusal> {
    match jwt.text("aud") {
        Some(aud) if aud == client.enrolment.instance => Ok(()),
        Some(aud) if aud.contains("://") || aud.contains(DOMAIN) => Err(Refusal::AudienceIsUrl),
        _ => Err(Refusal::WrongAudience),
    }
}

/// Only the vendor's own host names say which instance was asked for: an address says nothing.
fn host(call: &Call, client: &Client) -> Result<(), Refusal> {
    let instance = &client.enrolment.instance;
    let host = call.host().unwrap_or_default();
    match host
        .strip_suffix(DOMAIN)
        .and_then(|it| it.strip_suffix('.'))
    {
        Some(other) if other != instance => Err(Refusal::OtherInstance {
            instance: instance.clone(),
            host,
        }),
        _ => Ok(()),
    }
}

fn subject(jwt: &Jwt<'_>, client: &Client) -> Result<(), Refusal> {
    let subject = jwt.text("sub").ok_or(Refusal::BadSubject)?;
    let digits = subject.strip_prefix("user:").ok_or(Refusal::BadSubject)?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refusal::BadSubject);
    }
    let known = |user: &u64| user.to_string() == digits;
    if client.enrolment.users.iter().any(known) {
        Ok(())
    } else {
        Err(Refusal::UnknownUser(subject.to_owned()))
    }
}

fn scopes(jwt: &Jwt<'_>) -> Result<Vec<String>, Refusal> {
    let Some(Value::Array(scopes)) = jwt.claims.get("scp") else {
        return Err(Refusal::ScopesNotAList);
    };
    scopes
        .iter()
        .map(|scope| match scope.as_str() {
            Some(known @ (READ_ONLY | FULL_ACCESS)) => Ok(known.to_owned()),
            Some(unknown) => Err(Refusal::UnknownScope(unknown.to_owned())),
            None => Err(Refusal::ScopesNotAList),
        })
        .collect()
}

fn times(jwt: &Jwt<'_>, now: i64, settings: &Settings) -> Result<(), Refusal> {
    let (iat, exp) = (jwt.seconds("iat")?, jwt.seconds("exp")?);
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    if exp <= now {
        let ago = now.saturating_sub(exp);
        return Err(Refusal::Expired { ago, exp, now });
    }
    if iat > now.saturating_add(seconds(settings.tolerance)) {
        return Err(Refusal::IssuedInTheFuture { iat, now });
    }
    let (life, longest) = (exp.saturating_sub(iat), seconds(settings.longest_life));
    if life > longest {
        return Err(Refusal::LifeTooLong { life, longest });
    }
    Ok(())
}

/// What the login hands out: it looks like a token, says whose it is, and is refused by the API.
pub(super) fn useless(now: i64) -> String {
    let segment = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!(
        "{}.{}.{}",
        segment(json!({ "alg": "none", "typ": "JWT" })),
        segment(json!({ "iss": "countersign emulator", "iat": now })),
        URL_SAFE_NO_PAD.encode("of no use"),
    )
}
