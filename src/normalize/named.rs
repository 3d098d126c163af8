//! Which parameters of a query, and which cookies, some server takes for one of a certain name.
//!
//! Servers read names differently, and a caller's parameter that is taken for our credential stands
//! beside it or in place of it. What any of them could take for it goes by its name, then: names are decoded as often as it goes, `%u006b` as well; case does not count; PHP makes `_` of `.`,
//! of a space and of a `[` that is not closed, and ends a name at a zero byte; Rack and qs drop brackets
//! in front, and all of them take `name[0]` for a piece of `name`; some drop the first `?` of `??name`.
//! What is in a value is not looked at: it may be a whole URL with a query of its own.

use super::spelling::plain;

/// Whether `piece`, with or without a value, is one of the name `own`.
pub(crate) fn is_named(piece: &[u8], own: &str) -> bool {
    let is_blank = |byte: &u8| *byte == b'=' || byte.is_ascii_whitespace();
    let start = piece.iter().position(|byte| !is_blank(byte));
    let piece = &piece[start.unwrap_or(piece.len())..];
    let name = until(piece, b"=");
    if name.iter().all(is_ordinary) {
        return is_same(name, own);
    }
    let decoded = decoded(name);
    // To whoever decodes before it takes a query apart.
    let mut parts = decoded.split(|byte| matches!(byte, b'&' | b';' | b','));
    parts.any(|part| {
        let part = trimmed(until(part, b"=\0"));
        is_same(part, own) || is_same(trimmed(until(part, b"[]")), own)
    })
}

/// A byte that stands for itself to everybody.
fn is_ordinary(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~".contains(byte)
}

fn until<'a>(text: &'a [u8], ends: &[u8]) -> &'a [u8] {
    let end = text.iter().position(|byte| ends.contains(byte));
    &text[..end.unwrap_or(text.len())]
}

/// Without what some server drops in front of a name and behind it.
fn trimmed(mut name: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| *byte <= b' ' || matches!(byte, b'+' | b'"' | b'\'' | 0x7f);
    while let [first, rest @ ..] = name
        && (is_space(first) || matches!(first, b'?' | b'[' | b']'))
    {
        name = rest;
    }
    while let [rest @ .., last] = name
        && is_space(last)
    {
        name = rest;
    }
    name
}

fn is_same(given: &[u8], own: &str) -> bool {
    let mangled = |byte: &u8| match byte {
        b'.' | b' ' | b'+' | b'[' => b'_',
        other => other.to_ascii_lowercase(),
    };
    given.len() == own.len()
        && given
            .iter()
            .map(mangled)
            .eq(own.as_bytes().iter().map(mangled))
}

/// A name with all of its encodings undone.
fn decoded(name: &[u8]) -> Vec<u8> {
    let mut name = plain(name);
    while let Some(next) = decode_units(&name) {
        name = plain(&next);
    }
    name
}

/// Undoes `%uXXXX`, which IIS and ASP.NET read; `None` if there is none.
fn decode_units(name: &[u8]) -> Option<Vec<u8>> {
    let unit = |at: usize| {
        let rest = name[at..].strip_prefix(b"%u")?.get(..4)?;
        let digits = std::str::from_utf8(rest).ok()?;
        // No sign: `from_str_radix` takes one.
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        char::from_u32(u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)?)
    };
    let mut decoded = Vec::with_capacity(name.len());
    let (mut at, mut has_any) = (0, false);
    while at < name.len() {
        match unit(at) {
            Some(letter) => {
                decoded.extend(letter.encode_utf8(&mut [0; 4]).as_bytes());
                has_any = true;
                at += 6;
            }
            None => {
                decoded.push(name[at]);
                at += 1;
            }
        }
    }
    has_any.then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_in_every_spelling_that_some_server_takes_for_it() {
        for piece in [
            "api_key",
            "API_Key=x",
            "api.key=x",
            "api+key=x",
            "api%20key=x",
            "api%5bkey=x",
            "api[key=x",
            "api%2Ekey",
            "api%252ekey",
            "%u0061pi%5Fkey=x",
            "%25u0061pi_key=x",
            "api_%E2%84%AAey=x",
            "api_%EF%BD%8Bey=x",
            "api_key%00z=x",
            "api_key[]=x",
            "api_key%5B0%5D[a]=x",
            "[api_key]=x",
            "[[api.key]=x",
            "?api_key=x",
            "%3fapi_key=x",
            "+%20api_key+=x",
            "%22api_key%22=x",
            "=api_key=x",
            "a%26api_key=x",
            "a%3b%3fapi.key%3dy=x",
        ] {
            assert!(is_named(piece.as_bytes(), "api_key"), "{piece}");
        }
        for piece in [
            "",
            "=",
            "key=x",
            "api=x",
            "apikey=x",
            "api-key=x",
            "api_keys=x",
            "api_key_id=x",
            "my_api_key=x",
            "a[api_key]=x",
            "a=api_key",
            "next=%2F%3Fb%26api_key%3Dx",
            "%u00zzapi_key=x",
            "%u+061pi_key=x",
        ] {
            assert!(!is_named(piece.as_bytes(), "api_key"), "{piece}");
        }
        assert!(is_named(b"a_b", "a.b") && is_named(b"A.B", "a.b"));
    }
}
