//! Tokens that come, are renewed, and end.

use std::collections::HashSet;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::{Endpoint, START, Say, Setting, flood, seen, target, token, wait_until};
use crate::support::{Upstream, get};

#[test]
fn a_thousand_first_requests_make_one_call_although_the_first_caller_hangs_up() {
    let (let_go, held) = mpsc::channel::<()>();
    let endpoint = Endpoint::with(move |number, _| {
        let _ = held.recv();
        token(number, 300)
    });
    let target = Upstream::saying("");
    let it = Setting::new(&endpoint, &target, "");
    wait_until("a call", || endpoint.calls() == 1);
    let mut first = TcpStream::connect(it.proxy.address).expect("a connection");
    first
        .write_all(b"GET /api/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .expect("it is sent");
    drop(first);
    let address = it.proxy.address;
    let all = std::thread::spawn(move || flood(address, 1000, "GET /api/x HTTP/1.0\r\n\r\n"));
    // They need not all be there yet for the answer to come: none of them may call.
    let_go.send(()).expect("the endpoint waits");
    drop(let_go);
    let answers = all.join().expect("no panic");
    assert!(answers.iter().all(|it| it.contains("200")));
    assert_eq!(endpoint.calls(), 1);
    let tokens: HashSet<String> = seen(&target).into_iter().collect();
    assert_eq!(tokens.len(), 1);
}

#[test]
fn nobody_waits_while_a_token_is_renewed_and_each_renewal_is_one_call() {
    let (let_go, held) = mpsc::channel::<()>();
    let endpoint = Endpoint::with(move |number, _| {
        if number > 0 {
            let _ = held.recv();
        }
        token(number, 100)
    });
    let target = Upstream::saying("");
    let it = Setting::new(&endpoint, &target, "");
    let mut token = it.token();
    for round in 1..=3 {
        it.pass(75.0);
        wait_until("a renewal", || endpoint.calls() == round + 1);
        // The endpoint takes its time, and the old token serves.
        let answers = flood(it.proxy.address, 50, "GET /api/x HTTP/1.0\r\n\r\n");
        assert!(answers.iter().all(|it| it.contains("200")));
        assert_eq!(seen(&target).pop(), Some(format!("token-{}", round - 1)));
        let_go.send(()).expect("the endpoint waits");
        token = it.next_token(&token);
        it.get();
        assert_eq!(seen(&target).pop(), Some(format!("token-{round}")));
    }
    assert_eq!(endpoint.calls(), 4);
}

#[test]
fn a_token_is_renewed_at_three_quarters_of_its_life_and_not_much_before() {
    let endpoint = Endpoint::giving(8);
    let target = Upstream::saying("");
    let it = Setting::new(&endpoint, &target, "");
    let token = it.token();
    let due = token.renew_at.left(START);
    assert!(due <= Duration::from_secs(6) && due >= Duration::from_secs_f64(5.6));
    it.pass(5.5);
    for _ in 0..20 {
        assert_eq!(it.get().status, 200);
    }
    assert_eq!(
        endpoint.calls(),
        1,
        "a short token is not got for each request"
    );
    it.pass(0.5);
    it.next_token(&token);
}

#[test]
fn renewals_are_spread() {
    let due: HashSet<Duration> = (0..8)
        .map(|_| {
            let endpoint = Endpoint::giving(1000);
            let it = Setting::new(&endpoint, &Upstream::saying(""), "");
            it.token().renew_at.left(START)
        })
        .collect();
    assert!(due.len() > 4, "{due:?}");
}

#[test]
fn a_life_is_counted_from_when_the_token_was_asked_for() {
    let (let_go, held) = mpsc::channel::<()>();
    let endpoint = Endpoint::with(move |number, _| {
        let _ = held.recv();
        token(number, 100)
    });
    let it = Setting::new(&endpoint, &Upstream::saying(""), "");
    wait_until("a call", || endpoint.calls() == 1);
    it.pass(30.0);
    let_go.send(()).expect("the endpoint waits");
    assert_eq!(it.token().end, START.after(Duration::from_secs(100)));
}

#[test]
fn a_token_that_ended_on_its_way_is_a_failed_attempt_and_not_asked_for_again_at_once() {
    let (let_go, held) = mpsc::channel::<()>();
    let endpoint = Endpoint::with(move |number, _| {
        let _ = held.recv();
        token(number, 10)
    });
    let target = Upstream::saying("");
    let it = Setting::new(&endpoint, &target, "");
    wait_until("a call", || endpoint.calls() == 1);
    it.pass(11.0);
    let_go.send(()).expect("the endpoint waits");
    let failure = it.failure();
    assert!(
        failure.reason.contains("ended before it came"),
        "{}",
        failure.reason
    );
    assert_eq!(it.get().code(), "credential-unavailable");
    assert_eq!(endpoint.calls(), 1);
    let_go.send(()).expect("the endpoint waits");
    let (_, succeeded) = it.next_attempt(&failure, START.after(Duration::from_secs(11)));
    assert!(succeeded);
}

#[test]
fn the_wall_clock_can_be_stepped_either_way_and_no_token_outlives_its_end() {
    for step in [7200.0_f64, -7200.0] {
        let endpoint = Endpoint::giving(100);
        let target = Upstream::saying("");
        let it = Setting::new(&endpoint, &target, "");
        let first = it.token();
        it.hand
            .set_wall(Duration::from_secs_f64(START.wall.as_secs_f64() + step));
        if step < 0.0 {
            assert_eq!(it.get().status, 200);
            it.pass(100.0);
        }
        assert_eq!(it.get().status, 200);
        it.next_token(&first);
        assert_eq!(seen(&target).pop().as_deref(), Some("token-1"), "{step}");
        assert_eq!(endpoint.calls(), 2);
    }
}

#[test]
fn a_machine_that_slept_for_hours_gets_a_new_token_before_it_sends_anything() {
    let endpoint = Endpoint::giving(100);
    let target = Upstream::saying("");
    let it = Setting::new(&endpoint, &target, "");
    it.token();
    it.pass(3.0 * 3600.0);
    let answers = flood(it.proxy.address, 100, "GET /api/x HTTP/1.0\r\n\r\n");
    assert!(answers.iter().all(|it| it.contains("200")));
    assert!(seen(&target).iter().all(|it| it == "token-1"));
    assert_eq!(endpoint.calls(), 2);
}

#[test]
fn one_credential_that_has_to_wait_does_not_hold_up_the_others() {
    let stuck = Endpoint::with(|_, _| Say::Nothing);
    let works = Endpoint::giving(300);
    let api = Upstream::saying("");
    let (folder, mut text) = super::exchange(
        stuck.upstream.address,
        &stuck.upstream.ca_pem,
        &api,
        "timeouts.total = \"10s\"",
    );
    folder.write("other.pem", &works.upstream.ca_pem);
    let other = text
        .split("[credentials.api.exchange]")
        .nth(1)
        .expect("the credential")
        .replace(
            &stuck.upstream.address.to_string(),
            &works.upstream.address.to_string(),
        )
        .replace("idp.pem", "other.pem")
        .replace("[targets.api]", "[targets.other]");
    text = text.replace(
        "timeouts.credential = \"1m\"",
        "timeouts.credential = \"300ms\"",
    );
    text.push_str("[credentials.other.exchange]");
    text.push_str(&other);
    let it = Setting::of(folder, &text);
    wait_until("a call", || stuck.calls() == 1);
    let is_over = Arc::new(AtomicBool::new(false));
    let (address, over) = (it.proxy.address, Arc::clone(&is_over));
    let patient = std::thread::spawn(move || {
        let answer = get(address, "/api/x");
        over.store(true, Ordering::SeqCst);
        answer
    });
    for _ in 0..5 {
        assert_eq!(get(it.proxy.address, "/other/x").status, 200);
    }
    // Each caller's patience is its own; the call goes on for whoever is left.
    let answer = patient.join().expect("no panic");
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (503, "credential-unavailable")
    );
    assert!(answer.header("retry-after").is_some());
    assert_eq!(get(it.proxy.address, "/api/x").status, 503);
    assert_eq!(stuck.calls(), 1);
    assert!(is_over.load(Ordering::SeqCst));
    assert!(
        api.requests()
            .iter()
            .all(|it| it.contains("Bearer token-0"))
    );
}

