//! Which request goes where, and with which path: seen from the upstream, byte for byte.

use crate::support::{Folder, Proxy, Upstream, acme, get, proxy_to, send};

/// The request line and the `Host` that the upstream saw.
fn seen(upstream: &Upstream) -> Vec<(String, String)> {
    let of = |request: &String| {
        let line = request.split("\r\n").next().expect("a line").to_owned();
        let host = request
            .split("\r\n")
            .find_map(|it| it.strip_prefix("host: "))
            .expect("a host");
        (line, host.to_owned())
    };
    upstream.requests().iter().map(of).collect()
}

#[test]
fn a_plain_request_arrives_signed_and_otherwise_untouched() {
    let upstream = Upstream::saying("hello");
    let (proxy, _folder) = proxy_to(&upstream, "");
    let answer = send(
        proxy.address,
        "GET /acme/api/v2/assets?limit=5&q=a%20b HTTP/1.1\r\nHost: localhost:1\r\nAccept: text/csv\r\nX-Tool: 7\r\n\r\n",
    );
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));

    let request = upstream.request();
    let lines: Vec<&str> = request.split("\r\n").collect();
    assert_eq!(lines[0], "GET /api/v2/assets?limit=5&q=a%20b HTTP/1.1");
    let mut headers: Vec<&str> = lines[1..]
        .iter()
        .copied()
        .filter(|it| !it.is_empty())
        .collect();
    headers.sort_unstable();
    assert!(
        headers[1].starts_with("authorization: Bearer eyJ"),
        "{headers:?}"
    );
    assert!(
        headers[3].starts_with("via: 1.1 countersign-"),
        "{headers:?}"
    );
    assert_eq!(
        [headers[0], headers[2], headers[4]],
        ["accept: text/csv", "host: upstream.example", "x-tool: 7"]
    );
    assert_eq!(headers.len(), 5, "{headers:?}");
}

#[test]
fn the_targets_own_name_is_its_path_unless_routes_say_otherwise() {
    let upstream = Upstream::saying("");
    let (proxy, _folder) = proxy_to(&upstream, "");
    for path in ["/acme", "/acme/", "/acme//x", "/acme/a%2eb"] {
        assert_eq!(get(proxy.address, path).status, 200, "{path}");
    }
    let lines: Vec<String> = seen(&upstream).into_iter().map(|it| it.0).collect();
    assert_eq!(
        lines,
        [
            "GET / HTTP/1.1",
            "GET / HTTP/1.1",
            "GET //x HTTP/1.1",
            "GET /a%2eb HTTP/1.1"
        ]
    );
}

#[test]
fn a_path_is_kept_where_the_route_does_not_strip_it() {
    let upstream = Upstream::saying("");
    let routes = r#"routes = [{ path = "/api/v2", strip = false }]"#;
    let (proxy, _folder) = proxy_to(&upstream, routes);
    assert_eq!(get(proxy.address, "/api/v2/assets").status, 200);
    assert_eq!(get(proxy.address, "/api").status, 404);
    assert_eq!(seen(&upstream)[0].0, "GET /api/v2/assets HTTP/1.1");
}

#[test]
fn a_path_in_another_spelling_does_not_pass_by_the_route_that_it_has() {
    let upstream = Upstream::saying("");
    let routes = r#"routes = [{ path = "/" }, { path = "/admin", strip = false, methods = ["GET"], headers = { x-team = "ops" } }]"#;
    let (proxy, _folder) = proxy_to(&upstream, routes);
    let ask = |path: &str| {
        send(
            proxy.address,
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Team: ops\r\n\r\n"),
        )
    };
    for path in ["/%61dmin", "//admin/x", "/Admin", "/admin;a", "/admin%20/x"] {
        assert_eq!(ask(path).code(), "bad-request", "{path}");
    }
    assert_eq!(upstream.requests(), Vec::<String>::new());
    for path in ["/admin/x", "/Users", "/%61", "/x//admin"] {
        assert_eq!(ask(path).status, 200, "{path}");
    }
}

