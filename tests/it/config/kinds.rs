//! Whatever is written where something else belongs is refused by name: every declared key, with
//! every kind of TOML value that it does not take.

use countersign::config::keys::{self, Kind, Section};
use countersign::emulator::Authority;
use serde_json::{Value, json};
use uuid::Uuid;

use super::parse;
use crate::support::Folder;

/// One value of each kind, as TOML writes it.
const VALUES: &[(&str, &str)] = &[
    ("text", r#""text""#),
    ("integer", "7"),
    ("float", "1.5"),
    ("boolean", "true"),
    ("date", "1979-05-27"),
    ("time", "1979-05-27T07:32:00Z"),
    ("list", "[7]"),
    ("table", "{ a = 7 }"),
];

/// The declared tables of `proxy.toml`, each with the way to it in [`base`].
const PLACES: &[(&Section, &str)] = &[
    (&keys::ROOT, ""),
    (&keys::LOG, "/log"),
    (&keys::ADMIN, "/admin"),
    (&keys::LIMITS, "/limits"),
    (&keys::CLIENT_TIMEOUTS, "/timeouts"),
    (&keys::DNS, "/dns"),
    (&keys::SECRETS, "/secrets"),
    (&keys::CONFINE, "/confine"),
    (&keys::LISTENER, "/listeners/local"),
    (&keys::LISTENER_TLS, "/listeners/local/tls"),
    (&keys::CERTIFICATE, "/listeners/local/tls/certificates/0"),
    (&keys::SELF_SIGNED, "/credentials/acme/self-signed"),
    (&keys::PLACEMENT, "/credentials/acme/self-signed/placement"),
    (&keys::REFERENCE, "/credentials/acme/self-signed/key"),
    (&keys::REFERENCE, "/credentials/acme/self-signed/kid"),
    (&keys::EXCHANGE, "/credentials/partner/exchange"),
    (&keys::ASSERTION, "/credentials/partner/exchange/assertion"),
    (&keys::PLACEMENT, "/credentials/partner/exchange/placement"),
    (&keys::TARGET_TLS, "/credentials/partner/exchange/tls"),
    (
        &keys::CALL_TIMEOUTS,
        "/credentials/partner/exchange/timeouts",
    ),
    (&keys::LOGIN, "/credentials/cluster/login"),
    (&keys::REFRESH, "/credentials/cluster/login/refresh"),
    (&keys::REFERENCE, "/credentials/cluster/login/password"),
    (&keys::STATIC, "/credentials/sidecar/static"),
    (&keys::TARGET, "/targets/acme"),
    (&keys::TARGET_TLS, "/targets/acme/tls"),
    (&keys::POOL, "/targets/acme/pool"),
    (&keys::TARGET_TIMEOUTS, "/targets/acme/timeouts"),
    (&keys::TARGET_LIMITS, "/targets/acme/limits"),
    (&keys::RATE, "/targets/acme/rate"),
    (&keys::HEADERS, "/targets/acme/headers"),
    (&keys::HEADERS, "/targets/acme/response-headers"),
    (&keys::VIA, "/targets/sidecar/via"),
    (&keys::ROUTE, "/targets/acme/routes/0"),
    (&keys::ROUTE_TIMEOUTS, "/targets/acme/routes/0/timeouts"),
];

/// The declared tables of a preset, likewise in [`preset`].
const PRESET_PLACES: &[(&Section, &str)] = &[
    (&keys::PRESET, ""),
    (&keys::INPUT, "/inputs/word"),
    (&keys::PRESET_KEY, "/key"),
    (&keys::LINT, "/lint/0"),
];

/// A configuration with every table in it; its leaves are written as in TOML.
fn base() -> Value {
    json!({
        "log": {}, "admin": { "address": r#""127.0.0.1:0""# }, "limits": {}, "timeouts": {}, "dns": {},
        "secrets": {}, "confine": {},
        "listeners": { "local": { "address": r#""127.0.0.1:0""#, "tls": { "certificates": [{
            "certificate": r#""local.pem""#, "key": { "file": r#""local-key.pem""# },
        }] } } },
        "credentials": { "acme": { "self-signed": {
            "algorithm": r#""HS256""#,
            "key": { "file": r#""secret""# },
            "kid": { "file": r#""kid""# },
            "claims": { "sub": r#""me""# },
            "placement": {},
        } }, "partner": { "exchange": {
            "url": r#""https://partner.example/token""#,
            "grant": r#""none""#,
            "assertion": {
                "algorithm": r#""HS256""#,
                "key": { "file": r#""secret""# },
                "claims": { "sub": r#""me""# },
            },
            "placement": {}, "tls": {}, "timeouts": {}, "parameters": {}, "headers": {},
        } }, "cluster": { "login": {
            "url": r#""https://cluster.example/login""#,
            "token": r#""/token""#,
            "parameters": { "user": r#""me""# },
            "password": { "file": r#""kid""# },
            "refresh": { "url": r#""https://cluster.example/refresh""# },
        } }, "sidecar": { "static": { "token": { "file": r#""kid""# } } } },
        "targets": { "partner": { "url": r#""https://partner.example""# },
            "cluster": { "url": r#""https://cluster.example""# },
            "sidecar": { "url": r#""https://sidecar.example""#,
                "via": { "url": r#""http://proxy.example:3128""# } }, "acme": {
            "url": r#""https://acme.example""#,
            "tls": {}, "pool": {}, "timeouts": {}, "headers": {}, "response-headers": {},
            "limits": {}, "rate": { "requests": "7" },
            "routes": [{ "timeouts": {} }],
        } },
    })
}

fn preset() -> Value {
    json!({
        "about": r#""a vendor""#, "reference": r#""a page""#, "checked": r#""2026-01-01""#,
        "inputs": { "word": { "type": r#""text""#, "doc": r#""a word""# } },
        "credential": { "self-signed": {
            "algorithm": r#""HS256""#,
            "key": { "file": r#""secret""# },
            "claims": { "sub": r#""${word}""# },
        } },
        "target": { "url": r#""https://vendor.example""# },
        "key": {
            "kind": r#""ec-p521""#, "private": r#""a""#, "public": r#""b""#, "next": r#""c""#,
        },
        "lint": [{ "input": r#""word""#, "say": r#""a""#, "help": r#""b""# }],
    })
}

#[test]
fn the_base_that_the_tests_here_start_from_is_fine() {
    let folder = folder();
    parse(&folder, &toml(&base()))
        .map(drop)
        .expect("it is fine");
    with_preset(&folder, &preset()).expect("it is fine");
}

#[test]
fn a_value_of_the_wrong_kind_is_refused_by_the_name_of_its_key() {
    let folder = folder();
    let mut wrong = Vec::new();
    for (section, place) in PLACES {
        for (key, kind, value, document) in with_wrong_kinds(section, place, &base()) {
            let said = parse(&folder, &toml(&document)).map(|loaded| loaded.shown);
            note(&mut wrong, section, key, (kind, value), said);
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of them:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn a_value_of_the_wrong_kind_in_a_preset_is_refused_likewise() {
    let folder = folder();
    let mut wrong = Vec::new();
    for (section, place) in PRESET_PLACES {
        for (key, kind, value, document) in with_wrong_kinds(section, place, &preset()) {
            let said = with_preset(&folder, &document);
            note(&mut wrong, section, key, (kind, value), said);
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of them:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// The same key, wrong in any way, is spoken of once.
fn note(
    wrong: &mut Vec<String>,
    section: &Section,
    key: &str,
    (kind, value): (&str, &str),
    said: Result<String, String>,
) {
    let place = format!("`{key} = {value}` ({kind}) in [{}]", section.path);
    match said {
        Ok(_) => wrong.push(format!("{place} was accepted")),
        Err(said) => {
            let named = [format!("`{key}`"), format!("{key}]"), format!("{key}.")];
            if !named.iter().any(|it| said.contains(it)) {
                wrong.push(format!("{place} is not named:\n{said}"));
            }
            let faults: Vec<&str> = said.lines().filter(|it| !it.starts_with(' ')).collect();
            if faults
                .iter()
                .enumerate()
                .any(|(place, it)| faults[..place].contains(it))
            {
                wrong.push(format!("{place} is reported twice:\n{said}"));
            }
        }
    }
}

/// The document with each key of a table set to each kind of value that it does not take.
fn with_wrong_kinds(
    section: &'static Section,
    place: &str,
    base: &Value,
) -> Vec<(&'static str, &'static str, &'static str, Value)> {
    let mut documents = Vec::new();
    for key in section.keys {
        for (kind, value) in VALUES.iter().filter(|(kind, _)| !takes(&key.kind, kind)) {
            let mut document = base.clone();
            let table = document
                .pointer_mut(place)
                .expect("the base has every table");
            let table = table.as_object_mut().expect("a table");
            // A reference has one key.
            if std::ptr::eq(section, &raw const keys::REFERENCE) {
                table.clear();
            }
            table.insert(key.name.to_owned(), (*value).into());
            documents.push((key.name, *kind, *value, document));
        }
    }
    documents
}

fn takes(kind: &Kind, value: &str) -> bool {
    match kind {
        Kind::Text
        | Kind::TextOrTable(_)
        | Kind::Duration
        | Kind::Timeout
        | Kind::Size
        | Kind::Word(_)
        | Kind::Identifier => value == "text",
        Kind::Texts => value == "text",
        Kind::Integer(..) => value == "integer",
        Kind::Integers(..) => matches!(value, "integer" | "list"),
        Kind::Boolean => value == "boolean",
        Kind::Any => true,
        Kind::Free => value == "table",
        Kind::Secret | Kind::TextTable | Kind::Table(_) | Kind::Tables(_) | Kind::Named(_) => false,
    }
}

fn folder() -> Folder {
    let folder = Folder::new();
    // The cheapest key to read: it is read thousands of times.
    folder.write("secret", Uuid::new_v4().simple().to_string());
    folder.write("kid", "the key");
    folder.write_identity("local", &Authority::new().expect("an authority"));
    folder
}

fn with_preset(folder: &Folder, preset: &Value) -> Result<String, String> {
    folder.write("presets/vendor.toml", toml(preset));
    let text = r#"
        presets = "presets"
        [listeners.local]
        address = "127.0.0.1:0"
        [credentials.acme.vendor]
        word = "a word"
        [targets.acme]
    "#;
    parse(folder, text).map(|loaded| loaded.shown)
}

/// A tree as TOML, every table of it inline.
fn toml(document: &Value) -> String {
    let entries = document.as_object().expect("a document is a table");
    entries
        .iter()
        .map(|(name, value)| format!("{name} = {}\n", inline(value)))
        .collect()
}

fn inline(value: &Value) -> String {
    match value {
        Value::Object(entries) => {
            let entries = entries
                .iter()
                .map(|(name, it)| format!("{name} = {}", inline(it)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => {
            format!(
                "[{}]",
                items.iter().map(inline).collect::<Vec<_>>().join(", ")
            )
        }
        leaf => leaf
            .as_str()
            .expect("leaves are written as in TOML")
            .to_owned(),
    }
}
