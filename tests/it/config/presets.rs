//! Presets: what the built-in ones expand to, and what an operator's own can and cannot do.
//!
//! `presets/NAME.toml` uses the built-in preset NAME, and `presets/NAME.txt` is what `check --print`
//! says of it. `COUNTERSIGN_UPDATE=1 cargo test --test it presets` writes the second.

use std::fs;
use std::path::{Path, PathBuf};

use countersign::config::preset::{self, BUILT_IN};
use countersign::config::problem::{Problems, Source as Printed};
use countersign::config::tree;
use countersign::credential::Source;
use countersign::credential::template::Filling;
use countersign::emulator::Authority;
use countersign::jws::{KeyKind, generate};
use countersign::secret::store::Store;
use serde_json::json;

use super::{expect, parse, without_place};
use crate::support::Folder;

fn source_folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write_key("secrets/key.pem");
    folder.write(
        "secrets/issuer",
        "eyJhbGciOiJub25lIn0.issued-for-this-key.signature\n",
    );
    folder.write("secrets/cid", "42\n");
    folder.write("secrets/instance", "globex\n");
    folder.write(
        "secrets/secret",
        "hunter2-hunter2-hunter2-hunter2-hunter2\n",
    );
    folder.write("secrets/application", "an-application-id\n");
    folder.write("secrets/tenant", "A-TENANT\n");
    let authority = Authority::new().expect("an authority");
    folder.write("secrets/ca.pem", authority.pem());
    let key = generate(KeyKind::Rsa2048).private_pem;
    let account = |discovery: serde_json::Value| {
        let mut account = json!({ "serviceAccountId": "an-account-id" });
        account["privateKey"] = key.expose_str().expect("PEM").into();
        account["discoveryURI"] = discovery;
        account.to_string()
    };
    let realm = "https://auth.alero.eu/auth/realms/serviceaccounts";
    folder.write("secrets/service-account.json", account(realm.into()));
    folder.write("secrets/older-service-account.json", account("".into()));
    folder
}

