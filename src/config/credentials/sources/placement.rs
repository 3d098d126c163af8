//! `placement` of a credential.

use http::HeaderName;

use crate::config::headers;
use crate::config::read::Reader;
use crate::credential::placement::Placement;
use crate::outgoing::Place;

pub(super) fn placement(reader: &Reader<'_>) -> Option<Placement> {
    let header = reader.parsed("header", |text| {
        let name = HeaderName::try_from(text).map_err(|_| format!("`{text}` is no header name"))?;
        if headers::is_ours(&name) {
            return Err(format!("`{text}` is a header that the proxy itself sets"));
        }
        Ok(name)
    });
    let scheme = reader.parsed("scheme", |text| {
        if text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(text.to_owned())
        } else {
            Err(format!("`{text}` is not one word"))
        }
    });
    let query = reader.parsed("query", place_name);
    let cookie = reader.parsed("cookie", place_name);
    let (header, mut scheme) = (header?.value, scheme?.value);
    let places: Vec<&str> = ["header", "query", "cookie"]
        .into_iter()
        .filter(|name| reader.has(name))
        .collect();
    if places.len() > 1 {
        let message = format!(
            "{} names more than one place: {}",
            reader.place(),
            places.join(", ")
        );
        let help = "a token stands in one place of a request";
        reader.problems().fault(reader.at(), message, help);
    }
    let place = match (query, cookie) {
        (Some(name), _) => Place::Query(name.value),
        (None, Some(name)) => Place::Cookie(name.value),
        (None, None) => Place::Header(header),
    };
    if !matches!(place, Place::Header(_)) {
        if reader.has("scheme") && !scheme.is_empty() {
            let message = format!("`scheme` in {} is for headers alone", reader.place());
            let help = "take it out";
            reader.problems().fault(reader.at(), message, help);
        }
        scheme.clear();
    }
    Some(Placement { place, scheme })
}

/// The name of a parameter or a cookie, such as needs no encoding.
fn place_name(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is no plain name of letters and digits"))
    }
}
