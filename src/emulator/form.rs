//! A form as it is posted: `application/x-www-form-urlencoded`.

/// The media type of a form.
pub(super) const MEDIA_TYPE: &str = "application/x-www-form-urlencoded";

/// A form's parameters, in the order they came in.
#[derive(Debug)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Nothing where an escape is broken or what it stands for is not UTF-8.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        str::from_utf8(text)
            .ok()?
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Some((decode(name)?, decode(value)?))
            })
            .collect::<Option<_>>()
            .map(Form)
    }

    /// The first value of a parameter. One without a value counts as left out, as RFC 6749 wants it
    /// in section 3.2.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.iter();
        let (_, value) = pairs.find(|(key, _)| key == name)?;
        (!value.is_empty()).then_some(value)
    }

    /// A parameter that is there more than once.
    pub(super) fn repeated(&self) -> Option<&str> {
        let mut names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
            .windows(2)
            .find(|pair| pair[0] == pair[1])
            .map(|pair| pair[0])
    }
}

/// What one name or value stands for.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let (digits, after) = rest.split_first_chunk::<2>()?;
                bytes.push(hex(digits[0])? << 4 | hex(digits[1])?);
                rest = after;
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a test that panics has failed, as it should"
    )]

    use super::*;

    #[test]
    fn a_form_is_read_with_its_escapes() {
        let form = Form::parse(b"a=1%3A2&b=c+d%2b&&e&f=").unwrap();
        assert_eq!(form.get("a"), Some("1:2"));
        assert_eq!(form.get("b"), Some("c d+"));
        assert_eq!(form.get("e"), None);
        assert_eq!(form.get("f"), None);
        assert_eq!(form.repeated(), None);
    }

    #[test]
    fn a_repeated_parameter_is_noticed() {
        assert_eq!(Form::parse(b"a=1&b=2&%61=3").unwrap().repeated(), Some("a"));
    }

    #[test]
    fn a_broken_escape_breaks_the_form() {
        for text in ["a=%", "a=%4", "a=%4g", "a=%+1", "%ff=1"] {
            assert!(Form::parse(text.as_bytes()).is_none(), "{text}");
        }
    }
}
