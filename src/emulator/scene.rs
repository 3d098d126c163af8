//! A customer of a vendor, made up for a demonstration: the vendor at work, and what the customer's
//! own side would have to write into its configuration to be let in.

use std::any::Any;

/// The scene. The vendor stops when this is dropped.
pub struct Scene {
    /// The customer's name, for a target and a credential.
    pub name: &'static str,
    /// The vendor and the API, in a few words.
    pub about: &'static str,
    /// `[credentials.…]` and `[targets.…]`, which refer to the files by their names.
    pub configuration: String,
    /// Files by name: keys and identifiers that the vendor knows, and its authority as `ca.pem`.
    pub files: Vec<(String, String)>,
    /// Paths of the API that are worth a look, the first for a first call.
    pub paths: &'static [&'static str],
    /// The vendor at work.
    pub(super) _vendor: Box<dyn Any + Send>,
}

impl std::fmt::Debug for Scene {
    /// Leaves the files out, for they hold keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scene")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
