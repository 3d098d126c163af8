//! `countersign init`.

use countersign::config::preset::BUILT_IN;

use super::{run, text};
use crate::support::Folder;

/// A value for each blank, by the key it stands at.
fn filled(printed: &str) -> String {
    let printed = &printed.replace("\"CHANGE-ME\"  # a number", "7");
    let mut text = String::new();
    for line in printed.lines() {
        let key = line.split(" = ").next().unwrap_or_default();
        let value = match key {
            "region" => "us",
            "data-centre" => "eu",
            // Longer than the client id, as the vendor's are.
            "issuer" => "an-issuer-that-is-long",
            "client-id" => "42",
            "discovery" => "https://auth.alero.example/realm",
            _ => "acme",
        };
        let value = match key {
            "region" if printed.contains(".cylance]") => "euc1",
            _ => value,
        };
        text.push_str(&line.replace("CHANGE-ME", value));
        text.push('\n');
    }
    text
}

/// Writes the files that the text names.
fn folder(config: &str) -> Folder {
    let folder = Folder::new();
    for (at, _) in config.match_indices("{ file = \"") {
        let rest = &config[at + "{ file = \"".len()..];
        let name = &rest[..rest.find('"').expect("a closing quote")];
        if name.ends_with(".pem") {
            folder.write_key(name);
        } else if name.ends_with("account") || name.ends_with("sws-key") {
            let key = countersign::jws::generate(countersign::jws::KeyKind::Rsa2048);
            let account = serde_json::json!({
                "serviceAccountId": "11eb",
                "privateKey": key.private_pem.expose_str(),
                "discoveryURI": "https://auth.alero.eu/auth/realms/serviceaccounts",
            });
            let is_key = name.ends_with("key");
            let content = match is_key {
                true => key.private_pem.expose_str().expect("PEM").to_owned(),
                false => account.to_string(),
            };
            folder.write(name, content);
        } else {
            folder.write(name, "a shared secret of thirty-two bytes or more");
        }
    }
    folder.write("proxy.toml", config);
    folder
}

#[test]
fn what_is_printed_for_any_preset_can_be_used_once_its_blanks_are_filled() {
    for (preset, _) in BUILT_IN {
        let here = Folder::new();
        let made = run(here.path(), &["init", preset]);
        assert_eq!(
            (made.status.code(), text(&made.stderr).as_str()),
            (Some(0), "")
        );
        let printed = text(&made.stdout);
        assert!(printed.contains("# https://"), "{preset} names its page");
        let is_short = |line: &str| line.starts_with("# https://") || line.chars().count() <= 100;
        assert!(printed.lines().all(is_short), "{printed}");
        let config = filled(&printed);
        let folder = folder(&config);
        let checked = run(folder.path(), &["check"]);
        assert_eq!(
            (checked.status.code(), text(&checked.stderr).as_str()),
            (Some(0), ""),
            "{preset}:\n{config}"
        );
        assert!(text(&checked.stdout).contains("1 listener, 1 credential, 1 target"));
    }
}

/// What is offered as a comment is right as well.
#[test]
fn what_is_printed_can_be_used_with_its_optional_keys_switched_on() {
    for (preset, _) in BUILT_IN {
        let printed = text(&run(Folder::new().path(), &["init", preset]).stdout);
        let switched_on: Vec<String> = printed
            .lines()
            .map(|line| {
                let is_key = |rest: &str| {
                    let key = rest.split(" = ").next().unwrap_or_default();
                    rest.contains(" = ") && !key.contains(' ')
                };
                match line.strip_prefix("# ").filter(|rest| is_key(rest)) {
                    Some(rest) => rest.to_owned(),
                    None => line.to_owned(),
                }
            })
            .collect();
        let config = filled(&switched_on.join("\n"));
        let folder = folder(&config);
        let checked = run(folder.path(), &["check"]);
        assert_eq!(
            checked.status.code(),
            Some(0),
            "{preset}: {}\n{config}",
            text(&checked.stderr)
        );
    }
}

#[test]
fn a_placeholder_that_was_left_is_a_fault_wherever_it_stands() {
    for (preset, blanks) in [("cylance", 3), ("vdr", 4), ("protegrity", 2)] {
        let printed = text(&run(Folder::new().path(), &["init", preset]).stdout);
        let folder = folder(&printed);
        let checked = run(folder.path(), &["check"]);
        let said = text(&checked.stderr);
        assert_eq!(checked.status.code(), Some(78), "{said}");
        assert_eq!(
            said.matches("is still to be filled in").count(),
            blanks,
            "{said}"
        );
    }
}

#[test]
fn init_alone_lists_the_presets() {
    let made = run(Folder::new().path(), &["init"]);
    let out = text(&made.stdout);
    for (preset, _) in BUILT_IN {
        assert!(
            out.lines()
                .any(|line| line.starts_with(&format!("{preset} "))),
            "{out}"
        );
    }
    let made = run(Folder::new().path(), &["init", "cylanc"]);
    assert_eq!(made.status.code(), Some(64));
    assert!(text(&made.stderr).contains("did you mean `cylance`?"));
}
