//! What an operator is told of a configuration that cannot be used.
//!
//! Each case is two files in `faults/`: `NAME.toml`, which stands beside the secrets that
//! [`secrets`] makes, and `NAME.txt`, all that is said of it. To add a case, write the first; then
//! `COUNTERSIGN_UPDATE=1 cargo test --test it faults` writes the second, and those of every message
//! that has changed. Read them as a stranger would before they are committed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use countersign::jws::{KeyKind, generate};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

use super::{expect, parse};
use crate::support::Folder;

#[test]
fn every_fault_is_reported_with_its_place_and_the_way_out() {
    let folder = secrets();
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/config/faults");
    let mut files: Vec<_> = fs::read_dir(&cases)
        .expect("the cases")
        .map(|entry| entry.expect("a case").path())
        .filter(|path| path.extension().is_some_and(|it| it == "toml"))
        .collect();
    files.sort();
    assert!(files.len() >= 100, "{} cases are too few", files.len());
    let mut wrong = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).expect("a case");
        match parse(&folder, &text) {
            Ok(_) => wrong.push(format!("{} was accepted", file.display())),
            Err(said) => expect(&file.with_extension("txt"), &said, &mut wrong),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// No message shows the content of a file that was referred to, and every one starts with a place.
#[test]
fn what_is_expected_holds_no_secret_and_names_its_place() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/config/faults");
    for entry in fs::read_dir(cases).expect("the cases") {
        let path = entry.expect("a case").path();
        if path.extension().is_none_or(|it| it != "txt") {
            continue;
        }
        let said = fs::read_to_string(&path).expect("a text");
        for secret in ["PRIVATE KEY-----", "hunter2", "tenant of ours"] {
            assert!(!said.contains(secret), "{}: {said}", path.display());
        }
        for line in said.lines().filter(|line| !line.starts_with(' ')) {
            let place = line.split(": ").next().unwrap_or_default();
            let numbers: Vec<&str> = place.rsplitn(3, ':').collect();
            let is_place = numbers.len() == 3
                && numbers[..2]
                    .iter()
                    .all(|it| it.parse::<u32>().is_ok_and(|it| it > 0));
            assert!(is_place, "{}: {line}", path.display());
        }
    }
}

/// The folder that all cases stand in.
fn secrets() -> Folder {
    let folder = Folder::new();
    let private = |kind| generate(kind).private_pem;
    let public = folder.write_key("secrets/key.pem");
    folder.write("secrets/public.pem", public);
    folder.write(
        "secrets/issuer",
        "eyJhbGciOiJub25lIn0.issued-for-this-key.signature\n",
    );
    folder.write("secrets/cid", "42\n");
    folder.write("secrets/prime256v1.pem", private(KeyKind::EcP256).expose());
    folder.write("secrets/ed25519.pem", private(KeyKind::Ed25519).expose());
    folder.write("secrets/explicit.pem", explicit_curve());
    folder.write("secrets/encrypted.pem", encrypted());
    folder.write("secrets/cut-off.pem", "-----BEGIN PRIVATE KEY-----\nMIHu\n");
    folder.write("secrets/empty.pem", "");
    folder.write("secrets/blank", " \n");
    folder.write("secrets/everybody.pem", private(KeyKind::EcP521).expose());
    folder.chmod("secrets/everybody.pem", 0o644);
    folder.write("secrets/group.pem", private(KeyKind::EcP521).expose());
    folder.chmod("secrets/group.pem", 0o660);
    folder.write("secrets/word", "tenant of ours");
    folder.write("secrets/secret", "hunter2 hunter2 hunter2 hunter2 hunter2");
    let account = |key: &str| json!({ "serviceAccountId": "7", "privateKey": key }).to_string();
    folder.write("secrets/no-key.json", account(""));
    folder.write("secrets/encrypted.json", account(&encrypted()));
    let number = r#"{ "serviceAccountId": 7, "discoveryURI": "http://tenant of ours/" }"#;
    folder.write("secrets/number.json", number);
    folder.write("secrets/account.json", account("a text"));
    folder.write("secrets/latin-1.pem", b"caf\xe9\n");
    let huge = folder.write("secrets/huge.pem", "");
    let huge = fs::File::options().write(true).open(huge).expect("a file");
    huge.set_len(2 << 20).expect("a sparse file");
    let pipe = folder.path().join("secrets/pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
    fs::create_dir(folder.path().join("secrets/folder")).expect("a folder");
    fs::create_dir(folder.path().join("presets-none")).expect("a folder");
    folder
}

fn encrypted() -> String {
    pem("ENCRYPTED PRIVATE KEY", b"anything")
}

/// `ECPrivateKey` (RFC 5915 section 3) with a `SpecifiedECDomain` in place of the curve's name.
fn explicit_curve() -> String {
    let scalar = [7; 66];
    let domain = [0x30, 0x03, 0x02, 0x01, 0x01];
    let mut members = vec![0x02, 0x01, 0x01, 0x04, 66];
    members.extend(scalar);
    members.extend([0xa0, 5]);
    members.extend(domain);
    let length = u8::try_from(members.len()).expect("short");
    let mut key = vec![0x30, length];
    key.extend(members);
    pem("EC PRIVATE KEY", &key)
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let base64 = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
}

/// Root reads everything, so there is nothing to see for it.
#[test]
fn a_key_that_may_not_be_read_is_named_with_the_user_that_may_not() {
    let user = rustix::process::geteuid().as_raw();
    if user == 0 {
        return;
    }
    let folder = secrets();
    folder.chmod("secrets/key.pem", 0o000);
    let text = fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/config/faults/an-unknown-key.toml"),
    )
    .expect("a case");
    let said = parse(&folder, &text).expect_err("it cannot be read");
    assert!(said.contains("may not be read"), "{said}");
    assert!(said.contains(&format!("uid {user}")), "{said}");
    let key = folder.path().join("secrets/key.pem");
    fs::set_permissions(key, fs::Permissions::from_mode(0o600)).expect("a mode");
}
