//! Reads the certificates and keys of a listener.

use std::path::PathBuf;

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroize;

use super::Identity;
use crate::secret::store::{Modes, Reference, Store, Unresolved};

/// Where files are read from, and how they are judged.
#[derive(Clone, Debug)]
pub struct Files {
    /// Where relative paths start.
    pub folder: PathBuf,
    /// Where files are read from.
    pub store: Store,
    /// How a key's file is judged.
    pub modes: Modes,
}

impl Files {
    /// Reads a certificate and its key. Gives a warning about the key's file, if any.
    ///
    /// # Errors
    ///
    /// What is wrong with them, and the way out.
    pub fn identity(
        &self,
        identity: &Identity,
    ) -> Result<(CertifiedKey, Option<String>), Unresolved> {
        let chain = self.certificates(&identity.certificate)?;
        let resolved = self
            .store
            .resolve(&identity.key, &self.folder, Some(self.modes))?;
        let reference = &identity.key;
        let mut key = PrivateKeyDer::from_pem_slice(resolved.secret.expose())
            .map_err(|_| wrong(format!("{reference} is no private key in PEM")))?;
        let signing = aws_lc_rs::sign::any_supported_type(&key);
        key.zeroize();
        let signing = signing.map_err(|_| {
            let message = format!("{reference} is of no kind that TLS can be served with");
            Unresolved::new(
                message,
                "keys are RSA from 2048 bits, P-256, P-384, P-521 or Ed25519",
            )
        })?;
        let certified = CertifiedKey::new(chain, signing);
        let shown = self.folder.join(&identity.certificate);
        certified.keys_match().map_err(|_| {
            let message = format!("{reference} is not the key of {}", shown.display());
            Unresolved::new(
                message,
                "the server's own certificate comes first in its file",
            )
        })?;
        Ok((certified, resolved.warning))
    }

    /// Reads authorities that vouch for callers.
    ///
    /// # Errors
    ///
    /// What is wrong with a file, and the way out.
    pub fn authorities(&self, paths: &[PathBuf]) -> Result<RootCertStore, Unresolved> {
        let mut roots = RootCertStore::empty();
        for path in paths {
            for certificate in self.certificates(path)? {
                let shown = self.folder.join(path);
                let cannot = |error| {
                    wrong(format!(
                        "{} cannot vouch for anybody: {error}",
                        shown.display()
                    ))
                };
                roots.add(certificate).map_err(cannot)?;
            }
        }
        Ok(roots)
    }

    fn certificates(&self, path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, Unresolved> {
        let path = self.folder.join(path);
        let shown = path.display();
        // Read as a secret is, though it is none: it is looked after here, and is no reason to read
        // the configuration again. That its mode is questionable is no matter.
        let file = Reference::file(&path);
        let text = self
            .store
            .resolve(&file, &self.folder, Some(Modes::Warn))?
            .secret;
        let certificates = CertificateDer::pem_slice_iter(text.expose());
        let certificates: Vec<_> = certificates
            .collect::<Result<_, _>>()
            .map_err(|error| wrong(format!("{shown} is not PEM: {error}")))?;
        if certificates.is_empty() {
            let message = format!("{shown} has no certificate in it");
            let help = match text.expose().windows(11).any(|it| it == b"PRIVATE KEY") {
                true => "it holds a private key: are `certificate` and `key` swapped?",
                false => "it must be PEM: -----BEGIN CERTIFICATE-----",
            };
            return Err(Unresolved::new(message, help));
        }
        Ok(certificates)
    }
}

pub(super) fn wrong(message: String) -> Unresolved {
    Unresolved::new(message, "")
}
