//! The secret that a cluster's appliances share, and the tokens made with it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey,
};
use aws_lc_rs::{error, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::refusal::Refusal;
use crate::emulator::jwt::Jwt;
use crate::emulator::{Error, lock};

/// How tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSA with PKCS #1 v1.5 and SHA-256, by a key of 2048 bits.
    Rs256,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Algorithm::Hs256 => "HS256",
            Algorithm::Hs384 => "HS384",
            Algorithm::Hs512 => "HS512",
            Algorithm::Rs256 => "RS256",
        }
    }

    fn generate(self) -> Result<Key, error::Unspecified> {
        let secret = |algorithm| {
            let key = hmac::Key::generate(algorithm, &SystemRandom::new())?;
            Ok(Key::Secret(Box::new(key)))
        };
        match self {
            Algorithm::Hs256 => secret(hmac::HMAC_SHA256),
            Algorithm::Hs384 => secret(hmac::HMAC_SHA384),
            Algorithm::Hs512 => secret(hmac::HMAC_SHA512),
            Algorithm::Rs256 => RsaKeyPair::generate(KeySize::Rsa2048).map(Key::Pair),
        }
    }
}

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Unit {
    Seconds,
    Minutes,
    Hours,
    Days,
    Weeks,
    /// Of 30 days.
    Months,
    /// Of 365 days.
    Years,
}

/// How long a token lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    number: u32,
    unit: Unit,
}

impl Expiry {
    /// This many of these units.
    pub fn new(number: u32, unit: Unit) -> Self {
        Expiry { number, unit }
    }

    /// The same in seconds.
    pub fn seconds(self) -> i64 {
        const DAY: i64 = 24 * 60 * 60;
        let unit = match self.unit {
            Unit::Seconds => 1,
            Unit::Minutes => 60,
            Unit::Hours => 60 * 60,
            Unit::Days => DAY,
            Unit::Weeks => 7 * DAY,
            Unit::Months => 30 * DAY,
            Unit::Years => 365 * DAY,
        };
        i64::from(self.number) * unit
    }
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The APIs.
    Access,
    /// The APIs, one might think, but their gateway wants the one from the header.
    Body,
    /// A new token.
    Refresh,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Access => "access",
            Kind::Body => "access, from a login's body",
            Kind::Refresh => "refresh",
        }
    }
}

/// A token that was found good.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) user: String,
    /// Its number, by which a token that may be used only once is known again.
    pub(super) number: u64,
    pub(super) header: Map<String, Value>,
    pub(super) claims: Map<String, Value>,
}

/// Appliances that share a secret; its clones are the same cluster, and an appliance on its own is
/// a cluster of one.
#[derive(Clone)]
pub struct Cluster {
    algorithm: Algorithm,
    key: Arc<Mutex<Arc<Key>>>,
    /// How many tokens were made, so that no two are the same.
    issued: Arc<AtomicU64>,
}

enum Key {
    Secret(Box<hmac::Key>),
    Pair(RsaKeyPair),
}

impl Cluster {
    /// A cluster with a new secret or key pair.
    ///
    /// # Errors
    ///
    /// There was no randomness to be had.
    pub fn new(algorithm: Algorithm) -> Result<Self, Error> {
        let key = algorithm.generate().map_err(|_| Error::Keygen)?;
        Ok(Cluster {
            algorithm,
            key: Arc::new(Mutex::new(Arc::new(key))),
            issued: Arc::default(),
        })
    }

    /// Puts a new secret or key pair in the old one's place, which ends the life of every token.
    ///
    /// # Errors
    ///
    /// There was no randomness to be had.
    pub fn change_secret(&self) -> Result<(), Error> {
        let key = self.algorithm.generate().map_err(|_| Error::Keygen)?;
        *lock(&self.key) = Arc::new(key);
        Ok(())
    }

    /// How tokens are signed.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    fn key(&self) -> Arc<Key> {
        Arc::clone(&lock(&self.key))
    }

    /// Makes a token that lives for `life` seconds, or for ever.
    pub(super) fn issue(&self, kind: Kind, user: &str, now: i64, life: Option<i64>) -> String {
        let number = self.issued.fetch_add(1, Ordering::Relaxed) + 1;
        let header = json!({ "alg": self.algorithm.name(), "typ": "JWT" });
        let mut claims = json!({ "sub": user, "use": kind.name(), "jti": number, "iat": now });
        if let Some(life) = life {
            claims["exp"] = json!(now.saturating_add(life));
        }
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self.key().sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Checks a token as the module's documentation says, but for its user.
    pub(super) fn verify(&self, token: &str, kinds: &[Kind], now: i64) -> Result<Token, Refusal> {
        let jwt = Jwt::parse(token)?;
        self.check_algorithm(&jwt)?;
        if !self.key().verifies(jwt.signed.as_bytes(), &jwt.signature) {
            return Err(Refusal::BadSignature);
        }
        // Nobody else has the secret: what is signed with it has the form it was given above.
        let kind = jwt.text("use").unwrap_or_default();
        if !kinds.iter().any(|it| it.name() == kind) {
            return Err(Refusal::WrongKind(kind.to_owned()));
        }
        match jwt.seconds("exp") {
            Ok(exp) if exp <= now => {
                let ago = now.saturating_sub(exp);
                return Err(Refusal::Expired { ago, exp, now });
            }
            Ok(_) | Err(_) => (),
        }
        Ok(Token {
            user: jwt.text("sub").unwrap_or_default().to_owned(),
            number: jwt.claims.get("jti").and_then(Value::as_u64).unwrap_or(0),
            header: jwt.header,
            claims: jwt.claims,
        })
    }

    fn check_algorithm(&self, jwt: &Jwt<'_>) -> Result<(), Refusal> {
        let taken = self.algorithm.name();
        let given = match jwt.header.get("alg") {
            Some(Value::String(alg)) if alg == taken => return Ok(()),
            Some(other) => other.to_string(),
            None => "missing".into(),
        };
        Err(Refusal::WrongAlgorithm { given, taken })
    }
}

impl fmt::Debug for Cluster {
    /// Leaves the key out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl Key {
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Key::Secret(key) => hmac::sign(key, message).as_ref().to_vec(),
            Key::Pair(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(
                    &RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    message,
                    &mut signature,
                )
                .expect("the key was made for this and the buffer has its length");
                signature
            }
        }
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Key::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            Key::Pair(pair) => {
                let public = pair.public_key().as_ref();
                UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public)
                    .verify(message, signature)
                    .is_ok()
            }
        }
    }
}
