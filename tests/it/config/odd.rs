//! Hostile, odd and broken texts: each is read to its end or refused, in good time and without a
//! panic.

use std::fs;
use std::path::Path;

use countersign::config;
use countersign::secret::store::Store;

use super::parse;
use crate::support::Folder;

const BASE: &str = "[listeners.local]\naddress = \"127.0.0.1:0\"\n\
                    [targets.acme]\nurl = \"https://acme.example\"\ncredential = \"none\"\n";

/// What is said of `text`, which has faults.
fn said(text: &str) -> String {
    parse(&Folder::new(), text)
        .map(drop)
        .expect_err("it has faults")
}

#[test]
fn nesting_beyond_all_reason_is_refused() {
    const DEPTH: usize = 200_000;
    for text in [
        format!("a = {}", "[".repeat(DEPTH)),
        format!("a = {}{}", "[".repeat(DEPTH), "]".repeat(DEPTH)),
        format!("a = {}1{}", "{ a = ".repeat(DEPTH), " }".repeat(DEPTH)),
        format!("a{} = 1", ".a".repeat(DEPTH)),
        format!("[a{}]", ".a".repeat(DEPTH)),
        format!("[[a{}]]", ".a".repeat(DEPTH)),
    ] {
        assert!(said(&text).contains("proxy.toml:1:"), "{}", &text[..20]);
    }
    // Headers that go deeper one by one, each of them within what the parser takes.
    let mut text = String::from(BASE);
    for depth in 1..70 {
        text.push_str(&format!(
            "[credentials.acme.self-signed.claims{}]\n",
            ".a".repeat(depth)
        ));
    }
    assert!(said(&text).contains("`algorithm` is missing"));
}

#[test]
fn a_text_with_more_faults_than_anybody_reads_is_refused_in_good_time() {
    let keys: String = (0..60_000)
        .map(|number| format!("key{number} = 1\n"))
        .collect();
    let shown = said(&format!("{keys}{BASE}"));
    assert!(shown.contains("`key0`") && shown.lines().count() <= 1_000);
    let long = "k".repeat(900_000);
    assert!(said(&format!("{long} = 1\n{BASE}")).contains("unknown key"));
}

#[test]
fn odd_texts_are_refused_with_a_place() {
    for text in [
        "\0",
        "a = \"\0\"",
        "\u{feff}a = 1",
        "a = 1\r\nb = 2\r\n",
        "= 1",
        "[]",
        "[[]]",
        "[listeners]\n[[listeners]]",
        "[listeners]\nlocal = 1\n[listeners.local]",
        "listeners.local.address = \"127.0.0.1:0\"\n[listeners.local]",
        "[[listeners]]\naddress = \"127.0.0.1:0\"",
        "[[listeners.local]]\naddress = \"127.0.0.1:0\"",
        "[[targets]]\nurl = \"https://acme.example\"",
        "workers = 0x7fffffffffffffff",
        "workers = 0xffffffffffffffff",
        "workers = -9223372036854775808",
        "workers = 1_0e4",
        "workers = inf",
        "workers = 07:32:00",
        "drain = \"\u{661}s\"",
        "drain = \"-1s\"",
        "drain = \"1.5s\"",
        "drain = \"1 s\"",
        "drain = \"\"",
        "\"\" = 1",
        "\"a.b\" = 1",
        "\"\\u0000\" = 1",
        "caf\u{e9} = 1",
        "\"\u{202e}\u{1f600}\" = 1",
        "log = [{ level = \"info\" }]",
        "credentials = { \"\" = { \"\" = { } } }",
        "credentials = { a = { \"self-signed\" = { claims = { \"\" = [[], {}, [{}]] } } } }",
        "credentials = { a = { vdr = { issuer = { file = \"\\u0000\" } } } }",
        "credentials = { a = { vdr = { issuer = { env = \"=\\u0000\" } } } }",
        "credentials = { a = { vdr = { issuer = { credential = \"../x\" } } } }",
        "presets = \"\"",
        "presets = \"/dev/null\"",
        "presets = \"\\u0000\"",
    ] {
        let shown = said(text);
        assert!(shown.starts_with("proxy.toml:"), "{text:?}: {shown}");
        for line in shown.lines() {
            assert!(!line.contains(char::is_control), "{text:?}: {line:?}");
        }
    }
}

