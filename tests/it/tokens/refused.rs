//! Tokens that the target refuses.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{
    Endpoint, START, Setting, answer, bearer, flood, is_signed_by, lock, seen, target, token,
};
use crate::support::{Caller, Folder, Upstream, acme, get, send};

/// A target that takes tokens from this number on.
struct Api {
    upstream: Upstream,
    from: Arc<Mutex<usize>>,
}

impl Api {
    fn new() -> Self {
        let from = Arc::new(Mutex::new(0));
        let least = Arc::clone(&from);
        let upstream = target(move |token| {
            let number = token.strip_prefix("token-").and_then(|it| it.parse().ok());
            number.is_some_and(|number: usize| number >= *lock(&least))
        });
        Self { upstream, from }
    }

    fn revoke_below(&self, number: usize) {
        *lock(&self.from) = number;
    }
}

fn post(length: usize) -> String {
    format!(
        "POST /api/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{}",
        "b".repeat(length)
    )
}

#[test]
fn a_revoked_token_costs_one_renewal_and_the_caller_notices_nothing() {
    let (endpoint, api) = (Endpoint::giving(1000), Api::new());
    let it = Setting::new(&endpoint, &api.upstream, "");
    assert_eq!(it.get().status, 200);
    it.pass(31.0);
    api.revoke_below(1);
    assert_eq!(it.get().status, 200);
    assert_eq!(endpoint.calls(), 2);
    assert_eq!(seen(&api.upstream), ["token-0", "token-0", "token-1"]);
}