#[test]
fn a_host_of_a_route_is_served_and_the_target_sees_its_own() {
    let upstream = Upstream::saying("");
    let (proxy, _folder) = proxy_to(&upstream, r#"routes = [{ host = "vdr.corp.example" }]"#);
    let ask = |host: &str| {
        send(
            proxy.address,
            format!("GET /api/v2/x HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        )
    };
    assert_eq!(ask("vdr.corp.example").status, 200);
    assert_eq!(ask("VDR.corp.example:8080").status, 200);
    assert_eq!(ask("localhost").code(), "no-route");
    assert_eq!(ask("other.corp.example").code(), "forbidden-host");
    for (line, host) in seen(&upstream) {
        assert_eq!(
            (line.as_str(), host.as_str()),
            ("GET /api/v2/x HTTP/1.1", "upstream.example")
        );
    }
}

#[test]
fn a_listener_of_its_own_serves_tools_that_take_no_base_path() {
    let (one, two) = (Upstream::saying("one"), Upstream::saying("two"));
    let folder = Folder::new();
    folder.write("two.pem", &two.ca_pem);
    let text = acme(
        &folder,
        one.address,
        &one.ca_pem,
        r#"routes = [{ listener = "local" }]"#,
    );
    let more = format!(
        r#"
[listeners.other]
address = "127.0.0.1:0"

[targets.second]
url = "https://upstream.example/base/"
connect = "{}"
credential = "acme"
tls.ca = "two.pem"
routes = [{{ listener = "other" }}]
"#,
        two.address
    );
    let proxy = Proxy::start(&folder, &(text + &more));
    assert_eq!(get(proxy.listener("local"), "/x").text(), "one");
    assert_eq!(get(proxy.listener("other"), "/x").text(), "two");
    assert_eq!(seen(&one)[0].0, "GET /x HTTP/1.1");
    assert_eq!(seen(&two)[0].0, "GET /base/x HTTP/1.1");
}

#[test]
fn methods_and_headers_choose_between_routes_of_one_path() {
    let upstream = Upstream::saying("");
    let routes = r#"routes = [
        { path = "/x", methods = ["GET"] },
        { path = "/x", headers = { x-team = "red" } },
    ]"#;
    let (proxy, _folder) = proxy_to(&upstream, routes);
    let ask = |method: &str, headers: &str| {
        send(
            proxy.address,
            format!("{method} /x HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"),
        )
    };
    assert_eq!(ask("GET", "").status, 200);
    assert_eq!(ask("DELETE", "X-Team: red\r\n").status, 200);
    let refused = ask("DELETE", "X-Team: blue\r\n");
    assert_eq!(
        (refused.status, refused.header("allow")),
        (405, Some("GET"))
    );
    assert_eq!(refused.code(), "method-refused");
}

#[test]
fn a_port_other_than_443_stands_in_the_host_that_goes_out() {
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "");
    let text = text.replace("https://upstream.example", "https://upstream.example:8443");
    let proxy = Proxy::start(&folder, &text);
    assert_eq!(get(proxy.address, "/acme").status, 200);
    assert_eq!(seen(&upstream)[0].1, "upstream.example:8443");
}

#[test]
fn an_ip_address_is_a_target_like_any_other() {
    let authority = countersign::emulator::Authority::new().expect("an authority");
    let (certificate, key) = authority
        .server_certificate(vec!["127.0.0.1".into()])
        .expect("a certificate");
    let upstream =
        Upstream::with_certificate(authority.pem(), vec![certificate], key, |conversation| {
            while conversation.read_request().is_some() {
                conversation.write("HTTP/1.1 204 No Content\r\n\r\n");
            }
        });
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "")
        .replace(
            "https://upstream.example",
            &format!("https://{}", upstream.address),
        )
        .replace(&format!("connect = \"{}\"\n", upstream.address), "");
    let proxy = Proxy::start(&folder, &text);
    assert_eq!(get(proxy.address, "/acme/x").status, 204);
    assert_eq!(seen(&upstream)[0].1, upstream.address.to_string());
}
