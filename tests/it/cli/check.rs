//! `countersign check`.

use std::process::Stdio;

use super::{command, run, text};
use crate::support::Folder;

const GOOD: &str = r#"
[listeners.local]
address = "127.0.0.1:8080"

[credentials.acme.vdr]
instance  = { file = "secrets/instance" }
user      = 123
issuer    = { file = "secrets/issuer" }
client-id = "42"
key       = { file = "secrets/key.pem" }

[credentials.other.self-signed]
algorithm = "HS256"
key       = { env = "OTHER_SECRET" }
claims    = { sub = "me", "https://example.com/role" = "${now}", share = 1.0 }

[targets.acme]

[targets.other]
url = "https://other.example"
"#;

fn folder(config: &str) -> Folder {
    let folder = Folder::new();
    folder.write_key("secrets/key.pem");
    folder.write("secrets/instance", "hush-hush\n");
    folder.write("secrets/issuer", "who-issued-it-is-nobodys-business\n");
    folder.write("proxy.toml", config);
    folder
}

fn check(folder: &Folder, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = command(folder.path(), arguments)
        .env(
            "OTHER_SECRET",
            "a shared secret of thirty-two bytes or more",
        )
        .output()
        .expect("the program runs");
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn check_leaves_with_0_if_a_configuration_can_be_used() {
    let (code, out, err) = check(&folder(GOOD), &["check"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(
        out,
        "proxy.toml can be used: 1 listener, 2 credentials, 2 targets\n"
    );
}

#[test]
fn what_other_machines_can_reach_is_pointed_out() {
    let config = GOOD.replace("127.0.0.1:8080", "0.0.0.0:8080");
    let pages = "[admin]\naddress = \"[::]:9901\"\n";
    let (code, _, err) = check(&folder(&(config + pages)), &["check"]);
    assert_eq!(code, Some(0), "{err}");
    for place in ["0.0.0.0:8080 (listener `local`)", "[::]:9901 ([admin])"] {
        let note = format!("note: whoever can reach {place} can ");
        assert!(err.contains(&note), "{err}");
    }
}

#[test]
fn check_leaves_with_78_and_says_why_on_stderr_if_not() {
    let folder = folder(&GOOD.replace("user      = 123\n", "usr = 123\n"));
    let (code, out, err) = check(&folder, &["check", "--print"]);
    assert_eq!((code, out.as_str()), (Some(78), ""));
    assert_eq!(
        err,
        "proxy.toml:5:19: `user` is missing in [credentials.acme.vdr]\n    \
         help: it is the id of the user that requests are made as, a number\n\
         proxy.toml:7:1: unknown key `usr` in [credentials.acme.vdr]\n    \
         help: did you mean `user`?\n\
         countersign: proxy.toml cannot be used: 2 faults\n"
    );
    let (code, _, err) = check(&folder, &["serve"]);
    assert_eq!(code, Some(78));
    assert!(err.contains("`user` is missing"), "{err}");
}

#[test]
fn a_configuration_that_is_not_there_or_not_text_is_one_that_cannot_be_used() {
    let folder = folder("");
    folder.write("latin-1.toml", b"# caf\xe9\n");
    for (name, said) in [
        (
            "absent.toml",
            "there is no file absent.toml\n    help: name the file with --config FILE; without it, ./proxy.toml is read, else /etc/countersign/proxy.toml; `countersign init` prints one to begin with\n",
        ),
        ("latin-1.toml", "latin-1.toml is not text in UTF-8\n"),
        (
            "secrets",
            "secrets is a folder\n    help: name a file in it\n",
        ),
        ("/dev/null", "/dev/null is a pipe or a device\n"),
    ] {
        let (code, _, err) = check(&folder, &["check", "--config", name]);
        assert_eq!(code, Some(78), "{name}");
        assert!(err.starts_with(said), "{name}: {err}");
    }
}

#[test]
fn what_is_printed_has_presets_expanded_and_no_secret_in_it() {
    let folder = folder(GOOD);
    let (code, out, err) = check(&folder, &["check", "--print"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    for line in [
        "# from the preset `vdr`",
        "[credentials.acme.self-signed]",
        "algorithm = \"ES512\"",
        "key = { file = \"secrets/key.pem\" }",
        "iss = { file = \"secrets/issuer\" }",
        "aud = { file = \"secrets/instance\" }",
        "sub = \"user:123\"",
        "cid = \"42\"",
        "\"https://example.com/role\" = \"${now}\"",
        "share = 1.0",
        "key = { env = \"OTHER_SECRET\" }",
        "refuse = [\"/auth/oauth2\"]",
    ] {
        assert!(
            out.lines().any(|it| it == line),
            "{line} is missing in\n{out}"
        );
    }
    for hidden in ["PRIVATE", "hush-hush", "nobodys-business", "shared secret"] {
        assert!(!out.contains(hidden), "{hidden} is in\n{out}");
    }
}

/// References stand in the text as they were written, so it can be looked up what they meant.
#[test]
fn what_is_printed_is_toml() {
    use countersign::config::problem::{Problems, Source};
    let (_, out, _) = check(&folder(GOOD), &["check", "--print"]);
    let problems = Problems::default();
    let source = Source {
        name: "printed".into(),
        text: out,
    };
    let _ = countersign::config::tree::parse(&source.into(), &problems);
    assert!(problems.is_empty(), "{problems}");
}

/// `countersign check --print | head -1`
#[test]
fn a_reader_that_goes_away_early_is_no_reason_to_panic() {
    let folder = folder(GOOD);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = command(folder.path(), &["check", "--print"])
        .env(
            "OTHER_SECRET",
            "a shared secret of thirty-two bytes or more",
        )
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .expect("the program runs");
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn arguments_that_mean_nothing_leave_with_64() {
    let folder = folder(GOOD);
    for arguments in [
        &["chekc"][..],
        &["check", "proxy.toml"],
        &["check", "--out", "."],
        &["check", "--config"],
        &["--prnt"],
        &["serve", "--print"],
        &["keygen"],
        &["keygen", "no-such-vendor"],
        &["keygen", "vdr", "vdr-management"],
        &["keygen", "--config", "proxy.toml", "vdr"],
        &["keygen", "--public-of", "secrets/key.pem", "--out", "."],
        &["--public-of", "secrets/key.pem"],
        &["check", "--online", "--print"],
        &["token"],
        &["token", "acme", "other"],
        &["token", "acme", "--header", "--claims"],
        &["init", "--config", "proxy.toml"],
        &["keygen", "--jwk"],
        &["keygen", "vdr", "--jwk"],
        &["emulate", "vdr", "sws"],
    ] {
        let output = run(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(
            text(&output.stderr).starts_with("countersign: "),
            "{arguments:?}"
        );
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
    }
}

#[test]
fn a_socket_without_its_folder_is_a_fault() {
    let config = GOOD.replace("127.0.0.1:8080", "unix:nowhere/http.sock");
    let (code, _, err) = check(&folder(&config), &["check"]);
    assert_eq!(code, Some(78));
    assert!(err.contains("proxy.toml:3:11: "), "{err}");
    assert!(err.contains("nowhere for the socket"), "{err}");
    let here = GOOD.replace("127.0.0.1:8080", "unix:secrets/http.sock");
    assert_eq!(check(&folder(&here), &["check"]).0, Some(0));
}

#[test]
fn landlock_cannot_be_required_beside_a_program() {
    let command = GOOD.replace(
        "{ file = \"secrets/key.pem\" }",
        "{ command = [\"cat\", \"secrets/key.pem\"] }",
    );
    assert_eq!(check(&folder(&command), &["check"]).0, Some(0));
    let config = format!("{command}\n[confine]\nlandlock = \"required\"\n");
    let (code, _, err) = check(&folder(&config), &["check"]);
    assert_eq!(code, Some(78));
    let line = config
        .lines()
        .position(|it| it.contains("[confine]"))
        .expect("there")
        + 1;
    let at = config
        .lines()
        .position(|it| it.contains("command"))
        .expect("there")
        + 1;
    assert!(err.contains(&format!("proxy.toml:{line}:")), "{err}");
    assert!(err.contains(&format!("(at proxy.toml:{at}:")), "{err}");
}
