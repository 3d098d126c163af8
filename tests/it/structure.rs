//! The shape of the house, held against its sources: who may use whom.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The modules at the top, each with those it may use. Leaves stand at the end and use only leaves.
const MAY_USE: &[(&str, &[&str])] = &[
    (
        "cli",
        &[
            "app",
            "clock",
            "config",
            "confine",
            "credential",
            "dial",
            "emulator",
            "jws",
            "listener",
            "outgoing",
            "plan",
            "router",
            "secret",
            "supervisor",
            "telemetry",
        ],
    ),
    (
        "config",
        &[
            "admin",
            "app",
            "body",
            "caller",
            "confine",
            "credential",
            "dial",
            "headers",
            "host",
            "jws",
            "limits",
            "listener",
            "normalize",
            "outgoing",
            "plan",
            "respond",
            "router",
            "secret",
            "telemetry",
            "tls",
            "upstream",
            "url",
        ],
    ),
    (
        "admin",
        &[
            "clock",
            "credential",
            "host",
            "listener",
            "metrics",
            "plan",
            "shutdown",
            "telemetry",
            "unwind",
        ],
    ),
    (
        "app",
        &[
            "admin",
            "body",
            "caller",
            "clock",
            "confine",
            "credential",
            "dial",
            "limits",
            "listener",
            "metrics",
            "normalize",
            "plan",
            "router",
            "secret",
            "shutdown",
            "supervisor",
            "telemetry",
            "tls",
            "unwind",
            "worker",
        ],
    ),
    (
        "worker",
        &[
            "caller", "clock", "dial", "gateway", "listener", "metrics", "plan", "shutdown",
            "unwind",
        ],
    ),
    (
        "caller",
        &[
            "gateway", "listener", "metrics", "plan", "respond", "shutdown",
        ],
    ),
    (
        "gateway",
        &[
            "body",
            "clock",
            "credential",
            "dial",
            "limits",
            "listener",
            "metrics",
            "normalize",
            "outgoing",
            "plan",
            "respond",
            "router",
            "shutdown",
            "unwind",
            "upstream",
        ],
    ),
    (
        "plan",
        &[
            "body",
            "credential",
            "dial",
            "limits",
            "listener",
            "normalize",
            "outgoing",
            "respond",
            "router",
            "upstream",
        ],
    ),
    (
        "respond",
        &[
            "body",
            "credential",
            "dial",
            "headers",
            "limits",
            "listener",
            "normalize",
            "outgoing",
            "router",
            "tls",
            "upstream",
        ],
    ),
    (
        "upstream",
        &["backoff", "body", "dial", "metrics", "outgoing", "tls"],
    ),
    (
        "credential",
        &[
            "backoff", "clock", "dial", "jws", "outgoing", "secret", "tls", "url",
        ],
    ),
    ("outgoing", &["headers", "normalize"]),
    ("router", &["host", "normalize"]),
    ("listener", &["host", "normalize", "secret", "tls"]),
    ("normalize", &["headers", "host"]),
    ("dial", &["host", "secret", "tls"]),
    ("jws", &["secret"]),
    ("backoff", &[]),
    ("body", &["headers"]),
    ("clock", &[]),
    ("confine", &[]),
    ("emulator", &[]),
    ("headers", &[]),
    ("host", &[]),
    ("limits", &[]),
    ("metrics", &[]),
    ("secret", &["confine"]),
    ("shutdown", &[]),
    ("supervisor", &[]),
    ("telemetry", &[]),
    ("tls", &["secret"]),
    ("unwind", &[]),
    ("url", &[]),
];

/// Every source file below `src/`, with its text without the tests.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() {
                if name != "tests" {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") && name != "tests.rs" {
                let text = fs::read_to_string(&path).expect("a source");
                let code = text
                    .split("\n#[cfg(test)]\nmod tests {")
                    .next()
                    .expect("text");
                let path = path
                    .strip_prefix(&root)
                    .expect("below the root")
                    .to_path_buf();
                files.push((path, code.to_owned()));
            }
        }
    }
    files
}

/// The top-level module that a file belongs to.
fn module(path: &Path) -> String {
    let first = path
        .components()
        .next()
        .expect("a file")
        .as_os_str()
        .to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// Code without comments: they may speak of whatever they like.
fn code(text: &str) -> String {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The top-level modules that a text names as `crate::name`, in groups too.
fn used(text: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(group) => group
                .split('}')
                .next()
                .unwrap_or_default()
                .split(',')
                .collect(),
            None => vec![rest],
        };
        for name in names {
            let name: String = name
                .trim()
                .chars()
                .take_while(|it| it.is_alphanumeric() || *it == '_')
                .collect();
            used.extend((!name.is_empty()).then_some(name));
        }
    }
    used
}

#[test]
fn every_module_uses_only_what_the_plan_of_the_house_allows() {
    let may_use: BTreeMap<&str, BTreeSet<&str>> = MAY_USE
        .iter()
        .map(|(name, uses)| (*name, uses.iter().copied().collect()))
        .collect();
    let mut really: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in sources() {
        let module = module(&path);
        if module == "lib" || module == "main" {
            continue;
        }
        let allowed = may_use
            .get(&*module)
            .unwrap_or_else(|| panic!("{module} has no place yet"));
        for name in used(&code(&text)) {
            let is_fine = name == module || allowed.contains(&*name);
            assert!(
                is_fine,
                "{} uses `{name}`, which `{module}` may not",
                path.display()
            );
            really.entry(module.clone()).or_default().insert(name);
        }
    }
    for (module, allowed) in &may_use {
        let really = really.remove(*module).unwrap_or_default();
        for name in allowed {
            assert!(
                really.contains(*name),
                "`{module}` no longer uses `{name}`: narrow its line"
            );
        }
    }
}

