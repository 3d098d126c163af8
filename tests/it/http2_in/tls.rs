//! HTTP/2 over TLS: who speaks it is settled in the handshake (RFC 9113 section 3.2).

use std::sync::Arc;

use bytes::Bytes;
use countersign::emulator::Authority;
use http::Version;
use http_body_util::Empty;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{configuration, ends, frames, halting};
use crate::support::caller::PATIENCE;
use crate::support::http2_caller::{over, request, run, shake, text};
use crate::support::tls::client;
use crate::support::{Caller, Folder, Proxy, Upstream};
use crate::upgrades;

const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];

/// A listener with TLS that speaks both, and the authority that vouches for it.
fn start(upstream: &Upstream, listener: &str, routes: &str) -> (Proxy, Authority, Folder) {
    let folder = Folder::new();
    let authority = Authority::new().expect("an authority");
    folder.write_identity("one.example", &authority);
    let text = configuration(&folder, upstream, "\"http1\", \"http2\"", "");
    let keys = format!(
        "protocols = [\"http1\", \"http2\"]\n\
         tls.certificates = [{{ certificate = \"one.example.pem\", key = {{ file = \"one.example-key.pem\" }} }}]\n{listener}"
    );
    let text = text.replace("protocols = [\"http1\", \"http2\"]", &keys);
    let proxy = Proxy::start(&folder, &format!("{text}\n{routes}"));
    (proxy, authority, folder)
}

#[test]
fn a_caller_gets_what_it_offers_and_http_1_if_it_offers_nothing() {
    let upstream = Upstream::saying("it");
    let (proxy, authority, _folder) = start(&upstream, "", "");
    for (offers, agreed) in [
        (BOTH, Some(&b"h2"[..])),
        (&[&b"h2"[..]], Some(b"h2")),
        (&[&b"http/1.1"[..]], Some(b"http/1.1")),
        (&[], None),
    ] {
        let config = client(&authority, None, offers);
        if agreed == Some(b"h2") {
            run(async {
                let stream = TcpStream::connect(proxy.address).await.expect("it listens");
                let stream = shake(stream, config).await;
                assert_eq!(stream.get_ref().1.alpn_protocol(), agreed);
                let (mut sender, _ended) = over(stream).await;
                for _ in 0..2 {
                    let asked = sender.send_request(request("/acme", Empty::<Bytes>::new()));
                    let answer = asked.await.expect("an answer");
                    assert_eq!(answer.version(), Version::HTTP_2);
                    assert_eq!(text(answer).await, "it");
                }
            });
        } else {
            let mut caller = blocking(&proxy, config);
            caller.write("GET /acme HTTP/1.1\r\nHost: localhost\r\n\r\n");
            assert_eq!(caller.read().text(), "it");
            assert_eq!(caller.stream().conn.alpn_protocol(), agreed);
        }
    }
}

/// A connection for a test that reads and writes on its own.
fn blocking(
    proxy: &Proxy,
    config: Arc<ClientConfig>,
) -> Caller<StreamOwned<ClientConnection, std::net::TcpStream>> {
    let stream = std::net::TcpStream::connect(proxy.address).expect("it listens");
    let patience = Some(PATIENCE);
    stream.set_read_timeout(patience).expect("a timeout");
    let name = ServerName::try_from("one.example").expect("a name");
    let connection = ClientConnection::new(config, name).expect("a connection");
    Caller::over(StreamOwned::new(connection, stream))
}

#[test]
fn a_route_knows_its_callers_by_their_certificate_on_every_stream() {
    let upstream = Upstream::saying("it");
    let corporate = Authority::new().expect("an authority");
    let folder = Folder::new();
    let ca = folder.write("callers.pem", corporate.pem());
    let keys = format!(
        "tls.client-ca = [\"{}\"]\ntls.client-certificate = \"optional\"",
        ca.display()
    );
    let routes =
        "routes = [{ path = \"/acme\" }, { path = \"/etl\", callers = [\"etl.corp.example\"] }]";
    let (proxy, authority, _folder) = start(&upstream, &keys, routes);
    for (own, status) in [
        (None, 403),
        (Some((&corporate, "etl.corp.example")), 200),
        (Some((&corporate, "web.corp.example")), 403),
    ] {
        let config = client(&authority, own, BOTH);
        run(async {
            let stream = TcpStream::connect(proxy.address).await.expect("it listens");
            let (mut sender, _ended) = over(shake(stream, config).await).await;
            for (path, status) in [("/etl", status), ("/acme", 200), ("/etl", status)] {
                let asked = sender.send_request(request(path, Empty::<Bytes>::new()));
                let answer = asked.await.expect("an answer");
                assert_eq!(
                    answer.status().as_u16(),
                    status,
                    "{path} {own:?}",
                    own = own.map(|it| it.1)
                );
            }
        });
    }
}

#[test]
fn tls_and_http_2_begin_behind_a_proxy_header() {
    let upstream = Upstream::saying("it");
    let keys = "proxy-protocol = [\"127.0.0.1\"]\nallow = [\"203.0.113.0/24\"]";
    let (proxy, authority, _folder) = start(&upstream, keys, "");
    run(async {
        let mut stream = TcpStream::connect(proxy.address).await.expect("it listens");
        let header = b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n";
        stream.write_all(header).await.expect("it is taken");
        let stream = shake(stream, client(&authority, None, BOTH)).await;
        let (mut sender, _ended) = over(stream).await;
        let asked = sender.send_request(request("/acme", Empty::<Bytes>::new()));
        assert_eq!(text(asked.await.expect("an answer")).await, "it");
    });
}

#[test]
fn the_end_is_said_over_tls_and_lets_streams_finish() {
    let (upstream, go) = halting();
    let (proxy, authority, _folder) = start(&upstream, "", "");
    let mut stream = blocking(&proxy, client(&authority, None, BOTH)).into_stream();
    frames::begin(&mut stream);
    ends(stream, proxy, go);
}

#[test]
fn a_websocket_goes_through_a_listener_with_tls() {
    let upstream = Upstream::with(upgrades::echo);
    let (proxy, authority, _folder) = start(&upstream, "", "");
    let mut caller = blocking(&proxy, client(&authority, None, &[b"http/1.1"]));
    caller.write(upgrades::asking(""));
    assert_eq!(caller.read().status, 101);
    caller.write(upgrades::text(b"hello"));
    let echoed = upgrades::hear(&mut caller);
    assert_eq!(echoed, Some((1, b"hello".to_vec())));
}
