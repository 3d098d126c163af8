//! Credentials that are written out, and routes that change them.

use std::fmt::Write;

use super::parse;
use crate::support::{Folder, Proxy, Upstream, send};

const BASE: &str = r#"
[listeners.local]
address = "127.0.0.1:0"

[credentials.acme.login]
url        = ["https://one.example/login", "https://two.example/login"]
parameters = { user = "me", password = "${secret-of-user}" }
password   = { file = "password" }
headers    = { X-Api-Key = "in-a-header" }
token      = "/token"

[targets.acme]
url         = "https://one.example"
headers.set = { X-Api-Key = "in-a-header" }
"#;

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("password", "hunter2");
    folder
}

#[test]
fn an_address_to_connect_to_that_undoes_a_cluster_is_noticed() {
    let text = BASE.replace("token  ", "connect    = \"10.0.0.7\"\ntoken  ");
    let loaded = parse(&folder(), &text).expect("it can be used");
    assert_eq!(
        loaded.warnings.to_string(),
        "proxy.toml:5:19: warning: `connect` in [credentials.acme.login] leads all of its URLs to \
         one address\n    help: keep one URL, or leave `connect` out\n"
    );
}

#[test]
fn what_an_editor_left_around_a_password_is_noticed_and_a_plain_line_is_not() {
    let place =
        "proxy.toml:8:14: warning: `password` in [credentials.acme.login]: { file = \"password\" }";
    for (content, odd) in [
        ("hunter2\n", None),
        ("hunter2\r\n", None),
        ("two words", None),
        ("hunter2\n\n", Some("ends with a second newline")),
        ("hunter2 \n", Some("begins or ends with white space")),
        ("\u{feff}hunter2\n", Some("begins with a byte order mark")),
    ] {
        let folder = folder();
        folder.write("password", content);
        let loaded = parse(&folder, BASE).expect("it can be used");
        let said = odd.map(|odd| format!("{place} {odd}, which is taken for a part of it\n"));
        assert_eq!(
            loaded.warnings.to_string(),
            said.unwrap_or_default(),
            "{content:?}"
        );
    }
}

#[test]
fn what_headers_are_set_to_is_not_printed() {
    let shown = parse(&folder(), BASE).expect("it can be used").shown;
    assert!(!shown.contains("in-a-header"), "{shown}");
    assert!(shown.contains("X-Api-Key = \"…\"\n"), "{shown}");
    assert!(shown.contains("headers.set.x-api-key = \"…\"\n"), "{shown}");
}

#[test]
fn what_is_in_force_beyond_credentials_and_targets_is_printed_too() {
    let more = "[limits]\nrequests = 7\n[dns]\nservers = [\"10.0.0.53\"]\n[admin]\naddress = \"127.0.0.1:9901\"\n";
    let text = format!("drain = \"9s\"\n{BASE}{more}");
    let shown = parse(&folder(), &text).expect("it can be used").shown;
    for line in [
        "drain = \"9s\"",
        "half-close = \"abort\"",
        "pool.idle = \"30s\"",
        "[limits]\nhead = \"64KiB\"",
        "requests = 7",
        "servers = [\"10.0.0.53\"]",
        "ready = \"attempts\"",
        "[confine]\nlandlock = \"auto\"",
    ] {
        assert!(shown.contains(line), "{line}:\n{shown}");
    }
}

/// Each has a life of its own, and two logins where one would do are one too many.
#[test]
fn routes_that_change_the_same_share_one_credential() {
    let mut text = BASE.to_owned();
    for (path, user) in [("/a", "other"), ("/b", "other"), ("/c", "third")] {
        let with = format!("{{ parameters = {{ user = \"{user}\" }} }}");
        write!(
            text,
            "[[targets.acme.routes]]\npath = \"{path}\"\nwith = {with}\n"
        )
        .expect("a text");
    }
    let loaded = parse(&folder(), &text).expect("it can be used");
    assert_eq!(loaded.config.credentials.len(), 3);
    for user in ["me", "other", "third"] {
        let line = format!("user = \"{user}\"");
        let lines = loaded.shown.lines();
        let lines = lines.filter(|it| it.trim_start_matches("# ") == line);
        assert_eq!(lines.count(), 1, "{user}:\n{}", loaded.shown);
    }
}

#[test]
fn a_route_whose_credential_stands_in_another_header_takes_that_one_from_callers() {
    let upstream = Upstream::saying("");
    let folder = folder();
    folder.write("ca.pem", &upstream.ca_pem);
    let text = format!(
        r#"
[listeners.local]
address = "127.0.0.1:0"

[credentials.acme.static]
token = {{ file = "password" }}

[targets.acme]
url     = "https://upstream.example"
connect = "{}"
tls.ca  = "ca.pem"
routes  = [{{ path = "/", with = {{ placement = {{ header = "X-Token", scheme = "" }} }} }}]
"#,
        upstream.address
    );
    let proxy = Proxy::start(&folder, &text);
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nX-Token: mine\r\n\r\n";
    assert_eq!(send(proxy.address, request).status, 200);
    let request = upstream.request();
    assert!(request.contains("\r\nx-token: hunter2\r\n"), "{request}");
    assert!(!request.contains("mine"), "{request}");
}
