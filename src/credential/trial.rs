//! After a 401 from a target: the request is sent once more, with another token or another key, and
//! what is said to that decides about both.

use std::cell::RefCell;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{HeaderValue, StatusCode};

use super::Credential;
use super::cell::{Refused, View};
use crate::outgoing::{Authorized, Repeatable};

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

impl Credential {
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
}
