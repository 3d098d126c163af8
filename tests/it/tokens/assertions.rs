//! Assertions: what is signed to get a token, and by which clock it is dated.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::Value;

use super::{Endpoint, START, Say, Setting, answer, exchange, http_date, part, token};
use crate::support::{Folder, Upstream};

const NOW: u64 = 1_900_000_000;

/// The credential `api` as an exchange of an assertion that lives for 60 s.
fn asserting(folder: &Folder, text: &str, next: &str) -> String {
    folder.write_key("key.pem");
    let authentication = "client-authentication = \"post\"\n";
    assert!(text.contains(authentication));
    text.replacen(
        authentication,
        &format!(
            r#"grant = "jwt-bearer"
{next}
[credentials.api.exchange.assertion]
algorithm = "ES512"
key = {{ file = "key.pem" }}
lifetime = "60s"
claims = {{ jti = "${{uuid}}", iat = "${{now}}", exp = "${{expires}}", aud = "${{endpoint-url}}" }}
"#
        ),
        1,
    )
    .replacen("client-secret = { file = \"client-secret\" }\n", "", 1)
}

fn setting(endpoint: &Endpoint, next: &str) -> Setting {
    let upstream = &endpoint.upstream;
    let (folder, text) = exchange(
        upstream.address,
        &upstream.ca_pem,
        &Upstream::saying(""),
        "",
    );
    if !next.is_empty() {
        folder.write_key("next.pem");
    }
    let text = asserting(&folder, &text, next);
    Setting::of(folder, &text)
}

fn claims(endpoint: &Endpoint, call: usize) -> Value {
    let form = endpoint.form(call);
    let found = form.iter().find(|(name, _)| name == "assertion");
    part(&found.expect("an assertion").1, 1)
}

fn dated(unix: u64, more: &str) -> String {
    format!("Date: {} GMT\r\n{more}", http_date(unix))
}

#[test]
fn every_attempt_has_an_assertion_of_its_own_that_begins_five_seconds_ago() {
    let endpoint = Endpoint::with(|number, _| match number {
        0..4 => Say::This(answer("500 Oh", "", "")),
        _ => token(number, 300),
    });
    let it = setting(&endpoint, "");
    let mut now = START;
    let mut calls = 0;
    loop {
        let failure = it.failure();
        let claims = claims(&endpoint, calls);
        calls += 1;
        let iat = claims["iat"].as_u64().expect("whole seconds");
        assert_eq!(iat, now.unix() - 5);
        assert_eq!(claims["exp"], iat + 60);
        assert_eq!(claims["aud"], "https://upstream.example/token");
        let succeeded;
        (now, succeeded) = it.next_attempt(&failure, now);
        if succeeded {
            break;
        }
    }
    let ids: HashSet<String> = (0..5)
        .map(|call| claims(&endpoint, call)["jti"].to_string())
        .collect();
    assert_eq!(ids.len(), 5);
}

#[test]
fn an_endpoint_whose_clock_is_ahead_refuses_once_and_takes_the_next_assertion() {
    let endpoint = Endpoint::with(move |number, _| match number {
        0 => Say::This(answer(
            "401 Too old",
            &dated(NOW + 94, ""),
            r#"{"error":"invalid_client"}"#,
        )),
        _ => token(number, 300),
    });
    let it = setting(&endpoint, "");
    let failure = it.failure();
    assert!(it.next_attempt(&failure, START).1);
    let now = START.after(failure.until.left(START)).unix();
    let claims = claims(&endpoint, 1);
    assert_eq!(claims["iat"], now + 94 - 5);
    assert_eq!(claims["exp"], now + 94 + 55);
}

#[test]
fn a_clock_is_not_learnt_from_a_cache_nor_from_one_that_is_hours_off() {
    for headers in [
        dated(NOW + 94, "Age: 94\r\n"),
        dated(NOW + 601, ""),
        dated(NOW - 601, ""),
        dated(NOW + 1, ""),
        "Date: yesterday\r\n".to_owned(),
        "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n".to_owned(),
    ] {
        let shown = headers.clone();
        let endpoint = Endpoint::with(move |_, _| Say::This(answer("401 No", &headers, "")));
        let it = setting(&endpoint, "");
        let failure = it.failure();
        it.next_attempt(&failure, START);
        let now = START.after(failure.until.left(START)).unix();
        assert_eq!(claims(&endpoint, 1)["iat"], now - 5, "{shown}");
    }
}

#[test]
fn a_clock_that_is_behind_is_learnt_as_well_and_unlearnt_when_it_is_right_again() {
    let endpoint = Endpoint::with(|number, _| {
        let date = if number == 0 { NOW - 300 } else { NOW };
        Say::This(answer("401 No", &dated(date, ""), ""))
    });
    let it = setting(&endpoint, "");
    let failure = it.failure();
    let (now, _) = it.next_attempt(&failure, START);
    assert_eq!(claims(&endpoint, 1)["iat"], now.unix() - 305);
    let failure = it.failure();
    let (now, _) = it.next_attempt(&failure, now);
    assert_eq!(claims(&endpoint, 2)["iat"], now.unix() - 5);
}

#[test]
fn an_endpoint_that_changes_over_to_the_next_key_is_followed() {
    let changed_over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let said = std::sync::Arc::clone(&changed_over);
    let is_taken = move |request: &str| {
        // The keys have ids in this test: their length in the form tells them apart well enough.
        let wants = said.load(std::sync::atomic::Ordering::SeqCst);
        (signer(request) == 1) == wants
    };
    let endpoint = Endpoint::with(move |number, request| {
        if is_taken(request) {
            token(number, 300)
        } else {
            Say::This(answer("401 No", "", r#"{"error":"invalid_client"}"#))
        }
    });
    let api = Upstream::saying("");
    let (folder, text) = exchange(
        endpoint.upstream.address,
        &endpoint.upstream.ca_pem,
        &api,
        "",
    );
    let text = asserting(&folder, &text, "next-key = { file = \"next.pem\" }");
    let publics = [folder.write_key("key.pem"), folder.write_key("next.pem")];
    *super::lock(&KEYS) = publics.to_vec();
    let it = Setting::of(folder, &text);
    let first = it.token();
    changed_over.store(true, std::sync::atomic::Ordering::SeqCst);
    it.pass(225.0);
    let failure = it.failure();
    assert!(failure.until.left(START.after(Duration::from_secs(225))) < Duration::from_secs(1));
    assert_eq!(it.get().status, 200, "the old token serves");
    it.next_attempt(&failure, START.after(Duration::from_secs(225)));
    it.next_token(&first);
    assert_eq!(it.get().status, 200);
    assert_eq!(endpoint.calls(), 3);
}

static KEYS: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());

/// Which of the keys has signed the assertion of a request.
fn signer(request: &str) -> usize {
    let (_, assertion) = request.split_once("assertion=").expect("an assertion");
    let assertion = assertion.split('&').next().expect("a value");
    let keys = super::lock(&KEYS).clone();
    let signed = keys
        .iter()
        .position(|key| super::is_signed_by(assertion, key));
    signed.expect("one of the keys")
}
