//! Callers' side of TLS.

use std::sync::Arc;

use countersign::emulator::Authority;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Trusts an authority, with a certificate for `own` if there is one, and offers these protocols.
pub fn client(
    authority: &Authority,
    own: Option<(&Authority, &str)>,
    speaks: &[&[u8]],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("PEM");
    roots.add(certificate).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .with_root_certificates(roots);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some((authority, name)) => {
            let (certificate, key) = authority.client_certificate(name).expect("a certificate");
            builder
                .with_client_auth_cert(vec![certificate], key)
                .expect("a pair")
        }
    };
    config.alpn_protocols = speaks.iter().map(|it| it.to_vec()).collect();
    Arc::new(config)
}
