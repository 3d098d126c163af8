//! TLS towards callers: certificates by name, callers by certificate.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use countersign::emulator::Authority;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tokio::time::Instant;

use super::{REQUEST, configuration, start};
use crate::support::caller::{PATIENCE, SOON};
use crate::support::folder::pem;
use crate::support::{Caller, Folder, Process, Upstream};

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A caller's side of TLS, with a certificate for `own` if there is one.
fn client(authority: &Authority, own: Option<(&Authority, &str)>) -> Arc<ClientConfig> {
    crate::support::tls::client(authority, own, &[])
}

fn connect(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> Caller<Tls> {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let connection = ClientConnection::new(Arc::clone(config), name).expect("a connection");
    Caller::over(StreamOwned::new(connection, stream))
}

/// The status of a request to this path, or why there is none.
fn ask(address: SocketAddr, config: &Arc<ClientConfig>, path: &str) -> std::io::Result<u16> {
    use std::io::Write;
    let caller = connect(address, config, "one.example");
    let mut stream = caller.into_stream();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())?;
    Ok(Caller::over(stream).try_read()?.status)
}

/// The certificate that is shown to whoever asks for this name.
fn shown(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> Vec<u8> {
    let mut caller = connect(address, config, name);
    assert_eq!(caller.write(REQUEST).read().status, 200, "{name}");
    let chain = caller.stream().conn.peer_certificates().expect("a chain");
    chain[0].to_vec()
}

pub const ONE: &str = r#"
address = "127.0.0.1:0"
tls.certificates = [{ certificate = "one.example.pem", key = { file = "one.example-key.pem" } }]
"#;

#[test]
fn the_certificate_is_the_one_with_the_name_that_is_asked_for() {
    let folder = Folder::new();
    let authority = Authority::new().expect("an authority");
    folder.write("ca.pem", authority.pem());
    let mut pairs = Vec::new();
    let mut written = Vec::new();
    for (file, names) in [
        (
            "first",
            vec!["first.example".to_owned(), "default.invalid".into()],
        ),
        ("wild", vec!["*.wild.example".to_owned()]),
        ("exact", vec!["a.wild.example".to_owned()]),
    ] {
        let (certificate, key) = authority.server_certificate(names).expect("a certificate");
        folder.write(&format!("{file}.pem"), pem("CERTIFICATE", &certificate));
        folder.write(&format!("{file}.key"), pem("PRIVATE KEY", key.secret_der()));
        pairs.push(format!(
            "{{ certificate = \"{file}.pem\", key = {{ file = \"{file}.key\" }} }}"
        ));
        written.push(certificate.to_vec());
    }
    let keys = format!(
        "address = \"127.0.0.1:0\"\ntls.certificates = [{}]",
        pairs.join(", ")
    );
    let (proxy, _upstream, _folder) = start(folder, &keys, "");
    let client = client(&authority, None);
    for (name, place) in [
        ("first.example", 0),
        ("A.wild.example", 2),
        ("b.wild.example", 1),
    ] {
        assert!(
            shown(proxy.address, &client, name) == written[place],
            "{name}"
        );
    }
    for unknown in ["wild.example", "a.b.wild.example", "other.example"] {
        let mut stream = connect(proxy.address, &client, unknown).into_stream();
        let error = stream
            .conn
            .complete_io(&mut stream.sock)
            .expect_err("not its name");
        assert!(
            error.to_string().contains("first.example"),
            "{unknown}: {error}"
        );
    }
}

#[test]
fn a_new_certificate_is_shown_without_a_restart() {
    let folder = Folder::new();
    let authority = Authority::new().expect("an authority");
    folder.write_identity("one.example", &authority);
    let (proxy, _upstream, folder) = start(folder, ONE, "");
    let client = client(&authority, None);
    let first = shown(proxy.address, &client, "one.example");
    // Half of the pair leaves the one before in use.
    let pair = Folder::new();
    pair.write_identity("one.example", &authority);
    let read = |name: &str| std::fs::read(pair.path().join(name)).expect("just written");
    folder.write("one.example.pem", read("one.example.pem"));
    assert!(shown(proxy.address, &client, "one.example") == first);
    folder.write("one.example-key.pem", read("one.example-key.pem"));
    let begin = Instant::now();
    while shown(proxy.address, &client, "one.example") == first {
        assert!(
            begin.elapsed() < PATIENCE,
            "the new certificate is not shown"
        );
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

#[test]
fn whoever_is_slow_to_shake_hands_is_closed_and_holds_up_nobody() {
    let folder = Folder::new();
    let authority = Authority::new().expect("an authority");
    folder.write_identity("one.example", &authority);
    let (proxy, _upstream, _folder) = start(folder, ONE, "");
    let client = client(&authority, None);
    let begin = Instant::now();
    let mut slow: Vec<Caller> = (0..8).map(|_| Caller::connect(proxy.address)).collect();
    assert_eq!(ask(proxy.address, &client, "/acme").ok(), Some(200));
    let last = slow.last().expect("eight").stream();
    last.set_nonblocking(true).expect("a mode");
    let nothing = last
        .peek(&mut [0])
        .expect_err("it is still let shake hands");
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    last.set_nonblocking(false).expect("a mode");
    for caller in &mut slow {
        assert!(caller.is_closed());
    }
    assert!(begin.elapsed() < SOON);
}

const ROUTES: &str = r#"
routes = [{ path = "/acme" }, { path = "/etl", callers = ["etl.corp.example", "*.ci.corp.example"] }]
"#;

fn with_callers(word: &str) -> (crate::support::Proxy, Authority, Authority, Folder) {
    let folder = Folder::new();
    let authority = Authority::new().expect("an authority");
    let corporate = Authority::new().expect("an authority");
    folder.write_identity("one.example", &authority);
    folder.write("callers.pem", corporate.pem());
    let keys =
        format!("{ONE}tls.client-ca = [\"callers.pem\"]\ntls.client-certificate = \"{word}\"");
    let (proxy, _upstream, folder) = start(folder, &keys, ROUTES);
    (proxy, authority, corporate, folder)
}

#[test]
fn a_route_is_for_the_callers_that_it_names() {
    let (proxy, authority, corporate, _folder) = with_callers("required");
    for (name, status) in [
        ("etl.corp.example", 200),
        ("7.ci.corp.example", 200),
        ("ci.corp.example", 403),
        ("etl.corp.example.evil.example", 403),
    ] {
        let client = client(&authority, Some((&corporate, name)));
        assert_eq!(
            ask(proxy.address, &client, "/etl").ok(),
            Some(status),
            "{name}"
        );
        assert_eq!(
            ask(proxy.address, &client, "/acme").ok(),
            Some(200),
            "{name}"
        );
    }
}

#[test]
fn a_caller_without_a_certificate_that_holds_comes_nowhere() {
    let (proxy, authority, _corporate, _folder) = with_callers("required");
    let none = client(&authority, None);
    assert!(ask(proxy.address, &none, "/acme").is_err());
    let foreign = client(&authority, Some((&authority, "etl.corp.example")));
    assert!(ask(proxy.address, &foreign, "/etl").is_err());
}

#[test]
fn where_certificates_are_optional_routes_without_callers_are_for_everybody() {
    let (proxy, authority, corporate, _folder) = with_callers("optional");
    let none = client(&authority, None);
    assert_eq!(ask(proxy.address, &none, "/acme").ok(), Some(200));
    assert_eq!(ask(proxy.address, &none, "/etl").ok(), Some(403));
    let known = client(&authority, Some((&corporate, "etl.corp.example")));
    assert_eq!(ask(proxy.address, &known, "/etl").ok(), Some(200));
}

#[test]
fn callers_of_an_authority_that_is_trusted_no_more_cannot_resume_their_sessions() {
    let (proxy, authority, corporate, folder) = with_callers("required");
    let known = client(&authority, Some((&corporate, "etl.corp.example")));
    assert_eq!(ask(proxy.address, &known, "/etl").ok(), Some(200));
    folder.write("callers.pem", Authority::new().expect("an authority").pem());
    let begin = Instant::now();
    while ask(proxy.address, &known, "/etl").is_ok() {
        assert!(begin.elapsed() < PATIENCE, "it is still let in");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

#[test]
fn tls_begins_behind_a_proxy_header() {
    use std::io::Write;
    let folder = Folder::new();
    let authority = Authority::new().expect("an authority");
    folder.write_identity("one.example", &authority);
    let keys = format!("{ONE}proxy-protocol = [\"127.0.0.1\"]");
    let (proxy, _upstream, _folder) = start(folder, &keys, "");
    let client = client(&authority, None);
    let mut stream = connect(proxy.address, &client, "one.example").into_stream();
    let header = b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 80\r\n";
    stream.sock.write_all(header).expect("it listens");
    assert_eq!(Caller::over(stream).write(REQUEST).read().status, 200);
}

#[test]
fn a_listener_with_tls_is_announced_as_such() {
    let folder = Folder::new();
    let upstream = Upstream::saying("");
    folder.write_identity("one.example", &Authority::new().expect("an authority"));
    folder.write("proxy.toml", configuration(&folder, &upstream, ONE, ""));
    Process::start(folder.path(), &[]).wait_for("listening on https://127.0.0.1:");
}
