//! Servers that fail now and then, and write down when they did.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::support::Upstream;
use crate::support::upstream::Conversation;

/// For how long after the token endpoint was last in trouble a credential may be missing: the
/// longest pause between two attempts, and the time that one of them takes.
const TROUBLE: Duration = Duration::from_secs(40);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was done to a request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Fault {
    /// Its token was refused.
    Refused,
    /// Its connection was closed before the answer.
    Reset,
    /// Its connection was closed in the middle of the answer.
    CutOff,
    /// It was answered too late.
    Late,
}

/// What was done, and to which requests.
#[derive(Default)]
pub(super) struct Faults {
    done: Mutex<HashMap<u64, Vec<Fault>>>,
    /// When calls of the token endpoint failed.
    troubles: Mutex<Vec<Instant>>,
    /// Connections that were closed after an answer, without a word.
    closed: AtomicUsize,
    calls: AtomicUsize,
}

impl Faults {
    fn note(&self, request: u64, fault: Fault) {
        let mut done = lock(&self.done);
        done.entry(request).or_default().push(fault);
    }

    /// Whether this was done to a request.
    pub(super) fn did(&self, request: u64, fault: Fault) -> bool {
        let done = lock(&self.done);
        done.get(&request).is_some_and(|it| it.contains(&fault))
    }

    /// Whether there might have been no token then.
    pub(super) fn was_trouble(&self, then: Instant) -> bool {
        let troubles = lock(&self.troubles);
        let mut before = troubles.iter().filter(|it| **it <= then);
        before.any(|it| then.duration_since(*it) < TROUBLE)
    }

    /// How many connections were closed when they were free: as many requests may have met that.
    pub(super) fn closed(&self) -> usize {
        self.closed.load(Ordering::SeqCst)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = lock(&self.done);
        let count = |fault: Fault| done.values().flatten().filter(|it| **it == fault).count();
        write!(
            f,
            "made to fail: {} by 401, {} by a reset, {} in the middle, {} by time; {} connections closed when free; {} of {} calls for a token",
            count(Fault::Refused),
            count(Fault::Reset),
            count(Fault::CutOff),
            count(Fault::Late),
            self.closed(),
            self.troubles
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .len(),
            self.calls.load(Ordering::SeqCst),
        )
    }
}

/// Numbers that look random (xorshift).
pub(super) struct Dice(u64);

impl Dice {
    /// Those of one of many.
    pub(super) fn of(number: usize) -> Self {
        // Neighbours must not begin alike.
        Self((number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// The value of a header, by its name in lower case.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head
        .split("\r\n")
        .skip(1)
        .filter_map(|it| it.split_once(": "));
    lines
        .find(|it| it.0.eq_ignore_ascii_case(name))
        .map(|it| it.1)
}

/// Reads a request and keeps nothing of it but its head: hours of them would not fit.
fn read(conversation: &mut Conversation) -> Option<String> {
    let head = conversation.read_head()?;
    let length = header(&head, "content-length").map_or(0, |it| it.parse().expect("a length"));
    conversation
        .read_exact(&mut vec![0; length])
        .then_some(head)
}

/// A target that answers a request with its number.
pub(super) fn target(faults: &Arc<Faults>) -> Upstream {
    let faults = Arc::clone(faults);
    Upstream::with(move |conversation| {
        let mut dice = Dice::of(conversation.number);
        while let Some(head) = read(conversation) {
            let number = header(&head, "x-number").and_then(|it| it.parse().ok());
            let number: u64 = number.expect("every request has its number");
            let body =
                format!("{number} ").repeat(1 + usize::try_from(number % 50).expect("small"));
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let is_open = match dice.roll(700) {
                0 => {
                    faults.note(number, Fault::Refused);
                    conversation.write(
                        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 0\r\n\r\n",
                    )
                }
                1 => {
                    faults.note(number, Fault::Reset);
                    false
                }
                2 => {
                    faults.note(number, Fault::CutOff);
                    conversation.write(&answer[..answer.len() - 1]);
                    false
                }
                3 => {
                    faults.note(number, Fault::Late);
                    thread::park_timeout(Duration::from_secs(3));
                    false
                }
                4 => {
                    faults.closed.fetch_add(1, Ordering::SeqCst);
                    conversation.write(&answer);
                    false
                }
                // Slow, and in time.
                5 => {
                    thread::park_timeout(Duration::from_millis(700));
                    conversation.write(&answer)
                }
                6 => {
                    let (first, second) = answer.split_at(answer.len() - 1);
                    let began = conversation.write(first);
                    thread::park_timeout(Duration::from_millis(700));
                    began && conversation.write(second)
                }
                _ => conversation.write(&answer),
            };
            if !is_open {
                return;
            }
        }
    })
}

/// An endpoint whose tokens are good for half a minute.
pub(super) fn endpoint(faults: &Arc<Faults>) -> Upstream {
    let faults = Arc::clone(faults);
    Upstream::with(move |conversation| {
        let mut dice = Dice::of(conversation.number + 1_000_000);
        if read(conversation).is_none() {
            return;
        }
        let call = faults.calls.fetch_add(1, Ordering::SeqCst);
        let fault = dice.roll(12);
        if fault < 3 {
            lock(&faults.troubles).push(Instant::now());
        }
        match fault {
            0 => {
                conversation
                    .write("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n");
            }
            1 => thread::park_timeout(Duration::from_secs(7)),
            2 => {}
            _ => {
                let body = format!(
                    r#"{{"access_token":"a-token-{call}","token_type":"Bearer","expires_in":30}}"#
                );
                conversation.write(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                ));
                conversation.close();
            }
        }
    })
}
