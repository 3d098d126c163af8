//! The realm: it signs access tokens with a key whose public half anyone may have, and refresh
//! tokens with one that nobody else has.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{
    KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rsa::RsaPublicKey;
use rsa::pkcs1::DecodeRsaPublicKey;
use rsa::traits::PublicKeyParts;
use serde_json::{Value, json};

use super::{DataCentre, Settings, seconds};
use crate::emulator::Error;
use crate::emulator::issued::Issued;
use crate::emulator::jwt::{self, Jwt};

/// The key that a realm signs with; its clones are the same one.
#[derive(Clone)]
pub struct RealmKey(Arc<Inner>);

struct Inner {
    pair: KeyPair,
    public: ParsedPublicKey,
    id: String,
    jwk: Value,
}

impl fmt::Debug for RealmKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RealmKey").field(&self.0.id).finish()
    }
}

impl RealmKey {
    /// Makes a new key.
    ///
    /// # Errors
    ///
    /// [`Error::Keygen`] where there is none to be had.
    pub fn generate() -> Result<Self, Error> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| Error::Keygen)?;
        Self::of(pair).ok_or(Error::Keygen)
    }

    #[cfg(test)]
    pub(super) fn pair(&self) -> &KeyPair {
        &self.0.pair
    }

    #[cfg(test)]
    pub(super) fn id(&self) -> &str {
        &self.0.id
    }

    fn of(pair: KeyPair) -> Option<Self> {
        let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().ok()?;
        let id = URL_SAFE_NO_PAD.encode(digest(&SHA256, spki.as_ref()));
        let public = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, spki.as_ref()).ok()?;
        let numbers = RsaPublicKey::from_pkcs1_der(pair.public_key().as_ref()).ok()?;
        let jwk = json!({
            "kid": id,
            "kty": "RSA",
            "alg": "RS256",
            "use": "sig",
            "n": URL_SAFE_NO_PAD.encode(numbers.n().to_bytes_be()),
            "e": URL_SAFE_NO_PAD.encode(numbers.e().to_bytes_be()),
        });
        Some(RealmKey(Arc::new(Inner {
            pair,
            public,
            id,
            jwk,
        })))
    }
}

/// The keys, and what was signed with them.
pub(super) struct Realm {
    key: RealmKey,
    refresh_key: hmac::Key,
    access: Issued,
    refresh: Issued,
}

impl fmt::Debug for Realm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Realm")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl Realm {
    pub(super) fn new(key: RealmKey) -> Result<Self, Error> {
        let refresh_key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| Error::Keygen)?;
        Ok(Realm {
            key,
            refresh_key,
            access: Issued::default(),
            refresh: Issued::default(),
        })
    }

    pub(super) fn revoke_all(&self) {
        self.access.revoke_all();
        self.refresh.revoke_all();
    }

    pub(super) fn tokens_issued(&self) -> u64 {
        self.access.count()
    }

    pub(super) fn key_id(&self) -> &str {
        &self.key.0.id
    }

    /// The keys that access tokens can be verified with.
    pub(super) fn jwks(&self) -> Value {
        json!({ "keys": [self.key.0.jwk] })
    }

    pub(super) fn access_token(
        &self,
        centre: DataCentre,
        client_id: &str,
        scope: &str,
        now: i64,
        life: i64,
    ) -> Result<String, Unspecified> {
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": self.key_id() });
        let claims = json!({
            "exp": now.saturating_add(life),
            "iat": now,
            "jti": self.access.next(),
            "iss": centre.issuer(),
            "aud": "account",
            "sub": client_id,
            "typ": "Bearer",
            "azp": client_id,
            "scope": scope,
        });
        let pair = &self.key.0.pair;
        jwt::compose(&header, &claims, |signed| {
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                signed,
                &mut signature,
            )?;
            Ok(signature)
        })
    }

    pub(super) fn refresh_token(
        &self,
        centre: DataCentre,
        client_id: &str,
        now: i64,
        life: i64,
    ) -> Result<String, Unspecified> {
        let header = json!({ "alg": "HS256", "typ": "JWT" });
        let claims = json!({
            "exp": now.saturating_add(life),
            "iat": now,
            "jti": self.refresh.next(),
            "iss": centre.issuer(),
            "aud": centre.issuer(),
            "sub": client_id,
            "typ": "Refresh",
            "azp": client_id,
        });
        jwt::compose(&header, &claims, |signed| {
            Ok(hmac::sign(&self.refresh_key, signed).as_ref().to_vec())
        })
    }

    pub(super) fn signed_access(&self, jwt: &Jwt<'_>) -> bool {
        let public = &self.key.0.public;
        public
            .verify_sig(jwt.signed.as_bytes(), &jwt.signature)
            .is_ok()
    }

    pub(super) fn is_live(&self, jwt: &Jwt<'_>) -> bool {
        jwt.text("jti").is_some_and(|jti| self.access.is_live(jti))
    }

    /// Whether a refresh token is this realm's, for this client, and not revoked. Its time is
    /// another matter.
    pub(super) fn signed_refresh(
        &self,
        jwt: &Jwt<'_>,
        centre: DataCentre,
        client_id: &str,
    ) -> bool {
        let says = |claim, value: &str| jwt.text(claim) == Some(value);
        jwt.header.get("alg").and_then(Value::as_str) == Some("HS256")
            && hmac::verify(&self.refresh_key, jwt.signed.as_bytes(), &jwt.signature).is_ok()
            && says("typ", "Refresh")
            && says("iss", &centre.issuer())
            && says("azp", client_id)
            && jwt.text("jti").is_some_and(|jti| self.refresh.is_live(jti))
    }
}

/// What anyone may know of the realm (OpenID Connect Discovery, section 3).
pub(super) fn discovery(centre: DataCentre, settings: &Settings) -> Value {
    let mut grants = vec!["client_credentials"];
    if settings.refresh_life.is_some() {
        grants.push("refresh_token");
    }
    json!({
        "issuer": centre.issuer(),
        "token_endpoint": centre.token_endpoint(),
        "jwks_uri": format!("{}/protocol/openid-connect/certs", centre.issuer()),
        "grant_types_supported": grants,
        "response_types_supported": ["none"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported":
            ["private_key_jwt", "client_secret_basic", "client_secret_post"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS256"],
        "scopes_supported": super::token::SCOPES,
    })
}

/// The second from which an access token is dead, whatever it says itself.
pub(super) fn death(jwt: &Jwt<'_>, settings: &Settings) -> Option<i64> {
    let (iat, exp) = (jwt.seconds("iat").ok()?, jwt.seconds("exp").ok()?);
    Some(match settings.early_death {
        Some(early) => exp.min(iat.saturating_add(seconds(early))),
        None => exp,
    })
}
