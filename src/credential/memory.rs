//! What a source remembers from one attempt to the next.

use super::Minted;
use super::answer::Brought;
use super::call::Reply;
use crate::clock::Moment;

/// What a source remembers from one attempt to the next.
#[derive(Default)]
pub(super) struct Memory {
    live: Option<(String, Moment)>,
    pub(super) refresh_token: Option<String>,
    /// The refresh token to begin with, as it was at the last attempt.
    given: Option<String>,
    /// How many seconds the endpoint's clock is ahead of ours.
    pub(super) offset: i64,
}

impl std::fmt::Debug for Memory {
    /// Leaves the tokens out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Memory");
        shown.field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl Memory {
    pub(super) fn live(&self, now: Moment) -> Option<String> {
        let (token, end) = self.live.as_ref()?;
        (!end.reached(now)).then(|| token.clone())
    }

    /// The live token is dead after all.
    pub(super) fn forget(&mut self) {
        self.live = None;
    }

    /// The refresh token for the next attempt: the one that came last, unless another one was
    /// given to begin with since. `recall` gives what came of that one in another process.
    pub(super) fn refresh_token(
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
    pub(super) fn forget_refresh_token(&mut self) {
        self.refresh_token = None;
    }

    pub(super) fn learn(&mut self, offset: Option<i64>) {
        let Some(offset) = offset else { return };
        // Whole seconds come out one more or one less from one answer to the next.
        if offset == 0 && self.offset != 0 || offset.abs_diff(self.offset) > 1 {
            self.offset = offset;
        }
    }

    pub(super) fn keep(&mut self, brought: Brought, reply: &Reply) -> Minted {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refresh_token_that_came_last_is_used_unless_another_one_is_given() {
        let mut memory = Memory::default();
        let given = || Some("given".to_owned());
        assert_eq!(memory.refresh_token(given(), |_| None), given());
        memory.refresh_token = Some("came".into());
        assert_eq!(
            memory.refresh_token(given(), |_| None).as_deref(),
            Some("came")
        );
        let anew = Some("given-anew".to_owned());
        assert_eq!(memory.refresh_token(anew.clone(), |_| None), anew);
        memory.refresh_token = Some("came-later".into());
        memory.forget_refresh_token();
        assert_eq!(memory.refresh_token(anew.clone(), |_| None), anew);
    }

    #[test]
    fn a_clock_is_not_followed_second_by_second() {
        let mut memory = Memory::default();
        for (heard, kept) in [
            (Some(94), 94),
            (Some(95), 94),
            (None, 94),
            (Some(97), 97),
            (Some(0), 0),
        ] {
            memory.learn(heard);
            assert_eq!(memory.offset, kept, "{heard:?}");
        }
    }
}
