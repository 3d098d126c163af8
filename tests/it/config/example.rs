//! `proxy.toml.example`: it can be used as it is and with everything in it switched on, and it
//! tells of every key.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use countersign::config::keys::{self, Kind, Presence, Section};
use countersign::config::preset;
use countersign::config::problem::{Problems, Source, Span};
use countersign::config::tree::{self, Node, Value};
use countersign::emulator::Authority;
use countersign::secret::store::Store;
use serde_json::json;

use super::parse;
use crate::cli;
use crate::support::{self, Folder};

/// The declared tables, each with the ways to it; `*` is any name, or any place in a list.
const PLACES: &[(&Section, &[&str])] = &[
    (&keys::ROOT, &[""]),
    (&keys::LOG, &["log"]),
    (&keys::ADMIN, &["admin"]),
    (&keys::LIMITS, &["limits"]),
    (&keys::CLIENT_TIMEOUTS, &["timeouts"]),
    (&keys::DNS, &["dns"]),
    (&keys::SECRETS, &["secrets"]),
    (&keys::CONFINE, &["confine"]),
    (&keys::LISTENER, &["listeners.*"]),
    (&keys::LISTENER_TLS, &["listeners.*.tls"]),
    (&keys::CERTIFICATE, &["listeners.*.tls.certificates.*"]),
    (&keys::SELF_SIGNED, &["credentials.*.self-signed"]),
    (
        &keys::PLACEMENT,
        &[
            "credentials.*.self-signed.placement",
            "credentials.*.exchange.placement",
            "credentials.*.login.placement",
            "credentials.*.static.placement",
        ],
    ),
    (&keys::EXCHANGE, &["credentials.*.exchange"]),
    (&keys::ASSERTION, &["credentials.*.exchange.assertion"]),
    (
        &keys::LOGIN,
        &["credentials.*.login", "credentials.*.protegrity"],
    ),
    (&keys::REFRESH, &["credentials.*.login.refresh"]),
    (&keys::STATIC, &["credentials.*.static"]),
    (&keys::CALL_TIMEOUTS, &["credentials.*.cylance.timeouts"]),
    (&keys::CALL_TIMEOUTS, &["credentials.*.login.timeouts"]),
    (
        &keys::TARGET_TLS,
        &["credentials.*.cylance.tls", "targets.*.tls"],
    ),
    (
        &keys::REFERENCE,
        &[
            "credentials.*.*.key",
            "credentials.*.*.issuer",
            "credentials.*.*.secret",
        ],
    ),
    (&keys::TARGET, &["targets.*"]),
    (&keys::TARGET_TLS, &["targets.*.tls"]),
    (&keys::POOL, &["targets.*.pool"]),
    (&keys::TARGET_TIMEOUTS, &["targets.*.timeouts"]),
    (&keys::TARGET_LIMITS, &["targets.*.limits"]),
    (&keys::RATE, &["targets.*.rate"]),
    (&keys::HEADERS, &["targets.*.headers"]),
    (&keys::HEADERS, &["targets.*.response-headers"]),
    (&keys::VIA, &["targets.*.via"]),
    (&keys::ROUTE, &["targets.*.routes.*"]),
    (&keys::ROUTE_TIMEOUTS, &["targets.*.routes.*.timeouts"]),
];

#[test]
fn the_example_can_be_used_as_it_is() {
    let folder = secrets();
    let loaded = parse(&folder, &shipped()).expect("the example is fine");
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    assert_eq!(loaded.config.listeners.len(), 1);
    assert_eq!(loaded.config.targets.len(), 1);
    assert_eq!(loaded.config.credentials.len(), 1);
}

#[test]
fn the_example_can_be_used_with_everything_in_it_switched_on() {
    let folder = secrets();
    fs::create_dir(folder.path().join("presets")).expect("a folder");
    folder.write("proxy.toml", switched_on());
    let checked = cli::command(folder.path(), &["check"])
        .env("GLOBEX_ISSUER", "an-issuer-longer-than-its-client-id")
        .env("CREDENTIALS_DIRECTORY", folder.path().join("handed-over"))
        .output()
        .expect("the program runs");
    assert_eq!(
        cli::text(&checked.stderr),
        "",
        "nothing is unknown, nothing suspicious"
    );
    assert_eq!(
        cli::text(&checked.stdout),
        "proxy.toml can be used: 5 listeners, 17 credentials, 15 targets\n"
    );
}

#[test]
fn every_declared_key_occurs_in_the_example() {
    let tree = tree(&switched_on());
    let mut missing = Vec::new();
    for (section, ways) in PLACES {
        let given: HashSet<String> = ways
            .iter()
            .flat_map(|way| tables(&tree, way))
            .flat_map(|node| entries(&node).into_iter().map(|(name, _)| name))
            .collect();
        let absent = section.names().filter(|name| !given.contains(*name));
        missing.extend(absent.map(|name| format!("`{name}` of {ways:?}")));
    }
    for preset in preset::known(&Store::Disk, None, &Problems::default()).presets {
        let given: HashSet<String> = tables(&tree, &format!("credentials.*.{}", preset.name))
            .iter()
            .flat_map(|node| entries(node).into_iter().map(|(name, _)| name))
            .collect();
        let inputs = preset
            .inputs
            .iter()
            .filter(|input| !given.contains(&input.name));
        missing.extend(inputs.map(|it| format!("`{}` of preset `{}`", it.name, preset.name)));
    }
    let given = tables(&tree, "credentials.*.*");
    let given: Vec<String> = given
        .iter()
        .flat_map(entries)
        .map(|(name, _)| name)
        .collect();
    for name in keys::CREDENTIAL {
        if !given.iter().any(|it| it == name) {
            missing.push(format!("`{name}` of every credential"));
        }
    }
    assert!(
        missing.is_empty(),
        "the example does not tell of {}",
        missing.join(", ")
    );
}

