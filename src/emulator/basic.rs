//! The user name and password of a request (RFC 7617).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};

/// The pair in the one `Authorization: Basic` that a request has, if it has that and no other.
pub(super) fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (scheme, encoded) = values.next()?.to_str().ok()?.split_once(' ')?;
    if values.next().is_some() || !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(values: &[&'static str]) -> Option<(String, String)> {
        let headers: HeaderMap = values
            .iter()
            .map(|value| (header::AUTHORIZATION, HeaderValue::from_static(value)))
            .collect();
        credentials(&headers)
    }

    #[test]
    fn a_password_may_contain_colons_and_a_name_may_not() {
        let pair = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
        assert_eq!(of(&["Basic YTpiOmM="]), pair("a", "b:c"));
        assert_eq!(of(&["basic Og=="]), pair("", ""));
    }

    #[test]
    fn anything_but_one_well_formed_pair_is_none() {
        for values in [
            &[][..],
            &["Basic YTpi", "Basic YTpi"],
            &["Bearer YTpi"],
            &["Basic"],
            &["Basic YTp"],
            &["Basic YWI="],
            &["Basic /zov"],
        ] {
            assert_eq!(of(values), None, "{values:?}");
        }
    }
}
