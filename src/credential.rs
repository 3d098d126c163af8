//! The fourth stage: what is put on a request, and the life of it.
//!
//! A credential is minted on the control thread and read by the workers through a [`cell`]: a
//! request that finds a good token touches nothing that another thread writes to. A worker that
//! finds none waits for the one renewal under way and never mints itself; the exception is a
//! credential that is signed for each request.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use tokio::sync::Mutex;

use crate::clock::{Clock, Moment};
use crate::jws;
use crate::outgoing::{Authorized, Outgoing, Repeatable};
use crate::tls::{self, Verification};

pub mod answer;
pub mod call;
pub mod cell;
pub mod discovery;
pub mod exchange;
pub mod fixed;
pub mod login;
pub mod placement;
pub mod renewal;
pub mod report;
pub mod self_signed;
pub mod step;
pub mod template;

use answer::{Brought, Nonsense};
use call::{CallError, Reply, Tools};
use cell::{Cell, Refused, State, View};
use exchange::Exchange;
use fixed::Static;
use login::Login;
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

/// A token as its source gave it.
pub struct Minted {
    /// The token itself.
    pub token: String,
    /// From when its life is counted.
    pub from: Moment,
    /// When it ends.
    pub end: Moment,
}

impl std::fmt::Debug for Minted {
    /// Shows how long the token lives, and not the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Minted");
        shown.field("end", &self.end).finish_non_exhaustive()
    }
}

/// What came of asking for one token.
#[derive(Debug)]
pub struct Once {
    /// The token, or why there is none.
    pub outcome: Result<Minted, MintError>,
    /// How many seconds the endpoint's clock is ahead of ours, as far as it said.
    pub offset: i64,
}

/// What a source remembers from one attempt to the next.
#[derive(Default)]
pub struct Memory {
    live: Option<(String, Moment)>,
    refresh_token: Option<String>,
    /// The refresh token to begin with, as it was at the last attempt.
    given: Option<String>,
    /// How many seconds the endpoint's clock is ahead of ours.
    offset: i64,
}

