//! Answers of token endpoints: a token that can stand in a header for a time that makes sense, or
//! nothing.

use std::time::Duration;

use countersign::clock::Moment;
use countersign::credential::answer::Places;
use countersign::credential::call::Reply;
use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::driver::Driver;

const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "null",
    "true",
    "1e308",
    "-1",
    "0",
    "3600",
    "3600.5",
    "9223372036854775808",
    "18446744073709551615",
    "\"access_token\"",
    "\"expires_in\"",
    "\"token_type\"",
    "\"mac\"",
    "\"Bearer\"",
    "\\u0000",
    "\\ud800",
    "\\r\\n",
    "\\n",
    "\u{feff}",
    "eyJhbGciOiJub25lIn0",
    ".",
    "eyJleHAiOjE5MDAwMDAwMDB9",
    "eyJleHAiOi0xfQ",
    "eyJpYXQiOjFlMzA4fQ",
];

fn reply(headers: &[u8], body: &[u8]) -> Reply {
    let mut map = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(headers) {
        for name in ["x-token", "set-cookie", "date"] {
            map.insert(HeaderName::from_static(name), value.clone());
        }
    }
    Reply {
        status: StatusCode::OK,
        headers: map,
        body: body.to_vec().into(),
        sent: Moment {
            wall: Duration::from_secs(1_900_000_000),
            boot: Duration::from_secs(1000),
        },
        offset: None,
    }
}

#[test]
fn an_answer_brings_a_token_that_a_header_can_carry_or_none() {
    let pointer = |text: &str| Some(text.to_owned());
    let json = Places {
        token: pointer("/access_token"),
        lifetime: pointer("/expires_in"),
        refresh_token: pointer("/refresh_token"),
        default_lifetime: Duration::from_secs(300),
        ..Places::default()
    };
    let all = Places {
        token_header: Some(HeaderName::from_static("x-token")),
        token_cookie: pointer("session"),
        token: pointer(""),
        ..json.clone()
    };
    let mut brought = 0;
    Driver::new("answers", WORDS).run(60_000, |input| {
        let first_line = input
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        let reply = reply(first_line, input);
        for places in [&json, &all] {
            let Ok(found) = places.take(&reply) else {
                continue;
            };
            brought += 1;
            assert!(found.token.bytes().all(|byte| byte.is_ascii_graphic()));
            assert!((1..=16 * 1024).contains(&found.token.len()));
            HeaderValue::try_from(format!("Bearer {}", found.token)).expect("a header carries it");
            let life = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
            assert!(life.contains(&found.life), "{:?}", found.life);
        }
    });
    assert!(brought > 100, "only {brought} tokens, so little was tried");
}
