//! A source that logs in as a user would, and keeps the session alive with the token itself.

use http::HeaderValue;

use super::call::{Line, Tools, Urls};
use super::exchange::text;
use super::memory::Memory;
use super::step::{Authorization, Step};
use super::template::{Blank, Filling};
use super::{MintError, Minted};
use crate::secret::Secret;
use crate::secret::material::Material;

/// How to log in.
#[derive(Debug)]
pub struct Login {
    /// Where to log in; several for a cluster whose members take each other's tokens.
    pub urls: Urls,
    /// The login.
    pub step: Step,
    /// How to get the next token with the live one.
    pub refresh: Option<(Urls, Step)>,
    /// How both are reached.
    pub line: Line,
    /// The user's password.
    pub password: Material<Secret>,
}

impl Login {
    /// Makes one attempt: refreshes while the last token lives, and logs in otherwise, or when the
    /// refresh is refused.
    ///
    /// # Errors
    ///
    /// A [`MintError`] that says who is to blame and how to go on.
    pub(super) async fn mint(
        &self,
        memory: &mut Memory,
        tools: &Tools,
    ) -> Result<Minted, MintError> {
        if let Some((urls, step)) = &self.refresh
            && let Some(live) = memory.live(tools.clock.now())
        {
            match self.take(urls, step, &live, memory, tools).await {
                Err(MintError::Refused { status, .. }) => {
                    tracing::debug!(%status, "the refresh was refused; logging in again");
                }
                Err(MintError::Call(error)) if !error.is_unreachable() => {
                    // It may have been done and its answer lost, and what can be used once has
                    // been used then: the next attempt logs in.
                    memory.forget();
                    return Err(error.into());
                }
                tried => return tried,
            }
        }
        memory.forget();
        self.take(&self.urls, &self.step, "", memory, tools).await
    }

    async fn take(
        &self,
        urls: &Urls,
        step: &Step,
        live: &str,
        memory: &mut Memory,
        tools: &Tools,
    ) -> Result<Minted, MintError> {
        let password = text(Some(&self.password))?;
        let refresh_token = memory.refresh_token.clone();
        let texts = [
            (Blank::Password, password.as_deref().unwrap_or_default()),
            (
                Blank::RefreshToken,
                refresh_token.as_deref().unwrap_or_default(),
            ),
            (Blank::Token, live),
        ];
        let now = tools.clock.now().unix();
        let filling = Filling {
            now,
            expires: now,
            texts: &texts,
        };
        let bearer = (step.authorization == Authorization::Live)
            .then(|| HeaderValue::try_from(format!("Bearer {live}")).ok())
            .flatten();
        match step.take(urls, &filling, bearer, &self.line, tools).await {
            Ok((brought, reply)) => Ok(memory.keep(brought, &reply)),
            Err((error, offset)) => {
                memory.learn(offset);
                Err(error)
            }
        }
    }
}
