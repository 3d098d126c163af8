//! How the certificate of an upstream is verified: always, against the authorities that the
//! operator names and no others.

use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

/// Who may vouch for an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    /// Whoever the machine trusts.
    System,
    /// These certificates.
    Certificates(Vec<CertificateDer<'static>>),
}

/// The verification of one or several upstreams. What it needs is loaded when it is first used:
/// reading the machine's authorities takes longer than opening the listeners should.
#[derive(Debug)]
pub struct Verification {
    authorities: Vec<Authority>,
    config: OnceLock<Result<Arc<ClientConfig>, RootsError>>,
}

/// No certificate can be verified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootsError {
    /// The machine has no authorities.
    #[error(
        "this machine has no certificate authorities; install them (Debian: ca-certificates) or name a file in `tls.ca`{0}"
    )]
    NoneOnMachine(String),
    /// A certificate given by the operator cannot vouch for anything.
    #[error("a certificate in `tls.ca` cannot be used: {0}")]
    Unusable(String),
}

/// Whoever trusts the same is the same: what was loaded for it follows from that.
impl PartialEq for Verification {
    fn eq(&self, other: &Self) -> bool {
        self.authorities == other.authorities
    }
}

impl Eq for Verification {}

impl Verification {
    /// Trusts these authorities and nobody else.
    #[must_use]
    pub fn new(authorities: Vec<Authority>) -> Self {
        Self {
            authorities,
            config: OnceLock::new(),
        }
    }

    /// Whom it trusts.
    #[must_use]
    pub fn authorities(&self) -> &[Authority] {
        &self.authorities
    }

    /// The client's side of a handshake.
    ///
    /// # Errors
    ///
    /// [`RootsError`] if there is nobody to trust.
    pub fn config(&self) -> Result<&Arc<ClientConfig>, RootsError> {
        self.config
            .get_or_init(|| self.load())
            .as_ref()
            .map_err(Clone::clone)
    }

    fn load(&self) -> Result<Arc<ClientConfig>, RootsError> {
        let mut roots = RootCertStore::empty();
        for authority in &self.authorities {
            match authority {
                Authority::System => add_system(&mut roots)?,
                Authority::Certificates(certificates) => add(&mut roots, certificates)?,
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider serves TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(config))
    }
}

fn add_system(roots: &mut RootCertStore) -> Result<(), RootsError> {
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let causes = found
            .errors
            .iter()
            .map(|error| format!("; {error}"))
            .collect();
        return Err(RootsError::NoneOnMachine(causes));
    }
    Ok(())
}

fn add(
    roots: &mut RootCertStore,
    certificates: &[CertificateDer<'static>],
) -> Result<(), RootsError> {
    for certificate in certificates {
        roots
            .add(certificate.clone())
            .map_err(|error| RootsError::Unusable(error.to_string()))?;
    }
    Ok(())
}
