//! The frame, with a vendor that has nothing to say.

#![allow(
    clippy::unwrap_used,
    reason = "a test that panics has failed, as it should"
)]

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::client::{Answer, Client, block_on, collect, empty, tls};
use super::*;

/// A vendor that has one answer for all.
struct Anything;

impl Vendor for Anything {
    fn names(&self) -> Vec<String> {
        vec!["api.vendor.example".into()]
    }

    async fn answer(&self, call: &mut Call) -> Reply {
        Reply::json(StatusCode::OK, &json!({ "path": call.path() })).because("no-reason")
    }
}

fn running() -> Running<Anything> {
    start(Anything, Options::default()).unwrap()
}

fn get(path: &str) -> Request<Body> {
    Request::get(path)
        .header("authorization", "Bearer s3cret")
        .body(empty())
        .unwrap()
}

/// What one connection gets for these paths, each after the other.
fn ask(running: &Running<Anything>, paths: &[&str]) -> Vec<hyper::Result<Answer>> {
    block_on(async {
        let mut client = Client::connect(running, "api.vendor.example").await;
        let mut answers = Vec::new();
        for path in paths {
            answers.push(client.send(get(path)).await);
        }
        answers
    })
}

fn statuses(answers: Vec<hyper::Result<Answer>>) -> Vec<StatusCode> {
    answers
        .into_iter()
        .map(|answer| answer.unwrap().status())
        .collect()
}

#[test]
fn what_was_received_is_logged_with_what_became_of_it() {
    let running = running();
    statuses(ask(&running, &["/a?b=c", "/d"]));
    let requests = running.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].target, "/a?b=c");
    assert_eq!(requests[0].header("host"), Some("api.vendor.example"));
    assert_eq!(requests[1].connection, 1);
    let outcome = Outcome::Answered {
        status: StatusCode::OK,
        reason: Some("no-reason"),
    };
    assert_eq!(requests[1].outcome, outcome);
    assert_eq!(running.connections(), 1);
}

#[test]
fn the_log_has_the_token_and_does_not_print_it() {
    let running = running();
    statuses(ask(&running, &["/"]));
    let requests = running.requests();
    assert_eq!(requests[0].header("authorization"), Some("Bearer s3cret"));
    assert!(!format!("{requests:?}").contains("s3cret"));
}

