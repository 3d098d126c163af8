//! Requests for tokens, and how long their answers ask to be left alone.

use std::time::Duration;

use serde_json::json;

use super::*;

#[test]
fn a_form_is_encoded_as_browsers_do_it() {
    let parameters = json!({ "a b": "&+%=ä ", "list": ["x", "y"], "number": 3, "empty": "" });
    assert_eq!(
        form(&parameters),
        "a+b=%26%2B%25%3D%C3%A4+&list=x&list=y&number=3&empty="
    );
}

fn wait(headers: &[(HeaderName, &'static str)]) -> Option<Duration> {
    let headers = headers.iter().cloned();
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    retry_after(&headers.collect())
}

#[test]
fn a_wait_is_given_in_seconds_or_by_a_date_and_is_never_too_long() {
    let at = |value| wait(&[(header::RETRY_AFTER, value)]);
    assert_eq!(at("120"), Some(Duration::from_secs(120)));
    assert_eq!(at(" 0 "), Some(Duration::ZERO));
    assert_eq!(at("18446744073709551615"), Some(LONGEST_WAIT));
    for odd in ["-1", "1.5", "soon", "", "99999999999999999999"] {
        assert_eq!(at(odd), None, "{odd}");
    }
    let date = (header::DATE, "Sun, 06 Nov 1994 08:49:37 GMT");
    let later = (header::RETRY_AFTER, "Sun, 06 Nov 1994 08:50:37 GMT");
    let before = (header::RETRY_AFTER, "Sun, 06 Nov 1994 08:40:37 GMT");
    assert_eq!(
        wait(&[date.clone(), later.clone()]),
        Some(Duration::from_secs(60))
    );
    assert_eq!(wait(&[date, before]), None);
    assert_eq!(wait(&[later]), None, "by whose clock?");
}