impl std::fmt::Debug for Memory {
    /// Leaves the tokens out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Memory");
        shown.field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl Memory {
    fn live(&self, now: Moment) -> Option<String> {
        let (token, end) = self.live.as_ref()?;
        (!end.reached(now)).then(|| token.clone())
    }

    /// The live token is dead after all.
    fn forget(&mut self) {
        self.live = None;
    }

    /// The refresh token for the next attempt: the one that came last, unless another one was
    /// given to begin with since. `recall` gives what came of that one in another process.
    fn refresh_token(
        &mut self,
        given: Option<String>,
        recall: impl FnOnce(&str) -> Option<String>,
    ) -> Option<String> {
        if self.given != given {
            self.refresh_token = given.as_deref().and_then(recall);
            self.given = given;
        }
        self.refresh_token.clone().or_else(|| self.given.clone())
    }

    /// The refresh token that came last is of no use any more.
    fn forget_refresh_token(&mut self) {
        self.refresh_token = None;
    }

    fn learn(&mut self, offset: Option<i64>) {
        let Some(offset) = offset else { return };
        // Whole seconds come out one more or one less from one answer to the next.
        if offset == 0 && self.offset != 0 || offset.abs_diff(self.offset) > 1 {
            self.offset = offset;
        }
    }

    fn keep(&mut self, brought: Brought, reply: &Reply) -> Minted {
        self.learn(reply.offset);
        let end = reply.sent.after(brought.life);
        if brought.refresh_token.is_some() {
            self.refresh_token = brought.refresh_token;
        }
        self.live = Some((brought.token.clone(), end));
        Minted {
            token: brought.token,
            from: reply.sent,
            end,
        }
    }
}

/// Why a source gave no token, for the operator's eyes.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The key did not sign.
    #[error("the key does not sign")]
    Sign(#[source] jws::SignError),
    /// What came out cannot stand in a header.
    #[error("the token is too long, or has characters that its place on a request cannot carry")]
    NotAHeader,
    /// A secret that is not there yet: its command has not run.
    #[error("{0} gives nothing")]
    NoSecret(String),
    /// A secret's command fails.
    #[error("{0}")]
    Command(String),
    /// The endpoint gave no answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The endpoint said no: to these credentials, as far as one can tell.
    #[error("the endpoint refused with {status}{said}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// What it said, with a colon before it.
        said: String,
    },
    /// The endpoint is in trouble.
    #[error("the endpoint answered {status}{said}")]
    Status {
        /// The status.
        status: StatusCode,
        /// What it said, with a colon before it.
        said: String,
        /// For how long it wants to be left alone.
        after: Option<Duration>,
    },
    /// The endpoint wants to be left alone.
    #[error("the endpoint is asked too often")]
    Throttled {
        /// For so long.
        after: Option<Duration>,
    },
    /// The endpoint sends us elsewhere.
    #[error(
        "the endpoint answered {0}, and no redirect is followed: it would be given the secrets"
    )]
    Redirect(StatusCode),
    /// The answer makes no sense.
    #[error(transparent)]
    Nonsense(#[from] Nonsense),
    /// The token was over before it could be used.
    #[error("the token has ended before it came")]
    TooLate,
    /// The discovery document makes no sense.
    #[error("the discovery document is of no use: {0}")]
    Discovery(String),
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

/// What a request was sent again with.
#[derive(Debug)]
pub enum Trial {
    /// A token signed for it alone.
    Signed {
        /// Whether with the next key.
        is_next: bool,
    },
    /// The next token of all requests.
    Renewed(HeaderValue),
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

    /// After a 401: has the token that was refused forgotten and renewed, once for everybody, and
    /// puts the next one on the copy of the request. `None` if there is no point in trying again:
    /// a new token has just been refused too, or none is to be had.
    pub async fn place_again<B>(
        &self,
        copy: Repeatable<B>,
        view: &RefCell<View>,
        patience: Duration,
    ) -> Option<(Authorized<B>, Trial)> {
        let place = &self.config.placement.place;
        if self.config.each_request {
            let source = self.self_signed()?;
            let is_next = source.keys.other(self.clock.now())?;
            let signed = source.sign_with(is_next, self.clock.now(), 0, &[]).ok()?;
            let value = self.config.placement.value(&signed.token).ok()?;
            return Some((copy.authorize(place, value), Trial::Signed { is_next }));
        }
        let refused = copy.credential()?;
        match self.cell.refuse(refused, self.clock.now()) {
            Refused::Forgotten | Refused::Replaced => {}
            Refused::TooSoon if self.give_up_trial(refused) => {}
            Refused::TooSoon => return None,
        }
        let value = self.current(view, patience).await.ok()?;
        Some((copy.authorize(place, value.clone()), Trial::Renewed(value)))
    }

    /// What the target said to a request that was sent again: it decides about a key on trial.
    pub fn hear(&self, trial: &Trial, status: StatusCode) {
        let is_refused = status == StatusCode::UNAUTHORIZED;
        match (trial, self.self_signed()) {
            (Trial::Signed { is_next }, Some(source)) if !is_refused => {
                source.keys.take(*is_next, self.clock.now());
            }
            (Trial::Renewed(value), _) if is_refused => drop(self.give_up_trial(value)),
            (Trial::Renewed(value), Some(source)) if self.cell.has(value) => source.keys.stay(),
            (Trial::Signed { .. } | Trial::Renewed(_), _) => {}
        }
    }

    /// A caller gets a 401 from the target although it was sent our credential, and there is nothing
    /// left to try. Says so, once a minute: the caller hears it, and the operator has to.
    pub fn say_refused(&self, target: &str) {
        let now = self.clock.now().boot.as_secs();
        let last = self.refusal_said.load(Ordering::Relaxed);
        if last != 0 && now < last.saturating_add(60) {
            return;
        }
        self.refusal_said.store(now, Ordering::Relaxed);
        tracing::warn!(
            credential = self.name(),
            target,
            "the target answers 401 to our credential, and callers get that answer; `countersign check --online` says more"
        );
    }

    /// Goes back to the key before, if the refused token was made with one on trial.
    fn give_up_trial(&self, refused: &HeaderValue) -> bool {
        // What an older token met says nothing about the key that has made the present one.
        let was_trial =
            self.cell.has(refused) && self.self_signed().is_some_and(|it| it.keys.go_back());
        if was_trial {
            self.cell.forget(refused);
        }
        was_trial
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
        if let (true, Source::SelfSigned(source)) = (self.config.each_request, &self.config.source)
        {
            let signed = source.sign(self.clock.now(), 0, &[]);
            let value = signed.and_then(|minted| self.config.placement.value(&minted.token));
            return value.map_err(|error| self.unavailable(&error, RETRY));
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

    /// Gets one token for whoever asks at the command line: nothing of it is kept.
    pub async fn mint_once(self: &Arc<Self>, tools: &Tools) -> Once {
        if let Err(error) = renewal::run_commands(self).await {
            return Once {
                outcome: Err(error),
                offset: 0,
            };
        }
        let mut memory = Memory::default();
        let outcome = self.get(&mut memory, tools).await;
        let is_fit = |minted: Minted| self.config.placement.value(&minted.token).map(|_| minted);
        Once {
            outcome: outcome.and_then(is_fit),
            offset: memory.offset,
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

    async fn get(&self, memory: &mut Memory, tools: &Tools) -> Result<Minted, MintError> {
        match &self.config.source {
            Source::SelfSigned(source) => source.sign(self.clock.now(), 0, &[]),
            Source::Exchange(source) => source.mint(memory, tools).await,
            Source::Login(source) => source.mint(memory, tools).await,
            Source::Static(source) => source.mint(&self.clock),
        }
    }

    /// Gets one token from the source and makes it ready for requests.
    async fn mint(&self, memory: &mut Memory, tools: &Tools) -> Result<cell::Token, MintError> {
        let minted = self.get(memory, tools).await?;
        let value = self.config.placement.value(&minted.token)?;
        let now = self.clock.now();
        if minted.end.reached(now) {
            return Err(MintError::TooLate);
        }
        let fingerprint = match &self.config.source {
            // Nobody knows how it came to be: perhaps somebody chose it.
            Source::Static(_) => jws::chosen_fingerprint(&minted.token),
            Source::SelfSigned(_) | Source::Exchange(_) | Source::Login(_) => {
                jws::token_fingerprint(&minted.token)
            }
        };
        let life = minted.end.left(minted.from);
        let renew_at = minted
            .from
            .after(renewal::due_after(life, self.config.renew_at));
        Ok(cell::Token {
            value,
            fingerprint,
            minted: now,
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
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // A transparent error is its own cause's text.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&tls::words(cause));
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
