//! A refused path stays refused in whatever spelling some server takes for it.

use countersign::outgoing::RefusedPath;

use crate::driver::{Driver, Random};

/// A path that is the same to a lenient server.
fn spelled(path: &str, random: &mut Random) -> String {
    let mut spelled = String::new();
    for letter in path.chars() {
        match (letter, random.below(6)) {
            ('/', 0) => spelled.push_str("//"),
            ('/', 1) => spelled.push_str("/./"),
            ('/', 2) => spelled.push_str(";x=y/"),
            ('/', 3) => spelled.push_str("%2f"),
            ('/', 4) => spelled.push_str("%5C"),
            (_, 0) => spelled.push_str(&encoded(letter, random)),
            (_, 1) => spelled.extend(letter.to_uppercase()),
            _ => spelled.push(letter),
        }
    }
    let ends = [
        "", "", "/", "//", "/x", "?", ";a", ".json", "/..;/", "%20", "%0a.", "%09. .", ".",
    ];
    spelled.push_str(random.one_of(&ends).trim_end_matches('?'));
    spelled
}

/// A letter in percent-encoding, perhaps of its percent sign as well.
fn encoded(letter: char, random: &mut Random) -> String {
    let mut text = letter.to_string();
    for _ in 0..=random.below(3) {
        let first = text.remove(0);
        let byte = u8::try_from(first).expect("ASCII");
        let hex = if random.happens(2) {
            format!("%{byte:02x}")
        } else {
            format!("%{byte:02X}")
        };
        text.insert_str(0, &hex);
    }
    text
}

#[test]
fn a_refused_path_is_refused_in_every_spelling() {
    let paths = [
        "/api/v1/auth",
        "/token",
        "/oauth2/token",
        "/auth/v2/token",
        "/a.b/c-d",
    ];
    let refused = paths.map(|it| RefusedPath::parse(it).expect("a path"));
    let mut random = Random::seeded(7);
    for _ in 0..40_000 {
        let which = random.below(paths.len());
        let path = spelled(paths[which], &mut random);
        assert!(refused[which].refuses(&path), "{} as {path}", paths[which]);
    }
}

#[test]
fn what_is_refused_is_refused_with_all_below_it_and_nothing_panics() {
    const WORDS: &[&str] = &[
        "/",
        "//",
        "%2f",
        "%252f",
        "%",
        "%c0%af",
        "%ef%bc%8f",
        ";",
        "..",
        ".",
        "\u{17f}",
        "\u{130}",
        "auth",
        "TOKEN",
    ];
    let refused = RefusedPath::parse("/api/token").expect("a path");
    let driver = Driver::new("paths", WORDS);
    driver.run(40_000, |input| {
        let path = String::from_utf8_lossy(input);
        let below = [&*path, "/below"].concat();
        assert!(
            !refused.refuses(&path) || refused.refuses(&below),
            "{path:?}"
        );
        if let Ok(own) = RefusedPath::parse(&path) {
            assert!(own.refuses(&own.to_string()), "{path:?}");
        }
    });
}
