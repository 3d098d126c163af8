//! Configurations and presets: each is read to its end, and every fault has its place.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use countersign::config::problem::{Problems, Source};
use countersign::config::{self, tree};
use countersign::secret::store::Store;

use crate::driver::{Driver, root};

const WORDS: &[&str] = &[
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    "\"",
    "'''",
    "\"\"\"",
    "\n",
    "#",
    ".",
    "${",
    "}",
    "$${",
    "${x}",
    "\\u0000",
    "\\U0010ffff",
    "true",
    "-1",
    "9223372036854775807",
    "1e400",
    "nan",
    "1979-05-27",
    "\"0s\"",
    "\"999999999999h\"",
    "\"1EiB\"",
    "\"/\"",
    "\"*\"",
    "\"unix:x\"",
    "\"0.0.0.0:0\"",
    "\"https://[::1\"",
    "\"https://a:b@c/?d#e\"",
    "listeners",
    "targets",
    "credentials",
    "routes",
    "with",
    "tls.ca",
    "file",
    "env",
    "pointer",
    "next-key",
    "placement",
];

/// Reads a configuration whose files are all in memory, and holds what is said of it to its form.
fn read(text: &str, folder: &Path) {
    let files: HashMap<_, _> = [(
        folder.join("key"),
        "a-text-of-thirty-two-bytes-or-more".to_owned(),
    )]
    .into();
    match config::parse("proxy.toml", text, folder, &Store::Memory(files)) {
        Ok(loaded) => {
            // What is in force can itself be read, as far as TOML goes.
            let (problems, text) = (Problems::default(), loaded.shown);
            let name = "shown".to_owned();
            let _ = tree::parse(&Arc::new(Source { name, text }), &problems);
            assert!(!problems.has_faults(), "{problems}");
        }
        Err(problems) => {
            let said = problems.to_string();
            assert!(!said.is_empty());
            for line in said.lines() {
                assert!(!line.contains(|it: char| it.is_control()), "{line:?}");
            }
        }
    }
}

#[test]
fn a_configuration_is_read_or_refused_line_by_line() {
    let example = fs::read(root().join("proxy.toml.example")).expect("the example");
    let driver = Driver::new("configurations", WORDS).with(example);
    driver.run(400, |input| {
        read(&String::from_utf8_lossy(input), Path::new("/nowhere"));
    });
}

#[test]
fn a_preset_is_read_or_refused_line_by_line() {
    let folder = std::env::temp_dir().join(format!("countersign-fuzz-{}", uuid::Uuid::new_v4()));
    fs::create_dir(&folder).expect("a folder");
    let text = r#"
        presets = "."
        [listeners.local]
        address = "127.0.0.1:0"
        [credentials.acme.vendor]
        word = "a word"
        secret = { file = "key" }
        [targets.acme]
    "#;
    let mut driver = Driver::new("presets", WORDS);
    for preset in fs::read_dir(root().join("presets"))
        .expect("the presets")
        .flatten()
    {
        driver = driver.with(fs::read(preset.path()).expect("a preset"));
    }
    driver.run(200, |input| {
        fs::write(folder.join("vendor.toml"), input).expect("a file");
        read(text, &folder);
    });
    fs::remove_dir_all(&folder).expect("it was there");
}
