//! Keeps up to date what a source is given: secrets and keys, from files that change and commands
//! that write another one each time.

use std::sync::Arc;
use std::time::Duration;

use super::keys::Keys;
use super::{Credential, MintError, Source};
use crate::secret::material::Material;

/// How often the files of secrets are looked at. They are few, and looking costs a system call.
const LOOK: Duration = Duration::from_secs(2);

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
    for key in source.keys().into_iter().flat_map(Keys::all) {
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
