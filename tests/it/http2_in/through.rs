//! HTTP/2 on both sides.

use std::convert::Infallible;
use std::fmt::Write;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;

use crate::hygiene::{PLACES, credentials, is_ours, tries};
use crate::support::http2::{Exchange, Http2};
use crate::support::http2_caller::{connect, request, run, text};
use crate::support::upstream::NAME;
use crate::support::{Folder, Proxy, Upstream, acme};

const HTTP2: &str = "address = \"127.0.0.1:0\"\nprotocols = [\"http2\"]\n";

fn proxy(upstream: &Http2) -> (Proxy, Folder) {
    let folder = Folder::new();
    let extra = "protocol = \"http2\"";
    let text = acme(&folder, upstream.address, &upstream.ca_pem, extra);
    let text = text.replace("address = \"127.0.0.1:0\"\n", HTTP2);
    (Proxy::start(&folder, &text), folder)
}

/// A body that is spoken word by word.
struct Spoken(mpsc::Receiver<Bytes>);

impl Body for Spoken {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let word = self.0.poll_recv(context);
        word.map(|it| it.map(|it| Ok(Frame::data(it))))
    }
}

#[test]
fn a_call_of_grpc_streams_both_ways_and_ends_with_its_status() {
    let upstream = Http2::with(100, |mut exchange: Exchange| async move {
        let head = Response::builder().header("content-type", "application/grpc");
        let mut answer = exchange.respond(head.body(()).expect("a head"));
        let body = exchange.request.body_mut();
        while let Some(Ok(data)) = body.data().await {
            let _ = body.flow_control().release_capacity(data.len());
            let _ = answer.send_data(data, false);
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("7"));
        trailers.insert("grpc-message", HeaderValue::from_static("no"));
        trailers.insert("authorization", HeaderValue::from_static("Bearer echo"));
        let _ = answer.send_trailers(trailers);
    });
    let (proxy, _folder) = proxy(&upstream);
    run(async {
        let (mut sender, _ended) = connect(proxy.address).await;
        let (speak, body) = mpsc::channel(1);
        let mut call = request("/acme/a.Service/Talk", Spoken(body));
        *call.method_mut() = http::Method::POST;
        for (name, value) in [("te", "trailers"), ("content-type", "application/grpc")] {
            call.headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        let mut answer = sender.send_request(call).await.expect("a head");
        for word in ["one", "two", "three"] {
            speak.send(word.into()).await.expect("it is taken");
            let heard = answer.frame().await.expect("a frame").expect("data");
            assert_eq!(heard.into_data().expect("data"), word);
        }
        drop(speak);
        let end = answer.collect().await.expect("a whole body");
        let trailers = end.trailers().expect("trailers");
        assert_eq!(trailers["grpc-status"], "7");
        assert_eq!(trailers["grpc-message"], "no");
        assert_eq!(trailers.len(), 2);
    });
    let head = upstream.heads().remove(0);
    assert_eq!(head.uri(), "https://upstream.example/a.Service/Talk");
    assert_eq!(head.headers()["te"], "trailers");
}

#[test]
fn a_token_that_is_refused_is_renewed_and_the_request_sent_again() {
    let given = AtomicUsize::new(0);
    let endpoint = Upstream::with(move |conversation| {
        while conversation.read_request().is_some() {
            let number = given.fetch_add(1, Ordering::SeqCst);
            let body = format!(r#"{{"access_token":"token-{number}","expires_in":1000}}"#);
            let length = body.len();
            conversation.write(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
            ));
        }
    });
    let upstream = Http2::with(100, |mut exchange: Exchange| async move {
        let is_new = exchange.headers()["authorization"] == "Bearer token-1";
        let read = exchange.read().await;
        let status = if is_new { 200 } else { 401 };
        let head = Response::builder().status(status).body(()).expect("a head");
        let _ = exchange.respond(head).send_data(read.into(), true);
    });
    let folder = Folder::new();
    folder.write("endpoint.pem", &endpoint.ca_pem);
    folder.write("ca.pem", &upstream.ca_pem);
    let text = format!(
        "[listeners.local]\n{HTTP2}\
         [credentials.acme.exchange]\nurl = \"https://{NAME}/token\"\nconnect = \"{}\"\n\
         tls.ca = \"endpoint.pem\"\ngrant = \"none\"\n\
         [targets.acme]\nurl = \"https://{NAME}\"\nconnect = \"{}\"\ntls.ca = \"ca.pem\"\nprotocol = \"http2\"\n",
        endpoint.address, upstream.address
    );
    let (clock, hand) = countersign::clock::Clock::manual(countersign::clock::Moment {
        wall: std::time::Duration::from_secs(1_900_000_000),
        boot: std::time::Duration::from_secs(1000),
    });
    let proxy = Proxy::start_with(&folder, &text, clock);
    run(async {
        while proxy.credential("acme").state().token.is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        // No token is asked for again at once.
        hand.advance(std::time::Duration::from_secs(31));
        let (mut sender, _ended) = connect(proxy.address).await;
        let mut asked = request("/acme", Full::new(Bytes::from_static(b"question")));
        *asked.method_mut() = http::Method::POST;
        asked
            .headers_mut()
            .insert("content-length", HeaderValue::from_static("8"));
        let answer = sender.send_request(asked).await.expect("an answer");
        assert_eq!(answer.status(), 200);
        assert_eq!(self::text(answer).await, "question");
    });
    assert_eq!((upstream.heads().len(), endpoint.requests().len()), (2, 2));
    assert_eq!(upstream.connections(), 1);
}

/// A head as HTTP/1 would write it.
fn written(head: &Request<()>) -> String {
    let mut text = format!("GET {} HTTP/2\r\n", head.uri());
    for (name, value) in head.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        let _ = write!(text, "{name}: {value}\r\n");
    }
    text
}