#[test]
fn the_same_configuration_can_be_written_in_every_way_that_toml_has() {
    let folder = Folder::new();
    for text in [
        BASE.to_owned(),
        format!("\u{feff}{BASE}"),
        BASE.replace('\n', "\r\n"),
        "listeners.local.address = \"127.0.0.1:0\"\n\
         targets.acme = { url = \"https://acme.example\", credential = \"none\" }\n"
            .to_owned(),
        "listeners = { \"local\" = { 'address' = '''127.0.0.1:0''' } }\n\
         targets.\"acme\".url = \"\"\"\nhttps://acme.example\"\"\"\n\
         targets.'acme'.credential = \"n\\u006fne\"\n"
            .to_owned(),
    ] {
        let loaded = parse(&folder, &text).unwrap_or_else(|said| panic!("{text}\n{said}"));
        assert_eq!(loaded.config.targets[0].name, "acme");
    }
}

#[test]
fn a_name_with_a_dot_in_it_is_written_in_quotes() {
    let folder = Folder::new();
    let text = BASE.replace("[targets.acme]", "[targets.\"api.example.com\"]");
    let loaded = parse(&folder, &text).expect("a name may have a dot");
    assert!(
        loaded.shown.contains("[targets.\"api.example.com\"]\n"),
        "{}",
        loaded.shown
    );
    let said = said(&text.replace("url", "ulr"));
    assert!(
        said.contains("unknown key `ulr` in [targets.\"api.example.com\"]"),
        "{said}"
    );
}

#[test]
fn a_path_may_lead_out_of_the_folder_and_through_links() {
    let folder = Folder::new();
    folder.write_key("secrets/key.pem");
    fs::create_dir(folder.path().join("here")).expect("a folder");
    let link = folder.path().join("here/link");
    std::os::unix::fs::symlink("../secrets/key.pem", link).expect("a link");
    for path in ["../secrets/key.pem", "link", "./link"] {
        let text = format!(
            "[listeners.local]\naddress = \"127.0.0.1:0\"\n\
             [credentials.acme.self-signed]\nalgorithm = \"ES512\"\nkey = {{ file = \"{path}\" }}\n\
             claims = {{}}\n[targets.acme]\nurl = \"https://acme.example\"\n"
        );
        let here = folder.path().join("here");
        config::parse("proxy.toml", &text, &here, &Store::Disk)
            .map(drop)
            .unwrap_or_else(|problems| panic!("{path}: {problems}"));
    }
}

/// Texts near to good ones: pieces of the example and of all the bad cases, cut, doubled and put
/// in each other's place.
#[test]
fn no_text_makes_it_panic() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = vec![fs::read_to_string(source.join("proxy.toml.example")).expect("a file")];
    for entry in fs::read_dir(source.join("tests/it/config/faults")).expect("the cases") {
        let path = entry.expect("a case").path();
        if path.extension().is_some_and(|it| it == "toml") {
            texts.push(fs::read_to_string(path).expect("a case"));
        }
    }
    texts.sort();
    let pieces = [
        "\"", "${", "}", "]", "[[", "=", ".", "\n", "#", "'''", "-1", "\u{e9}", "{ }",
    ];
    let folder = Folder::new();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..3_000 {
        let mut text: Vec<char> = texts[random.below(texts.len())].chars().collect();
        for _ in 0..=random.below(4) {
            let (from, to) = (random.below(text.len() + 1), random.below(text.len() + 1));
            let (from, to) = (from.min(to), from.max(to));
            match random.below(3) {
                0 => drop(text.splice(from..to.min(from + 8), [])),
                1 => {
                    let piece = pieces[random.below(pieces.len())].chars();
                    drop(text.splice(from..from, piece));
                }
                _ => {
                    let doubled: Vec<char> = text[from..to.min(from + 200)].to_vec();
                    drop(text.splice(from..from, doubled));
                }
            }
        }
        let text: String = text.into_iter().collect();
        if let Err(said) = parse(&folder, &text) {
            assert!(!said.is_empty(), "{text}");
        }
    }
}

/// Marsaglia's xorshift: the same texts in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % end
    }
}
