//! A verification in use: what it needs is read when it is first used, and again when a file changes.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use rustls::ClientConfig;
use tokio::time::Instant;

use super::{Config, RootsError};
use crate::secret::trail::Stamp;

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(2);

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::store::Store;
    use crate::tls::Authority;

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
