//! Where a token goes on a request.

use std::fmt::Write;

use http::HeaderValue;

use super::MintError;
use crate::outgoing::Place;

/// A place on a request, and the word before the token in it.
#[derive(Clone, Debug)]
pub struct Placement {
    /// A header, a parameter of the query, or a cookie.
    pub place: Place,
    /// The scheme (RFC 9110 section 11.1), `Bearer` as a rule (RFC 6750 section 2.1); empty for a
    /// place that takes the bare token.
    pub scheme: String,
}

impl Placement {
    /// All that stands there, marked so that it is shown nowhere and indexed by no compression.
    ///
    /// # Errors
    ///
    /// [`MintError::NotAHeader`] if the token has characters that the place cannot carry.
    pub fn value(&self, token: &str) -> Result<HeaderValue, MintError> {
        let text = match &self.place {
            Place::Header(_) if !self.scheme.is_empty() => format!("{} {token}", self.scheme),
            Place::Header(_) => token.to_owned(),
            Place::Query(_) => percent_encoded(token),
            Place::Cookie(_) => token.to_owned(),
        };
        let is_carried = match &self.place {
            Place::Header(_) => true,
            Place::Query(_) => text.len() <= Place::LONGEST_IN_QUERY,
            // RFC 6265 section 4.1.1.
            Place::Cookie(_) => !text.contains(['"', ',', ';', '\\']),
        };
        if !is_carried {
            return Err(MintError::NotAHeader);
        }
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

/// All but the unreserved characters of RFC 3986 section 2.3.
fn percent_encoded(token: &str) -> String {
    let mut text = String::with_capacity(token.len());
    for byte in token.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}
