//! Paths that are never forwarded, whatever their spelling.

use crate::normalize::{decode_fully, name_in};

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

/// A path with its percent-encoding undone as often as it goes, and letters made the same that are
/// the same to somebody.
fn plain(path: &str) -> Vec<u8> {
    let mut decoded = decode_fully(path.as_bytes());
    if decoded.is_ascii() {
        decoded.make_ascii_lowercase();
        return decoded;
    }
    let text = String::from_utf8_lossy(&decoded);
    let folded: String = text.chars().flat_map(folded).collect();
    folded.into_bytes()
}

/// The segments of such a path as the most lenient server would see them: parameters cut off, dots
/// and white space at the end as well, empty ones left out.
fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| matches!(byte, b'/' | b'\\'))
        .map(|segment| {
            let mut name = name_in(segment);
            while let [rest @ .., b'\0'..=b' ' | b'.' | 0x7f] = name {
                name = rest;
            }
            name
        })
        .filter(|name| !name.is_empty())
}

/// A letter without its case, by way of the upper one: some letters share only that with the one
/// they are taken for (the long s and S, the dotless i and I). Forms of full width become plain.
fn folded(letter: char) -> impl Iterator<Item = char> {
    const FULL_WIDTH: u32 = 0xfee0;
    let narrow = match letter {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(letter) - FULL_WIDTH),
        '\u{2044}' | '\u{2215}' => Some('/'),
        _ => None,
    };
    narrow
        .unwrap_or(letter)
        .to_uppercase()
        .flat_map(char::to_lowercase)
        // Left over from a capital I with a dot.
        .filter(|it| *it != '\u{307}')
}