/// The header lines that HTTP/2 can carry; what belongs to a connection is malformed there.
fn headers(lines: &str) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in lines.split_terminator("\r\n") {
        let (name, value) = line.split_once(':')?;
        let name = HeaderName::try_from(name)
            .ok()
            .filter(|it| it != "connection")?;
        headers.append(name, HeaderValue::try_from(value.trim()).ok()?);
    }
    Some(headers)
}

#[test]
fn exactly_one_credential_arrives_over_http_2_and_it_is_ours() {
    let upstream = Http2::saying("fine");
    let folder = Folder::new();
    folder.write("ca.pem", &upstream.ca_pem);
    folder.write("token", "ours-from-a-file");
    let mut text = format!("[listeners.local]\n{HTTP2}");
    for (place, placement, _) in PLACES {
        let _ = write!(
            text,
            "[credentials.{place}.static]\ntoken = {{ file = \"token\" }}\nplacement = {placement}\n\
             [targets.{place}]\nurl = \"https://{NAME}\"\nconnect = \"{}\"\ntls.ca = \"ca.pem\"\nprotocol = \"http2\"\n",
            upstream.address
        );
    }
    let proxy = Proxy::start(&folder, &text);
    let mut right = 0;
    run(async {
        let (mut sender, _ended) = connect(proxy.address).await;
        for (place, _, own) in PLACES {
            let mut all = tries(own);
            // A cookie may come in crumbs (RFC 9113 section 8.2.3).
            all.push((
                String::new(),
                "cookie: a=1\r\ncookie: sid=theirs\r\ncookie: b=2\r\n".into(),
            ));
            for (query, lines) in all {
                let Some(headers) = headers(&lines) else {
                    continue;
                };
                let uri = format!("http://localhost/{place}{query}");
                let Ok(mut asked) = Request::get(uri).body(Full::<Bytes>::default()) else {
                    continue;
                };
                *asked.headers_mut() = headers;
                let before = upstream.heads().len();
                let answer = sender.send_request(asked).await.expect("an answer");
                let status = answer.status().as_u16();
                let arrived = upstream.heads().split_off(before);
                match (status, &arrived[..]) {
                    (400, []) => {}
                    (200, [head]) => {
                        let found = credentials(&written(head), place);
                        let is_one = matches!(&found[..], [one] if is_ours(one, place));
                        assert!(is_one, "{place} {query} {lines:?}: {found:?} in {head:?}");
                        right += 1;
                    }
                    _ => panic!("{place} {query} {lines:?}: {status} {arrived:?}"),
                }
            }
        }
    });
    assert!(right > 100, "{right}");
}
