//! Token endpoints that are down, slow or in trouble.

use std::net::TcpListener;
use std::time::Duration;

use tokio::time::Instant;

use super::{
    Endpoint, START, Say, Setting, answer, exchange, flood, seen, target, token, wait_until,
};
use crate::support::caller::SOON;
use crate::support::{Proxy, Upstream, Vacant};

#[test]
fn an_endpoint_that_is_down_at_the_start_keeps_nobody_from_listening_and_is_found_back_in_two_seconds()
 {
    let nobody = Vacant::new();
    let endpoint = Endpoint::giving(300);
    let api = Upstream::saying("");
    let (folder, text) = exchange(nobody.address, &endpoint.upstream.ca_pem, &api, "");
    let it = Setting::of(folder, &text);
    let answer = it.get();
    assert_eq!(answer.status, 503);
    assert_eq!(answer.code(), "credential-unavailable");
    let after = answer.header("retry-after").expect("a time");
    assert!(
        (1..=2).contains(&after.parse::<u64>().expect("seconds")),
        "{after}"
    );
    for _ in 0..3 {
        assert_eq!(it.get().status, 503);
    }
    let failure = it.failure();
    assert!(
        failure.reason.contains("cannot connect"),
        "{}",
        failure.reason
    );

    serve(nobody.listen(), &endpoint);
    let wait = failure.until.left(START);
    assert!(wait <= Duration::from_secs(2), "{wait:?}");
    assert!(it.next_attempt(&failure, START).1);
    assert_eq!(it.get().status, 200);
    assert!(seen(&api).iter().all(|it| it == "token-0"));
}

/// Passes everything on to the endpoint.
fn serve(listener: TcpListener, endpoint: &Endpoint) {
    let to = endpoint.upstream.address;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let other = std::net::TcpStream::connect(to).expect("the endpoint listens");
            for (mut from, mut to) in [
                (stream.try_clone(), other.try_clone()),
                (Ok(other), Ok(stream)),
            ]
            .map(|(from, to)| (from.expect("a socket"), to.expect("a socket")))
            {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
}

#[test]
fn an_endpoint_whose_connections_hang_is_found_back_soon_too() {
    let endpoint = Endpoint::giving(300);
    let api = Upstream::saying("");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let listener = runtime.block_on(full());
    let address = listener.local_addr().expect("an address");
    let first = std::net::TcpStream::connect(address).expect("room for one");
    let (folder, text) = exchange(address, &endpoint.upstream.ca_pem, &api, "");
    let proxy = Proxy::start(&folder, &text);
    wait_until("several tries side by side", || knocking(address) >= 3);
    assert_eq!(endpoint.calls(), 0);
    let back = Instant::now();
    drop(first);
    listener.set_nonblocking(false).expect("a socket");
    serve(listener, &endpoint);
    wait_until("service", || endpoint.calls() > 0);
    assert!(back.elapsed() < SOON, "{:?}", back.elapsed());
    drop(proxy);
}

/// How many connections to an address are waiting to be opened.
fn knocking(address: std::net::SocketAddr) -> usize {
    let port = format!(":{:04X}", address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
    let lines = table
        .lines()
        .map(|it| it.split_whitespace().collect::<Vec<_>>());
    // The remote address, and SYN_SENT.
    lines
        .filter(|it| it[2].ends_with(&port) && it[3] == "02")
        .count()
}

#[test]
fn connections_that_hang_do_not_count_as_answers_however_short_a_call_may_be() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let listener = runtime.block_on(full());
    let address = listener.local_addr().expect("an address");
    let _first = std::net::TcpStream::connect(address).expect("room for one");
    let endpoint = Endpoint::giving(300);
    let extra = "timeouts.total = \"50ms\"";
    let (folder, text) = exchange(
        address,
        &endpoint.upstream.ca_pem,
        &Upstream::saying(""),
        extra,
    );
    let it = Setting::of(folder, &text);
    let mut now = START;
    for _ in 0..10 {
        let failure = it.failure();
        assert!(failure.until.left(now) <= Duration::from_secs(2));
        (now, _) = it.next_attempt(&failure, now);
    }
}

/// A listener with a queue that one connection fills: the system drops whoever knocks then.
async fn full() -> TcpListener {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    let any = "127.0.0.1:0".parse().expect("an address");
    socket.bind(any).expect("a port");
    let listener = socket.listen(0).expect("it listens");
    listener.into_std().expect("a socket")
}

#[test]
fn an_old_token_serves_to_its_end_and_not_a_second_longer() {
    let endpoint = Endpoint::giving(100);
    let api = Upstream::saying("");
    let it = Setting::new(&endpoint, &api, "");
    it.token();
    endpoint.now(|_, _| Say::This(answer("500 Oh", "", "")));
    it.pass(75.0);
    it.failure();
    let mut now = 75.0;
    while now < 99.0 {
        assert_eq!(it.get().status, 200, "at {now} s");
        it.pass(1.0);
        now += 1.0;
    }
    it.pass(0.999);
    assert_eq!(it.get().status, 200);
    let before = api.requests().len();
    it.pass(0.001);
    for _ in 0..5 {
        let answer = it.get();
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (503, "credential-unavailable")
        );
        assert!(answer.header("retry-after").is_some());
    }
    assert_eq!(api.requests().len(), before, "nothing is forwarded");

    endpoint.now(|_, _| token(7, 100));
    let mut moment = START.after(Duration::from_secs(100));
    loop {
        let failure = it.failure();
        let (now, succeeded) = it.next_attempt(&failure, moment);
        moment = now;
        if succeeded {
            break;
        }
    }
    assert_eq!(it.get().status, 200);
    assert_eq!(seen(&api).pop().as_deref(), Some("token-7"));
}

