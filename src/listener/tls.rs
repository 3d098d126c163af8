//! The server's side of TLS: which certificate is shown, and whose certificates are asked for.
//!
//! All that is read from files is read again when one of them changes, and then made into a whole
//! new configuration. Nothing of the one before is left, its sessions above all: one that was begun
//! under an authority that is trusted no more must not be resumed.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use webpki::EndEntityCert;
use zeroize::Zeroize;

use crate::secret::store::{Modes, Reference, Store, Unresolved};
use crate::secret::trail::Stamp;
use crate::tls::end_of;

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

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// A PEM file with the certificate, followed by those of the authorities between it and the
    /// root.
    pub certificate: PathBuf,
    /// Its private key: PEM as PKCS#8, SEC1 or PKCS#1.
    pub key: Reference,
}

/// Whose certificates callers show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clients {
    /// PEM files with the authorities that vouch for them.
    pub authorities: Vec<PathBuf>,
    /// Whether a caller without one is refused at once.
    pub is_required: bool,
}

/// TLS at a listener, as it was configured.
#[derive(Clone, Debug)]
pub struct Config {
    /// The certificates; the first is for callers that ask for no name, or for none of them.
    pub identities: Vec<Identity>,
    /// Whether callers show certificates.
    pub clients: Option<Clients>,
    /// What may be spoken, in the order of preference (RFC 7301).
    pub protocols: Vec<Vec<u8>>,
    /// Where all of it is read from.
    pub files: Files,
}

/// When one of a listener's certificates ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The certificate's file.
    pub file: PathBuf,
    /// In seconds since 1970.
    pub at: u64,
}

/// TLS at a listener.
#[derive(Debug)]
pub struct Terminator {
    config: Config,
    current: ArcSwap<ServerConfig>,
    ends: Mutex<Vec<End>>,
    stamps: Mutex<Vec<Option<Stamp>>>,
}

impl PartialEq for Terminator {
    fn eq(&self, other: &Self) -> bool {
        let (own, other) = (&self.config, &other.config);
        own.identities == other.identities
            && own.clients == other.clients
            && own.protocols == other.protocols
            && own.files.folder == other.files.folder
            && own.files.modes == other.files.modes
    }
}

impl Eq for Terminator {}

impl Terminator {
    /// Reads everything for the first time.
    ///
    /// # Errors
    ///
    /// What is wrong with a file, and the way out.
    pub fn load(config: Config) -> Result<Self, Unresolved> {
        let stamps = config.stamps();
        let (current, ends) = config.server_config()?;
        Ok(Self {
            config,
            ends: Mutex::new(ends),
            current: ArcSwap::from_pointee(current),
            stamps: Mutex::new(stamps),
        })
    }

    /// Whether callers must show certificates.
    #[must_use]
    pub fn requires_certificates(&self) -> bool {
        self.config
            .clients
            .as_ref()
            .is_some_and(|it| it.is_required)
    }

    /// Whether callers may show certificates.
    #[must_use]
    pub fn asks_for_certificates(&self) -> bool {
        self.config.clients.is_some()
    }

    /// When the certificates end that are shown now.
    #[must_use]
    pub fn ends(&self) -> Vec<End> {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.clone()
    }

    /// What a handshake is made with now.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Reads everything again if a file is another one than before. What was read before stays in
    /// use if it cannot be read, or if certificate and key do not belong together: of two files one
    /// is always written first. Gives whether there is something new.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong.
    pub fn refresh(&self) -> Result<bool, String> {
        let stamps = self.config.stamps();
        if stamps == *self.stamps.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(false);
        }
        let (current, ends) = self.config.server_config().map_err(|it| it.message)?;
        self.current.store(Arc::new(current));
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = ends;
        *self.stamps.lock().unwrap_or_else(PoisonError::into_inner) = stamps;
        Ok(true)
    }
}

impl Config {
    /// Taken before the content is read: a change in between is seen the next time.
    fn stamps(&self) -> Vec<Option<Stamp>> {
        let certificates = self.identities.iter().map(|it| &it.certificate);
        let authorities = self.clients.iter().flat_map(|it| &it.authorities);
        let files = certificates.chain(authorities).map(Reference::file);
        let keys = self.identities.iter().map(|it| it.key.clone());
        let all = files.chain(keys);
        all.map(|it| self.files.store.stamp(&it, &self.files.folder))
            .collect()
    }

    fn server_config(&self) -> Result<(ServerConfig, Vec<End>), Unresolved> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider serves TLS 1.2 and 1.3");
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let roots = Arc::new(self.files.authorities(&clients.authorities)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                let verifier = match clients.is_required {
                    true => verifier,
                    false => verifier.allow_unauthenticated(),
                };
                let verifier = verifier.build();
                builder.with_client_cert_verifier(verifier.map_err(|it| wrong(it.to_string()))?)
            }
        };
        let identities = self.identities.iter().map(|identity| {
            let (certified, _) = self.files.identity(identity)?;
            Ok(Shown::new(certified))
        });
        let shown = identities.collect::<Result<Vec<_>, Unresolved>>()?;
        let ends = self.identities.iter().zip(&shown);
        let ends = ends.filter_map(|(identity, shown)| {
            let file = self.files.folder.join(&identity.certificate);
            let at = end_of(shown.certified.end_entity_cert().ok()?)?;
            Some(End { file, at })
        });
        let ends = ends.collect();
        let mut config = builder.with_cert_resolver(Arc::new(Certificates(shown)));
        config.alpn_protocols.clone_from(&self.protocols);
        Ok((config, ends))
    }
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
            unresolved(
                message,
                "keys are RSA from 2048 bits, P-256, P-384, P-521 or Ed25519",
            )
        })?;
        let certified = CertifiedKey::new(chain, signing);
        let shown = self.folder.join(&identity.certificate);
        certified.keys_match().map_err(|_| {
            let message = format!("{reference} is not the key of {}", shown.display());
            unresolved(
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
            return Err(unresolved(message, help));
        }
        Ok(certificates)
    }
}

fn unresolved(message: impl Into<String>, help: &str) -> Unresolved {
    Unresolved {
        message: message.into(),
        help: help.into(),
    }
}

fn wrong(message: String) -> Unresolved {
    unresolved(message, "")
}

/// The certificates of a listener.
#[derive(Debug)]
struct Certificates(Vec<Shown>);

/// A certificate, with the names that it is shown for.
#[derive(Debug)]
struct Shown {
    names: Vec<String>,
    certified: Arc<CertifiedKey>,
}

impl Shown {
    fn new(certified: CertifiedKey) -> Self {
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
