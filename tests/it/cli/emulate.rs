//! `countersign emulate`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{run, text};
use crate::support::{Folder, Process, get};

#[test]
fn a_proxy_in_another_process_serves_every_emulated_vendor_with_what_it_left() {
    for (vendor, path) in [
        ("vdr", "/acme/api/v2/assets"),
        ("cylance", "/cylance/devices/v2"),
        ("sws", "/sws/v2-edge/sws/recordings"),
        ("protegrity", "/esa/pty/v2/pim/policies"),
    ] {
        let folder = Folder::new();
        let emulated = Process::start(folder.path(), &["emulate", vendor, "--out", "out"]);
        let said = emulated.wait_for("Ctrl-C ends it");
        assert!(
            said.contains("countersign serve -c out/proxy.toml"),
            "{said}"
        );
        let out = folder.path().join("out");
        for entry in fs::read_dir(&out).expect("the folder").flatten() {
            let mode = entry.metadata().expect("a file").permissions().mode();
            assert_eq!(mode & 0o7777, 0o600, "{:?}", entry.path());
        }
        let file = out.join("proxy.toml");
        let config = fs::read_to_string(&file).expect("a configuration");
        fs::write(&file, config.replace("127.0.0.1:8080", "127.0.0.1:0")).expect("a file");

        let checked = run(&out, &["check", "--online"]);
        let report = text(&checked.stdout);
        assert_eq!(checked.status.code(), Some(0), "{report}");
        assert_eq!(report.matches("ok     ").count(), 2, "{report}");

        let proxy = Process::start(&out, &["serve"]);
        assert_eq!(get(proxy.address(), path).status, 200, "{vendor}");

        let again = run(folder.path(), &["emulate", vendor, "--out", "out"]);
        assert_eq!(again.status.code(), Some(1));
        assert!(text(&again.stderr).contains("exists already"));
        emulated.signal("INT");
        assert!(emulated.wait().0.success());
    }
}

#[test]
fn without_a_folder_nothing_is_written_and_no_secret_is_said() {
    let folder = Folder::new();
    let emulated = Process::start(
        folder.path(),
        &["emulate", "vdr", "--address", "127.0.0.1:0"],
    );
    let said = emulated.wait_for("Ctrl-C ends it");
    assert!(said.contains("listens on https://127.0.0.1:"), "{said}");
    assert!(!said.contains("PRIVATE"), "{said}");
    emulated.signal("TERM");
    assert!(emulated.wait().0.success());
    assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0);
}

#[test]
fn a_vendor_or_an_address_that_is_none_leaves_with_64() {
    let folder = Folder::new();
    for (arguments, said) in [
        (
            &["emulate"][..],
            "known here: `vdr`, `cylance`, `sws`, `protegrity`",
        ),
        (&["emulate", "vdrr"], "did you mean `vdr`?"),
        (&["emulate", "vdr", "--address", "8443"], "no address"),
        (&["emulate", "vdr", "--config", "x"], "means nothing"),
    ] {
        let made = run(folder.path(), arguments);
        assert_eq!(made.status.code(), Some(64), "{arguments:?}");
        assert!(text(&made.stderr).contains(said), "{}", text(&made.stderr));
    }
}