#[test]
fn a_handshake_for_another_protocol_is_repeated_before_the_switch() {
    let endpoint = Endpoint::giving(1000);
    let upstream = Upstream::with(|conversation| {
        while let Some(request) = conversation.read_request() {
            if bearer(&request) == "token-0" {
                conversation.write(answer("401 No", "", "who?"));
                continue;
            }
            conversation.write(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            );
            let mut word = [0; 4];
            while conversation.read_exact(&mut word) {
                conversation.write(word);
            }
        }
    });
    let it = Setting::new(&endpoint, &upstream, "");
    it.token();
    it.pass(31.0);
    let mut caller = Caller::connect(it.proxy.address);
    caller.write(
        "GET /api/live HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    assert_eq!(caller.read().status, 101);
    caller.write("ping");
    let mut word = [0; 4];
    assert!(caller.read_exact(&mut word) && word == *b"ping");
    assert_eq!(seen(&upstream), ["token-0", "token-1"]);
    assert!(
        upstream
            .requests()
            .iter()
            .all(|it| it.contains("\r\nupgrade: websocket\r\n"))
    );
}

#[test]
fn a_small_body_is_kept_and_sent_again_and_a_larger_or_chunked_one_is_not() {
    let (endpoint, api) = (Endpoint::giving(1000), Api::new());
    let it = Setting::new(&endpoint, &api.upstream, "");
    it.token();
    let address = it.proxy.address;
    for (number, length) in [1, 1000, 64 * 1024].into_iter().enumerate() {
        it.pass(31.0);
        api.revoke_below(number + 1);
        assert_eq!(send(address, post(length)).status, 200, "{length}");
        assert_eq!(endpoint.calls(), number + 2);
        let last = api.upstream.requests().pop().expect("just sent");
        assert!(last.contains(&format!("content-length: {length}\r\n")));
        assert!(last.ends_with(&format!("\r\n\r\n{}", "b".repeat(length))));
    }
    it.pass(31.0);
    api.revoke_below(4);
    let answer = send(address, post(64 * 1024 + 1));
    assert_eq!((answer.status, answer.text().as_str()), (401, "who?"));
    let chunked = "POST /api/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    assert_eq!(send(address, chunked).status, 401);
    assert_eq!(
        endpoint.calls(),
        4,
        "what cannot be sent again renews nothing"
    );
    assert_eq!(it.get().status, 200, "a request that can has it renewed");
}

#[test]
fn a_401_that_comes_before_the_rest_of_the_body_waits_for_it() {
    let endpoint = Endpoint::giving(1000);
    let api = Upstream::with(|conversation| {
        while let Some(head) = conversation.read_head() {
            let is_first = bearer(&head) == "token-0";
            if is_first && head.starts_with("POST") {
                conversation.write(answer("401 No", "", "who?"));
                conversation.note(head.as_bytes());
            }
            let mut body = [0; 6];
            if head.starts_with("POST") && !conversation.read_exact(&mut body) {
                return;
            }
            if !is_first || head.starts_with("GET") {
                conversation.note(&[head.as_bytes(), &body].concat());
                conversation.write(answer("200 OK", "", ""));
            }
        }
    });
    let it = Setting::new(&endpoint, &api, "");
    assert_eq!(it.get().status, 200);
    it.pass(31.0);
    let mut caller = Caller::connect(it.proxy.address);
    caller.write("POST /api/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\nabc");
    super::wait_until("the refusal", || api.requests().len() == 2);
    assert_eq!(
        endpoint.calls(),
        1,
        "nothing is done before the body is whole"
    );
    caller.write("def");
    assert_eq!(caller.read().status, 200);
    assert!(
        api.requests()
            .pop()
            .expect("just sent")
            .ends_with("\r\n\r\nabcdef")
    );
}

#[test]
fn two_hundred_requests_that_meet_a_revoked_token_cost_one_renewal_and_all_succeed() {
    let (endpoint, api) = (Endpoint::giving(1000), Api::new());
    let it = Setting::new(&endpoint, &api.upstream, "");
    it.token();
    it.pass(31.0);
    api.revoke_below(1);
    let request = "PUT /api/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc";
    let answers = flood(it.proxy.address, 200, request);
    assert!(answers.iter().all(|it| it.contains("200")), "{answers:?}");
    assert_eq!(endpoint.calls(), 2);
}

#[test]
fn a_target_that_refuses_everything_costs_one_renewal_in_half_a_minute_and_its_401_is_passed_on() {
    let endpoint = Endpoint::giving(100_000);
    let api = target(|_| false);
    let it = Setting::new(&endpoint, &api, "");
    it.token();
    for round in 0..4 {
        for _ in 0..10 {
            let answer = it.get();
            assert_eq!((answer.status, answer.text().as_str()), (401, "who?"));
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
        assert_eq!(endpoint.calls(), round + 1);
        it.pass(29.0);
        assert_eq!(it.get().status, 401);
        assert_eq!(endpoint.calls(), round + 1);
        it.pass(1.0);
    }
}

#[test]
fn a_403_renews_nothing() {
    let endpoint = Endpoint::giving(1000);
    let api = Upstream::answering(answer("403 Forbidden", "", "not you"));
    let it = Setting::new(&endpoint, &api, "");
    it.token();
    it.pass(31.0);
    assert_eq!(it.get().status, 403);
    assert_eq!((endpoint.calls(), api.requests().len()), (1, 1));
}

#[test]
fn a_callers_own_credential_that_is_refused_renews_nothing() {
    let endpoint = Endpoint::giving(1000);
    let api = target(|token| token.starts_with("token-"));
    let (folder, mut text) = super::exchange(
        endpoint.upstream.address,
        &endpoint.upstream.ca_pem,
        &api,
        "",
    );
    text.push_str("client-authorization = \"pass\"\n");
    let it = Setting::of(folder, &text);
    it.token();
    it.pass(31.0);
    let own = "GET /api/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer my-own\r\n\r\n";
    assert_eq!(send(it.proxy.address, own).status, 401);
    assert_eq!((endpoint.calls(), api.requests().len()), (1, 1));
    assert_eq!(it.get().status, 200);
}

#[test]
fn a_401_whose_renewal_fails_is_passed_on_and_the_token_is_not_used_again() {
    let (endpoint, api) = (Endpoint::giving(1000), Api::new());
    let it = Setting::new(&endpoint, &api.upstream, "");
    it.token();
    it.pass(31.0);
    api.revoke_below(1);
    endpoint.now(|_, _| super::Say::This(answer("500 Oh", "", "")));
    assert_eq!(it.get().status, 401);
    assert_eq!(it.get().status, 503);
    let failure = it.failure();
    endpoint.now(|_, _| token(1, 1000));
    assert!(
        it.next_attempt(&failure, START.after(Duration::from_secs(31)))
            .1
    );
    assert_eq!(it.get().status, 200);
}

/// A self-signed credential with two keys at a target that takes what the given one has signed.
struct Changing {
    setting: Setting,
    api: Upstream,
    takes: Arc<Mutex<String>>,
    next: String,
}

fn changing(extra: &str) -> Changing {
    let folder = Folder::new();
    let (present, next) = (folder.write_key("key.pem"), folder.write_key("next.pem"));
    let takes = Arc::new(Mutex::new(present));
    let taken = Arc::clone(&takes);
    let api = Upstream::with(move |conversation| {
        while let Some(request) = conversation.read_request() {
            let is_mine = is_signed_by(bearer(&request), &lock(&taken));
            let is_always_refused = request.starts_with("GET /never");
            let reply = if is_mine && !is_always_refused {
                answer("200 OK", "", "")
            } else {
                answer("401 No", "", "")
            };
            conversation.write(reply);
        }
    });
    let text = acme(&folder, api.address, &api.ca_pem, "")
        .replace("[credentials.acme.vdr]", "[credentials.api.vdr]")
        .replace("[targets.acme]", "[targets.api]")
        .replace(
            "user = 123",
            &format!("user = 123\nnext-key = {{ file = \"next.pem\" }}\n{extra}"),
        );
    Changing {
        setting: Setting::of(folder, &text),
        api,
        takes,
        next,
    }
}

#[test]
fn a_target_that_changes_over_to_the_next_key_is_followed_without_a_failed_request() {
    for extra in ["lifetime = \"1h\"", "sign = \"each-request\""] {
        let it = changing(extra);
        let address = it.setting.proxy.address;
        assert_eq!(get(address, "/api/x").status, 200);
        it.setting.pass(31.0);
        *lock(&it.takes) = it.next.clone();
        let answers = flood(address, 50, "GET /api/x HTTP/1.0\r\n\r\n");
        assert!(answers.iter().all(|it| it.contains("200")), "{answers:?}");
        let before = it.api.requests().len();
        assert_eq!(get(address, "/api/x").status, 200);
        assert_eq!(
            it.api.requests().len(),
            before + 1,
            "the next key is in use now"
        );
    }
}

#[test]
fn a_401_that_is_not_about_the_key_does_not_bring_in_one_that_nobody_knows_yet() {
    for extra in ["lifetime = \"1h\"", "sign = \"each-request\""] {
        let it = changing(extra);
        let address = it.setting.proxy.address;
        assert_eq!(get(address, "/api/x").status, 200);
        for _ in 0..3 {
            it.setting.pass(31.0);
            assert_eq!(get(address, "/api/never").status, 401);
            for _ in 0..3 {
                assert_eq!(get(address, "/api/x").status, 200, "{extra}");
            }
        }
    }
}

#[test]
fn a_caller_that_leaves_in_the_middle_of_its_body_leaves_nothing_behind() {
    let (endpoint, api) = (Endpoint::giving(1000), Api::new());
    let it = Setting::new(&endpoint, &api.upstream, "");
    it.token();
    it.pass(31.0);
    api.revoke_below(1);
    let mut caller = Caller::connect(it.proxy.address);
    caller.write("POST /api/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\nabc");
    caller.stream().flush().expect("written");
    drop(caller);
    assert_eq!(it.get().status, 200);
    assert_eq!(endpoint.calls(), 2);
}
