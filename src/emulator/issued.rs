//! The access tokens that a vendor has handed out. Each has a serial number in its `jti`, and so
//! can be told to be void although its signature and its time are in order.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts tokens, from 1.
#[derive(Debug, Default)]
pub(super) struct Issued {
    last: AtomicU64,
    void: AtomicU64,
}

impl Issued {
    /// The `jti` of a new token.
    pub(super) fn next(&self) -> String {
        let serial = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        serial.to_string()
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// Declares all tokens void that there are so far.
    pub(super) fn revoke_all(&self) {
        self.void.store(self.count(), Ordering::Relaxed);
    }

    /// Whether the token with this `jti` is still good.
    pub(super) fn is_live(&self, jti: &str) -> bool {
        jti.parse::<u64>()
            .is_ok_and(|serial| serial > self.void.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_reaches_back_and_not_ahead() {
        let issued = Issued::default();
        let before = issued.next();
        issued.revoke_all();
        let after = issued.next();
        assert!(!issued.is_live(&before));
        assert!(issued.is_live(&after));
        assert!(!issued.is_live("no number"));
        assert_eq!(issued.count(), 2);
    }
}
