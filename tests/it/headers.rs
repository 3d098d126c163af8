//! What a caller may bring, what leaves, and what comes back.

use crate::support::{Upstream, proxy_to, send};

/// The values of a header in a request as it was sent.
fn values<'a>(request: &'a str, name: &str) -> Vec<&'a str> {
    request
        .split("\r\n")
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .filter(|(it, _)| it.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .collect()
}

#[test]
fn headers_of_the_connection_and_claims_about_the_origin_end_here() {
    let upstream = Upstream::saying("");
    let (proxy, _folder) = proxy_to(&upstream, "");
    let request = "GET /acme/x HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, X-Private\r\n\
        X-Private: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\nTrailer: X\r\nUpgrade: h2c\r\n\
        HTTP2-Settings: AAA\r\nForwarded: for=1.2.3.4\r\nX-Forwarded-For: 1.2.3.4\r\n\
        X-Forwarded-Host: evil\r\nX-Real-IP: 1.2.3.4\r\nX-Original-URL: /auth/oauth2/token\r\n\
        X_Under: 1\r\nX-End-To-End: kept\r\n\r\n";
    assert_eq!(send(proxy.address, request).status, 200);
    let request = upstream.request();
    let mut names: Vec<&str> = request
        .split("\r\n")
        .skip(1)
        .filter_map(|it| it.split_once(':'))
        .map(|it| it.0)
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["authorization", "host", "via", "x-end-to-end"]);
}

#[test]
fn an_answer_passes_as_it_is_less_what_belongs_to_its_connection() {
    let upstream = Upstream::answering(
        "HTTP/1.1 418 I'm a teapot\r\nContent-Length: 3\r\nContent-Type: text/tea\r\n\
         Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nWWW-Authenticate: Bearer\r\nServer: pot\r\n\
         Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Authenticate: Basic\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
         Location: https://upstream.example/x\r\n\r\ntea",
    );
    let (proxy, _folder) = proxy_to(&upstream, "");
    let answer = send(
        proxy.address,
        "GET /acme HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    assert_eq!((answer.status, answer.text().as_str()), (418, "tea"));
    let mut headers: Vec<String> = answer
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    headers.sort_unstable();
    assert_eq!(
        headers,
        [
            "content-length: 3",
            "content-type: text/tea",
            "date: Thu, 01 Jan 1970 00:00:00 GMT",
            "location: https://upstream.example/x",
            "server: pot",
            "set-cookie: a=1",
            "set-cookie: b=2",
            "www-authenticate: Bearer",
        ]
    );
}

#[test]
fn a_target_can_have_headers_set_and_removed_both_ways() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Token: secret\r\nX-Kept: 1\r\n\r\n",
    );
    let (proxy, _folder) = proxy_to(
        &upstream,
        r#"
[targets.acme.headers]
remove = ["x-tool"]
set = { x-tenant = "acme" }
[targets.acme.response-headers]
remove = ["X-Token"]
set = { cache-control = "no-store" }
"#,
    );
    let request = "GET /acme HTTP/1.1\r\nHost: localhost\r\nX-Tool: 1\r\nX-Tenant: evil\r\n\r\n";
    let answer = send(proxy.address, request);
    assert_eq!(answer.header("x-token"), None);
    assert_eq!(answer.header("x-kept"), Some("1"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(values(&upstream.request(), "x-tenant"), ["acme"]);
    assert!(values(&upstream.request(), "x-tool").is_empty());
}

#[test]
fn a_credential_can_go_into_any_header_and_the_callers_never_does() {
    let upstream = Upstream::saying("");
    let folder = crate::support::Folder::new();
    let text = crate::support::acme(&folder, upstream.address, &upstream.ca_pem, "");
    let text = text.replace(
        "client-id = \"a-client\"",
        "client-id = \"a-client\"\nplacement = { header = \"X-Api-Key\", scheme = \"\" }",
    );
    let proxy = crate::support::Proxy::start(&folder, &text);
    let request = "GET /acme HTTP/1.1\r\nHost: localhost\r\nX-API-Key: theirs\r\n\
        Authorization: theirs\r\nConnection: x-api-key\r\n\r\n";
    assert_eq!(send(proxy.address, request).status, 200);
    let request = upstream.request();
    let keys = values(&request, "x-api-key");
    assert_eq!(keys.len(), 1);
    assert!(keys[0].starts_with("eyJ"), "{request}");
    assert!(values(&request, "authorization").is_empty());
}

#[test]
fn a_target_can_refuse_callers_that_bring_a_credential_or_pass_theirs_on() {
    let theirs = "GET /acme HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer theirs\r\n\r\n";
    let plain = "GET /acme HTTP/1.1\r\nHost: localhost\r\n\r\n";

    let upstream = Upstream::saying("");
    let (proxy, _folder) = proxy_to(&upstream, r#"client-authorization = "reject""#);
    assert_eq!(send(proxy.address, theirs).code(), "bad-request");
    assert_eq!(send(proxy.address, plain).status, 200);
    assert_eq!(upstream.requests().len(), 1);

    let upstream = Upstream::saying("");
    let (proxy, _folder) = proxy_to(&upstream, r#"client-authorization = "pass""#);
    assert_eq!(send(proxy.address, theirs).status, 200);
    assert_eq!(send(proxy.address, plain).status, 200);
    let requests = upstream.requests();
    assert_eq!(values(&requests[0], "authorization"), ["Bearer theirs"]);
    assert!(values(&requests[1], "authorization")[0].starts_with("Bearer eyJ"));
}

#[test]
fn a_target_without_a_credential_gets_none_and_not_the_callers() {
    let upstream = Upstream::saying("");
    let folder = crate::support::Folder::new();
    folder.write("ca.pem", &upstream.ca_pem);
    let text = format!(
        "[listeners.local]\naddress = \"127.0.0.1:0\"\n[targets.open]\ncredential = \"none\"\n\
         url = \"https://upstream.example\"\nconnect = \"{}\"\ntls.ca = \"ca.pem\"\n",
        upstream.address
    );
    let proxy = crate::support::Proxy::start(&folder, &text);
    let request = "GET /open HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic eA==\r\n\r\n";
    assert_eq!(send(proxy.address, request).status, 200);
    assert!(values(&upstream.request(), "authorization").is_empty());
}
