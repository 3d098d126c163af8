//! Paths that are never forwarded, whatever their spelling.

use crate::normalize::spelling::{plain, segments};

/// A path that is never forwarded, with all below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedPath(Vec<String>);

impl std::fmt::Display for RefusedPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0
            .iter()
            .try_for_each(|segment| write!(f, "/{segment}"))
    }
}

impl RefusedPath {
    /// Reads a path such as `/api/v1/auth`.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with it.
    pub fn parse(path: &str) -> Result<Self, String> {
        if !path.starts_with('/') {
            return Err(format!("the path `{path}` does not start with a slash"));
        }
        let plain = plain(path);
        let segments: Vec<String> = segments(&plain)
            .map(|it| String::from_utf8_lossy(it).into_owned())
            .collect();
        if segments.is_empty() {
            return Err("this would refuse every path".into());
        }
        Ok(Self(segments))
    }

    /// Whether a path is this one or below it, in whatever spelling a server might accept.
    #[must_use]
    pub fn refuses(&self, path: &str) -> bool {
        let Some((last, first)) = self.0.split_last() else {
            return false;
        };
        let path = plain(path);
        let mut segments = segments(&path);
        first
            .iter()
            .all(|own| segments.next() == Some(own.as_bytes()))
            && segments
                .next()
                .is_some_and(|it| is_or_has_suffix(it, last.as_bytes()))
    }
}

/// Frameworks that serve one thing in several formats take `token.json` for `token`.
fn is_or_has_suffix(segment: &[u8], name: &[u8]) -> bool {
    segment
        .strip_prefix(name)
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'.')))
}
