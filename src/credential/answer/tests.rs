//! What is taken from answers, and what is not.

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::*;
use crate::clock::Moment;

const NOW: u64 = 1_900_000_000;

fn reply(headers: &[(&'static str, &[u8])], body: &str) -> Reply {
    let headers = headers.iter().map(|(name, value)| {
        let value = HeaderValue::from_bytes(value).expect("a value");
        (HeaderName::from_static(name), value)
    });
    Reply {
        status: StatusCode::OK,
        headers: headers.collect(),
        body: Bytes::from(body.to_owned()),
        sent: Moment {
            wall: Duration::from_secs(NOW),
            boot: Duration::from_secs(5),
        },
        offset: None,
    }
}

fn places() -> Places {
    Places {
        token: Some("/access_token".into()),
        lifetime: Some("/expires_in".into()),
        refresh_token: Some("/refresh_token".into()),
        default_lifetime: Duration::from_secs(420),
        ..Places::default()
    }
}

fn in_header() -> Places {
    Places {
        token_header: Some(HeaderName::from_static("x-token")),
        default_lifetime: Duration::from_secs(420),
        ..Places::default()
    }
}

fn taken(places: &Places, headers: &[(&'static str, &[u8])], body: &str) -> Option<String> {
    places.take(&reply(headers, body)).ok().map(|it| it.token)
}

#[test]
fn a_header_is_taken_before_the_body_and_the_body_need_be_nothing_then() {
    let headers: &[(_, &[u8])] = &[("x-token", b"Bearer abc")];
    assert_eq!(
        taken(&in_header(), headers, "<html>").as_deref(),
        Some("abc")
    );
    let both = Places {
        token: Some("/access_token".into()),
        ..in_header()
    };
    let body = r#"{"access_token":"def"}"#;
    assert_eq!(taken(&both, headers, body).as_deref(), Some("abc"));
    assert_eq!(taken(&both, &[], body).as_deref(), Some("def"));
}

#[test]
fn a_header_that_is_there_twice_or_has_what_no_token_has_is_nonsense() {
    let bad: [&[(&'static str, &[u8])]; 6] = [
        &[],
        &[("x-token", b"abc"), ("x-token", b"abc")],
        &[("x-token", b"")],
        &[("x-token", b"Bearer ")],
        &[("x-token", b"a b")],
        &[("x-token", b"a\xe4")],
    ];
    for headers in bad {
        assert_eq!(taken(&in_header(), headers, "{}"), None, "{headers:?}");
    }
}

#[test]
fn a_cookie_is_found_by_its_name() {
    let places = Places {
        token_cookie: Some("session".into()),
        default_lifetime: Duration::from_secs(420),
        ..Places::default()
    };
    let headers: &[(_, &[u8])] = &[
        ("set-cookie", b"other=1; Path=/"),
        ("set-cookie", b"session=\"abc\"; HttpOnly; Path=/"),
    ];
    assert_eq!(taken(&places, headers, "").as_deref(), Some("abc"));
    assert_eq!(taken(&places, &headers[..1], ""), None);
}

#[test]
fn a_body_can_be_the_token_itself() {
    let places = Places {
        token: Some(String::new()),
        ..in_header()
    };
    assert_eq!(taken(&places, &[], "abc\n").as_deref(), Some("abc"));
    assert_eq!(taken(&places, &[], "\"abc\"").as_deref(), Some("abc"));
    for body in ["", " ", "two words", "<html>\n</html>", r#"{"a":"b c"}"#] {
        assert_eq!(taken(&places, &[], body), None, "{body}");
    }
}

#[test]
fn a_name_that_stands_twice_anywhere_makes_the_answer_nonsense() {
    for body in [
        r#"{"access_token":"a","access_token":"b"}"#,
        r#"{"access_token":"a","access_token":"a"}"#,
        r#"{"access_token":"a","x":[{"y":1,"y":2}]}"#,
    ] {
        assert_eq!(taken(&places(), &[], body), None, "{body}");
    }
    let same_name_elsewhere = r#"{"access_token":"a","x":{"access_token":"b"}}"#;
    assert_eq!(
        taken(&places(), &[], same_name_elsewhere).as_deref(),
        Some("a")
    );
}

#[test]
fn a_refresh_token_is_taken_where_there_is_one() {
    let refresh = |body: &str| {
        let brought = places().take(&reply(&[], body)).expect("a token");
        brought.refresh_token
    };
    let body = r#"{"access_token":"a","refresh_token":"r"}"#;
    assert_eq!(refresh(body).as_deref(), Some("r"));
    assert_eq!(refresh(r#"{"access_token":"a","refresh_token":1}"#), None);
}

fn jwt(claims: &str) -> String {
    format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims))
}

fn life(claims: &str, said: &str, offset: Option<i64>) -> Result<Duration, Nonsense> {
    let body = format!(r#"{{"access_token":"{}"{said}}}"#, jwt(claims));
    let reply = Reply {
        offset,
        ..reply(&[], &body)
    };
    places().take(&reply).map(|it| it.life)
}

#[test]
fn a_tokens_own_claims_count_for_its_life_and_odd_ones_do_not() {
    let seconds = |claims: &str| life(claims, "", None).map(|it| it.as_secs());
    assert_eq!(
        seconds(r#"{"iat":100,"exp":400}"#),
        Ok(300),
        "free of our clock"
    );
    assert_eq!(seconds(r#"{"iat":100.5,"exp":400.5}"#), Ok(300));
    assert_eq!(seconds(r#"{"exp":1900000080}"#), Ok(80));
    assert_eq!(seconds(r#"{"iat":1,"exp":1e308}"#), Ok(86_400));
    assert_eq!(seconds(r#"{"iat":-1e308,"exp":1e308}"#), Ok(86_400));
    assert_eq!(
        seconds(r#"{"iat":1900000000,"exp":18446744073709551615}"#),
        Ok(86_400)
    );
    for nothing in [
        "{}",
        "[]",
        "1",
        r#"{"exp":"soon"}"#,
        r#"{"exp":null}"#,
        r#"{"iat":1}"#,
    ] {
        assert_eq!(seconds(nothing), Ok(420), "{nothing}");
    }
    assert!(seconds(r#"{"exp":1899999999}"#).is_err(), "it has ended");
    assert!(seconds(r#"{"iat":400,"exp":400}"#).is_err());
    assert!(seconds(r#"{"iat":400,"exp":100}"#).is_err());
}

#[test]
fn an_end_is_read_on_the_clock_of_whoever_wrote_it() {
    let claims = r#"{"exp":1900000180}"#;
    assert_eq!(life(claims, "", Some(100)), Ok(Duration::from_secs(80)));
    assert_eq!(life(claims, "", Some(-100)), Ok(Duration::from_secs(280)));
}

#[test]
fn the_shorter_of_two_lives_counts() {
    let claims = r#"{"iat":1900000000,"exp":1900000300}"#;
    assert_eq!(
        life(claims, r#","expires_in":200"#, None),
        Ok(Duration::from_secs(200))
    );
    assert_eq!(
        life(claims, r#","expires_in":400"#, None),
        Ok(Duration::from_secs(300))
    );
}

#[test]
fn what_is_said_is_told_in_few_words_and_without_secrets() {
    let said = |body: &str| said(&reply(&[], body), &["hunter2", ""]);
    assert_eq!(
        said(r#"{"error":"invalid_grant","error_description":"no such user"}"#),
        "invalid_grant: no such user"
    );
    assert_eq!(said(r#"{"messages":["one","two"]}"#), "one, two");
    assert_eq!(
        said(r#"{"error":"x","detail":"password hunter2 is wrong"}"#),
        "x: …"
    );
    let long = format!(r#"{{"message":"it was {}"}}"#, "a".repeat(41));
    assert_eq!(said(&long), "it was …");
    let lines = said(r#"{"message":"one\ntwo\u001b[31m"}"#);
    assert_eq!(lines, "one …", "nothing that a terminal obeys");
    assert!(said(&format!(r#"{{"message":"{}"}}"#, "word ".repeat(1000))).len() <= 200);
    for nothing in ["", "<html>", "[]", r#"{"error":1}"#, r#"{"token":"abc"}"#] {
        assert_eq!(said(nothing), "", "{nothing}");
    }
}
