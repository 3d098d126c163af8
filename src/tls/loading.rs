//! Makes what the TLS library takes of the files that a configuration names.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::pin::Pinned;
use super::{Authority, Config, end_of};
use crate::secret::store::Reference;

/// No connection can be secured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootsError {
    /// The machine has no authorities.
    #[error(
        "this machine has no certificate authorities; install them (Debian: ca-certificates) or name a file in `tls.ca`{0}"
    )]
    NoneOnMachine(String),
    /// A file given by the operator is of no use.
    #[error("{reason}")]
    File {
        /// What is wrong with it.
        reason: String,
        /// The way out.
        help: String,
    },
    /// The certificate of this side cannot be shown.
    #[error("the certificate {path} cannot be used with its key: {reason}")]
    Identity {
        /// The certificate's file.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

impl RootsError {
    /// The way out, where the message does not say it.
    #[must_use]
    pub fn help(&self) -> &str {
        match self {
            Self::File { help, .. } => help,
            Self::NoneOnMachine(_) | Self::Identity { .. } => "",
        }
    }
}

impl Config {
    /// Reads everything.
    ///
    /// # Errors
    ///
    /// [`RootsError`] of the first that is of no use.
    pub fn load(&self) -> Result<ClientConfig, RootsError> {
        self.load_with(|path| self.authorities(path))
    }

    /// When the certificate that this side shows ends, in seconds since 1970.
    pub(super) fn own_end(&self) -> Option<u64> {
        let identity = self.identity.as_ref()?;
        let chain = self.certificates(&identity.certificate).ok()?;
        end_of(chain.first()?)
    }

    /// The same with the authorities that were known when the configuration was read, if they were.
    pub(super) fn load_known(&self) -> Option<ClientConfig> {
        let known = |path: &Path| {
            let found = self.known.iter().find(|(of, _)| of == path);
            let none = || unusable(path.display().to_string(), "");
            found.map(|(_, known)| known.clone()).ok_or_else(none)
        };
        self.load_with(known).ok()
    }

    fn load_with(
        &self,
        read: impl Fn(&Path) -> Result<Vec<CertificateDer<'static>>, RootsError>,
    ) -> Result<ClientConfig, RootsError> {
        let mut roots = RootCertStore::empty();
        for authority in &self.authorities {
            match authority {
                Authority::System => add_system(&mut roots)?,
                Authority::File(path) => self.add(&mut roots, path, read(path)?)?,
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider serves TLS 1.2 and 1.3");
        let builder = if self.pins.is_empty() {
            builder.with_root_certificates(roots)
        } else {
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .expect("there are roots, and no lists of what was revoked");
            let pinned = Pinned::new(verifier, self.pins.clone());
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(pinned))
        };
        let Some(identity) = &self.identity else {
            return Ok(builder.with_no_client_auth());
        };
        let unusable = |reason: String| RootsError::Identity {
            path: identity.certificate.display().to_string(),
            reason,
        };
        let chain = self.certificates(&identity.certificate)?;
        let key = self.key(&identity.key).map_err(unusable)?;
        builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| unusable(error.to_string()))
    }

    /// Reads the authorities that are in a file.
    ///
    /// # Errors
    ///
    /// [`RootsError`] if they cannot be read, or can vouch for nobody.
    pub fn authorities(&self, path: &Path) -> Result<Vec<CertificateDer<'static>>, RootsError> {
        let found = self.certificates(path)?;
        self.add(&mut RootCertStore::empty(), path, found.clone())?;
        Ok(found)
    }

    fn add(
        &self,
        roots: &mut RootCertStore,
        path: &Path,
        found: Vec<CertificateDer<'static>>,
    ) -> Result<(), RootsError> {
        for certificate in found {
            roots.add(certificate).map_err(|error| {
                let path = self.folder.join(path);
                let reason = format!("{} vouches for nobody: {error}", path.display());
                unusable(reason, "")
            })?;
        }
        Ok(())
    }

    fn certificates(&self, path: &Path) -> Result<Vec<CertificateDer<'static>>, RootsError> {
        let path = self.folder.join(path);
        let text = self.store.read_text(&path);
        let text = text.map_err(|error| unusable(error.message, error.help))?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        let shown = path.display();
        match found {
            Ok(found) if found.is_empty() => Err(unusable(
                format!("{shown} has no certificate in it"),
                "it must be PEM: -----BEGIN CERTIFICATE-----",
            )),
            Ok(found) => Ok(found),
            Err(error) => Err(unusable(format!("{shown} is not PEM: {error}"), "")),
        }
    }

    fn key(&self, reference: &Reference) -> Result<PrivateKeyDer<'static>, String> {
        let resolved = self
            .store
            .resolve(reference, &self.folder, Some(self.modes))
            .map_err(|error| error.message)?;
        PrivateKeyDer::from_pem_slice(resolved.secret.expose())
            .map_err(|_| format!("{reference} has no private key in PEM"))
    }
}

fn unusable(reason: impl Into<String>, help: impl Into<String>) -> RootsError {
    RootsError::File {
        reason: reason.into(),
        help: help.into(),
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
