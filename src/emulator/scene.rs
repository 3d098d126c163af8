//! A customer of a vendor, made up for a demonstration: the vendor at work, and what the customer's
//! own side would have to write into its configuration to be let in.

use std::any::Any;
use std::net::SocketAddr;

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
    /// Where the vendor listens.
    pub address: SocketAddr,
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

#[cfg(test)]
impl Scene {
    /// The first quoted text in a setting of one of the configuration's tables.
    pub(super) fn setting(&self, table: &str, key: &str) -> &str {
        toml::de::DeTable::parse(&self.configuration).expect("a scene's configuration is TOML");
        let (_, rest) = self
            .configuration
            .split_once(&format!("[{table}]\n"))
            .expect("the table is there");
        rest.lines()
            .take_while(|line| !line.starts_with('['))
            .filter_map(|line| line.split_once('='))
            .find(|(name, _)| name.trim() == key)
            .and_then(|(_, value)| value.split('"').nth(1))
            .expect("the setting is there, and quoted")
    }

    /// The file with this name.
    pub(super) fn file(&self, name: &str) -> &str {
        let mut files = self.files.iter();
        let file = files.find(|(known, _)| known == name);
        &file.expect("the file is there").1
    }
}
