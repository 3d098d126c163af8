//! `countersign token`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{command, run, text};
use crate::support::Folder;

const CONFIG: &str = r#"
[listeners.local]
address = "127.0.0.1:1"

[credentials.acme.vdr]
instance  = "acme"
user      = 123
issuer    = "an.issuer.text"
client-id = "42"
key       = { file = "key.pem" }

[credentials.opaque.static]
token     = { file = "token" }
placement = { header = "x-api-key", scheme = "" }

[credentials.command.static]
token = { command = ["false"] }

[credentials.away.exchange]
url           = "https://nowhere.invalid/token"
grant         = "client-credentials"
connect       = "127.0.0.1:1"
client-authentication = "basic"
client-id     = "me"
client-secret = { file = "token" }

[targets.acme]

[targets.opaque]
url = "https://opaque.example"

[targets.command]
url = "https://command.example"

[targets.away]
url = "https://away.example"
"#;

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write_key("key.pem");
    folder.write("token", "an-opaque-token\n");
    folder.write("proxy.toml", CONFIG);
    folder
}

#[test]
fn the_token_and_nothing_else_goes_to_stdout() {
    let folder = folder();
    let made = run(folder.path(), &["token", "acme"]);
    assert_eq!(
        (made.status.code(), text(&made.stderr).as_str()),
        (Some(0), "")
    );
    let out = text(&made.stdout);
    let token = out.strip_suffix('\n').expect("a newline");
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 3, "{token}");
    let claims = URL_SAFE_NO_PAD.decode(parts[1]).expect("base64url");
    let claims: Value = serde_json::from_slice(&claims).expect("JSON");
    assert_eq!(claims["sub"], "user:123");
    let made = run(folder.path(), &["token", "opaque"]);
    assert_eq!(text(&made.stdout), "an-opaque-token\n");
}

#[test]
fn a_header_is_printed_as_requests_would_have_it() {
    let folder = folder();
    let made = run(folder.path(), &["token", "--header", "acme"]);
    assert!(text(&made.stdout).starts_with("Authorization: Bearer ey"));
    let made = run(folder.path(), &["token", "opaque", "--header"]);
    assert_eq!(text(&made.stdout), "X-Api-Key: an-opaque-token\n");
}

#[test]
fn claims_are_shown_without_the_token_and_with_times_that_people_read() {
    let folder = folder();
    let made = run(folder.path(), &["token", "--claims", "acme"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let told: Value = serde_json::from_slice(&made.stdout).expect("JSON");
    assert_eq!(told["header"], json!({ "alg": "ES512", "typ": "JWT" }));
    assert_eq!(told["claims"]["aud"], "acme");
    for time in ["iat", "exp"] {
        let shown = told["times"][time].as_str().expect("a time");
        let unix = httpdate_unix(shown);
        assert_eq!(told["claims"][time], unix, "{shown}");
    }
    assert!(!text(&made.stdout).contains("eyJ"));

    let made = run(folder.path(), &["token", "--claims", "opaque"]);
    let told: Value = serde_json::from_slice(&made.stdout).expect("JSON");
    let said = told["opaque"].as_str().expect("a sentence");
    assert!(said.contains("no JWT"), "{said}");
    assert!(!text(&made.stdout).contains("an-opaque-token"));
}

fn httpdate_unix(text: &str) -> u64 {
    let date = httpdate::parse_http_date(&text.replace("UTC", "GMT")).expect("a date");
    let since = date.duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

#[test]
fn a_token_that_cannot_be_had_leaves_with_1_and_all_causes() {
    let folder = folder();
    for (name, said) in [
        (
            "away",
            "cannot connect to `nowhere.invalid`: 127.0.0.1:1: Connection refused",
        ),
        ("command", "false"),
    ] {
        let made = run(folder.path(), &["token", name]);
        assert_eq!(
            (made.status.code(), text(&made.stdout).as_str()),
            (Some(1), ""),
            "{name}"
        );
        let err = text(&made.stderr);
        assert!(
            err.contains(&format!("credential `{name}` has no token: ")),
            "{err}"
        );
        assert!(err.contains(said), "{err}");
    }
}

#[test]
fn a_name_that_is_not_there_leaves_with_64_and_the_nearest_one() {
    let folder = folder();
    let made = run(folder.path(), &["token", "acne"]);
    assert_eq!(
        (made.status.code(), text(&made.stdout).as_str()),
        (Some(64), "")
    );
    assert!(text(&made.stderr).contains("did you mean `acme`?"));
    folder.write("proxy.toml", "x = 1");
    let made = command(folder.path(), &["token", "acme"]).output();
    assert_eq!(made.expect("it runs").status.code(), Some(78));
}
