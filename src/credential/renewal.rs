//! Gets the next token before the present one ends: one task a credential, on the control thread.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::task::JoinSet;

use super::call::Tools;
use super::cell::{Failure, Token};
use super::{Credential, MintError, RETRY, Source, chain};
use crate::backoff::{Backoff, between};
use crate::clock::Moment;
use crate::secret::material::Material;

/// How much earlier than due a renewal may come, in percent of the token's life: several processes
/// with the same credential shall not all renew in the same second.
const JITTER: f64 = 5.0;

/// How often the files of secrets are looked at. They are few, and looking costs a system call.
const LOOK: Duration = Duration::from_secs(2);

/// How often a command is run whose key signs each request.
const RUN_AGAIN: Duration = Duration::from_secs(60);

/// How long after a refused password it is tried once more, and how long after that: directories
/// lock an account after a few wrong passwords, and the password in our file stays as wrong as it
/// is until somebody changes it.
const SECOND_TRY: Duration = Duration::from_secs(60);
const LATER_TRIES: Duration = Duration::from_secs(30 * 60);

/// Keeps a credential's token fresh, whatever happens: should an attempt panic, the next one comes
/// as after any other failure.
pub async fn keep(credential: Arc<Credential>, tools: Tools) {
    loop {
        // Whatever is in here ends with this task.
        let mut kept = JoinSet::new();
        kept.spawn_local(renew(Arc::clone(&credential), tools.clone()));
        let Some(Err(panic)) = kept.join_next().await else {
            return;
        };
        let name = credential.name();
        tracing::error!(credential = name, %panic, "renewing broke; it begins anew");
        let again = credential.clock.now().after(RETRY);
        credential.clock.sleep_until(again).await;
    }
}

async fn renew(credential: Arc<Credential>, tools: Tools) {
    if credential.is_for_each_request() {
        return supply(&credential).await;
    }
    let mut patience = Patience::default();
    loop {
        let mut memory = credential.memory.lock().await;
        if credential.cell.state().is_refused {
            // It is not to be refreshed but to be replaced.
            memory.forget();
            if let Source::SelfSigned(source) = &credential.config.source {
                // Perhaps the target has changed over to the next key.
                source.keys.try_other();
            }
        }
        let offset = memory.offset;
        let outcome = match run_commands(&credential).await {
            Ok(()) => credential.mint(&mut memory, &tools).await,
            Err(error) => Err(error),
        };
        if memory.offset != offset {
            tracing::warn!(
                credential = credential.name(),
                seconds = memory.offset,
                "the token endpoint's clock is ahead of this machine's by so much; assertions are dated by it"
            );
        }
        credential.cell.note_offset(memory.offset);
        drop(memory);
        let due = publish(&credential, outcome, &mut patience);
        if wait_until_due(&credential, due).await == Woken::Demanded {
            patience = Patience::default();
        }
    }
}

/// Keeps the commands' secrets fresh where the workers sign by themselves.
async fn supply(credential: &Arc<Credential>) {
    let mut patience = Patience::default();
    loop {
        let wait = match run_commands(credential).await {
            Ok(()) => {
                patience.succeed();
                credential.cell.publish_sound(credential.clock.now());
                RUN_AGAIN
            }
            Err(error) => {
                let wait = patience.fail(&error, &credential.config.source);
                let now = credential.clock.now();
                let (until, reason) = (now.after(wait), chain(&error));
                patience.report(credential, &reason, wait, now);
                credential.cell.publish(Err(Failure {
                    reason,
                    at: now,
                    until,
                }));
                wait
            }
        };
        let next = credential.clock.now().after(wait);
        // There is no token that a request could want, so whoever wakes this demands an attempt.
        tokio::select! {
            () = credential.clock.sleep_until(next) => {}
            () = credential.cell.is_wanted() => patience = Patience::default(),
        }
    }
}

