//! Secrets that the tests make, and everything that the proxy lets out, side by side in a folder: what
//! of the first turns up in the second is a leak, whichever line of whichever test made it.
//!
//! Nothing is noted unless `COUNTERSIGN_CANARY` names the folder. `ci.sh` sets it for the whole run and
//! looks through the folder at the end, with the test below.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use tracing::level_filters::LevelFilter;

use super::caller::Answer;

/// As much of a secret as may not turn up anywhere.
const PIECE: usize = 12;

fn folder() -> Option<PathBuf> {
    std::env::var_os("COUNTERSIGN_CANARY").map(PathBuf::from)
}

/// A file in the folder that is written to its end; `None` if there is no folder.
fn file(name: &str) -> Option<File> {
    let folder = folder()?;
    fs::create_dir_all(&folder).expect("the canary's folder");
    let mut options = OpenOptions::new();
    let file = options.create(true).append(true).open(folder.join(name));
    Some(file.expect("a file in the canary's folder"))
}

/// Notes something secret.
pub fn secret(secret: impl AsRef<[u8]>) {
    static FILE: OnceLock<Option<Mutex<File>>> = OnceLock::new();
    // One a line, so that a newline in one makes two of it.
    append(
        FILE.get_or_init(|| file("secrets").map(Mutex::new)),
        secret.as_ref(),
    );
}

/// Notes an answer of the proxy: its head, and the body if that is the proxy's own as well.
pub fn answered(answer: &Answer) {
    output(format!("{} {:?}", answer.status, answer.headers));
    let is_ours = answer.headers.iter().any(|(name, value)| {
        name == "content-type"
            && (value == "application/problem+json" || value.starts_with("text/plain"))
    });
    if is_ours {
        output(&answer.body);
    }
}

/// Notes something that the proxy has let out.
pub fn output(output: impl AsRef<[u8]>) {
    static FILE: OnceLock<Option<Mutex<File>>> = OnceLock::new();
    append(
        FILE.get_or_init(|| file("outputs").map(Mutex::new)),
        output.as_ref(),
    );
}

fn append(file: &Option<Mutex<File>>, bytes: &[u8]) {
    if let Some(file) = file {
        let line = [bytes, b"\n"].concat();
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line).expect("the canary's folder takes it");
    }
}

/// Has everything logged that this process could log at all.
pub fn listen() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        let Some(file) = file("log") else { return };
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_writer(Mutex::new(file))
            .finish();
        tracing::subscriber::set_global_default(subscriber).expect("no test logs otherwise");
    });
}

/// Notes the value of a header: what comes behind its scheme.
pub fn credential(value: &[u8]) {
    secret(value.rsplit(|byte| *byte == b' ').next().unwrap_or(value));
}

/// Notes what is secret of a request that left the proxy: credentials in its head, secrets in its
/// parameters.
pub fn sent(request: &[u8]) {
    if folder().is_none() {
        return;
    }
    let request = String::from_utf8_lossy(request);
    let (head, body) = request.split_once("\r\n\r\n").unwrap_or((&request, ""));
    for line in head.lines().skip(1) {
        if let Some((name, value)) = line.split_once(": ")
            && is_secret(name)
        {
            credential(value.as_bytes());
        }
    }
    for pair in body.split('&') {
        if let Some((name, value)) = pair.split_once('=')
            && is_secret(name)
        {
            secret(value);
        }
    }
    if let Ok(serde_json::Value::Object(members)) = serde_json::from_str(body) {
        for (_, value) in members.iter().filter(|(name, _)| is_secret(name)) {
            secret(value.as_str().unwrap_or_default());
        }
    }
}

/// Whether what has this name is a secret, as far as a name tells.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let names = [
        "authorization",
        "token",
        "key",
        "secret",
        "password",
        "assertion",
    ];
    names.iter().any(|it| name.contains(it)) && !name.contains("type")
}

/// Notes a file that a test writes, if it has something secret in it by its name.
pub fn written(name: &str, content: &[u8]) {
    let public = [
        ".toml",
        "issuer",
        "cid",
        "kid",
        "ca.pem",
        "public",
        "idp.pem",
        "appliances.pem",
    ];
    let text = String::from_utf8_lossy(content);
    if public.iter().any(|it| name.ends_with(it))
        || name.contains(".toml")
        || text.contains("BEGIN CERTIFICATE")
    {
        return;
    }
    // A file with a secret in it has identifiers beside, which are none.
    let members: Option<serde_json::Map<String, serde_json::Value>> =
        serde_json::from_str(&text).ok();
    let texts: Vec<&str> = match &members {
        Some(members) => {
            let secrets = members.iter().filter(|(name, _)| is_secret(name));
            secrets.filter_map(|(_, value)| value.as_str()).collect()
        }
        None => vec![&text],
    };
    for line in texts
        .iter()
        .flat_map(|it| it.lines())
        .filter(|it| !it.starts_with("-----"))
    {
        secret(line);
    }
}

