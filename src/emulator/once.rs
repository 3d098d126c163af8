//! Identifiers that are good for one use.

use std::collections::HashMap;
use std::sync::Mutex;

use super::lock;

/// The identifiers used so far, each kept until what it identifies would be refused for its age.
#[derive(Debug, Default)]
pub(super) struct Once {
    until: Mutex<HashMap<String, i64>>,
}

impl Once {
    /// Uses an identifier; says whether this was the first time.
    pub(super) fn first(&self, id: &str, until: i64, now: i64) -> bool {
        let mut used = lock(&self.until);
        used.retain(|_, until| *until > now);
        used.insert(id.to_owned(), until).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_good_again_once_its_bearer_has_expired() {
        let once = Once::default();
        assert!(once.first("a", 10, 0));
        assert!(once.first("b", 10, 0));
        assert!(!once.first("a", 10, 9));
        assert!(once.first("a", 20, 10));
    }
}