/// What an answer says about the life of its token, and how long that is.
fn life_of(body: &str, headers: &str) -> Duration {
    let reply = super::answer("200 OK", headers, body);
    let endpoint = Endpoint::with(move |_, _| Say::This(reply.clone()));
    let it = Setting::new(&endpoint, &Upstream::saying(""), "lifetime = \"7m\"");
    it.token().end.left(START)
}

#[test]
fn a_life_is_what_the_answer_and_the_token_say_and_the_shorter_where_they_disagree() {
    let now = START.wall.as_secs();
    let jwt = |claims: serde_json::Value| super::unsigned(&claims);
    let said = |token: &str, rest: &str| format!(r#"{{"access_token":"{token}"{rest}}}"#);
    let whole = jwt(serde_json::json!({ "iat": now, "exp": now + 200 }));
    let used = jwt(serde_json::json!({ "iat": now - 150, "exp": now + 50 }));
    let ends = jwt(serde_json::json!({ "exp": now + 80 }));
    let other_clock = jwt(serde_json::json!({ "iat": now - 9000, "exp": now - 8800 }));
    let odd = jwt(serde_json::json!({ "iat": "then", "exp": "soon" }));
    let date = "Date: Tue, 17 Mar 2030 17:46:40 GMT\r\n";
    for (body, seconds) in [
        (said("opaque", ""), 420),
        (said("opaque", r#","expires_in":null"#), 420),
        (said("opaque", r#","expires_in":100"#), 100),
        (said("opaque", r#","expires_in":"100""#), 100),
        (said("opaque", r#","expires_in":1e308"#), 86_400),
        (
            said("opaque", r#","expires_in":9223372036854775808"#),
            86_400,
        ),
        (
            said("opaque", r#","expires_in":18446744073709551615"#),
            86_400,
        ),
        (
            said("opaque", r#","expires_in":99999999999999999999999"#),
            86_400,
        ),
        (said(&whole, ""), 200),
        (said(&whole, r#","expires_in":100"#), 100),
        (said(&whole, r#","expires_in":3600"#), 200),
        (said(&used, ""), 50),
        (said(&ends, ""), 80),
        (said(&other_clock, ""), 200),
        (said(&odd, ""), 420),
    ] {
        assert_eq!(life_of(&body, "").as_secs(), seconds, "{body}");
    }
    let halves = life_of(&said("opaque", r#","expires_in":3600.5"#), "");
    assert_eq!(halves, Duration::from_secs_f64(3600.5));
    // By the endpoint's own clock, which the answer shows to be 100 s ahead.
    let ahead = jwt(serde_json::json!({ "exp": now + 180 }));
    let date = date.replace("Tue, 17 Mar 2030 17:46:40", &super::http_date(now + 100));
    assert_eq!(life_of(&said(&ahead, ""), &date).as_secs(), 80);
}

#[test]
fn a_static_token_is_used_as_it_stands() {
    let api = target(|token| token == "opaque~token");
    let folder = crate::support::Folder::new();
    folder.write("ca.pem", &api.ca_pem);
    folder.write("token", "opaque~token\n");
    let text = format!(
        r#"
[listeners.local]
address = "127.0.0.1:0"

[credentials.api.static]
token = {{ file = "token" }}

[targets.api]
url = "https://upstream.example"
connect = "{}"
tls.ca = "ca.pem"
"#,
        api.address
    );
    assert_eq!(Setting::of(folder, &text).get().status, 200);
}
