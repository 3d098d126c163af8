//! What the most lenient server takes a path for.

use super::{decode_fully, name_in};

/// Whether a path has one spelling that no server takes for another: lower case, no encoding, no
/// empty segment. Most paths are of this kind, and cost no more than this look.
pub(crate) fn is_plain(path: &str) -> bool {
    let mut last = 0;
    path.bytes().all(|byte| {
        let is_doubled = byte == b'/' && last == b'/';
        last = byte;
        !is_doubled && matches!(byte, b'/' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~')
    })
}

/// A path, or a name in a query, with its percent-encoding undone as often as it goes, and letters made the same that are
/// the same to somebody.
pub(crate) fn plain(path: impl AsRef<[u8]>) -> Vec<u8> {
    let mut decoded = decode_fully(path.as_ref());
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
pub(crate) fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
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
