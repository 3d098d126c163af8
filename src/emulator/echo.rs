//! A request told back to its sender, token left out: what arrived after all the proxying.

use aws_lc_rs::digest::{Context, SHA256};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::{Call, Reply};

/// How much of a textual body is shown.
const SHOWN: usize = 1024;

/// Answers with what was received; `authorization` stands in the place of that header's value.
///
/// The body is hashed as it comes in and never held.
pub(super) async fn echo(call: &mut Call, authorization: Value) -> Reply {
    let method = call.head.method.to_string();
    let path = call.path().to_owned();
    let query = call.head.uri.query().map(str::to_owned);
    let headers = pairs(call.headers());
    let Some((body, trailers)) = digest(call).await else {
        let broken = json!({ "reason": "body-broken", "message": "the body broke off" });
        return Reply::json(StatusCode::BAD_REQUEST, &broken).because("body-broken");
    };
    Reply::json(
        StatusCode::OK,
        &json!({
            "method": method,
            "path": path,
            "query": query,
            "authorization": authorization,
            "headers": headers,
            "body": body,
            "trailers": trailers,
        }),
    )
}

fn pairs(headers: &HeaderMap) -> Vec<[String; 2]> {
    headers
        .iter()
        .filter(|(name, _)| **name != header::AUTHORIZATION)
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            [name.to_string(), value.into_owned()]
        })
        .collect()
}

async fn digest(call: &mut Call) -> Option<(Value, Vec<[String; 2]>)> {
    let mut sha256 = Context::new(&SHA256);
    let mut length: u64 = 0;
    let mut shown = Vec::new();
    let mut trailers = Vec::new();
    while let Some(frame) = call.frame().await {
        match frame.ok()?.into_data() {
            Ok(data) => {
                sha256.update(&data);
                length += u64::try_from(data.len()).unwrap_or(u64::MAX);
                let room = SHOWN - shown.len();
                shown.extend_from_slice(&data[..data.len().min(room)]);
            }
            Err(frame) => trailers = frame.trailers_ref().map(pairs).unwrap_or_default(),
        }
    }
    let body = json!({
        "length": length,
        "sha256": hex(sha256.finish().as_ref()),
        "text": text(&shown),
    });
    Some((body, trailers))
}

/// The text that `bytes` begin with, where they are text; a character may have been cut at the end.
fn text(bytes: &[u8]) -> Option<&str> {
    match str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() => {
            str::from_utf8(&bytes[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_may_end_within_a_character_and_nothing_else_is_text() {
        assert_eq!(text(b""), Some(""));
        assert_eq!(text("aä".as_bytes()), Some("aä"));
        assert_eq!(text(b"a\xc3"), Some("a"));
        assert_eq!(text(b"a\xffb"), None);
    }
}