fn publish(
    credential: &Credential,
    outcome: Result<Token, MintError>,
    patience: &mut Patience,
) -> Moment {
    let now = credential.clock.now();
    match outcome {
        Ok(token) => {
            let due = token.renew_at;
            let is_news = patience.reported.is_some() || credential.state().token.is_none();
            let (name, life) = (credential.name(), token.end.left(now).as_secs());
            if is_news {
                tracing::info!(credential = name, "has a token, good for {life} s");
            } else {
                tracing::debug!(credential = name, "has a new token, good for {life} s");
            }
            patience.succeed();
            credential.cell.publish(Ok(token));
            due
        }
        Err(error) => {
            let wait = patience.fail(&error, &credential.config.source);
            let (until, reason) = (now.after(wait), chain(&error));
            patience.report(credential, &reason, wait, now);
            credential.cell.publish(Err(Failure {
                reason,
                at: now,
                until,
            }));
            until
        }
    }
}

/// Why the wait for the next attempt is over.
#[derive(PartialEq, Eq)]
enum Woken {
    Due,
    Demanded,
}

/// Sleeps until the next token is due. A request that wants one wakes it, and it looks at the
/// clock again: what was due during a suspend is done now.
async fn wait_until_due(credential: &Credential, due: Moment) -> Woken {
    loop {
        if credential.cell.take_demand() {
            return Woken::Demanded;
        }
        if due.reached(credential.clock.now()) || credential.cell.is_empty() {
            return Woken::Due;
        }
        tokio::select! {
            () = credential.clock.sleep_until(due) => {}
            () = credential.cell.is_wanted() => {}
        }
    }
}

/// How long to wait after a failure, by what kind of failure it was.
#[derive(Debug, Default)]
struct Patience {
    backoff: Backoff,
    refusals: u32,
    /// What was said last, so that a failure that goes on is said once.
    reported: Option<String>,
}

impl Patience {
    fn succeed(&mut self) {
        *self = Self::default();
    }

    fn fail(&mut self, error: &MintError, source: &Source) -> Duration {
        match error {
            // Trying again costs an endpoint nothing that cannot be reached, and it is to be back
            // in service within two seconds.
            MintError::Call(error) if error.is_unreachable() => {
                Duration::from_secs_f64(between(1.0, 1.5))
            }
            MintError::Throttled { after } | MintError::Status { after, .. } => {
                self.backoff.fail().max(after.unwrap_or_default())
            }
            MintError::Refused { status, .. } if has_password(source) && is_final(*status) => {
                self.refusals += 1;
                if self.refusals == 1 {
                    SECOND_TRY
                } else {
                    LATER_TRIES
                }
            }
            MintError::Refused { .. } => {
                // Perhaps the other side has changed over to the next key.
                if let Some(keys) = assertion_keys(source) {
                    keys.change_over();
                }
                self.backoff.fail()
            }
            // A page that asks for the password again is a refusal that calls itself a success.
            MintError::Nonsense(_) if has_password(source) => self.backoff.fail().max(SECOND_TRY),
            _ => self.backoff.fail(),
        }
    }

    /// Says what went wrong, whom it hits, and when the next attempt comes; the same thing once.
    fn report(&mut self, credential: &Credential, reason: &str, wait: Duration, now: Moment) {
        let (name, wait) = (credential.name(), wait.as_secs_f32());
        if self.reported.as_deref() == Some(reason) {
            tracing::debug!(
                credential = name,
                reason,
                "still no new token; next try in {wait:.1} s"
            );
            return;
        }
        let good = credential
            .state()
            .token
            .as_ref()
            .map(|token| token.end.left(now).as_secs());
        match good.filter(|left| *left > 0) {
            Some(left) => tracing::warn!(
                credential = name,
                reason,
                "could not get the next token; the present one serves for {left} s; next try in {wait:.1} s"
            ),
            None => tracing::error!(
                credential = name,
                reason,
                "could not get a token; until one comes requests get 503; next try in {wait:.1} s"
            ),
        }
        self.reported = Some(reason.to_owned());
    }
}

/// Whether a refusal may count against the account: any that is not about the path or the time it
/// took to come.
fn is_final(status: StatusCode) -> bool {
    !matches!(
        status,
        StatusCode::NOT_FOUND | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY
    )
}

