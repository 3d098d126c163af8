//! How both sides of a connection to an upstream show who they are. Its certificate is verified:
//! always, against the authorities that the operator names and no others. Ours is shown where there
//! is one.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::Instant;

use crate::secret::store::{Modes, Reference, Store};
use crate::secret::trail::Stamp;

mod ends;
mod pin;
mod words;

pub use ends::end_of;
pub use pin::Pin;
use pin::Pinned;
pub use words::words;

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Who may vouch for an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    /// Whoever the machine trusts.
    System,
    /// The certificates in this PEM file.
    File(PathBuf),
}

/// The certificate that this side shows, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The PEM file with the certificate, and those between it and its authority behind it.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: Reference,
}

/// What a connection asks for and shows.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who may vouch for the upstream.
    pub authorities: Vec<Authority>,
    /// The keys that its certificate may have; any if empty.
    pub pins: Vec<Pin>,
    /// What this side shows, if anything.
    pub identity: Option<Identity>,
    /// Where files are read from.
    pub store: Store,
    /// Where relative paths start.
    pub folder: PathBuf,
    /// How the mode of the key's file is judged.
    pub modes: Modes,
    /// What was in the authorities' files when the configuration was read: for a start at the very
    /// moment when one of them is being written.
    pub known: Vec<(PathBuf, Vec<CertificateDer<'static>>)>,
}

impl PartialEq for Config {
    fn eq(&self, other: &Self) -> bool {
        self.authorities == other.authorities
            && self.pins == other.pins
            && self.identity == other.identity
            && self.folder == other.folder
            && self.modes == other.modes
    }
}

impl Eq for Config {}

/// The verification of one or several upstreams. What it needs is loaded when it is first used:
/// reading the machine's authorities takes longer than opening the listeners should.
#[derive(Debug)]
pub struct Verification {
    config: Config,
    current: ArcSwapOption<ClientConfig>,
    loaded: Mutex<Loaded>,
    is_followed: AtomicBool,
}

impl Eq for Verification {}

impl PartialEq for Verification {
    /// Whether both ask for the same, whatever the files have in them.
    fn eq(&self, other: &Self) -> bool {
        self.config == other.config
    }
}

/// What the last loading has met.
#[derive(Debug, Default)]
struct Loaded {
    /// When the certificate that this side shows ends, if it shows one.
    end: Option<u64>,
    stamps: Vec<Option<Stamp>>,
    /// Why nothing came of it, and when that was.
    failed: Option<(RootsError, Instant)>,
}

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