#[test]
fn every_built_in_preset_expands_to_what_its_page_asks_for() {
    let folder = folder();
    let mut wrong = Vec::new();
    for (name, _) in BUILT_IN {
        let file = source_folder("tests/it/config/presets").join(format!("{name}.toml"));
        let text =
            fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        match parse(&folder, &text) {
            Ok(loaded) if loaded.warnings.is_empty() => {
                let shown = without_place(&folder, &loaded.shown);
                for secret in [
                    "hunter2",
                    "an-application-id",
                    "an-account-id",
                    "a-tenant",
                    "PRIVATE",
                ] {
                    assert!(!shown.contains(secret), "{name}: {secret}\n{shown}");
                }
                let problems = Problems::default();
                let printed = Printed {
                    name: name.to_string(),
                    text: shown.clone(),
                };
                let _ = tree::parse(&printed.into(), &problems);
                assert!(problems.is_empty(), "{problems}\n{shown}");
                expect(&file.with_extension("txt"), &shown, &mut wrong);
            }
            Ok(loaded) => wrong.push(format!("{name}: {}", loaded.warnings)),
            Err(said) => wrong.push(format!("{name}: {said}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_built_in_preset_is_short_and_names_its_source_and_its_date() {
    for (name, text) in BUILT_IN {
        assert!(
            text.lines().count() <= 60,
            "{name} has {} lines",
            text.lines().count()
        );
        let date = text
            .lines()
            .find_map(|line| line.strip_prefix("checked   = "));
        let date = date.unwrap_or_else(|| panic!("{name} has no date"));
        let numbers: Vec<&str> = date.trim_matches('"').split('-').collect();
        let is_date = matches!(numbers[..], [year, month, day]
            if year.len() == 4 && month.len() == 2 && day.len() == 2)
            && numbers.iter().all(|it| it.parse::<u32>().is_ok());
        assert!(is_date, "{name}: {date} is no year-month-day");
    }
    let problems = Problems::default();
    let known = preset::known(&Store::Disk, None, &problems);
    assert!(problems.is_empty(), "{problems}");
    assert_eq!(known.presets.len(), BUILT_IN.len());
    for preset in known.presets {
        assert!(preset.reference.starts_with("https://"), "{}", preset.name);
        assert!(!preset.about.is_empty(), "{}", preset.name);
    }
}

const VDR: &str = r#"
[listeners.local]
address = "127.0.0.1:8080"

[credentials.acme.vdr]
instance  = "acme"
user      = 123
issuer    = { file = "secrets/issuer" }
client-id = { file = "secrets/cid" }
key       = { file = "secrets/key.pem" }

[targets.acme]
"#;

#[test]
fn an_issuer_and_a_client_id_that_are_swapped_are_noticed() {
    let folder = folder();
    let swapped = VDR
        .replace("secrets/cid", "secrets/x")
        .replace("secrets/issuer", "secrets/cid")
        .replace("secrets/x", "secrets/issuer");
    let loaded = parse(&folder, &swapped).expect("it can be used");
    assert_eq!(
        loaded.warnings.to_string(),
        "proxy.toml:8:13: warning: the issuer is shorter than the client id, and the vendor's are \
         the other way round\n    help: are the two swapped?\n"
    );
}

#[test]
fn a_scope_without_the_one_it_goes_with_is_noticed() {
    let folder = folder();
    let with = |scopes: &str| VDR.replace("user ", &format!("scopes = {scopes}\nuser "));
    let loaded = parse(&folder, &with(r#"["full_access"]"#)).expect("it can be used");
    assert_eq!(
        loaded.warnings.to_string(),
        "proxy.toml:7:10: warning: `full_access` stands without `read_only`, and the vendor always \
         gives them together\n    help: write scopes = [\"read_only\", \"full_access\"]\n"
    );
    for fine in [r#"["read_only"]"#, r#"["read_only", "full_access"]"#] {
        let loaded = parse(&folder, &with(fine)).expect("it can be used");
        assert!(loaded.warnings.is_empty(), "{fine}: {}", loaded.warnings);
    }
}

#[test]
fn a_data_centre_that_the_accounts_file_contradicts_is_noticed() {
    let folder = folder();
    let key = generate(KeyKind::Rsa2048);
    let account = json!({
        "serviceAccountId": "an-account",
        "privateKey": key.private_pem.expose_str(),
        "discoveryURI": "https://auth.alero.eu/auth/realms/serviceaccounts",
    });
    folder.write("account.json", account.to_string());
    let warnings = |data_centre: &str| {
        let text = format!(
            "[listeners.local]\naddress = \"127.0.0.1:0\"\n[credentials.a.sws]\ntenant = \"t\"\n\
             account = {{ file = \"account.json\" }}\ndata-centre = \"{data_centre}\"\n[targets.a]\n"
        );
        parse(&folder, &text)
            .expect("it can be used")
            .warnings
            .to_string()
    };
    assert_eq!(warnings("eu"), "");
    assert!(
        warnings("uk").contains("is of another data centre"),
        "{}",
        warnings("uk")
    );
}

const WIDGETS: &str = r#"
about     = "Widgets Inc, orders"
reference = "https://widgets.example/docs"
checked   = "2026-11-01"

[inputs.region]
type = "label"
doc  = "the region, a part of the host's name"

[inputs.account]
type     = "text"
required = false
doc      = "the account, if there are several"

[inputs.secret]
type = "secret"
doc  = "the secret that Widgets sent"

[credential.self-signed]
algorithm = "HS256"
key       = "${secret}"
lifetime  = "5m"
placement = { header = "X-Widgets-Token", scheme = "" }

[credential.self-signed.claims]
account = "${account}"
region  = "in ${region}"
exp     = "${expires}"

[target]
url    = "https://${region}.widgets.example"
refuse = ["/token"]

[target.response-headers]
remove = ["X-Widgets-Token"]

[[lint]]
input    = "region"
contains = "legacy"
level    = "fault"
say      = "the legacy region was closed"
help     = "ask Widgets for another"
"#;

const WITH_WIDGETS: &str = r#"
presets = "presets"

[listeners.local]
address = "127.0.0.1:8080"

[credentials.orders.widgets]
region = "eu"
secret = { file = "secrets/widgets" }

[targets.orders]
"#;

fn with_widgets(preset: &str) -> Folder {
    let folder = folder();
    folder.write(
        "secrets/widgets",
        "a shared secret of thirty-two bytes or more",
    );
    folder.write("presets/widgets.toml", preset);
    folder
}

#[test]
fn a_vendor_nobody_here_has_heard_of_is_one_file() {
    let folder = with_widgets(WIDGETS);
    folder.write("presets/.widgets.toml", "an editor's leftovers");
    folder.write("presets/README", "not a preset");
    let loaded = parse(&folder, WITH_WIDGETS).expect("it can be used");
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    for line in [
        "# from the preset `widgets`",
        "[credentials.orders.self-signed]",
        "key = { file = \"secrets/widgets\" }",
        "region = \"in eu\"",
        "url = \"https://eu.widgets.example\"",
        "refuse = [\"/token\"]",
    ] {
        assert!(
            loaded.shown.lines().any(|it| it == line),
            "{line}:\n{}",
            loaded.shown
        );
    }
    // What was not given and may be left out is left out.
    assert!(!loaded.shown.contains("account"), "{}", loaded.shown);
    let placement = &loaded.config.credentials[0].placement;
    assert_eq!(
        placement.place.header().map(http::HeaderName::as_str),
        Some("x-widgets-token")
    );
}

#[test]
fn a_preset_of_ones_own_can_refuse() {
    let folder = with_widgets(WIDGETS);
    let text = WITH_WIDGETS.replace("\"eu\"", "\"eu-legacy\"");
    assert_eq!(
        parse(&folder, &text).map(drop).expect_err("refused"),
        "proxy.toml:8:10: the legacy region was closed\n    help: ask Widgets for another\n"
    );
}

#[test]
fn a_preset_cannot_have_the_name_of_a_built_in_kind() {
    for name in ["vdr", "vdr-management", "self-signed"] {
        let folder = with_widgets(WIDGETS);
        folder.write(&format!("presets/{name}.toml"), WIDGETS);
        assert_eq!(
            parse(&folder, WITH_WIDGETS).map(drop).expect_err("refused"),
            format!(
                "proxy.toml:2:11: FOLDER/presets/{name}.toml has the name of a built-in kind\n    \
                 help: a preset of yours needs a name of its own\n"
            )
        );
    }
}

/// What is wrong with a preset is said once, where it stands, and not again where it is used.
#[test]
fn a_preset_with_faults_is_refused_where_they_stand() {
    for (from, to, said) in [
        (
            "account = \"${account}\"",
            "account = \"${acount}\"",
            "FOLDER/presets/widgets.toml:26:11: `acount` is no input of this preset\n    \
             help: did you mean `account`?\n",
        ),
        (
            "account = \"${account}\"",
            "account = \"number ${account}\"",
            "FOLDER/presets/widgets.toml:26:11: `account` may be missing and cannot be a part of a \
             text\n    help: give the input a default, or a key of its own\n",
        ),
        (
            "account = \"${account}\"",
            "account = \"it is ${secret}\"",
            "FOLDER/presets/widgets.toml:26:11: `secret` is a table and cannot be a part of a \
             text\n    help: give the input a default, or a key of its own\n",
        ),
        (
            "required = false",
            "default = \"${rgion}\"",
            "FOLDER/presets/widgets.toml:12:11: `rgion` is no input that stands before `account`\n    \
             help: did you mean `region`?\n",
        ),
        (
            "required = false",
            "in = \"secret\"\nfrom = \"/account\"",
            "FOLDER/presets/widgets.toml:10:9: `account` is said to be in `secret`, which is no secret \
             that stands before it\n    help: the file is an input of the type `secret`\n",
        ),
        (
            "required = false",
            "from = [\"account\"]",
            "FOLDER/presets/widgets.toml:10:9: `from` means nothing in [inputs.account]\n    \
             help: `in` names the input that is the file\n",
        ),
        (
            "required = false",
            "join = \",\"",
            "FOLDER/presets/widgets.toml:10:9: `join` means nothing in [inputs.account]\n    \
             help: it is for inputs of the type `texts`\n",
        ),
        (
            "input    = \"region\"",
            "input    = \"rgion\"",
            "FOLDER/presets/widgets.toml:37:1: `rgion` is no input of this preset\n    \
             help: did you mean `region`?\n",
        ),
        (
            "required = false",
            "default = 7",
            "FOLDER/presets/widgets.toml:12:11: the default of `account` cannot be a whole number\n    \
             help: it is of the input's own type\n",
        ),
        (
            "[[lint]]",
            "[key]\nkind = \"ec-p522\"\nprivate = \"a\"\npublic = \"b\"\nnext = \"c\"\n[[lint]]",
            "FOLDER/presets/widgets.toml:38:8: `kind` in [key]: `ec-p522` is not a kind of key; known ",
        ),
        (
            "[inputs.region]",
            "[inputs.now]",
            "FOLDER/presets/widgets.toml:6:9: `now` has a meaning of its own and cannot be an \
             input\n",
        ),
        (
            "about     = \"Widgets",
            "about     = Widgets",
            "FOLDER/presets/widgets.toml:2:13: this is not TOML: ",
        ),
    ] {
        let folder = with_widgets(&WIDGETS.replace(from, to));
        let found = parse(&folder, WITH_WIDGETS).map(drop).expect_err("refused");
        assert!(found.starts_with(said), "{to}:\n{found}");
        assert!(!found.contains("proxy.toml"), "{to}:\n{found}");
    }
}

/// A fault that only shows with an input's value names both lines.
#[test]
fn a_fault_inside_a_preset_names_the_line_that_gave_the_input() {
    let folder = with_widgets(&WIDGETS.replace("\"5m\"", "\"${account}\""));
    let text = WITH_WIDGETS.replace("region =", "account = \"soon\"\nregion =");
    assert_eq!(
        parse(&folder, &text).map(drop).expect_err("refused"),
        "FOLDER/presets/widgets.toml:22:13: `lifetime` in [credentials.orders.widgets]: `soon` does \
         not start with a whole number\n    given at proxy.toml:8:11\n"
    );
}

#[test]
fn a_text_that_was_read_is_never_looked_through_for_variables() {
    let folder = folder();
    let odd = "${now} ${key} ${issuer} $${uuid} ${";
    folder.write("secrets/issuer", odd);
    let loaded = parse(&folder, VDR).expect("it can be used");
    let Source::SelfSigned(source) = &loaded.config.credentials[0].source else {
        panic!("a self-signed credential")
    };
    let claims = source.claims.fill(&Filling {
        now: 1,
        expires: 2,
        texts: &[],
    });
    assert_eq!(claims["iss"], json!(odd));
    assert_eq!(claims["iat"], json!(1));
    assert_eq!(claims["sub"], json!("user:123"));
    assert!(!loaded.shown.contains(odd), "{}", loaded.shown);
}

/// Neither do they multiply: each is looked through once.
#[test]
fn tables_of_claims_that_name_each_other_are_a_fault_and_no_circle() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let all: Vec<String> = names
        .iter()
        .map(|name| format!("x{name} = \"${{{name}}}\""))
        .collect();
    let inputs: String = names
        .iter()
        .map(|name| format!("[inputs.{name}]\ntype = \"claims\"\ndoc = \"claims\"\n"))
        .collect();
    let preset = WIDGETS.replace("[inputs.region]", &format!("{inputs}\n[inputs.region]"));
    let given: String = names
        .iter()
        .map(|name| format!("{name} = {{ {} }}\n", all.join(", ")))
        .collect();
    let text = WITH_WIDGETS.replace("region =", &format!("{given}region ="));
    let said = parse(&with_widgets(&preset), &text)
        .map(drop)
        .expect_err("refused");
    assert!(
        said.contains("`b` is a table of claims and stands in no other"),
        "{said}"
    );
}

/// What a file says is neither shown nor hinted at, be it read from inside JSON or one of a few
/// words; and parts of a file are as good as inputs of their own.
#[test]
fn inputs_inside_a_file_are_read_and_never_shown() {
    let preset = WIDGETS
        .replace(
            "[inputs.region]\ntype = \"label\"",
            "[inputs.file]\ntype = \"secret\"\ndoc = \"a file\"\n\
             [inputs.region]\ntype = \"label\"\nin = \"file\"\nfrom = [\"/none\", \"/region\"]\n\
             lower = true\nchoices = { e = \"eu\", n = \"na\" }",
        )
        .replace(
            "type = \"secret\"\ndoc  =",
            "type = \"secret\"\nin = \"file\"\nfrom = \"/secret\"\ndoc =",
        );
    let folder = with_widgets(&preset);
    let text = WITH_WIDGETS
        .replace(
            "region = \"eu\"",
            "file = { file = \"secrets/widgets.json\" }",
        )
        .replace("secret = { file = \"secrets/widgets\" }\n", "");
    let with = |region: &str| {
        let json = json!({ "region": region, "secret": "hunter2-hunter2-hunter2-hunter2" });
        folder.write("secrets/widgets.json", json.to_string());
        parse(&folder, &text)
    };
    let loaded = with("N").expect("it can be used");
    let origin =
        "<{ file = \\\"secrets/widgets.json\\\", pointer = [\\\"/none\\\", \\\"/region\\\"] }>";
    let url = format!("url = \"https://{origin}.widgets.example\"");
    assert!(loaded.shown.lines().any(|it| it == url), "{}", loaded.shown);
    assert!(!loaded.shown.contains("hunter2"), "{}", loaded.shown);
    for (region, said) in [
        ("x", "is not a choice\n    help: known here: `e`, `n`\n"),
        ("hush hush", "is not one part of a host name\n"),
    ] {
        let found = with(region).map(drop).expect_err("refused");
        assert!(found.contains(said), "{found}");
        assert!(!found.contains("hush"), "{found}");
    }
}
