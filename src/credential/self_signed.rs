//! A source that asks nobody: the token is a JWT (RFC 7519) that we sign with our own key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
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
    present: Box<Material<SigningKey>>,
    /// The key that follows.
    next: Option<Box<Material<SigningKey>>>,
    /// Whether the next key is the one that signs.
    is_next: AtomicBool,
    /// Whether that was decided on trial, and nothing is known yet of what came of it.
    is_trial: AtomicBool,
    /// When the one in use was taken for good, in seconds since the machine booted; 0 for at
    /// the start.
    taken: AtomicU32,
}

/// How long after a key was taken requests are still refused that the one before had signed.
const SETTLED: Duration = Duration::from_secs(30);

impl Keys {
    /// Begins with the present key.
    #[must_use]
    pub fn new(present: Material<SigningKey>, next: Option<Material<SigningKey>>) -> Self {
        Self {
            present: Box::new(present),
            next: next.map(Box::new),
            is_next: AtomicBool::new(false),
            is_trial: AtomicBool::new(false),
            taken: AtomicU32::new(0),
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

    /// Takes the other key on trial.
    pub(super) fn try_other(&self) {
        // Set first: what the other key signs is never seen without it.
        self.is_trial.store(self.next.is_some(), Ordering::Release);
        self.change_over();
    }

    /// What the key on trial signed was refused, too: the one before was not to blame, and is back
    /// in use. Gives whether there was a trial; of several who call, one is told.
    pub(super) fn go_back(&self) -> bool {
        let was_trial = self.is_trial.swap(false, Ordering::AcqRel);
        if was_trial {
            self.change_over();
        }
        was_trial
    }

    /// What the key on trial signed was taken: it stays.
    pub(super) fn stay(&self) {
        self.is_trial.store(false, Ordering::Release);
    }

    /// The key to try for a request whose signature was refused, as whether it is the next one:
    /// the one that is not in use, or the one in use if it has only just come into it. `None` if
    /// there is but one.
    pub(super) fn other(&self, now: Moment) -> Option<bool> {
        self.next.as_ref()?;
        let taken = Duration::from_secs(self.taken.load(Ordering::Relaxed).into());
        let is_new = !taken.is_zero() && now.boot < taken + SETTLED;
        Some(self.is_next.load(Ordering::Relaxed) == is_new)
    }

    /// Takes the next key, or the present one, from now on.
    pub(super) fn take(&self, is_next: bool, now: Moment) {
        if self.is_next.swap(is_next, Ordering::Relaxed) != is_next {
            let seconds = u32::try_from(now.boot.as_secs()).unwrap_or(u32::MAX);
            self.taken.store(seconds, Ordering::Relaxed);
        }
    }

    fn signing(&self, is_next: bool) -> Result<Arc<SigningKey>, MintError> {
        let material = match &self.next {
            Some(next) if is_next => next,
            _ => &self.present,
        };
        material
            .get()
            .ok_or_else(|| MintError::NoSecret(material.reference().to_string()))
    }

    /// Both of them.
    pub fn all(&self) -> impl Iterator<Item = &Material<SigningKey>> {
        std::iter::once(&*self.present).chain(self.next.as_deref())
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
        let is_next = self.keys.is_next.load(Ordering::Relaxed);
        self.sign_with(is_next, now, offset, texts)
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
