//! Where a token goes on a request.

use http::{HeaderName, HeaderValue};

use super::MintError;

/// A header, and the word before the token in it.
#[derive(Clone, Debug)]
pub struct Placement {
    /// The header's name.
    pub header: HeaderName,
    /// The scheme (RFC 9110 section 11.1), `Bearer` as a rule (RFC 6750 section 2.1); empty for a
    /// header that takes the bare token.
    pub scheme: String,
}

impl Placement {
    /// The whole header value, marked so that it is shown nowhere and indexed by no compression.
    ///
    /// # Errors
    ///
    /// [`MintError::NotAHeader`] if the token has characters that no header can carry.
    pub fn value(&self, token: &str) -> Result<HeaderValue, MintError> {
        let text = if self.scheme.is_empty() {
            token.to_owned()
        } else {
            format!("{} {token}", self.scheme)
        };
        // Visible ASCII and spaces between words: more than RFC 6750 allows a token to have, and
        // less than `HeaderValue` takes, which passes on bytes above 0x7F.
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(MintError::NotAHeader);
        }
        let mut value = HeaderValue::try_from(text).map_err(|_| MintError::NotAHeader)?;
        value.set_sensitive(true);
        Ok(value)
    }
}
