//! Keys, passwords and tokens at rest in memory.

use std::fmt;

use zeroize::Zeroizing;

pub mod material;
pub mod store;
pub mod trail;

/// Bytes that are wiped when they are dropped and that no formatter shows.
///
/// There is no `Display`, because whatever can be displayed ends up in a log line one day; no
/// `Serialize` and no `Deref` for the same reason; and no `PartialEq`, because the obvious
/// comparison takes longer the more of a guess is right. Whoever needs the bytes says
/// [`expose`](Self::expose), and a search for that word finds every such place.
///
/// Wiping here covers the buffer handed over, in whatever program this library is used. Copies made on
/// the way (a `String` that grew, a parser's buffer) are wiped by the allocator of our own program,
/// which wipes whatever is freed.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over, without a copy.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text, or `None` where they are not UTF-8.
    pub fn expose_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_it() {
        let secret = Secret::from("hunter2".to_owned());
        assert_eq!(format!("{secret:?}"), "[redacted]");
        assert_eq!(format!("{:?}", Some(&secret)), "Some([redacted])");
    }

    #[test]
    fn bytes_and_text_come_out_as_they_went_in() {
        assert_eq!(Secret::new(vec![0, 255]).expose(), [0, 255]);
        assert_eq!(Secret::new(vec![0, 255]).expose_str(), None);
        assert_eq!(Secret::from("ü".to_owned()).expose_str(), Some("ü"));
    }
}