/// Whether a source sends a person's password, which a directory may lock.
fn has_password(source: &Source) -> bool {
    match source {
        Source::Login(_) => true,
        Source::Exchange(exchange) => exchange.password.is_some(),
        Source::SelfSigned(_) | Source::Static(_) => false,
    }
}

fn assertion_keys(source: &Source) -> Option<&super::keys::Keys> {
    match source {
        Source::SelfSigned(source) => Some(&source.keys),
        Source::Exchange(exchange) => exchange.assertion.as_ref().map(|it| &it.keys),
        Source::Login(_) | Source::Static(_) => None,
    }
}

/// A secret of any kind, as what keeps it up to date.
trait Kept: Sync {
    fn is_command(&self) -> bool;
    fn refresh(&self) -> Result<bool, String>;
    fn run(&self) -> Result<(), String>;
}

impl<T: Send + Sync> Kept for Material<T> {
    fn is_command(&self) -> bool {
        Self::is_command(self)
    }
    fn refresh(&self) -> Result<bool, String> {
        Self::refresh(self)
    }
    fn run(&self) -> Result<(), String> {
        Self::run(self)
    }
}

/// Every secret of a source.
fn secrets(source: &Source) -> Vec<&dyn Kept> {
    let mut all: Vec<&dyn Kept> = Vec::new();
    for key in assertion_keys(source)
        .into_iter()
        .flat_map(super::keys::Keys::all)
    {
        all.push(key);
    }
    match source {
        Source::Exchange(exchange) => all.extend(exchange.secrets().map(|it| it as &dyn Kept)),
        Source::Login(login) => all.push(&login.password),
        Source::Static(source) => all.push(&source.token),
        Source::SelfSigned(_) => {}
    }
    all
}

/// Reads secrets again whose files have changed, for as long as the task lives, and has the next
/// token got with them at once. What cannot be read, a file that is half written above all, leaves
/// the one before in use.
pub async fn watch(credential: Arc<Credential>) {
    let mut reported = None;
    loop {
        tokio::time::sleep(LOOK).await;
        let looking = Arc::clone(&credential);
        let outcome = tokio::task::spawn_blocking(move || reread(&looking.config.source)).await;
        let Ok((is_new, fault)) = outcome else {
            continue;
        };
        if is_new {
            tracing::info!(credential = credential.name(), "has a new secret");
            credential.cell.demand();
        }
        if let Some(reason) = &fault
            && reported != fault
        {
            tracing::error!(
                credential = credential.name(),
                reason,
                "cannot read a secret that has changed; the one before stays in use"
            );
        }
        reported = fault;
    }
}

/// Has commands run that write a secret: before each attempt, for nothing tells when they would
/// write another one. One that fails fails the attempt: what it wrote before is as old as the
/// token that was made with it.
pub(super) async fn run_commands(credential: &Arc<Credential>) -> Result<(), MintError> {
    if !secrets(&credential.config.source)
        .iter()
        .any(|it| it.is_command())
    {
        return Ok(());
    }
    let running = Arc::clone(credential);
    let run = move || {
        let secrets = secrets(&running.config.source);
        secrets
            .iter()
            .filter(|it| it.is_command())
            .try_for_each(|it| it.run())
    };
    let ran = tokio::task::spawn_blocking(run).await;
    let stopped = || MintError::Command("the command was given up".into());
    ran.map_err(|_| stopped())?.map_err(MintError::Command)
}

/// Reads what has changed. Gives whether anything has, and what could not be read: that one secret
/// is half written says nothing about the others.
fn reread(source: &Source) -> (bool, Option<String>) {
    let (mut is_new, mut fault) = (false, None);
    for secret in secrets(source).iter().filter(|it| !it.is_command()) {
        match secret.refresh() {
            Ok(changed) => is_new |= changed,
            Err(reason) => fault = Some(reason),
        }
    }
    (is_new, fault)
}

/// After which part of its life a token is renewed: the given percentage, less some jitter.
pub(super) fn due_after(life: Duration, percent: u32) -> Duration {
    life.mul_f64((f64::from(percent) - between(0.0, JITTER)).max(0.0) / 100.0)
}

#[cfg(test)]
mod tests;
