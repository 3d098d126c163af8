//! Tests against other people's tools: what verifies our signatures, gives us tokens, makes and
//! reads keys, and calls us. None of them shares a line with us, so what they say counts.
//!
//! They are ignored by default, for they need more than Rust. `.ci/run` installs what they need and
//! runs them with `--ignored`; then a tool that is missing is a failure, never a pass. Two folders
//! can be named by variables:
//!
//! - `COUNTERSIGN_PYTHON` is a Python that has PyJWT, requests, httpx, grpcio and websockets, `python3` if it is not set;
//! - `COUNTERSIGN_OIDC_PROVIDER` is a folder with the `node_modules` of `peers/oidc-provider`.

mod clients;
mod curl;
mod forward;
mod grpc;
mod java;
mod netcat;
mod oidc_provider;
mod openssl;
mod pyjwt;
mod websocket;

use std::path::Path;
use std::process::{Command, Output};

use countersign::jws::{Algorithm, KeyKind, generate};
use uuid::Uuid;

use crate::support::Folder;

fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let wrote = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}:\n{said}{wrote}");
    output
}

/// What a command writes, that must succeed.
fn wrote(command: &mut Command) -> String {
    String::from_utf8_lossy(&run(command).stdout).into_owned()
}

/// Runs a line in a shell, in a folder.
fn shell(folder: &Path, line: &str) -> String {
    wrote(Command::new("sh").args(["-euc", line]).current_dir(folder))
}

/// The Python that has the packages.
fn python() -> Command {
    Command::new(std::env::var("COUNTERSIGN_PYTHON").unwrap_or_else(|_| "python3".into()))
}

/// The kind of key that signs so; none where it is a shared secret.
fn kind_for(algorithm: Algorithm) -> Option<KeyKind> {
    match algorithm {
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => None,
        Algorithm::Rs256 | Algorithm::Ps256 => Some(KeyKind::Rsa2048),
        Algorithm::Rs384 | Algorithm::Ps384 => Some(KeyKind::Rsa3072),
        Algorithm::Rs512 | Algorithm::Ps512 => Some(KeyKind::Rsa4096),
        Algorithm::Es256 => Some(KeyKind::EcP256),
        Algorithm::Es384 => Some(KeyKind::EcP384),
        Algorithm::Es512 => Some(KeyKind::EcP521),
        Algorithm::EdDsa => Some(KeyKind::Ed25519),
    }
}

/// Writes a new key for an algorithm, and gives what verifies: the public half, or for HMAC the
/// secret itself.
fn write_key(folder: &Folder, name: &str, algorithm: Algorithm) -> String {
    match kind_for(algorithm) {
        Some(kind) => {
            let pair = generate(kind);
            folder.write(name, pair.private_pem.expose());
            pair.public_pem
        }
        None => {
            // 64 characters and more: as long as the longest hash wants its key.
            let secret = format!("{}{}", Uuid::new_v4(), Uuid::new_v4());
            folder.write(name, &secret);
            secret
        }
    }
}
