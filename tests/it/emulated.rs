//! The proxy and the emulated vendor, which verifies what it gets by an implementation that shares
//! nothing with ours.

use countersign::emulator::vdr::{Enrolment, Settings, Vdr};
use countersign::emulator::{self, Options, Running};

use crate::support::{Folder, Proxy, get, send};

fn vendor(folder: &Folder) -> Running<Vdr> {
    let enrolment = Enrolment {
        instance: "acme".into(),
        issuer: "an.issuer.text".into(),
        client_id: "a-client".into(),
        public_key_pem: folder.write_key("key.pem"),
        users: vec![123, 456],
    };
    let vendor = Vdr::new([enrolment], Settings::default()).expect("a vendor");
    let running = emulator::start(vendor, Options::default()).expect("it starts");
    folder.write("ca.pem", running.ca_pem());
    running
}

fn configuration(vendor: &Running<Vdr>, user: u64) -> String {
    format!(
        r#"
[listeners.local]
address = "127.0.0.1:0"

[credentials.acme.vdr]
instance = "acme"
user = {user}
issuer = "an.issuer.text"
client-id = "a-client"
key = {{ file = "key.pem" }}

[targets.acme]
connect = "{}"
tls.ca = "ca.pem"
"#,
        vendor.address()
    )
}

#[test]
fn the_vendor_answers_plain_requests_that_went_through_the_proxy() {
    let folder = Folder::new();
    let vendor = vendor(&folder);
    let proxy = Proxy::start(&folder, &configuration(&vendor, 123));
    let assets = get(proxy.address, "/acme/api/v2/assets").json();
    assert!(assets["total"].as_u64().expect("a number") > 0);
    assert_eq!(
        get(proxy.address, "/acme/api/v2/vulnerabilities?severity=high").status,
        200
    );
    assert_eq!(get(proxy.address, "/acme/api/v2/spec").status, 200);
    assert_eq!(get(proxy.address, "/acme/api/v2/nothing").status, 404);

    let patch = "PATCH /acme/api/v2/vulnerabilities/2001 HTTP/1.1\r\nHost: localhost\r\n";
    let id =
        get(proxy.address, "/acme/api/v2/vulnerabilities").json()["items"][0]["id"].to_string();
    let patch = patch.replace("2001", &id);
    let body = r#"{"status":"fixed"}"#;
    let request = format!("{patch}Content-Length: {}\r\n\r\n{body}", body.len());
    assert!(send(proxy.address, request).status < 500);

    let echo = get(proxy.address, "/acme/api/v2/echo").json();
    assert_eq!(echo["authorization"]["claims"]["sub"], "user:123");
}

#[test]
fn a_vendor_that_refuses_the_token_is_heard_by_the_caller() {
    let folder = Folder::new();
    let vendor = vendor(&folder);
    let proxy = Proxy::start(&folder, &configuration(&vendor, 999));
    let answer = get(proxy.address, "/acme/api/v2/assets");
    assert_eq!(answer.status, 401);
    assert_eq!(answer.json()["reason"], "unknown-user");
    assert_eq!(
        answer.header("proxy-status"),
        None,
        "these are the vendor's own words"
    );
}

#[test]
fn no_caller_reaches_the_path_that_hands_out_tokens() {
    let folder = Folder::new();
    let vendor = vendor(&folder);
    let proxy = Proxy::start(&folder, &configuration(&vendor, 123));
    for path in [
        "/auth/oauth2/token",
        "/auth/oauth2/authorize",
        "//auth/oauth2/token",
        "/AUTH/oauth2/token",
        "/%61uth/oauth2/token",
        "/auth;x/oauth2/token",
        "/auth%2Foauth2%2Ftoken",
        "/api/../auth/oauth2/token",
        "/api/v2/..;/auth/oauth2/token",
        "/.//auth/oauth2/token",
    ] {
        for method in ["GET", "POST", "PUT"] {
            let request = format!(
                "{method} /acme{path} HTTP/1.1\r\nHost: localhost\r\nX-Original-URL: /auth/oauth2/token\r\n\r\n"
            );
            let answer = send(proxy.address, &request);
            assert!(matches!(answer.status, 400 | 403), "{request}");
        }
    }
    assert!(vendor.requests().is_empty());
}
