//! `countersign keygen`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::{run, text};
use crate::support::Folder;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o7777
}

#[test]
fn keygen_writes_the_pair_that_the_vendor_asks_for() {
    for (preset, private, public) in [
        (
            "vdr",
            "impersonation-api-private.pem",
            "impersonation-api-public.pem",
        ),
        (
            "vdr-management",
            "mgt-api-private.pem",
            "mgt-api-public.pem",
        ),
    ] {
        let folder = Folder::new();
        let made = run(folder.path(), &["keygen", preset]);
        assert_eq!(
            (made.status.code(), text(&made.stderr).as_str()),
            (Some(0), "")
        );
        let (private, public) = (folder.path().join(private), folder.path().join(public));
        assert_eq!(mode(&private), 0o600);
        let private = fs::read_to_string(private).expect("the private key");
        let public = fs::read_to_string(public).expect("the public key");
        assert!(
            private.starts_with("-----BEGIN EC PRIVATE KEY-----\n"),
            "as openssl writes it"
        );
        assert!(public.starts_with("-----BEGIN PUBLIC KEY-----\n"));
        let said = text(&made.stdout);
        assert!(said.contains("vdr@secureworks.com"), "{said}");
        assert!(!said.contains("PRIVATE KEY"), "{said}");
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 2);
    }
}

#[test]
fn keygen_writes_over_neither_of_the_two() {
    for name in [
        "impersonation-api-private.pem",
        "impersonation-api-public.pem",
    ] {
        let folder = Folder::new();
        folder.write(name, "in use");
        let made = run(folder.path(), &["keygen", "vdr"]);
        assert_eq!(made.status.code(), Some(1));
        let said = text(&made.stderr);
        assert!(
            said.contains(name) && said.contains("exists already"),
            "{said}"
        );
        let kept = fs::read_to_string(folder.path().join(name)).expect("the file");
        assert_eq!(kept, "in use");
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 1);
    }
}

/// Half a pair is of no use, and would be in the way of the next try.
#[test]
fn keygen_leaves_no_private_key_behind_whose_public_half_could_not_be_written() {
    let folder = Folder::new();
    let nowhere = folder.path().join("nowhere");
    symlink(nowhere, folder.path().join("impersonation-api-public.pem")).expect("a link");
    let made = run(folder.path(), &["keygen", "vdr"]);
    assert_eq!(made.status.code(), Some(1));
    assert!(!folder.path().join("impersonation-api-private.pem").exists());
}

#[test]
fn keygen_writes_to_another_folder_if_told_so() {
    let folder = Folder::new();
    fs::create_dir(folder.path().join("out")).expect("a folder");
    let made = run(folder.path(), &["keygen", "vdr", "--out", "out"]);
    assert_eq!(made.status.code(), Some(0));
    assert!(
        folder
            .path()
            .join("out/impersonation-api-private.pem")
            .exists()
    );
    folder.write("file", "not a folder");
    let made = run(folder.path(), &["keygen", "vdr", "--out", "file/absent"]);
    assert_eq!(made.status.code(), Some(1));
    assert!(
        text(&made.stderr).contains("cannot make the folder file/absent"),
        "{}",
        text(&made.stderr)
    );
}

#[test]
fn public_of_gives_the_public_half_of_a_key_in_either_form() {
    let folder = Folder::new();
    run(folder.path(), &["keygen", "vdr"]);
    let path = folder.path().join("impersonation-api-private.pem");
    let public = folder.path().join("impersonation-api-public.pem");
    let public = fs::read_to_string(public).expect("the public key");
    let sec1 = fs::read_to_string(path).expect("the private key");
    folder.write("pkcs8.pem", pkcs8(&sec1));
    for name in ["impersonation-api-private.pem", "pkcs8.pem"] {
        let printed = run(folder.path(), &["keygen", "--public-of", name]);
        assert_eq!(
            (printed.status.code(), text(&printed.stderr).as_str()),
            (Some(0), "")
        );
        assert_eq!(text(&printed.stdout), public, "{name}");
    }
}

#[test]
fn public_of_something_else_says_what_it_is() {
    let folder = Folder::new();
    run(folder.path(), &["keygen", "vdr"]);
    folder.write("word", "no key");
    for (name, said) in [
        (
            "impersonation-api-public.pem",
            "countersign: impersonation-api-public.pem is a public key already",
        ),
        ("word", "this is not a private key"),
        ("absent.pem", "there is no file absent.pem"),
        (".", "is a folder"),
    ] {
        let printed = run(folder.path(), &["keygen", "--public-of", name]);
        assert_eq!(
            (printed.status.code(), text(&printed.stdout).as_str()),
            (Some(78), "")
        );
        assert!(
            text(&printed.stderr).contains(said),
            "{name}: {}",
            text(&printed.stderr)
        );
    }
}

#[test]
fn keygen_makes_a_key_of_a_kind_that_no_preset_asks_for() {
    let folder = Folder::new();
    for (kind, begins) in [
        ("ec-p256", "-----BEGIN EC PRIVATE KEY-----"),
        ("ed25519", "-----BEGIN PRIVATE KEY-----"),
        ("rsa-2048", "-----BEGIN PRIVATE KEY-----"),
    ] {
        let made = run(folder.path(), &["keygen", kind]);
        assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
        let private = folder.path().join(format!("{kind}-private.pem"));
        assert_eq!(mode(&private), 0o600);
        let pem = fs::read_to_string(private).expect("the private key");
        assert!(pem.starts_with(begins), "{kind}");
    }
}

#[test]
fn public_of_as_a_jwk_has_the_public_members_alone() {
    let folder = Folder::new();
    for (kind, members) in [
        ("ec-p521", ["crv", "kty", "x", "y"].as_slice()),
        ("ed25519", &["crv", "kty", "x"]),
        ("rsa-2048", &["e", "kty", "n"]),
    ] {
        run(folder.path(), &["keygen", kind]);
        let file = format!("{kind}-private.pem");
        let printed = run(folder.path(), &["keygen", "--public-of", &file, "--jwk"]);
        assert_eq!(printed.status.code(), Some(0), "{}", text(&printed.stderr));
        let jwk: serde_json::Value = serde_json::from_slice(&printed.stdout).expect("JSON");
        let names: Vec<&String> = jwk.as_object().expect("an object").keys().collect();
        assert_eq!(names, members, "{kind}");
    }
}

/// A key as PKCS#8 (RFC 5208 section 5), made from SEC1 by wrapping: the curve is named outside too.
fn pkcs8(sec1: &str) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let body: String = sec1.lines().filter(|line| !line.starts_with('-')).collect();
    let sec1 = STANDARD.decode(body).expect("PEM is base64");
    // ecPublicKey and secp521r1: RFC 5480 sections 2.1.1 and 2.1.1.1.
    let kind = [
        0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81,
        0x04, 0x00, 0x23,
    ];
    let key = element(0x04, &sec1);
    let der = element(0x30, &[&[0x02, 0x01, 0x00], kind.as_slice(), &key].concat());
    let base64 = STANDARD.encode(der);
    format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n")
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = content.len().to_be_bytes();
    let mut element = vec![tag, 0x82, high, low];
    element.extend(content);
    element
}

#[test]
fn keygen_makes_a_folder_that_nobody_else_may_look_into() {
    let folder = Folder::new();
    let made = run(folder.path(), &["keygen", "vdr", "--out", "new/keys"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    for name in ["new", "new/keys"] {
        assert_eq!(mode(&folder.path().join(name)), 0o700, "{name}");
    }
    assert!(
        folder
            .path()
            .join("new/keys/impersonation-api-private.pem")
            .exists()
    );
}
