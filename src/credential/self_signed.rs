//! A source that asks nobody: the token is a JWT (RFC 7519) that we sign with our own key.

use std::time::Duration;

use serde_json::{Map, Value};

use super::keys::Keys;
use super::template::{Blank, Filling, Template};
use super::{MintError, Minted};
use crate::clock::Moment;

/// What the token is made of.
#[derive(Debug)]
pub struct SelfSigned {
    /// The keys that sign; they decide on `alg`.
    pub keys: Keys,
    /// The key's id (RFC 7515 section 4.1.4), if the target wants one.
    pub kid: Option<String>,
    /// The type (RFC 7519 section 5.1); empty for none.
    pub typ: String,
    /// The claims.
    pub claims: Template,
    /// From `${now}` to `${expires}`.
    pub lifetime: Duration,
    /// How far `${now}` lies in the past, for a verifier whose clock is behind ours.
    pub backdate: Duration,
}

impl SelfSigned {
    /// Signs a token for `now`, which is read `offset` seconds later on the clock of whoever
    /// verifies it. It ends when its `exp` says so, which is `lifetime` after its `iat`.
    ///
    /// # Errors
    ///
    /// [`MintError::Sign`] if the key does not sign, [`MintError::NoSecret`] if there is none yet.
    pub fn sign(
        &self,
        now: Moment,
        offset: i64,
        texts: &[(Blank, &str)],
    ) -> Result<Minted, MintError> {
        self.sign_with(self.keys.is_next(), now, offset, texts)
    }

    /// The same with the next key, or the present one.
    pub(super) fn sign_with(
        &self,
        is_next: bool,
        now: Moment,
        offset: i64,
        texts: &[(Blank, &str)],
    ) -> Result<Minted, MintError> {
        let verifiers = now.unix().saturating_add_signed(offset);
        let issued = verifiers.saturating_sub(self.backdate.as_secs());
        let expires = issued.saturating_add(self.lifetime.as_secs());
        let claims = self.claims.fill(&Filling {
            now: issued,
            expires,
            texts,
        });
        let key = self.keys.signing(is_next)?;
        let token = key.jwt(&self.header(), &claims).map_err(MintError::Sign)?;
        // Counted from the second that stands in the token, which has already begun.
        let ours = expires.saturating_add_signed(offset.saturating_neg());
        let life = Duration::from_secs(ours).saturating_sub(now.wall);
        Ok(Minted {
            token,
            from: now,
            end: now.after(life),
        })
    }

    fn header(&self) -> Value {
        let mut header = Map::new();
        if !self.typ.is_empty() {
            header.insert("typ".into(), self.typ.clone().into());
        }
        if let Some(kid) = &self.kid {
            header.insert("kid".into(), kid.clone().into());
        }
        Value::Object(header)
    }
}