#[test]
fn the_log_has_each_head_as_it_stood_on_the_wire() {
    const SENT: &str = "POST /1 HTTP/1.1\r\nhOST: a\r\nX-b: 1\r\nContent-Length: 4\r\nx-B:  2 \r\n\r\n\
        bodyPOST /2 HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n\
        0\r\n\r\n";
    let running = running();
    block_on(async {
        let mut stream = tls(&running, "api.vendor.example").await;
        stream.write_all(SENT.as_bytes()).await.unwrap();
        // The server closes after a request that has two lengths.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let heads: Vec<Vec<String>> = running
        .requests()
        .iter()
        .map(|it| {
            it.head
                .as_ref()
                .unwrap()
                .lines()
                .map(str::to_owned)
                .collect()
        })
        .collect();
    assert_eq!(
        heads[0],
        [
            "POST /1 HTTP/1.1",
            "hOST: a",
            "X-b: 1",
            "Content-Length: 4",
            "x-B:  2 "
        ]
    );
    assert_eq!(
        heads[1],
        [
            "POST /2 HTTP/1.1",
            "host: a",
            "Transfer-Encoding: chunked",
            "Content-Length: 4"
        ]
    );
}

#[test]
fn the_log_keeps_the_latest() {
    let options = Options {
        keep: 2,
        ..Options::default()
    };
    let running = start(Anything, options).unwrap();
    statuses(ask(&running, &["/1", "/2", "/3"]));
    let targets: Vec<String> = running.requests().into_iter().map(|it| it.target).collect();
    assert_eq!(targets, ["/2", "/3"]);
}

#[test]
fn a_log_may_keep_nothing() {
    let options = Options {
        keep: 0,
        ..Options::default()
    };
    let running = start(Anything, options).unwrap();
    statuses(ask(&running, &["/1"]));
    assert!(running.requests().is_empty());
}

#[test]
fn an_answer_on_demand_is_given_as_often_as_asked() {
    let running = running();
    let limited = Response::builder()
        .status(429)
        .header("retry-after", "7")
        .body(Bytes::from_static(b"slow down"))
        .unwrap();
    running.faults().next(1, Effect::Answer(limited));
    running
        .faults()
        .next(2, Effect::status(StatusCode::UNAUTHORIZED));
    let mut answers = ask(&running, &["/", "/", "/", "/"]);
    let first = answers.remove(0).unwrap();
    assert_eq!(first.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(first.header("retry-after"), "7");
    assert_eq!(first.body, "slow down");
    assert_eq!(statuses(answers), [401, 401, 200]);
    let outcome = Outcome::Answered {
        status: StatusCode::UNAUTHORIZED,
        reason: Some("fault"),
    };
    assert_eq!(running.requests()[1].outcome, outcome);
}

#[test]
fn a_connection_closed_on_demand_has_no_answer() {
    let running = running();
    running.faults().next(1, Effect::Close);
    assert!(ask(&running, &["/"])[0].is_err());
    assert_eq!(running.requests()[0].outcome, Outcome::Closed);
    assert_eq!(statuses(ask(&running, &["/"])), [200]);
}

#[test]
fn an_answer_truncated_on_demand_begins_and_does_not_end() {
    let running = running();
    running.faults().next(1, Effect::Truncate);
    block_on(async {
        let mut client = Client::connect(&running, "api.vendor.example").await;
        let response = client.open(get("/")).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert!(collect(response.into_body()).await.is_err());
    });
}

#[test]
fn a_delayed_answer_is_an_answer_all_the_same() {
    let running = running();
    let delay = Duration::from_millis(1);
    running.faults().next(1, Effect::Delay(delay));
    assert_eq!(statuses(ask(&running, &["/"])), [200]);
}

#[test]
fn a_caller_that_leaves_before_its_answer_is_noted() {
    let running = running();
    let delay = Duration::from_secs(3600);
    running.faults().next(1, Effect::Delay(delay));
    let becomes = async |outcome| {
        while running.requests().first().map(|it| it.outcome) != Some(outcome) {
            tokio::task::yield_now().await;
        }
    };
    block_on(async {
        let mut client = Client::connect(&running, "api.vendor.example").await;
        tokio::select! {
            answer = client.send(get("/")) => panic!("answered: {answer:?}"),
            () = becomes(Outcome::UnderWay) => (),
        }
        drop(client);
        becomes(Outcome::Abandoned).await;
    });
}

#[test]
fn answers_are_dated_by_the_emulators_clock() {
    let options = Options {
        clock: Clock::fixed(784_111_777),
        ..Options::default()
    };
    let running = start(Anything, options).unwrap();
    let date = |answers: Vec<hyper::Result<Answer>>| {
        let answer = answers.into_iter().next().unwrap().unwrap();
        answer.header("date").to_owned()
    };
    assert_eq!(date(ask(&running, &["/"])), "Sun, 06 Nov 1994 08:49:37 GMT");
    running.clock().advance(60);
    assert_eq!(date(ask(&running, &["/"])), "Sun, 06 Nov 1994 08:50:37 GMT");
}

#[test]
fn one_authority_may_sign_for_many() {
    let authority = Authority::new().unwrap();
    let options = || Options {
        authority: Some(authority.clone()),
        ..Options::default()
    };
    let (one, other) = (
        start(Anything, options()).unwrap(),
        start(Anything, options()).unwrap(),
    );
    assert_ne!(one.address(), other.address());
    assert_eq!(one.ca_pem(), other.ca_pem());
    assert_ne!(one.ca_pem(), running().ca_pem());
}

#[test]
fn a_dropped_emulator_no_longer_listens_and_closes_its_connections() {
    let running = running();
    let address = running.address();
    block_on(async {
        let mut client = Client::connect(&running, "api.vendor.example").await;
        assert!(client.send(get("/")).await.is_ok());
        drop(running);
        assert!(client.send(get("/")).await.is_err());
    });
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn an_address_in_use_is_named() {
    let running = running();
    let options = Options {
        address: running.address(),
        ..Options::default()
    };
    let error = start(Anything, options).map(drop).unwrap_err();
    assert!(matches!(error, Error::Listen { address, .. } if address == running.address()));
}

#[test]
fn a_panic_while_a_lock_is_held_does_not_end_the_emulator() {
    let mutex = Mutex::new(1);
    thread::scope(|scope| {
        let panicked = scope.spawn(|| {
            let _guard = lock(&mutex);
            panic!("on purpose");
        });
        assert!(panicked.join().is_err());
    });
    assert_eq!(*lock(&mutex), 1);
}
