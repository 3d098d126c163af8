//! Requests for another protocol on the same connection (RFC 9110 section 7.8).

use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Version};

/// The protocol that a request asks for, if its route passes that on: exactly one, in a GET without
/// a body. Whatever else asks for an upgrade is answered in HTTP, as the RFC allows.
pub(super) fn asked(parts: &Parts, has_body: bool, passed: &[String]) -> Option<HeaderValue> {
    let protocol = only(&parts.headers)?;
    let is_passed = parts.version == Version::HTTP_11
        && parts.method == Method::GET
        && !has_body
        && names_upgrade(&parts.headers)
        && passed
            .iter()
            .any(|it| it.as_bytes().eq_ignore_ascii_case(protocol.as_bytes()));
    is_passed.then(|| protocol.clone())
}

/// The value of `Upgrade`, if there is one alone.
pub(crate) fn only(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut values = headers.get_all(header::UPGRADE).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// An `Upgrade` that `Connection` does not name is left over from another connection.
fn names_upgrade(headers: &HeaderMap) -> bool {
    let mut members = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    members.any(|member| member.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

/// Says aloud which protocol is meant, on this connection.
pub(crate) fn put(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, protocol);
}