#[test]
fn an_endpoint_that_drips_or_never_answers_is_given_up_in_time_however_far_it_has_come() {
    let ways: [fn() -> Say; 4] = [
        || Say::Nothing,
        || Say::Slowly(super::ok(r#"{"access_token":"token-0","expires_in":300}"#)),
        || Say::Forever(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-More: 1\r\n".to_vec()),
        || Say::Forever(Vec::new(), b"HTTP/1.1 103 Early Hints\r\n\r\n".to_vec()),
    ];
    std::thread::scope(|scope| {
        for say in ways {
            scope.spawn(move || is_given_up_in_time(say));
        }
    });
}

fn is_given_up_in_time(say: fn() -> Say) {
    let endpoint = Endpoint::with(move |_, _| say());
    let api = Upstream::saying("");
    let it = Setting::new(&endpoint, &api, "timeouts.total = \"3s\"");
    let start = Instant::now();
    let failure = it.failure();
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    assert_eq!(it.get().status, 503);
    endpoint.now(|_, _| token(0, 300));
    assert!(it.next_attempt(&failure, START).1);
    assert_eq!(it.get().status, 200);
}

#[test]
fn an_endpoint_that_takes_connections_and_shakes_no_hands_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let endpoint = Endpoint::giving(300);
    for (extra, said) in [
        ("timeouts.total = \"2s\"", "did not answer within 2s"),
        (
            "timeouts.tls = \"2s\"",
            "no TLS with `upstream.example` within 2s",
        ),
    ] {
        let api = Upstream::saying("");
        let (folder, text) = exchange(address, &endpoint.upstream.ca_pem, &api, extra);
        let it = Setting::of(folder, &text);
        let reason = it.failure().reason;
        assert!(reason.contains(said), "{reason}");
        assert_eq!(it.get().status, 503);
        assert!(it.failure().until.left(START) < Duration::from_secs(2));
    }
}

/// How many calls come within a minute when every attempt fails, with callers all the while.
fn calls_in_a_minute(endpoint: &Endpoint, extra: &str) -> usize {
    let it = Setting::new(endpoint, &Upstream::saying(""), extra);
    let mut now = START;
    let end = START.after(Duration::from_secs(60));
    loop {
        let failure = it.failure();
        let calls = endpoint.calls();
        let answers = flood(it.proxy.address, 20, "GET /api/x HTTP/1.0\r\n\r\n");
        assert!(answers.iter().all(|it| it.contains("503")), "{answers:?}");
        assert_eq!(endpoint.calls(), calls, "no caller makes a call");
        if !failure.until.reached(end) {
            return calls;
        }
        let succeeded;
        (now, succeeded) = it.next_attempt(&failure, now);
        assert!(!succeeded);
    }
}

#[test]
fn an_endpoint_in_trouble_is_called_at_most_twenty_times_a_minute_whoever_asks() {
    for reply in [
        answer("500 Oh", "", ""),
        answer("503 Later", "", "<html>"),
        answer("200 OK", "", ""),
        answer("400 Bad", "", r#"{"error":"invalid_client"}"#),
        answer("429 Slow down", "", ""),
        answer(
            "302 There",
            "Location: https://upstream.example/other\r\n",
            "",
        ),
    ] {
        let shown = String::from_utf8_lossy(&reply).into_owned();
        let endpoint = Endpoint::with(move |_, _| Say::This(reply.clone()));
        let calls = calls_in_a_minute(&endpoint, "");
        assert!((3..=20).contains(&calls), "{calls} after {shown}");
        let paths = endpoint.upstream.requests();
        assert!(
            paths.iter().all(|it| it.starts_with("POST /token ")),
            "no redirect is followed"
        );
    }
    let endpoint = Endpoint::with(|_, _| Say::Hangup);
    assert!(calls_in_a_minute(&endpoint, "") <= 20);
}

#[test]
fn an_endpoint_that_says_when_to_come_again_is_left_alone_until_then() {
    let dated = format!(
        "Date: {} GMT\r\nRetry-After: {} GMT\r\n",
        super::http_date(1_900_000_000),
        super::http_date(1_900_000_120)
    );
    for (status, header, seconds) in [
        ("429 Slow down", "Retry-After: 120\r\n", 120),
        ("429 Slow down", &dated, 120),
        ("503 Later", "Retry-After: 45\r\n", 45),
        ("429 Slow down", "Retry-After: 9999999\r\n", 300),
    ] {
        let reply = answer(status, header, "");
        let endpoint = Endpoint::with(move |number, _| match number {
            0 => Say::This(reply.clone()),
            _ => token(number, 300),
        });
        let it = Setting::new(&endpoint, &Upstream::saying(""), "");
        let failure = it.failure();
        let wait = failure.until.left(START);
        assert_eq!(wait, Duration::from_secs(seconds), "{status} {header}");
        let answer = it.get();
        assert_eq!(
            answer.header("retry-after"),
            Some(seconds.to_string().as_str())
        );
        it.pass(seconds as f64 - 1.0);
        assert_eq!(it.get().status, 503);
        assert_eq!(endpoint.calls(), 1);
        it.pass(1.0);
        it.token();
    }
}

/// The credential `api` as a login at the endpoint.
fn login(endpoint: &Endpoint, api: &Upstream, refresh: &str) -> Setting {
    let (folder, text) = exchange(
        endpoint.upstream.address,
        &endpoint.upstream.ca_pem,
        api,
        "",
    );
    folder.write("password", "a wrong one");
    let start = text.find("[credentials.api.exchange]").expect("the table");
    let end = text.find("[targets.api]").expect("the table");
    let text = format!(
        r#"{}
[credentials.api.login]
url = "https://upstream.example/login"
connect = "{}"
tls.ca = "idp.pem"
parameters = {{ name = "me", password = "${{secret-of-user}}" }}
password = {{ file = "password" }}
token = "/access_token"
expires-in = "/expires_in"
{refresh}

{}"#,
        &text[..start],
        endpoint.upstream.address,
        &text[end..]
    );
    Setting::of(folder, &text)
}

#[test]
fn a_refused_password_is_tried_again_after_a_minute_then_after_half_an_hour_and_at_once_when_it_changes()
 {
    for status in ["401 No", "403 No", "400 No", "423 Locked", "422 No"] {
        let endpoint = Endpoint::with(move |_, _| Say::This(answer(status, "", "")));
        let it = login(&endpoint, &Upstream::saying(""), "");
        let first = it.failure();
        assert_eq!(first.until.left(START), Duration::from_secs(60), "{status}");
        it.pass(59.0);
        assert_eq!(it.get().status, 503);
        assert_eq!(endpoint.calls(), 1);
        it.pass(1.0);
        let second = it.wait("the second try", |it| {
            it.failure.clone().filter(|it| it.until != first.until)
        });
        let now = START.after(Duration::from_secs(60));
        assert_eq!(second.until.left(now), Duration::from_secs(1800));
        for _ in 0..29 {
            it.pass(60.0);
            assert_eq!(it.get().status, 503);
        }
        assert_eq!(endpoint.calls(), 2, "{status}");
        if status != "401 No" {
            continue;
        }
        endpoint.now(|number, _| token(number, 300));
        it.folder.write("password", "the right one");
        it.token();
        assert_eq!(endpoint.calls(), 3);
        assert!(
            endpoint
                .form(2)
                .contains(&("password".into(), "the+right+one".into()))
        );
        assert_eq!(it.get().status, 200);
    }
}

#[test]
fn the_password_grant_is_as_careful() {
    let endpoint =
        Endpoint::with(|_, _| Say::This(answer("400 No", "", r#"{"error":"invalid_grant"}"#)));
    let extra = "grant = \"password\"\nuser = \"me\"\npassword = { file = \"client-secret\" }";
    let it = Setting::new(&endpoint, &Upstream::saying(""), extra);
    assert_eq!(it.failure().until.left(START), Duration::from_secs(60));
}

#[test]
fn a_token_that_is_refused_while_it_cannot_be_renewed_costs_no_login_before_its_time() {
    let endpoint = Endpoint::giving(1000);
    let api = target(|_| false);
    let it = login(&endpoint, &api, "");
    it.token();
    endpoint.now(|_, _| Say::This(answer("401 No", "", "")));
    it.pass(750.0);
    let failure = it.failure();
    let calls = endpoint.calls();
    assert_eq!(it.get().status, 401, "the target's own");
    assert_eq!(it.get().status, 503, "the token is forgotten");
    assert_eq!(endpoint.calls(), calls);
    assert_eq!(it.failure().until, failure.until);
}

#[test]
fn a_refresh_whose_answer_is_lost_is_followed_by_a_login() {
    let endpoint = Endpoint::giving(1000);
    let api = Upstream::saying("");
    let refresh = r#"refresh-token = "/refresh_token"
[credentials.api.login.refresh]
url = "https://upstream.example/refresh"
send = "form"
parameters = { refresh_token = "${refresh-token}" }"#;
    let it = login(&endpoint, &api, refresh);
    it.token();
    endpoint.now(|_, _| Say::Hangup);
    it.pass(750.0);
    let failure = it.failure();
    endpoint.now(|number, _| token(number, 1000));
    it.next_attempt(&failure, START.after(Duration::from_secs(750)));
    let paths: Vec<String> = endpoint
        .upstream
        .requests()
        .iter()
        .map(|it| it.split(' ').nth(1).expect("a path").to_owned())
        .collect();
    assert_eq!(paths, ["/login", "/refresh", "/login"]);
}

#[test]
fn a_refused_refresh_is_followed_by_one_login_at_once() {
    let endpoint = Endpoint::with(|number, request| {
        if request.starts_with("POST /refresh ") {
            Say::This(answer("400 No", "", r#"{"error":"invalid_grant"}"#))
        } else {
            token(number, 1000)
        }
    });
    let refresh = r#"[credentials.api.login.refresh]
url = "https://upstream.example/refresh"
send = "nothing"
bearer = true"#;
    let it = login(&endpoint, &Upstream::saying(""), refresh);
    let first = it.token();
    it.pass(750.0);
    it.next_token(&first);
    let requests = endpoint.upstream.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests[1].starts_with("POST /refresh "));
    assert_eq!(super::bearer(&requests[1]), "token-0");
    assert!(requests[2].starts_with("POST /login "));
}

#[test]
fn a_member_of_a_cluster_that_hangs_is_not_asked_first_the_next_time() {
    let stuck = Endpoint::named("127.0.0.1", |_, _| Say::Nothing);
    let works = Endpoint::named("127.0.0.1", |number, _| token(number, 300));
    let api = Upstream::saying("");
    let (folder, text) = exchange(
        stuck.upstream.address,
        &(stuck.upstream.ca_pem.clone() + &works.upstream.ca_pem),
        &api,
        "timeouts.total = \"3s\"",
    );
    let [first, second] = [&stuck, &works].map(|it| it.upstream.address.port());
    let urls =
        format!("[\"https://127.0.0.1:{first}/token\", \"https://127.0.0.1:{second}/token\"]");
    let text = text
        .replacen("\"https://upstream.example/token\"", &urls, 1)
        .replacen(
            &format!("connect = \"{}\"\n", stuck.upstream.address),
            "",
            1,
        );
    let it = Setting::of(folder, &text);
    let failure = it.failure();
    assert!(it.next_attempt(&failure, START).1);
    assert_eq!((stuck.calls(), works.calls()), (1, 1));
    assert_eq!(it.get().status, 200);
}