impl Verification {
    /// Asks for what the configuration says, and nothing less.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            current: ArcSwapOption::empty(),
            loaded: Mutex::default(),
            is_followed: AtomicBool::new(false),
        }
    }

    /// The file of the certificate that this side shows, and when that ends in seconds since 1970.
    /// It is read when it is first asked for.
    #[must_use]
    pub fn own_end(&self) -> Option<(PathBuf, u64)> {
        let identity = self.config.identity.as_ref()?;
        let _ = self.config();
        let end = self
            .loaded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .end?;
        Some((self.config.folder.join(&identity.certificate), end))
    }

    /// What it asks for.
    #[must_use]
    pub fn asks_for(&self) -> &Config {
        &self.config
    }

    /// The client's side of a handshake.
    ///
    /// # Errors
    ///
    /// [`RootsError`] if there is nobody to trust, or nothing to show.
    pub fn config(&self) -> Result<Arc<ClientConfig>, RootsError> {
        if let Some(current) = self.current.load_full() {
            return Ok(current);
        }
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = self.current.load_full() {
            return Ok(current);
        }
        match &loaded.failed {
            // Perhaps no descriptor was free: it is tried again, and not by each request.
            Some((error, when)) if when.elapsed() < LOOK => Err(error.clone()),
            _ => self.load(&mut loaded, self.stamps()),
        }
    }

    /// Reads everything again if a file is another one than before, or if nothing came of it the last
    /// time. What was read before stays in use if that fails. Gives whether there is something new.
    ///
    /// # Errors
    ///
    /// [`RootsError`]; it is told once for each change of a file.
    pub fn refresh(&self) -> Result<bool, RootsError> {
        let stamps = self.stamps();
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = self.current.load().is_none() && loaded.failed.is_none();
        let is_same = stamps == loaded.stamps;
        if is_first || is_same && loaded.failed.is_none() {
            return Ok(false);
        }
        let known = loaded.failed.as_ref().map(|(error, _)| error.clone());
        let before = self.current.load_full();
        match self.load(&mut loaded, stamps) {
            Ok(now) => Ok(before.is_none_or(|it| !Arc::ptr_eq(&it, &now))),
            Err(error) if is_same && known.as_ref() == Some(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// `stamps` were taken before, so that a change in between is seen the next time.
    fn load(
        &self,
        loaded: &mut Loaded,
        stamps: Vec<Option<Stamp>>,
    ) -> Result<Arc<ClientConfig>, RootsError> {
        match self.config.load().map(Arc::new) {
            Ok(config) => {
                if let Some(current) = self.current.load_full()
                    && self.stamps() != stamps
                {
                    // It is being written, and may be half of what it is to be.
                    return Ok(current);
                }
                self.current.store(Some(Arc::clone(&config)));
                loaded.end = self.config.own_end();
                (loaded.stamps, loaded.failed) = (stamps, None);
                Ok(config)
            }
            Err(error) => {
                let is_first = self.current.load().is_none();
                if let Some(known) = is_first.then(|| self.config.load_known()).flatten() {
                    tracing::warn!(%error, "what it held when the configuration was read is used until it can be read again");
                    let known = Arc::new(known);
                    self.current.store(Some(Arc::clone(&known)));
                    loaded.end = self.config.own_end();
                    // No stamps: it is read again when it is next looked at.
                    return Ok(known);
                }
                loaded.stamps = stamps;
                loaded.failed = Some((error.clone(), Instant::now()));
                Err(error)
            }
        }
    }

    fn stamps(&self) -> Vec<Option<Stamp>> {
        let Config { store, folder, .. } = &self.config;
        let files = self.config.files();
        files.map(|file| store.stamp(&file, folder)).collect()
    }
}

/// Follows the files of a verification for as long as somebody uses it, on the runtime that this is
/// called on, and once however often it is called. Connections that are open stay as they are; new
/// handshakes use what is new.
pub fn follow(verification: &Arc<Verification>) {
    let has_files = verification.config.files().next().is_some();
    if has_files && !verification.is_followed.swap(true, Ordering::Relaxed) {
        tokio::task::spawn_local(watch(Arc::downgrade(verification)));
    }
}

async fn watch(verification: Weak<Verification>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(verification) = verification.upgrade() else {
            return;
        };
        // A file may be on a share that hangs.
        match tokio::task::spawn_blocking(move || verification.refresh()).await {
            Ok(Ok(true)) => tracing::info!("certificates were read again"),
            Ok(Ok(false)) | Err(_) => {}
            Ok(Err(error)) => tracing::error!(%error, "what was read before stays in use"),
        }
    }
}

impl Config {
    /// Trusts these authorities and nobody else, and shows nothing.
    #[must_use]
    pub fn trusting(authorities: Vec<Authority>, store: Store, folder: PathBuf) -> Self {
        Self {
            authorities,
            pins: Vec::new(),
            identity: None,
            store,
            folder,
            modes: Modes::Refuse,
            known: Vec::new(),
        }
    }

    /// The files that all of this is in.
    fn files(&self) -> impl Iterator<Item = Reference> {
        let authorities = self.authorities.iter().filter_map(|it| match it {
            Authority::System => None,
            Authority::File(path) => Some(Reference::file(path)),
        });
        let own = self.identity.iter();
        let own = own.flat_map(|it| [Reference::file(&it.certificate), it.key.clone()]);
        authorities.chain(own)
    }

    /// Reads everything.
    ///
    /// # Errors
    ///
    /// [`RootsError`] of the first that is of no use.
    pub fn load(&self) -> Result<ClientConfig, RootsError> {
        self.load_with(|path| self.authorities(path))
    }

    fn own_end(&self) -> Option<u64> {
        let identity = self.identity.as_ref()?;
        let chain = self.certificates(&identity.certificate).ok()?;
        end_of(chain.first()?)
    }

    /// The same with the authorities that were known when the configuration was read, if they were.
    fn load_known(&self) -> Option<ClientConfig> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_read_is_read_later_and_complained_about_once() {
        let folder = std::env::temp_dir().join(format!("countersign-tls-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).expect("a new folder");
        let file = folder.join("ca.pem");
        let authorities = vec![Authority::File("ca.pem".into())];
        let config = Config::trusting(authorities, Store::Disk, folder.clone());
        let verification = Verification::new(config);
        let begin = Instant::now();
        assert!(verification.config().is_err());
        assert_eq!(verification.refresh(), Ok(false), "it is known");
        let authority = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
        let certificate = params.self_signed(&authority).expect("a certificate");
        std::fs::write(&file, certificate.pem()).expect("a file");
        let is_known = verification.config().is_err();
        assert!(is_known || begin.elapsed() >= LOOK, "not by each request");
        while verification.config().is_err() {
            assert!(begin.elapsed() < 30 * LOOK, "it is never read");
            std::thread::park_timeout(LOOK / 10);
        }
        std::fs::remove_dir_all(folder).expect("removed");
    }
}