#[test]
fn every_default_in_the_example_is_the_one_that_is_declared() {
    let tree = tree(&switched_on());
    let mut wrong = Vec::new();
    for (section, ways) in PLACES {
        for key in section.keys {
            let Presence::Default(declared) = key.presence else {
                continue;
            };
            if matches!(key.kind, Kind::Table(_)) || declared == "{}" {
                continue;
            }
            let declared = written(&tree::parse_value(declared, &nowhere()));
            let shown: Vec<String> = ways
                .iter()
                .flat_map(|way| tables(&tree, way))
                .flat_map(|node| entries(&node))
                .filter(|(name, _)| name == key.name)
                .map(|(_, node)| written(&node))
                .collect();
            if !shown.contains(&declared) {
                wrong.push(format!(
                    "`{}` of {ways:?} is {declared}, not {shown:?}",
                    key.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The file as it is.
fn shipped() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("proxy.toml.example");
    fs::read_to_string(path).expect("the example")
}

/// The file with the mark taken away from every line that has a single one.
fn switched_on() -> String {
    let line = |line: &str| match line {
        "#" => "\n".to_owned(),
        line => format!("{}\n", line.strip_prefix("# ").unwrap_or(line)),
    };
    shipped().lines().map(line).collect()
}

/// A folder with everything that the example refers to.
fn secrets() -> Folder {
    use countersign::jws::{KeyKind, generate};
    let folder = Folder::new();
    folder.write_key("secrets/impersonation-api-private.pem");
    folder.write_key("secrets/mgt-api-private.pem");
    folder.write_key("handed-over/globex-key");
    folder.write(
        "secrets/other.pem",
        generate(KeyKind::EcP256).private_pem.expose(),
    );
    for name in ["secrets/issuer", "secrets/mgt-issuer"] {
        folder.write(name, "eyJhbGciOiJub25lIn0.issued-for-this-key.signature\n");
    }
    folder.write_key("secrets/next-private.pem");
    for name in ["secrets/other-next.pem", "secrets/partner-next.pem"] {
        folder.write(name, generate(KeyKind::EcP256).private_pem.expose());
    }
    for name in [
        "cylance",
        "console",
        "recordings",
        "esa",
        "ppc",
        "robot",
        "refresh",
        "delegates",
        "token",
        "door",
        "proxy",
    ] {
        folder.write(
            &format!("secrets/{name}"),
            "a-secret-of-thirty-two-bytes-or-more\n",
        );
    }
    let key = generate(KeyKind::Rsa2048).private_pem;
    let account = json!({
        "serviceAccountId": "89abcdef89abcdef89abcdef89abcdef",
        "privateKey": key.expose_str().expect("PEM"),
        "discoveryURI": "https://auth.alero.eu/auth/realms/serviceaccounts",
    });
    folder.write("secrets/service-account.json", account.to_string());
    let authority = Authority::new().expect("an authority");
    folder.write("secrets/appliances.pem", authority.pem());
    folder.write("secrets/callers.pem", authority.pem());
    folder.write_identity("secrets/gateway", &authority);
    let (certificate, key) = support::client_certificate(&authority);
    folder.write("secrets/client-certificate.pem", certificate);
    folder.write("secrets/client-key.pem", key);
    folder.write("secrets/cid", "42\n");
    fs::create_dir(folder.path().join("state")).expect("a new folder");
    folder.write("secrets/mgt-cid", "43\n");
    folder
}

fn source(text: &str) -> Arc<Source> {
    Arc::new(Source {
        name: "proxy.toml.example".into(),
        text: text.into(),
    })
}

fn nowhere() -> Span {
    Span {
        source: source(""),
        start: 0,
    }
}

fn tree(text: &str) -> Node {
    let problems = Problems::default();
    let tree = tree::parse(&source(text), &problems);
    assert!(problems.is_empty(), "{problems}");
    tree
}

/// The tables at the end of a way.
fn tables(node: &Node, way: &str) -> Vec<Node> {
    let (step, rest) = match way.split_once('.') {
        _ if way.is_empty() => return vec![node.clone()],
        Some(parts) => parts,
        None => (way, ""),
    };
    let next: Vec<Node> = match &node.value {
        Value::List(items) if step == "*" => items.clone(),
        _ => entries(node)
            .into_iter()
            .filter(|(name, _)| step == "*" || name == step)
            .map(|(_, node)| node)
            .collect(),
    };
    next.iter().flat_map(|node| tables(node, rest)).collect()
}

fn entries(node: &Node) -> Vec<(String, Node)> {
    match &node.value {
        Value::Table(table) => table
            .entries
            .iter()
            .map(|it| (it.name.clone(), it.node.clone()))
            .collect(),
        _ => Vec::new(),
    }
}

/// A value without its place.
fn written(node: &Node) -> String {
    match &node.value {
        Value::Text(text) => text.to_toml(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(boolean) => boolean.to_string(),
        Value::Date(date) => date.clone(),
        Value::List(items) => items.iter().map(|it| written(it) + ",").collect(),
        Value::Table(_) => entries(node)
            .iter()
            .map(|(name, it)| format!("{name} = {},", written(it)))
            .collect(),
    }
}
