//! No caller is ever given another caller's answer, whatever breaks off in between.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::support::upstream::Conversation;
use crate::support::{Caller, Upstream, proxy_to};

/// Numbers that look random, the same in every run.
struct Dice(u64);

impl Dice {
    /// Marsaglia's xorshift; the seed must not be zero.
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// The answer that belongs to a request, and to no other: its name, over and over.
fn answer_to(name: &str) -> String {
    let number: usize = name
        .rsplit('-')
        .next()
        .expect("a number")
        .parse()
        .expect("a number");
    name.repeat(1 + number % 40)
}

/// Answers each request in its own words; now and then in pieces, short, or not at all.
fn upstream() -> Upstream {
    Upstream::with(|conversation: &mut Conversation| {
        let mut dice = Dice(conversation.number as u64 + 1);
        while let Some(head) = conversation.read_head() {
            let target = head.split(' ').nth(1).expect("a target");
            let name = target.trim_start_matches('/');
            if head.starts_with("POST") {
                let mut body = vec![0; name.len()];
                if !conversation.read_exact(&mut body) {
                    return;
                }
                assert_eq!(body, name.as_bytes(), "a body went with another head");
            }
            let body = answer_to(name);
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let went = match dice.roll(200) {
                0 => return,
                1 => {
                    conversation.write(&answer[..answer.len() / 2]);
                    return;
                }
                2 => {
                    conversation.write(&answer);
                    return;
                }
                3..20 => {
                    let (first, second) = answer.split_at(answer.len() / 2);
                    conversation.write(first) && conversation.write(second)
                }
                _ => conversation.write(&answer),
            };
            if !went {
                return;
            }
        }
    })
}

/// One caller's requests. Gives how many were answered as they should be.
fn ask(address: SocketAddr, caller: u64, requests: u64) -> u64 {
    let mut dice = Dice(caller * 7919 + 1);
    let mut connection = Caller::connect(address);
    let mut answered = 0;
    for number in 0..requests {
        let name = format!("{caller:x}-{number}");
        let mut request = match dice.roll(4) {
            0 => format!(
                "POST /acme/{name} HTTP/1.1\r\nContent-Length: {}\r\n",
                name.len()
            ),
            _ => format!("GET /acme/{name} HTTP/1.1\r\n"),
        };
        request += "Host: localhost\r\n\r\n";
        if request.starts_with("POST") {
            request += &name;
        }
        match dice.roll(100) {
            // Asks and goes away; before the answer, or in the middle of it.
            0 => {
                connection.write(&request);
                connection = Caller::connect(address);
                continue;
            }
            // Goes away in the middle of asking.
            1 => {
                connection.write(&request[..request.len() / 2]);
                connection = Caller::connect(address);
                continue;
            }
            _ => {}
        }
        match connection.write(&request).try_read() {
            Ok(answer) if answer.status == 200 => {
                assert_eq!(answer.text(), answer_to(&name), "somebody else's answer");
                answered += 1;
            }
            Ok(answer) => assert_eq!(answer.code(), "upstream-reset"),
            // The answer broke off.
            Err(_) => connection = Caller::connect(address),
        }
    }
    answered
}

/// 64 callers at once with so many requests altogether.
fn callers_get_their_own_answers(requests: u64) {
    const CALLERS: u64 = 64;
    let upstream = upstream();
    let (proxy, _folder) = proxy_to(&upstream, "");
    let answered = AtomicU64::new(0);
    thread::scope(|scope| {
        for caller in 1..=CALLERS {
            let (answered, address) = (&answered, proxy.address);
            scope.spawn(move || {
                let own = ask(address, caller, requests / CALLERS);
                answered.fetch_add(own, Ordering::Relaxed);
            });
        }
    });
    // Two in a hundred are given up, and at most as many are broken off.
    let answered = answered.into_inner();
    assert!(answered > requests * 95 / 100, "{answered} of {requests}");
}

#[test]
fn every_caller_gets_the_answer_to_its_own_request_while_others_break_off() {
    callers_get_their_own_answers(6_400);
}

#[test]
#[ignore = "takes minutes"]
fn long_a_million_requests_are_each_answered_to_whoever_asked() {
    callers_get_their_own_answers(1_000_000);
}
