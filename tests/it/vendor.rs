//! A vendor that the program has never heard of is added by one file, and served like any other.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use countersign::clock::{Clock, Moment};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::caller::PATIENCE;
use crate::support::{Folder, Proxy, Upstream, get, send};

/// All that is known of the vendor: a login by JSON that puts a session into a cookie, and a second
/// call that prolongs it.
const FORGE: &str = r#"
about     = "Forge, an inventory of anvils"
reference = "https://forge.example/docs/sessions"
checked   = "2026-11-21"

[inputs]
site    = { type = "text", lower = true, doc = "where the smithy is", choices = { north = "upstream.example", south = "south.forge.example" } }
account = { type = "text", doc = "the smith's account" }
pin     = { type = "secret", doc = "the account's PIN" }
role    = { type = "text", default = "reader", doc = "what the session may do", choices = { reader = "R", auditor = "A" } }
flags   = { type = "texts", required = false, join = "+", doc = "what else the session is for" }

[credential.login]
url           = "https://${site}/session/open"
send          = "json"
parameters    = { account = "${account}", pin = "${secret-of-user}", role = "${role}", flags = "${flags}" }
password      = "${pin}"
headers       = { X-Forge-Client = "countersign" }
token-cookie  = "forge_session"
expires-in    = "/stay/seconds"
refresh-token = "/again"
placement     = { header = "X-Forge-Session", scheme = "" }

[credential.login.refresh]
url        = "https://${site}/session/prolong"
send       = "json"
bearer     = false
parameters = { again = "${refresh-token}", session = "${live-token}" }

[target]
url    = "https://${site}"
refuse = ["/session"]

[target.response-headers]
remove = ["Set-Cookie"]
"#;

const START: Moment = Moment {
    wall: Duration::from_secs(1_900_000_000),
    boot: Duration::from_secs(1000),
};

/// The vendor itself. Sessions are called after their role and counted.
fn forge() -> Upstream {
    let sessions = AtomicUsize::new(0);
    Upstream::with(move |conversation| {
        while let Some(request) = conversation.read_request() {
            let answer = if request.starts_with("POST /session/") {
                let body = body(&request);
                let role = match &body["session"] {
                    Value::String(session) => session[..1].to_owned(),
                    _ => body["role"].as_str().expect("a role").to_owned(),
                };
                let number = sessions.fetch_add(1, Ordering::SeqCst);
                let body = json!({ "stay": { "seconds": 60 }, "again": format!("again-{number}") });
                answer(
                    &format!(
                        "Set-Cookie: theme=dark\r\nSet-Cookie: forge_session=\"{role}-{number}\"; Path=/\r\n"
                    ),
                    &body.to_string(),
                )
            } else {
                answer("Set-Cookie: forge_session=R-leaked\r\n", "anvils")
            };
            conversation.write(answer);
        }
    })
}

fn answer(headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}

fn body(request: &str) -> Value {
    let (_, body) = request.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str(body).expect("JSON")
}

/// The bodies of all calls to a path.
fn calls(forge: &Upstream, path: &str) -> Vec<Value> {
    let start = format!("POST {path} HTTP/1.1\r\n");
    let requests = forge.requests();
    let calls = requests.iter().filter(|it| it.starts_with(&start));
    calls.map(|it| body(it)).collect()
}

/// The session that the last request for `path` came with.
fn session(forge: &Upstream, path: &str) -> String {
    let start = format!("GET {path} HTTP/1.1\r\n");
    let requests = forge.requests();
    let last = requests.iter().rfind(|it| it.starts_with(&start));
    let (_, rest) = last
        .expect("a request")
        .split_once("\r\nx-forge-session: ")
        .expect("a session");
    rest.split("\r\n").next().expect("a line").to_owned()
}

#[test]
fn a_vendor_that_nobody_has_heard_of_is_one_file() {
    let forge = forge();
    let folder = Folder::new();
    folder.write("ca.pem", &forge.ca_pem);
    folder.write("pin", "1234-5678\n");
    folder.write("presets/forge.toml", FORGE);
    let text = format!(
        r#"
presets = "presets"

[listeners.local]
address = "127.0.0.1:0"

[credentials.anvils.forge]
site    = "North"
account = "smith"
pin     = {{ file = "pin" }}
connect = "{0}"
tls.ca  = "ca.pem"

[targets.anvils]
connect = "{0}"
tls.ca  = "ca.pem"

[[targets.anvils.routes]]
path = "/anvils"

[[targets.anvils.routes]]
path = "/audit"
with = {{ role = "auditor", flags = ["slow", "quiet"] }}
"#,
        forge.address
    );
    let (clock, hand) = Clock::manual(START);
    let proxy = Proxy::start_with(&folder, &text, clock);

    let anvils = get(proxy.address, "/anvils/all");
    assert_eq!((anvils.status, anvils.text().as_str()), (200, "anvils"));
    assert_eq!(anvils.header("set-cookie"), None, "a session stays here");
    let first = session(&forge, "/all");
    assert!(first.starts_with("R-"), "{first}");

    // A route with other inputs has a session of its own.
    assert_eq!(get(proxy.address, "/audit/log").status, 200);
    assert!(session(&forge, "/log").starts_with("A-"));
    let mut opened = calls(&forge, "/session/open");
    opened.sort_by_key(|it| it["role"].to_string());
    assert_eq!(
        opened,
        [
            json!({ "account": "smith", "pin": "1234-5678", "role": "A", "flags": "slow+quiet" }),
            json!({ "account": "smith", "pin": "1234-5678", "role": "R" }),
        ]
    );

    // What a caller brings in the header that carries the session is not passed on.
    let request = "GET /audit/mine HTTP/1.1\r\nHost: localhost\r\nX-Forge-Session: mine\r\n\r\n";
    assert_eq!(send(proxy.address, request).status, 200);
    assert!(session(&forge, "/mine").starts_with("A-"));

    // No caller opens or prolongs a session.
    for path in ["/anvils/session/open", "/audit/SESSION/prolong"] {
        let request =
            format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(
            send(proxy.address, request).code(),
            "path-refused",
            "{path}"
        );
    }

    hand.advance(Duration::from_secs(46));
    let start = Instant::now();
    let second = loop {
        assert_eq!(get(proxy.address, "/anvils/all").status, 200);
        let second = session(&forge, "/all");
        if second != first {
            break second;
        }
        assert!(start.elapsed() < PATIENCE, "the session is never prolonged");
    };
    assert!(second.starts_with("R-"), "{second}");
    let number = first.trim_start_matches("R-");
    let prolonged = json!({ "again": format!("again-{number}"), "session": first });
    assert!(
        calls(&forge, "/session/prolong").contains(&prolonged),
        "{:?}",
        forge.requests()
    );
    assert_eq!(
        calls(&forge, "/session/open").len(),
        2,
        "nobody logs in anew"
    );
}