#[test]
fn no_module_uses_itself_by_way_of_others() {
    let uses: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let mut done = BTreeSet::new();
    // Each round takes away the modules all of whose uses are gone; a cycle is never taken away.
    while done.len() < uses.len() {
        let next: Vec<&str> = uses
            .iter()
            .filter(|(name, uses)| !done.contains(*name) && uses.iter().all(|it| done.contains(it)))
            .map(|(name, _)| *name)
            .collect();
        let left: Vec<_> = uses.keys().filter(|it| !done.contains(*it)).collect();
        assert!(!next.is_empty(), "a cycle among {left:?}");
        done.extend(next);
    }
}

#[test]
fn vendors_are_data_and_no_code_knows_their_names() {
    let vendors = [
        "vdr",
        "taegis",
        "secureworks",
        "cylance",
        "cyberark",
        "alero",
        "protegrity",
    ];
    for (path, text) in sources() {
        if module(&path) == "emulator" {
            continue;
        }
        let lower = code(&text).to_lowercase();
        for vendor in vendors {
            assert!(
                !lower.contains(vendor),
                "{} knows of {vendor}",
                path.display()
            );
        }
    }
}

#[test]
fn signing_crates_are_named_in_one_place() {
    for (path, text) in sources() {
        let module = module(&path);
        if module == "jws" || module == "emulator" {
            continue;
        }
        for name in ["p521::", "rsa::", "jsonwebtoken::"] {
            assert!(
                !code(&text).contains(name),
                "{} names {name}",
                path.display()
            );
        }
    }
}

#[test]
fn every_preset_is_short_and_says_where_it_comes_from() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("presets");
    for entry in fs::read_dir(folder).expect("the presets").flatten() {
        let text = fs::read_to_string(entry.path()).expect("a preset");
        let name = entry.path().display().to_string();
        assert!(text.lines().count() <= 60, "{name} has more than 60 lines");
        assert!(
            text.contains("reference = \"https://"),
            "{name} names no page"
        );
        assert!(text.contains("checked   = \"20"), "{name} has no date");
    }
}

/// Every test there is, by its path as documents name it: that of the library, of `tests/it` without
/// a prefix, or of `fuzz`.
fn tests() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = BTreeSet::new();
    for (folder, prefix) in [("src", ""), ("tests/it", ""), ("fuzz", "fuzz::")] {
        let folder = root.join(folder);
        for path in rust_files(&folder) {
            let text = fs::read_to_string(&path).expect("a source");
            let module = path
                .strip_prefix(&folder)
                .expect("below it")
                .with_extension("");
            let module = module.to_string_lossy().replace('/', "::");
            // Tests at the end of a file are in a module of their own.
            let inline = if text.lines().any(|it| it == "mod tests {") {
                "::tests"
            } else {
                ""
            };
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
                let signature = line.strip_prefix("async ").unwrap_or(line);
                let function = signature.strip_prefix("fn ");
                let name = function.and_then(|it| it.split_once('('));
                if let Some((name, _)) = name
                    && std::mem::take(&mut is_test)
                {
                    tests.insert(format!("{prefix}{module}{inline}::{name}"));
                }
            }
        }
    }
    tests
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let paths = entries.map(|it| it.path());
    let (folders, files): (Vec<_>, Vec<_>) = paths.partition(|it| it.is_dir());
    let mut found: Vec<PathBuf> = files
        .into_iter()
        .filter(|it| it.extension().is_some_and(|it| it == "rs"))
        .collect();
    found.extend(folders.iter().flat_map(|it| rust_files(it)));
    found
}

#[test]
fn the_threat_model_names_tests_that_exist() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/threat-model.md");
    let text = fs::read_to_string(path).expect("the document");
    let tests = tests();
    let quoted = text.split('`').skip(1).step_by(2);
    // A test's name is a sentence: nothing else that is quoted has that many words.
    let is_test = |it: &&str| it.contains("::") && it.matches('_').count() >= 3;
    let named: Vec<&str> = quoted.filter(is_test).collect();
    assert!(named.len() > 80, "only {} tests are named", named.len());
    let missing: Vec<&str> = named
        .into_iter()
        .filter(|it| !tests.contains(*it))
        .collect();
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
    for row in (1..=28)
        .map(|it| format!("| S{it} |"))
        .chain((1..=32).map(|it| format!("| F{it} |")))
    {
        assert_eq!(text.matches(&row).count(), 1, "{row}");
    }
}

/// Cargo looks for the file of each test and bench before it builds anything else, unless its path is
/// written out; the image is built without them.
#[test]
fn the_image_is_built_from_files_that_are_there_and_from_enough_of_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| fs::read_to_string(root.join(name)).expect("a file");
    let context = read(".dockerignore");
    let kept: Vec<&str> = context
        .lines()
        .filter_map(|it| it.strip_prefix('!'))
        .collect();
    assert!(kept.contains(&"src"), "{kept:?}");
    for name in kept {
        assert!(root.join(name).exists(), "{name}");
    }
    for target in read("Cargo.toml").split("\n[[").skip(1) {
        let target = target.split("\n[").next().expect("a table");
        assert!(target.contains("\npath = "), "[[{target}");
    }
}
