//! A source that asks nobody: the token is a JWT (RFC 7519) that we sign with our own key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Map, Value};

use super::template::{Blank, Filling, Template};
use super::{MintError, Minted};
use crate::clock::Moment;
use crate::jws::SigningKey;
use crate::secret::material::Material;

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

/// The key in use, and the one that will follow it once the other side knows it.
#[derive(Debug)]
pub struct Keys {
    /// The key in use.
    pub present: Material<SigningKey>,
    /// The key that follows.
    pub next: Option<Material<SigningKey>>,
    /// Whether the next key is the one that signs.
    is_next: AtomicBool,
}

impl Keys {
    /// Begins with the present key.
    #[must_use]
    pub fn new(present: Material<SigningKey>, next: Option<Material<SigningKey>>) -> Self {
        Self {
            present,
            next,
            is_next: AtomicBool::new(false),
        }
    }

    /// Takes the other key from now on, if there is one: the other side has refused what this one
    /// signed, so perhaps it has changed over. Gives whether there is another.
    pub fn change_over(&self) -> bool {
        let is_other = self.next.is_some();
        if is_other {
            self.is_next.fetch_xor(true, Ordering::Relaxed);
        }
        is_other
    }

    fn signing(&self) -> Result<Arc<SigningKey>, MintError> {
        let material = match &self.next {
            Some(next) if self.is_next.load(Ordering::Relaxed) => next,
            _ => &self.present,
        };
        material
            .get()
            .ok_or_else(|| MintError::NoSecret(material.reference().to_string()))
    }

    /// Both of them.
    pub fn all(&self) -> impl Iterator<Item = &Material<SigningKey>> {
        std::iter::once(&self.present).chain(&self.next)
    }
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
        let verifiers = now.unix().saturating_add_signed(offset);
        let issued = verifiers.saturating_sub(self.backdate.as_secs());
        let expires = issued.saturating_add(self.lifetime.as_secs());
        let claims = self.claims.fill(&Filling {
            now: issued,
            expires,
            texts,
        });
        let key = self.keys.signing()?;
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