/// What of a secret may not turn up: of a JWT its signature, as header and claims are no secret.
fn core(secret: &[u8]) -> &[u8] {
    let dots: Vec<usize> = (0..secret.len()).filter(|at| secret[*at] == b'.').collect();
    match dots.as_slice() {
        [_, last] if secret.starts_with(b"eyJ") => &secret[last + 1..],
        _ => secret,
    }
}

/// A secret as it may turn up: as it is, in base64 wherever it starts in a group of three, in hex.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![secret.to_vec()];
    for start in 0..3.min(secret.len()) {
        // The last group is padded, or has bits of what follows.
        let whole = &secret[start..];
        let whole = &whole[..whole.len() / 3 * 3];
        forms.push(STANDARD.encode(whole).into_bytes());
        forms.push(URL_SAFE.encode(whole).into_bytes());
    }
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    forms.push(hex.to_uppercase().into_bytes());
    forms.push(hex.into_bytes());
    forms
}

/// Every piece of every form of all secrets.
struct Pieces {
    all: HashSet<[u8; PIECE]>,
    /// A bit for each hash that a piece has: nearly everything that is looked for is not there.
    hashes: Vec<bool>,
}

impl Pieces {
    fn of(secrets: &[u8]) -> Self {
        let mut all = HashSet::new();
        let secrets: HashSet<&[u8]> = secrets.split(|byte| *byte == b'\n').map(core).collect();
        for secret in secrets.into_iter().filter(|it| it.len() >= PIECE) {
            for form in forms(secret) {
                all.extend(
                    form.windows(PIECE)
                        .map(|it| <[u8; PIECE]>::try_from(it).expect("as long")),
                );
            }
        }
        // One letter again and again is somebody's filling.
        all.retain(|piece| piece.iter().any(|byte| *byte != piece[0]));
        // Tests make secrets up of words, and what the program says of its own is none.
        for text in our_texts() {
            for window in text.windows(PIECE) {
                all.remove(window);
            }
        }
        let mut hashes = vec![false; 1 << 22];
        for piece in &all {
            hashes[hash(piece)] = true;
        }
        Self { all, hashes }
    }

    /// The pieces in a text, each with what is around it.
    fn found_in(&self, text: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        for (at, window) in text.windows(PIECE).enumerate() {
            if self.hashes[hash(window)] && self.all.contains(window) {
                let around = &text[at.saturating_sub(200)..text.len().min(at + 60)];
                found.push(format!(
                    "{} in …{}…",
                    String::from_utf8_lossy(window),
                    String::from_utf8_lossy(around)
                ));
            }
        }
        found
    }
}

/// The sources and the presets.
fn our_texts() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src"), root.join("presets")];
    let mut texts = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path => texts.push(fs::read(path).expect("a source")),
            }
        }
    }
    texts
}

fn hash(piece: &[u8]) -> usize {
    let number = |at: usize| u64::from_le_bytes(piece[at..at + 8].try_into().expect("eight"));
    let mixed = (number(0) ^ number(4).rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from(mixed >> 42).expect("22 bits")
}

#[test]
fn a_piece_of_a_secret_is_found_in_whatever_form() {
    let jwt = b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJlLW9mLXNvbWV0aGluZw";
    let pieces = Pieces::of(&[b"correct horse battery\n".as_slice(), jwt].concat());
    let finds = |text: &str| !pieces.found_in(text.as_bytes()).is_empty();
    assert!(finds("token=correct horse battery"));
    assert!(finds("an excerpt: horse battery"));
    assert!(finds(&STANDARD.encode("me:correct horse battery")));
    assert!(finds("636F727265637420686F727365"));
    assert!(finds("c2lnbmF0dXJlLW9m"));
    assert!(!finds("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtZSJ9."));
    assert!(!finds("a horse and a battery"));
}

/// The end of a run with `COUNTERSIGN_CANARY`, which is why it is ignored otherwise.
#[test]
#[ignore = "looks through what a whole run of the others has noted; ci.sh runs it"]
fn no_piece_of_any_secret_is_in_anything_that_was_let_out() {
    let folder = folder().expect("COUNTERSIGN_CANARY names the folder of a run");
    let read = |name: &str| fs::read(folder.join(name)).expect("the other tests ran with it");
    let secrets = read("secrets");
    let pieces = Pieces::of(&secrets);
    assert!(
        pieces.all.len() > 10_000,
        "few secrets were noted: {}",
        pieces.all.len()
    );
    for name in ["log", "outputs"] {
        let text = read(name);
        assert!(
            text.len() > 10_000,
            "little was noted in {name}: {} bytes",
            text.len()
        );
        let found = pieces.found_in(&text);
        let few: Vec<&String> = found.iter().step_by(20).take(20).collect();
        assert!(
            found.is_empty(),
            "{} pieces in {name}: {few:#?}\nIs it a leak? Else, let the test make its secret up of something else.",
            found.len()
        );
    }
}
