//! Keys here are made while the tests run, by another library where that is possible, and
//! signatures are verified by one that did not make them.

mod forms;
mod refusals;
mod signatures;

use std::sync::OnceLock;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::*;

/// An RSA key of 2048 bits as PKCS#8 DER, made once by aws-lc.
fn rsa_pkcs8() -> &'static [u8] {
    static KEY: OnceLock<Vec<u8>> = OnceLock::new();
    KEY.get_or_init(|| {
        let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).expect("aws-lc makes keys");
        pair.as_der().expect("aws-lc writes keys").as_ref().to_vec()
    })
}

/// A key as PEM text that the algorithm signs with.
fn key_for(algorithm: Algorithm) -> String {
    match algorithm.wants() {
        Wants::Secret { .. } => "s".repeat(100),
        Wants::Rsa => pem::encode("PRIVATE KEY", rsa_pkcs8()).to_string(),
        Wants::Ec(private::Curve::P256) => text(generate(KeyKind::EcP256)),
        Wants::Ec(private::Curve::P384) => text(generate(KeyKind::EcP384)),
        Wants::Ec(private::Curve::P521) => text(generate(KeyKind::EcP521)),
        Wants::Ed25519 => text(generate(KeyKind::Ed25519)),
    }
}

fn text(pair: KeyPair) -> String {
    pair.private_pem
        .expose_str()
        .expect("PEM is text")
        .to_owned()
}

fn secret(text: &str) -> Secret {
    Secret::from(text.to_owned())
}

/// The bytes between the markers of a PEM text.
fn unwrap_pem(pem: &str) -> Vec<u8> {
    let lines = pem.lines().filter(|line| !line.starts_with("-----"));
    STANDARD
        .decode(lines.collect::<String>())
        .expect("PEM holds base64")
}

fn from_base64url(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD
        .decode(text)
        .expect("base64url without padding")
}
