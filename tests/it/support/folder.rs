//! A folder that goes away with the test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign::emulator::Authority;

use uuid::Uuid;

use super::canary;

/// The folder.
pub struct Folder(PathBuf);

impl Folder {
    /// An empty one.
    pub fn new() -> Self {
        let name = format!("countersign-test-{}", Uuid::new_v4());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a new folder");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file that only its owner may read: all of it at once, so that who reads it at that
    /// moment has the old one or the new one. Behind a link it is written where it is.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        canary::written(name, content.as_ref());
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("its folder");
        if path.is_symlink() {
            fs::write(&path, content).expect("a file");
            self.chmod(name, 0o600);
            return path;
        }
        let new = self.0.join(format!("{name}.{}", Uuid::new_v4()));
        fs::write(&new, content).expect("a file");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).expect("a mode");
        fs::rename(new, &path).expect("a name");
        path
    }

    /// Sets a file's mode.
    pub fn chmod(&self, name: &str, mode: u32) {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(self.0.join(name), permissions).expect("a mode");
    }

    /// Writes a server's certificate for this name as NAME.pem, and its key as NAME-key.pem.
    pub fn write_identity(&self, name: &str, authority: &Authority) {
        let names = name.rsplit('/').take(1).map(str::to_owned).collect();
        let (certificate, key) = authority.server_certificate(names).expect("a certificate");
        self.write(&format!("{name}.pem"), pem("CERTIFICATE", &certificate));
        let key = pem("PRIVATE KEY", key.secret_der());
        self.write(&format!("{name}-key.pem"), key);
    }

    /// Writes a new private key on P-521, and gives its public half.
    pub fn write_key(&self, name: &str) -> String {
        let pair = countersign::jws::generate(countersign::jws::KeyKind::EcP521);
        self.write(name, pair.private_pem.expose());
        pair.public_pem
    }
}

/// DER in the form of PEM (RFC 7468).
pub fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .filter_map(|line| str::from_utf8(line).ok())
        .collect();
    let lines = lines.join("\n");
    format!("-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n")
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
