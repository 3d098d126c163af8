//! The names in certificates: which of a listener's is shown, and whose a caller's is.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use webpki::EndEntityCert;

/// The certificates of a listener.
#[derive(Debug)]
pub(super) struct Certificates(pub(super) Vec<Shown>);

/// A certificate, with the names that it is shown for.
#[derive(Debug)]
pub(super) struct Shown {
    names: Vec<String>,
    pub(super) certified: Arc<CertifiedKey>,
}

impl Shown {
    pub(super) fn new(certified: CertifiedKey) -> Self {
        let names = certified.end_entity_cert().map(dns_names);
        Self {
            names: names.unwrap_or_default(),
            certified: Arc::new(certified),
        }
    }

    /// A wildcard stands for one label (RFC 9525 section 6.3).
    fn has(&self, name: &str, how: Match) -> bool {
        self.names.iter().any(|own| match how {
            Match::Exact => own.eq_ignore_ascii_case(name),
            Match::Wildcard => {
                let parts = own.strip_prefix("*.").zip(name.split_once('.'));
                parts.is_some_and(|(own, (_, rest))| own.eq_ignore_ascii_case(rest))
            }
            Match::Any => true,
        })
    }
}

#[derive(Clone, Copy)]
enum Match {
    Exact,
    Wildcard,
    Any,
}

impl ResolvesServerCert for Certificates {
    /// The one that has the name, by a wildcard if need be, else the first. Of several, one whose
    /// signature the caller understands.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().unwrap_or_default();
        let suits = |it: &&Shown| {
            let scheme = it.certified.key.choose_scheme(hello.signature_schemes());
            scheme.is_some()
        };
        let find = |how| self.0.iter().filter(|it| it.has(name, how)).find(suits);
        let found = find(Match::Exact)
            .or_else(|| find(Match::Wildcard))
            .or_else(|| find(Match::Any));
        found.map(|it| Arc::clone(&it.certified))
    }
}

fn dns_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let parsed = EndEntityCert::try_from(certificate);
    parsed.map_or_else(
        |_| Vec::new(),
        |it| it.valid_dns_names().map(str::to_owned).collect(),
    )
}

/// The names in a caller's certificate that it is known by: DNS names and URIs of its subject
/// alternative names. The common name is left out: no authority has to check it (RFC 9525 section
/// 2).
#[must_use]
pub fn callers_names(certificate: &CertificateDer<'_>) -> Vec<Box<str>> {
    let Ok(parsed) = EndEntityCert::try_from(certificate) else {
        return Vec::new();
    };
    let names = parsed.valid_dns_names().chain(parsed.valid_uri_names());
    names.map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, SanType};

    #[test]
    fn a_caller_is_known_by_its_dns_names_and_uris() {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        let text = |text: &str| text.try_into().expect("ASCII");
        params.subject_alt_names = vec![
            SanType::DnsName(text("etl.corp.example")),
            SanType::Rfc822Name(text("etl@corp.example")),
            SanType::IpAddress([127, 0, 0, 1].into()),
            SanType::URI(text("spiffe://corp.example/etl")),
        ];
        let certificate = params.self_signed(&key).expect("a certificate");
        let names = callers_names(certificate.der());
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        assert_eq!(names, ["etl.corp.example", "spiffe://corp.example/etl"]);
    }

    #[test]
    fn what_is_no_certificate_has_no_names() {
        assert!(callers_names(&CertificateDer::from(vec![0x30, 0])).is_empty());
    }
}
