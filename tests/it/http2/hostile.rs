//! Upstreams whose HTTP/2 is none.

use tokio::time::Instant;

use crate::http2_in::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS,
    block, frame,
};
use crate::support::caller::SOON;
use crate::support::upstream::{Conversation, Terms};
use crate::support::{Upstream, get, proxy_to};

const PUSH_PROMISE: u8 = 5;
const WINDOW_UPDATE: u8 = 8;

/// The head of an answer on the first stream.
fn head(flags: u8, headers: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags, 1, &block(headers))
}

/// What an upstream says in place of an answer, and again and again where it does not end.
fn nonsense() -> Vec<(&'static str, Vec<u8>)> {
    let ok = (":status", "200");
    let number = 0x7fff_ffff_u32.to_be_bytes();
    vec![
        ("data of no stream", frame(DATA, 0, 0, b"x")),
        ("data before a head", frame(DATA, END_STREAM, 1, b"x")),
        (
            "a head of no stream",
            frame(HEADERS, END_HEADERS, 0, &block(&[ok])),
        ),
        (
            "a head nobody asked for",
            frame(HEADERS, END_HEADERS, 2, &block(&[ok])),
        ),
        (
            "a promise",
            frame(
                PUSH_PROMISE,
                END_HEADERS,
                1,
                &[&[0, 0, 0, 2], &*block(&[ok])].concat(),
            ),
        ),
        ("a frame beyond measure", frame(DATA, 0, 1, &[0; 20_000])),
        (
            "a continuation of nothing",
            frame(CONTINUATION, END_HEADERS, 1, &block(&[ok])),
        ),
        (
            "an index that there is none of",
            frame(HEADERS, END_HEADERS, 1, &[0x80]),
        ),
        (
            "a head without a status",
            head(END_HEADERS | END_STREAM, &[("x", "y")]),
        ),
        ("a status twice", head(END_HEADERS | END_STREAM, &[ok, ok])),
        (
            "a status that is none",
            head(END_HEADERS | END_STREAM, &[(":status", "2oo")]),
        ),
        (
            "a name with capitals",
            head(END_HEADERS | END_STREAM, &[ok, ("X-Y", "z")]),
        ),
        (
            "a value with a line's end",
            head(END_HEADERS | END_STREAM, &[ok, ("x", "y\r\nz: 1")]),
        ),
        (
            "a header of HTTP/1",
            head(
                END_HEADERS | END_STREAM,
                &[ok, ("transfer-encoding", "chunked")],
            ),
        ),
        (
            "two lengths",
            head(
                END_HEADERS,
                &[ok, ("content-length", "1"), ("content-length", "2")],
            ),
        ),
        ("a ping of another length", frame(PING, 0, 0, b"x")),
        ("a ping on a stream", frame(PING, 0, 1, b"01234567")),
        ("settings of a broken length", frame(SETTINGS, 0, 0, b"x")),
        ("settings on a stream", frame(SETTINGS, 0, 1, b"")),
        (
            "a window of more than there is",
            frame(WINDOW_UPDATE, 0, 0, &number),
        ),
        ("a window of nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        ("a reset of no stream", frame(RST_STREAM, 0, 0, &[0; 4])),
        (
            "a reset of another length",
            frame(RST_STREAM, 0, 1, &[0; 3]),
        ),
        ("a goodbye on a stream", frame(GOAWAY, 0, 1, &[0; 8])),
        ("a head without an end", head(END_STREAM, &[ok])),
        (
            "no HTTP/2 at all",
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
        ),
    ]
}

/// Reads the beginning of a connection up to the head of its first request.
fn reads_a_head(conversation: &mut Conversation) -> bool {
    let (mut beginning, mut frame) = ([0; 24], [0; 9]);
    let mut goes_on = conversation.read_exact(&mut beginning);
    while goes_on {
        goes_on = conversation.read_exact(&mut frame);
        let length = u32::from_be_bytes([0, frame[0], frame[1], frame[2]]);
        goes_on &= conversation.read_exact(&mut vec![0; length as usize]);
        if goes_on && frame[3] == HEADERS {
            return true;
        }
    }
    false
}

#[test]
fn nonsense_is_never_taken_for_an_answer_and_ends_in_time() {
    let fine = head(END_HEADERS | END_STREAM, &[(":status", "200")]);
    let all = nonsense()
        .into_iter()
        .map(|(what, bytes)| (what, bytes, false));
    for (what, bytes, is_fine) in all.chain([("an answer", fine, true)]) {
        let said = bytes.clone();
        let terms = Terms {
            speaks: vec![b"h2"],
            ..Terms::default()
        };
        let upstream = Upstream::on(&terms, move |conversation| {
            conversation.write(frame(SETTINGS, 0, 0, b""));
            if !reads_a_head(conversation) {
                return;
            }
            conversation.write(&said);
            let more = frame(CONTINUATION, 0, 1, &block(&[("x", &"y".repeat(100))]));
            while said[3] == HEADERS && said[4] & END_HEADERS == 0 && conversation.write(&more) {}
            while conversation.read_exact(&mut [0]) {}
        });
        // What is fine has all the time there is.
        let patience = if is_fine { "1m" } else { "1s" };
        let extra = format!("protocol = \"http2\"\ntimeouts.first-byte = \"{patience}\"");
        let (proxy, _folder) = proxy_to(&upstream, &extra);
        let asked = Instant::now();
        let answer = get(proxy.address, "/acme");
        let is_refused = matches!(answer.status, 502 | 504);
        assert_eq!(is_refused, !is_fine, "{what}: {answer:?}");
        assert!(asked.elapsed() < SOON, "{what}");
        // Whoever asks for something else is served as before.
        assert_eq!(get(proxy.address, "/nowhere").status, 404, "{what}");
    }
}
