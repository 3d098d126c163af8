//! How both sides of a connection to an upstream show who they are. Its certificate is verified:
//! always, against the authorities that the operator names and no others. Ours is shown where there
//! is one.

use std::path::PathBuf;

use rustls::pki_types::CertificateDer;

use crate::secret::store::{Modes, Reference, Store};

mod ends;
mod loading;
mod pin;
mod verification;
mod words;

pub use ends::end_of;
pub use loading::RootsError;
pub use pin::Pin;
pub use verification::{Verification, follow};
pub use words::words;

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
}
