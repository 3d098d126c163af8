//! How long is waited after a failure, and what is said about it.

use std::time::Duration;

use http::StatusCode;

use super::{Credential, MintError, Source};
use crate::backoff::{Backoff, between};
use crate::clock::Moment;

/// How long after a refused password it is tried once more, and how long after that: directories
/// lock an account after a few wrong passwords, and the password in our file stays as wrong as it
/// is until somebody changes it.
const SECOND_TRY: Duration = Duration::from_secs(60);
const LATER_TRIES: Duration = Duration::from_secs(30 * 60);

/// How long to wait after a failure, by what kind of failure it was.
#[derive(Debug, Default)]
pub(super) struct Patience {
    backoff: Backoff,
    refusals: u32,
    /// What was said last, so that a failure that goes on is said once.
    reported: Option<String>,
}

impl Patience {
    pub(super) fn succeed(&mut self) {
        *self = Self::default();
    }

    /// Whether a failure was said since the last success.
    pub(super) fn has_reported(&self) -> bool {
        self.reported.is_some()
    }

    /// How long to wait after this failure.
    pub(super) fn fail(&mut self, error: &MintError, source: &Source) -> Duration {
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
                if let Some(keys) = source.keys() {
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
    pub(super) fn report(
        &mut self,
        credential: &Credential,
        reason: &str,
        wait: Duration,
        now: Moment,
    ) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::material::Material;

    fn status(after: Option<Duration>) -> MintError {
        MintError::Status {
            status: StatusCode::BAD_GATEWAY,
            said: String::new(),
            after,
        }
    }

    fn unreachable() -> MintError {
        let error = crate::dial::DialError::ConnectTimeout {
            host: "upstream.example".into(),
            after: Duration::from_secs(5),
            tried: crate::dial::race::Tried::default(),
        };
        super::super::call::CallError::from(error).into()
    }

    fn source() -> Source {
        let place = crate::secret::material::Place {
            reference: crate::secret::store::Reference::Env("PATH".into()),
            folder: std::path::PathBuf::new(),
            store: crate::secret::store::Store::Disk,
            modes: crate::secret::store::Modes::Refuse,
        };
        let parse = |_: &crate::secret::Secret| Ok(crate::secret::Secret::from(String::new()));
        let (token, _) = Material::load(place, parse).expect("every process has it");
        Source::Static(Box::new(super::super::fixed::Static {
            token,
            lifetime: Duration::from_secs(60),
        }))
    }

    #[test]
    fn what_cannot_be_reached_is_tried_every_second_or_two_however_long_it_takes() {
        let mut patience = Patience::default();
        for _ in 0..100 {
            let wait = patience.fail(&unreachable(), &source());
            assert!(
                wait >= Duration::from_secs(1) && wait <= Duration::from_secs(2),
                "{wait:?}"
            );
        }
    }

    #[test]
    fn what_is_in_trouble_is_tried_ever_more_rarely_and_not_before_it_says() {
        let mut patience = Patience::default();
        let waits: Vec<Duration> = (0..10)
            .map(|_| patience.fail(&status(None), &source()))
            .collect();
        assert!(waits[0] <= Duration::from_millis(500));
        assert!(waits[9] >= Duration::from_secs(15) && waits[9] <= Duration::from_secs(30));
        let asked = Some(Duration::from_secs(200));
        assert_eq!(
            patience.fail(&status(asked), &source()),
            Duration::from_secs(200)
        );
        let throttled = MintError::Throttled { after: asked };
        assert_eq!(
            patience.fail(&throttled, &source()),
            Duration::from_secs(200)
        );
        patience.succeed();
        assert!(patience.fail(&status(None), &source()) <= Duration::from_millis(500));
    }
}
