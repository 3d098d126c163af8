//! The fourth stage: what is put on a request, and the life of it.
//!
//! A credential is minted on the control thread and read by the workers through a [`cell`]: a
//! request that finds a good token touches nothing that another thread writes to. A worker that
//! finds none waits for the one renewal under way and never mints itself; the exception is a
//! credential that is signed for each request.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::outgoing::{Authorized, Outgoing};
use crate::tls::Verification;

pub mod answer;
pub mod call;
pub mod cell;
pub mod discovery;
mod error;
pub mod exchange;
pub mod fixed;
pub mod keys;
pub mod login;
mod memory;
mod mint;
mod patience;
pub mod placement;
pub mod renewal;
pub mod report;
pub mod secrets;
pub mod self_signed;
pub mod step;
pub mod template;
mod trial;

pub use error::{MintError, Unavailable, chain};
pub use mint::{Minted, Once};
pub use trial::Trial;

use cell::{Cell, State, View};
use exchange::Exchange;
use fixed::Static;
use keys::Keys;
use login::Login;
use memory::Memory;
use placement::Placement;
use self_signed::SelfSigned;

/// What a credential is made of.
#[derive(Debug)]
pub struct Config {
    /// The operator's name for it.
    pub name: String,
    /// What a route's `with` changes about it, if it is a variant.
    pub with: Option<String>,
    /// What tells it from every other one.
    pub identity: Identity,
    /// How it is got.
    pub source: Source,
    /// Where it goes.
    pub placement: Placement,
    /// After how many percent of its life it is renewed.
    pub renew_at: u32,
    /// Whether each request gets one of its own.
    pub each_request: bool,
    /// Whether the process counts as ready only while it has a token.
    pub required: bool,
}

impl Config {
    /// Whether both begin with the same refresh token, as far as one can tell without reading it.
    fn shares_grant(&self, other: &Self) -> bool {
        let refresh_token = |it: &Self| match &it.source {
            Source::Exchange(source) => {
                let given = source.refresh_token.as_ref()?;
                Some((source.client_id.clone(), given.reference().clone()))
            }
            Source::SelfSigned(_) | Source::Login(_) | Source::Static(_) => None,
        };
        let mine = refresh_token(self);
        mine.is_some() && mine == refresh_token(other)
    }
}

/// Everything that makes a credential's tokens what they are. A credential whose identity is the
/// same after a reload is the same one and keeps its token. Secrets and certificates stand in it by
/// where they are read from: what is read there is looked after all the time.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// All that its configuration says, in one form only.
    pub text: String,
}

impl std::fmt::Debug for Identity {
    /// Shows nothing: an issuer may be confidential.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// How a credential is got.
#[derive(Debug)]
pub enum Source {
    /// A JWT that we sign ourselves.
    SelfSigned(Box<SelfSigned>),
    /// Something is traded for a token.
    Exchange(Box<Exchange>),
    /// A login, and refreshes with the live token.
    Login(Box<Login>),
    /// A token that stands somewhere.
    Static(Box<Static>),
}

impl Source {
    /// The keys that it signs with, if it signs.
    fn keys(&self) -> Option<&Keys> {
        match self {
            Self::SelfSigned(source) => Some(&source.keys),
            Self::Exchange(exchange) => exchange.assertion.as_ref().map(|it| &it.keys),
            Self::Login(_) | Self::Static(_) => None,
        }
    }
}

/// A credential in service, shared by all threads.
#[derive(Debug)]
pub struct Credential {
    config: Config,
    cell: Cell,
    /// Held for each attempt, so that there is one at a time.
    memory: Arc<Mutex<Memory>>,
    clock: Clock,
    /// When it was last said that a target refuses it, in seconds since the boot; 0 for never.
    refusal_said: AtomicU64,
}

impl Credential {
    /// A credential that has no token yet.
    #[must_use]
    pub fn new(config: Config, clock: Clock) -> Self {
        Self {
            config,
            cell: Cell::default(),
            memory: Arc::default(),
            clock,
            refusal_said: AtomicU64::new(0),
        }
    }

    /// The same, beside or after another one. Where both live on one refresh token, they share what
    /// they remember: the one that was given may have been used up, and a server that sees it again
    /// takes it for stolen (RFC 9700 section 4.14).
    #[must_use]
    pub fn beside(mut self, other: &Self) -> Self {
        if self.config.shares_grant(&other.config) {
            self.memory = Arc::clone(&other.memory);
        }
        self
    }

    /// The operator's name for it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// What tells it from every other one.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.config.identity
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

    /// Returns once a first attempt to get a token has been made, whatever came of it.
    pub async fn attempted(&self) {
        self.cell.attempted().await;
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
        Ok(outgoing.authorize(&self.config.placement.place, value))
    }

    fn self_signed(&self) -> Option<&SelfSigned> {
        match &self.config.source {
            Source::SelfSigned(source) => Some(source),
            Source::Exchange(_) | Source::Login(_) | Source::Static(_) => None,
        }
    }

    /// A header value that is good now.
    async fn current(
        &self,
        view: &RefCell<View>,
        patience: Duration,
    ) -> Result<HeaderValue, Unavailable> {
        if self.config.each_request
            && let Some(source) = self.self_signed()
        {
            let signed = source.sign(self.clock.now(), 0, &[]);
            let value = signed.and_then(|minted| self.config.placement.value(&minted.token));
            return value.map_err(|error| self.unavailable(chain(&error), RETRY));
        }
        let now = self.clock.now();
        if let Some(value) = view.borrow_mut().good_at(now, &self.cell) {
            return Ok(value);
        }
        Box::pin(self.wait(patience)).await
    }

    /// The next token, as soon as it is there.
    async fn wait(&self, patience: Duration) -> Result<HeaderValue, Unavailable> {
        match tokio::time::timeout(patience, self.cell.wait(&self.clock)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(failure)) => {
                let wait = failure.until.left(self.clock.now());
                Err(self.unavailable(failure.reason, wait))
            }
            Err(_) => Err(self.unavailable(format!("none came within {patience:?}"), RETRY)),
        }
    }

    /// Where it goes on a request.
    #[must_use]
    pub fn placement(&self) -> &Placement {
        &self.config.placement
    }

    /// Whether nobody but the target can say if a token is any good: no endpoint has given it.
    #[must_use]
    pub fn is_unproven(&self) -> bool {
        matches!(
            self.config.source,
            Source::SelfSigned(_) | Source::Static(_)
        )
    }

    /// The hosts that give its tokens; none if nobody is asked.
    #[must_use]
    pub fn hosts(&self) -> Vec<&str> {
        let urls = match &self.config.source {
            Source::Exchange(source) => match &source.endpoint {
                exchange::TokenEndpoint::At(urls) => urls,
                exchange::TokenEndpoint::Discovered(discovery) => discovery.document(),
            },
            Source::Login(source) => &source.urls,
            Source::SelfSigned(_) | Source::Static(_) => return Vec::new(),
        };
        urls.all().iter().map(|url| url.host.as_str()).collect()
    }

    /// How the endpoint is verified that gives its tokens, if one is asked.
    #[must_use]
    pub fn verification(&self) -> Option<&Arc<Verification>> {
        match &self.config.source {
            Source::Exchange(source) => Some(&source.line.verification),
            Source::Login(source) => Some(&source.line.verification),
            Source::SelfSigned(_) | Source::Static(_) => None,
        }
    }

    fn unavailable(&self, reason: String, retry_after: Duration) -> Unavailable {
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

#[cfg(test)]
mod tests;
