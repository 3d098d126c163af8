//! A source that has the token already: in a file, the environment, or the output of a command.

use std::time::Duration;

use super::answer::time_left;
use super::{MintError, Minted};
use crate::clock::Clock;
use crate::secret::Secret;
use crate::secret::material::Material;

/// Where the token stands.
#[derive(Debug)]
pub struct Static {
    /// The token.
    pub token: Material<Secret>,
    /// How long one is used before it is looked at again. A new file is noticed at once.
    pub lifetime: Duration,
}

impl Static {
    /// Takes what is there. A JWT is used no longer than it says itself.
    ///
    /// # Errors
    ///
    /// [`MintError::NoSecret`] if there is nothing, or nothing that is text.
    pub fn mint(&self, clock: &Clock) -> Result<Minted, MintError> {
        let token = super::exchange::text(Some(&self.token))?.unwrap_or_default();
        let (token, now) = (token.trim(), clock.now());
        let left = time_left(token, now.unix()).unwrap_or(self.lifetime);
        Ok(Minted {
            token: token.to_owned(),
            from: now,
            end: now.after(left.min(self.lifetime)),
        })
    }
}
