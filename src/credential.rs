//! The fourth stage: what is put on a request, and the life of it.
//!
//! A credential is minted on the control thread and read by the workers through a [`cell`]: a
//! request that finds a good token touches nothing that another thread writes to. A worker that
//! finds none waits for the one renewal under way and never mints itself; the exception is a
//! credential that is signed for each request.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use crate::clock::{Clock, Moment};
use crate::outgoing::{Authorized, Outgoing};

pub mod cell;
pub mod claims;
pub mod placement;
pub mod renewal;
pub mod self_signed;

use cell::{Cell, State, View};
use placement::Placement;
use self_signed::SelfSigned;

/// What a credential is made of.
#[derive(Debug)]
pub struct Config {
    /// The operator's name for it.
    pub name: String,
    /// How it is got.
    pub source: Source,
    /// Where it goes.
    pub placement: Placement,
    /// After how many percent of its life it is renewed.
    pub renew_at: u32,
    /// Whether each request gets one of its own.
    pub each_request: bool,
}

/// How a credential is got.
#[derive(Debug)]
pub enum Source {
    /// A JWT that we sign ourselves.
    SelfSigned(SelfSigned),
}

/// A token as its source gave it.
#[derive(Debug)]
pub struct Minted {
    /// The token itself.
    pub token: String,
    /// From when its life is counted.
    pub from: Moment,
    /// When it ends.
    pub end: Moment,
}

/// Why a source gave no token, for the operator's eyes.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The key did not sign.
    #[error("the key does not sign")]
    Sign(#[source] crate::jws::SignError),
    /// What came out cannot stand in a header.
    #[error("the token has characters that no header can carry")]
    NotAHeader,
}

/// No token is to be had right now.
#[derive(Clone, Debug, thiserror::Error)]
#[error("credential `{credential}` has no token: {reason}")]
pub struct Unavailable {
    /// The credential's name.
    pub credential: String,
    /// Why, for the operator.
    pub reason: String,
    /// When asking again makes sense.
    pub retry_after: Duration,
}

/// A credential in service, shared by all threads.
#[derive(Debug)]
pub struct Credential {
    config: Config,
    cell: Cell,
    clock: Clock,
}

impl Credential {
    /// A credential that has no token yet.
    #[must_use]
    pub fn new(config: Config, clock: Clock) -> Self {
        Self {
            config,
            cell: Cell::default(),
            clock,
        }
    }

    /// The operator's name for it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Whether each request gets a token of its own, so that none is kept.
    #[must_use]
    pub fn is_for_each_request(&self) -> bool {
        self.config.each_request
    }

    /// A worker's own view of the token.
    #[must_use]
    pub fn view(&self) -> RefCell<View> {
        RefCell::new(self.cell.view())
    }

    /// Puts the credential on a request, unless the caller's own is passed on.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if no token is to be had within `patience`.
    pub async fn place<B>(
        &self,
        outgoing: Outgoing<B>,
        view: &RefCell<View>,
        patience: Duration,
    ) -> Result<Authorized<B>, Unavailable> {
        if outgoing.has_callers_credential() {
            return Ok(outgoing.as_it_is());
        }
        let value = self.current(view, patience).await?;
        Ok(outgoing.authorize(&self.config.placement.header, value))
    }

    /// A header value that is good now.
    async fn current(
        &self,
        view: &RefCell<View>,
        patience: Duration,
    ) -> Result<HeaderValue, Unavailable> {
        if self.config.each_request {
            let minted = self
                .mint()
                .map_err(|error| self.unavailable(&error, RETRY))?;
            return Ok(minted.value.clone());
        }
        let now = self.clock.now();
        if let Some(value) = view.borrow_mut().good_at(now, &self.cell) {
            return Ok(value);
        }
        match tokio::time::timeout(patience, self.cell.wait(&self.clock)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(failure)) => Err(Unavailable {
                credential: self.config.name.clone(),
                reason: failure.reason,
                retry_after: failure.until.left(self.clock.now()),
            }),
            Err(_) => Err(Unavailable {
                credential: self.config.name.clone(),
                reason: format!("none came within {patience:?}"),
                retry_after: RETRY,
            }),
        }
    }

    /// Gets one token from the source and makes it ready for requests.
    fn mint(&self) -> Result<cell::Token, MintError> {
        let minted = match &self.config.source {
            Source::SelfSigned(source) => source.sign(self.clock.now())?,
        };
        let value = self.config.placement.value(&minted.token)?;
        let life = minted.end.left(minted.from);
        let renew_at = minted
            .from
            .after(renewal::due_after(life, self.config.renew_at));
        Ok(cell::Token {
            value,
            end: minted.end,
            renew_at,
        })
    }

    fn unavailable(&self, error: &MintError, retry_after: Duration) -> Unavailable {
        let reason = chain(error);
        Unavailable {
            credential: self.config.name.clone(),
            reason,
            retry_after,
        }
    }

    /// What the credential is in right now.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.cell.state()
    }
}

/// When a request may be tried again if nothing better is known.
const RETRY: Duration = Duration::from_secs(1);

/// An error with all its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
