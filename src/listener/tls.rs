//! The server's side of TLS: which certificate is shown, and whose certificates are asked for.
//!
//! All that is read from files is read again when one of them changes, and then made into a whole
//! new configuration. Nothing of the one before is left, its sessions above all: one that was begun
//! under an authority that is trusted no more must not be resumed.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;

use crate::secret::store::{Reference, Unresolved};
use crate::secret::trail::Stamp;
use crate::tls::end_of;

mod files;
mod names;

pub use files::Files;
use files::wrong;
pub use names::callers_names;
use names::{Certificates, Shown};

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
