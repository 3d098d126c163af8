//! One token, got from the source of a credential.

use std::sync::Arc;

use super::call::Tools;
use super::memory::Memory;
use super::{Credential, MintError, Source, cell, renewal, secrets};
use crate::clock::Moment;
use crate::jws;

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

impl Credential {
    /// Gets one token for whoever asks at the command line: nothing of it is kept.
    pub async fn mint_once(self: &Arc<Self>, tools: &Tools) -> Once {
        let mut memory = Memory::default();
        let outcome = self.get(&mut memory, tools).await;
        let is_fit = |minted: Minted| self.config.placement.value(&minted.token).map(|_| minted);
        Once {
            outcome: outcome.and_then(is_fit),
            offset: memory.offset,
        }
    }

    async fn get(
        self: &Arc<Self>,
        memory: &mut Memory,
        tools: &Tools,
    ) -> Result<Minted, MintError> {
        secrets::run_commands(self).await?;
        match &self.config.source {
            Source::SelfSigned(source) => source.sign(self.clock.now(), 0, &[]),
            Source::Exchange(source) => source.mint(memory, tools).await,
            Source::Login(source) => source.mint(memory, tools).await,
            Source::Static(source) => source.mint(&self.clock),
        }
    }

    /// Gets one token from the source and makes it ready for requests.
    pub(super) async fn mint(
        self: &Arc<Self>,
        memory: &mut Memory,
        tools: &Tools,
    ) -> Result<cell::Token, MintError> {
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
}
