//! Pins: the keys that an upstream's certificate may have, beside all that is asked of it anyway.
//!
//! The pin is that of the server's own key. Of the other certificates that a server sends nobody
//! knows at this point which of them lead to an authority: one that is pinned could be sent along
//! with a chain that it has no part in.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme,
    SupportedCipherSuite,
};

/// The SHA-256 of a public key, as RFC 7469 section 2.4 takes it: of the certificate's
/// `SubjectPublicKeyInfo`, so that it outlives a renewal that keeps the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin(Vec<u8>);

impl Pin {
    /// Reads `sha256/BASE64`.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bytes = text
            .strip_prefix("sha256/")
            .and_then(|it| BASE64_STANDARD.decode(it).ok())
            .filter(|it| it.len() == 32);
        bytes.map(Self).ok_or_else(|| {
            format!(
                "`{text}` is no pin: one is written sha256/ and 44 characters of base64; `openssl x509 -in server.pem -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64` makes them"
            )
        })
    }

    fn of(certificate: &CertificateDer<'_>) -> Result<Self, Error> {
        let key = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
        // TLS has SHA-256 of its own.
        let SupportedCipherSuite::Tls13(suite) = TLS13_AES_128_GCM_SHA256 else {
            return Err(Error::General("TLS 1.3 has no SHA-256".into()));
        };
        let hash = suite.common.hash_provider.hash(key.as_ref());
        Ok(Self(hash.as_ref().to_vec()))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256/{}", BASE64_STANDARD.encode(&self.0))
    }
}

/// A certificate that is good has another key.
#[derive(Debug, thiserror::Error)]
#[error("the server's key is {0}, which is not pinned")]
struct NotPinned(Pin);

/// Verifies as ever, and then asks for the key.
#[derive(Debug)]
pub(super) struct Pinned {
    verifier: Arc<WebPkiServerVerifier>,
    pins: Vec<Pin>,
}

impl Pinned {
    pub(super) fn new(verifier: Arc<WebPkiServerVerifier>, pins: Vec<Pin>) -> Self {
        Self { verifier, pins }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.verifier
                .verify_server_cert(certificate, intermediates, name, ocsp, now)?;
        let pin = Pin::of(certificate)?;
        if self.pins.contains(&pin) {
            return Ok(verified);
        }
        let error = OtherError(Arc::new(NotPinned(pin)));
        Err(CertificateError::Other(error).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_a_hash_in_base64() {
        let text = "sha256/AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        assert_eq!(Pin::parse(text).expect("a pin").to_string(), text);
        for bad in [
            "",
            "sha256/",
            "sha256/AAEC",
            "sha1/AAECAwQFBgcICQoLDA0ODxAREhM=",
        ] {
            assert!(Pin::parse(bad).is_err(), "{bad}");
        }
    }
}
