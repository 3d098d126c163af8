//! A form as `application/x-www-form-urlencoded`, read without mercy.

/// The fields in their order, or nothing where a pair has no `=`, an escape is broken, the text is
/// no UTF-8, or a character stands there that must be escaped: a space, a control, or non-ASCII.
pub(super) fn parse(body: &[u8]) -> Option<Vec<(String, String)>> {
    body.split(|byte| *byte == b'&')
        .map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=')?;
            Some((decode(&pair[..at])?, decode(&pair[at + 1..])?))
        })
        .collect()
}

fn decode(text: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => digit(*rest.next()?)? * 16 + digit(*rest.next()?)?,
            b'!'..=b'~' => *byte,
            _ => return None,
        });
    }
    String::from_utf8(bytes).ok()
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_taken_apart() {
        let fields = |body: &str| parse(body.as_bytes());
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(fields("a=b"), Some(vec![pair("a", "b")]));
        assert_eq!(
            fields("a=b+c%2B%26%3d%C3%A4&a=="),
            Some(vec![pair("a", "b c+&=ä"), pair("a", "=")])
        );
        assert_eq!(fields("a=&=b"), Some(vec![pair("a", ""), pair("", "b")]));
    }

    #[test]
    fn what_a_form_cannot_be_is_none() {
        for body in [
            "", "a", "a=b&", "a=%", "a=%4", "a=%4g", "a=b c", "a=b\n", "a=ä", "a=%ff",
        ] {
            assert_eq!(parse(body.as_bytes()), None, "{body:?}");
        }
    }
}
