//! What is asked of an upstream beside its certificate, what is shown to it, and files that change.

use std::time::Duration;

use tokio::time::Instant;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use countersign::emulator::Authority;
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair, PublicKeyData};
use rustls::pki_types::PrivateKeyDer;

use crate::support::caller::PATIENCE;
use crate::support::upstream::{NAME, Terms};
use crate::support::{Folder, Proxy, Upstream, acme, client_certificate, get};

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "it never came: {what}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// Answers once on each connection, so that each request needs a handshake.
fn once(terms: &Terms) -> Upstream {
    Upstream::on(terms, |conversation| {
        if conversation.read_request().is_some() {
            conversation
                .write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        }
    })
}

#[test]
fn an_upstream_that_asks_for_a_certificate_is_shown_one_and_the_next_one_when_its_file_changes() {
    let callers = Authority::new().expect("an authority");
    let strangers = Authority::new().expect("an authority");
    let upstream = once(&Terms {
        client_ca: Some(callers.clone()),
        ..Terms::default()
    });
    let folder = Folder::new();
    let with = "tls.certificate = \"client.pem\"\ntls.key = { file = \"client-key.pem\" }";
    let text = |extra: &str| acme(&folder, upstream.address, &upstream.ca_pem, extra);

    let without = Proxy::start(&folder, &text(""));
    let refused = get(without.address, "/acme").status;
    assert_eq!(refused, 502, "nothing is shown");

    let write = |authority| {
        let (certificate, key) = client_certificate(authority);
        folder.write("client-key.pem", key);
        folder.write("client.pem", certificate);
    };
    write(&strangers);
    let proxy = Proxy::start(&folder, &text(with));
    assert_eq!(get(proxy.address, "/acme").status, 502, "a stranger's");
    assert!(upstream.requests().is_empty());
    write(&callers);
    until("the certificate that is trusted", || {
        get(proxy.address, "/acme").status == 200
    });
    // What does not fit together is not used.
    folder.write("client-key.pem", client_certificate(&callers).1);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        assert_eq!(get(proxy.address, "/acme").status, 200);
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

#[test]
fn authorities_are_read_again_when_their_file_changes() {
    let upstream = once(&Terms::default());
    let folder = Folder::new();
    let stranger = Authority::new().expect("an authority");
    let text = acme(&folder, upstream.address, &stranger.pem(), "");
    let proxy = Proxy::start(&folder, &text);
    assert_eq!(get(proxy.address, "/acme").code(), "upstream-tls");
    folder.write("ca.pem", "half of a file");
    folder.write("ca.pem", &upstream.ca_pem);
    until("the right authority", || {
        get(proxy.address, "/acme").status == 200
    });
    folder.write("ca.pem", stranger.pem());
    until("the wrong authority again", || {
        get(proxy.address, "/acme").status == 502
    });
}

fn pin_of(key: &impl PublicKeyData) -> String {
    let hash =
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &key.subject_public_key_info());
    format!("sha256/{}", BASE64_STANDARD.encode(hash))
}

#[test]
fn a_good_certificate_with_another_key_than_the_pinned_is_refused_before_anything_is_sent() {
    let issuer_key = KeyPair::generate().expect("a key");
    let issuer_pin = pin_of(&issuer_key);
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, issuer_key).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let other = pin_of(&KeyPair::generate().expect("a key"));
    let own = pin_of(&key);
    // The pin is that of the server's own key, not of whatever is sent along.
    for (pins, status) in [
        (vec![&own], 200),
        (vec![&other, &own], 200),
        (vec![&other], 502),
        (vec![&issuer_pin], 502),
    ] {
        let params = CertificateParams::new(vec![NAME.to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        let upstream = Upstream::with_certificate(
            issuer.pem(),
            vec![certificate.der().clone(), issuer.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
            |conversation| {
                if conversation.read_request().is_some() {
                    conversation.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
                }
            },
        );
        let folder = Folder::new();
        let extra = format!("tls.pin = {pins:?}");
        let text = acme(&folder, upstream.address, &upstream.ca_pem, &extra);
        let proxy = Proxy::start(&folder, &text);
        let answer = get(proxy.address, "/acme");
        assert_eq!(answer.status, status, "{pins:?}");
        if status == 502 {
            assert_eq!(answer.code(), "upstream-tls");
            assert!(upstream.requests().is_empty());
        }
    }
}

#[test]
fn a_pin_does_not_stand_in_for_an_authority() {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![NAME.to_owned()]).expect("parameters");
    let certificate = params.self_signed(&key).expect("a certificate");
    let trusted = Authority::new().expect("an authority");
    let upstream = Upstream::with_certificate(
        trusted.pem(),
        vec![certificate.der().clone()],
        PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
        |conversation| {
            conversation.read_request();
        },
    );
    let folder = Folder::new();
    let extra = format!("tls.pin = {:?}", pin_of(&key));
    let text = acme(&folder, upstream.address, &upstream.ca_pem, &extra);
    let proxy = Proxy::start(&folder, &text);
    assert_eq!(get(proxy.address, "/acme").code(), "upstream-tls");
}
