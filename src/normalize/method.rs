//! The method of a request, and those that it asks for beside it.
//!
//! Many servers take a request for one with another method if a header says so, or, as Rails, Symfony
//! and Laravel do, a parameter `_method`. A body is not looked at: a form in it may have that field, too.

use std::borrow::Cow;

use http::request::Parts;

use super::Refusal;
use super::named::is_named;
use super::spelling::plain;
use crate::headers;

/// The parameter.
const PARAMETER: &str = "_method";

/// Refuses what would echo the credential to the caller, or asks for a tunnel, however it is asked for.
/// Methods are case-sensitive (RFC 9110 section 9.1), but not to every server.
pub(super) fn check(parts: &Parts) -> Result<(), Refusal> {
    if is_refused(parts.method.as_str().as_bytes()) {
        return Err(Refusal::Method(parts.method.clone()));
    }
    if asked_besides(parts).any(|it| is_refused(&it)) {
        return Err(Refusal::OtherMethod);
    }
    Ok(())
}

fn is_refused(method: &[u8]) -> bool {
    let refused: [&[u8]; 3] = [b"TRACE", b"TRACK", b"CONNECT"];
    refused.iter().any(|it| method.eq_ignore_ascii_case(it))
}

/// The methods that headers and the query ask for in place of the one in the request line.
pub(super) fn asked_besides(parts: &Parts) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let headers = headers::methods_in(&parts.headers).map(|it| Cow::Borrowed(it.trim_ascii()));
    let query = parts.uri.query().unwrap_or_default().as_bytes();
    let pieces = query.split(|byte| matches!(byte, b'&' | b';'));
    let named = pieces.filter(|it| is_named(it, PARAMETER));
    headers.chain(named.map(|piece| {
        let at = piece.iter().rposition(|byte| *byte == b'=');
        let value = at.map_or(&[][..], |at| &piece[at + 1..]);
        Cow::Owned(plain(value).trim_ascii().to_vec())
    }))
}
