//! Listeners that forward: tools that know of a proxy ask it for whole URLs.

use crate::support::caller::Answer;
use crate::support::upstream::NAME;
use crate::support::{Caller, Folder, Proxy, Upstream, acme, send};

pub fn forwarding(upstream: &Upstream, extra: &str) -> (Proxy, Folder) {
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, extra);
    let text = text.replace("127.0.0.1:0\"\n", "127.0.0.1:0\"\nforward = true\n");
    (Proxy::start(&folder, &text), folder)
}

fn ask(proxy: &Proxy, line: &str, host: &str) -> Answer {
    send(
        proxy.address,
        format!("{line} HTTP/1.1\r\nHost: {host}\r\nProxy-Connection: keep-alive\r\n\r\n"),
    )
}

#[test]
fn a_whole_url_goes_to_the_target_that_has_its_host() {
    let upstream = Upstream::saying("there");
    let (proxy, _folder) = forwarding(&upstream, "");
    for (url, host, sent) in [
        (
            format!("http://{NAME}/x/y?z=1"),
            NAME.to_owned(),
            "/x/y?z=1",
        ),
        (format!("http://{NAME}"), NAME.to_owned(), "/"),
        (
            format!("http://{NAME}:80/acme"),
            format!("{NAME}:80"),
            "/acme",
        ),
        (
            format!("http://{NAME}:443/a//b"),
            format!("{NAME}:443"),
            "/a//b",
        ),
        (
            format!("http://{}/x", NAME.to_uppercase()),
            NAME.to_owned(),
            "/x",
        ),
    ] {
        let answer = ask(&proxy, &format!("GET {url}"), &host);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "there"),
            "{url}"
        );
        let request = upstream.requests().pop().expect("just sent");
        assert!(
            request.starts_with(&format!("GET {sent} HTTP/1.1\r\n")),
            "{request}"
        );
        assert!(
            request.contains(&format!("\r\nhost: {NAME}\r\n")),
            "{request}"
        );
        assert_eq!(request.matches("\r\nauthorization: Bearer ey").count(), 1);
        assert!(!request.contains("proxy-connection"));
    }
}

#[test]
fn no_other_host_is_ever_reached() {
    let upstream = Upstream::saying("there");
    let (proxy, _folder) = forwarding(&upstream, "");
    for host in [
        "other.example",
        &format!("{NAME}.evil.example"),
        &format!("evil.{NAME}"),
        &format!("{NAME}:8443"),
        &format!("{NAME}:0"),
        &upstream.address.to_string(),
        "169.254.169.254",
        "[::1]",
    ] {
        let answer = ask(&proxy, &format!("GET http://{host}/x"), host);
        assert_eq!(
            (answer.status, &*answer.code()),
            (404, "no-route"),
            "{host}"
        );
    }
    // What names two hosts has two meanings.
    let answer = ask(&proxy, &format!("GET http://{NAME}/x"), "other.example");
    assert_eq!((answer.status, &*answer.code()), (400, "bad-request"));
    let answer = ask(&proxy, &format!("GET https://{NAME}/x"), NAME);
    assert_eq!((answer.status, &*answer.code()), (400, "bad-request"));
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn connect_is_refused_with_the_way_out() {
    let upstream = Upstream::saying("there");
    let (proxy, _folder) = forwarding(&upstream, "");
    let host = format!("{NAME}:443");
    let answer = ask(&proxy, &format!("CONNECT {host}"), &host);
    assert_eq!((answer.status, &*answer.code()), (405, "method-refused"));
    assert!(
        answer.text().contains("use http:// URLs"),
        "{}",
        answer.text()
    );
}

#[test]
fn other_requests_are_routed_there_as_anywhere() {
    let upstream = Upstream::saying("there");
    let (proxy, _folder) = forwarding(&upstream, "");
    assert_eq!(ask(&proxy, "GET /acme/x", "localhost").status, 200);
    assert_eq!(
        ask(&proxy, "GET http://localhost/acme/x", "localhost").status,
        200
    );
    assert!(
        upstream
            .requests()
            .iter()
            .all(|it| it.starts_with("GET /x HTTP/1.1"))
    );
    // Only a whole URL may name a target's host.
    let answer = ask(&proxy, "GET /acme/x", NAME);
    assert_eq!((answer.status, &*answer.code()), (403, "forbidden-host"));
    let answer = send(
        proxy.address,
        format!(
            "GET http://{NAME}/ HTTP/1.1\r\nHost: {NAME}\r\nOrigin: http://evil.example\r\n\r\n"
        ),
    );
    assert_eq!((answer.status, &*answer.code()), (403, "cross-site"));
}

#[test]
fn a_page_cannot_have_a_browser_ask_for_a_whole_url() {
    let upstream = Upstream::saying("there");
    let browser = "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\nAccept-Language: en\r\nUpgrade-Insecure-Requests: 1\r\n";
    let ask = |proxy: &Proxy, headers: &str| {
        let text = format!("GET http://{NAME}/x HTTP/1.1\r\nHost: {NAME}\r\n{headers}\r\n");
        send(proxy.address, text)
    };
    let (proxy, _folder) = forwarding(&upstream, "");
    for headers in [
        browser,
        &format!("{browser}Referer: http://evil.example/\r\n"),
        &format!("{browser}Referer: http://{NAME}.evil.example/{NAME}/\r\n"),
        "Referer: http://evil.example/\r\n",
    ] {
        let answer = ask(&proxy, headers);
        assert_eq!(
            (answer.status, &*answer.code()),
            (403, "cross-site"),
            "{headers}"
        );
    }
    assert_eq!(upstream.connections(), 0);
    for headers in [
        // PowerShell.
        "User-Agent: Mozilla/5.0 (Windows NT 10.0; en-US) PowerShell/7.4.0\r\n",
        // A page of the very host, got through this proxy.
        &format!("{browser}Referer: http://{NAME}/page\r\n"),
    ] {
        assert_eq!(ask(&proxy, headers).status, 200, "{headers}");
    }

    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "");
    let keys = "127.0.0.1:0\"\nforward = true\nrequire-header = \"X-Door\"\n";
    let proxy = Proxy::start(&folder, &text.replace("127.0.0.1:0\"\n", keys));
    let answer = ask(&proxy, browser);
    assert_eq!((answer.status, &*answer.code()), (403, "caller-refused"));
    assert_eq!(ask(&proxy, &format!("{browser}X-Door: 1\r\n")).status, 200);
}

#[test]
fn a_listener_that_does_not_forward_takes_a_whole_url_for_its_path() {
    let upstream = Upstream::saying("there");
    let (proxy, _folder) = crate::support::proxy_to(&upstream, "");
    let answer = ask(&proxy, &format!("GET http://{NAME}/acme"), NAME);
    assert_eq!((answer.status, &*answer.code()), (403, "forbidden-host"));
    assert_eq!(
        ask(&proxy, "GET http://localhost/acme/x", "localhost").status,
        200
    );
    assert!(upstream.request().starts_with("GET /x HTTP/1.1"));
}

#[test]
fn what_a_route_asks_for_holds_for_whole_urls_too() {
    let upstream = Upstream::saying("there");
    let (proxy, _folder) = forwarding(
        &upstream,
        "refuse = [\"/secret\"]\nroutes = [{ path = \"/a\", methods = [\"GET\"], headers = { X-Team = \"red\" } }]",
    );
    let url = format!("http://{NAME}/x");
    let with = |line: &str, header: &str| {
        let text = format!("{line} HTTP/1.1\r\nHost: {NAME}\r\n{header}\r\n");
        Caller::connect(proxy.address).write(text).read().status
    };
    assert_eq!(with(&format!("GET {url}"), "X-Team: red\r\n"), 200);
    assert_eq!(with(&format!("GET {url}"), ""), 404);
    assert_eq!(with(&format!("DELETE {url}"), "X-Team: red\r\n"), 405);
    let secret = format!("GET http://{NAME}/secret/x");
    assert_eq!(with(&secret, "X-Team: red\r\n"), 403);
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn a_target_that_keeps_to_another_listener_is_not_reached() {
    let upstream = Upstream::saying("there");
    let folder = Folder::new();
    let text = acme(
        &folder,
        upstream.address,
        &upstream.ca_pem,
        "routes = [{ listener = \"inner\" }]",
    );
    let text = format!(
        "{}\n[listeners.inner]\naddress = \"127.0.0.1:0\"\n",
        text.replace("127.0.0.1:0\"\n", "127.0.0.1:0\"\nforward = true\n")
    );
    let proxy = Proxy::start(&folder, &text);
    let answer = ask(&proxy, &format!("GET http://{NAME}/x"), NAME);
    assert_eq!((answer.status, &*answer.code()), (404, "no-route"));
}

#[test]
fn a_targets_own_path_is_part_of_what_is_asked_for() {
    let upstream = Upstream::saying("there");
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "");
    let text = text
        .replace("127.0.0.1:0\"\n", "127.0.0.1:0\"\nforward = true\n")
        .replace(
            &format!("url = \"https://{NAME}\""),
            &format!("url = \"https://{NAME}/v1\""),
        );
    let proxy = Proxy::start(&folder, &text);
    assert_eq!(
        ask(&proxy, &format!("GET http://{NAME}/v1/x"), NAME).status,
        200
    );
    assert!(upstream.request().starts_with("GET /v1/x HTTP/1.1\r\n"));
    for path in ["/x", "/v10/x", "/"] {
        let answer = ask(&proxy, &format!("GET http://{NAME}{path}"), NAME);
        assert_eq!(
            (answer.status, &*answer.code()),
            (404, "no-route"),
            "{path}"
        );
    }
}

#[test]
fn an_egress_gateway_takes_the_vendors_own_names_without_being_told() {
    let upstream = Upstream::saying("there");
    let (proxy, _folder) =
        crate::support::proxy_to(&upstream, &format!("routes = [{{ host = \"{NAME}\" }}]"));
    assert_eq!(ask(&proxy, "GET /acme/api?x=1", NAME).status, 200);
    assert_eq!(
        ask(&proxy, &format!("GET http://{NAME}/y"), NAME).status,
        200
    );
    let requests = upstream.requests();
    assert!(
        requests[0].starts_with("GET /acme/api?x=1 HTTP/1.1\r\n"),
        "{requests:?}"
    );
    assert!(
        requests[1].starts_with("GET /y HTTP/1.1\r\n"),
        "{requests:?}"
    );
    assert_eq!(ask(&proxy, "GET /", "localhost").status, 404);
    assert_eq!(ask(&proxy, "GET /", "other.example").status, 403);
}

#[test]
fn two_routes_that_a_url_could_take_are_a_fault_with_a_way_out() {
    let folder = Folder::new();
    let upstream = Upstream::saying("");
    let text = acme(
        &folder,
        upstream.address,
        &upstream.ca_pem,
        "routes = [{ path = \"/a\" }, { path = \"/b\", with = { user = 456 } }, { path = \"/c\" }]",
    );
    let store = countersign::secret::store::Store::Disk;
    let load = |text: &str| countersign::config::parse("proxy.toml", text, folder.path(), &store);
    assert!(load(&text).is_ok(), "nothing forwards");
    let text = text.replace("127.0.0.1:0\"\n", "127.0.0.1:0\"\nforward = true\n");
    let said = load(&text).expect_err("a fault").to_string();
    assert!(
        said.contains("a request for http://upstream.example could take this route"),
        "{said}"
    );
    assert!(
        said.contains("keep one of them to another listener"),
        "{said}"
    );
    assert_eq!(
        said.matches("could take").count(),
        1,
        "two that do the same are one: {said}"
    );
}

/// Two targets on one host, at these ports.
fn two_ports(folder: &Folder, ports: [u16; 2]) -> (Upstream, Upstream, String) {
    let (first, second) = (Upstream::saying("first"), Upstream::saying("second"));
    folder.write("both.pem", first.ca_pem.clone() + &second.ca_pem);
    let mut text = "[listeners.local]\naddress = \"127.0.0.1:0\"\nforward = true\n".to_owned();
    for (name, upstream, port) in [("first", &first, ports[0]), ("second", &second, ports[1])] {
        text.push_str(&format!(
            "[targets.{name}]\nurl = \"https://{NAME}:{port}\"\nconnect = \"{}\"\n\
             credential = \"none\"\ntls.ca = [\"both.pem\"]\n",
            upstream.address
        ));
    }
    (first, second, text)
}

#[test]
fn targets_on_one_host_are_told_apart_by_their_ports() {
    let folder = Folder::new();
    let (_first, _second, text) = two_ports(&folder, [8443, 443]);
    let proxy = Proxy::start(&folder, &text);
    for (port, said) in [
        (":8443", "first"),
        (":443", "second"),
        ("", "second"),
        (":80", "second"),
    ] {
        let host = format!("{NAME}{port}");
        let answer = ask(&proxy, &format!("GET http://{host}/x"), &host);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, said),
            "{port}"
        );
    }
    let host = format!("{NAME}:9443");
    let answer = ask(&proxy, &format!("GET http://{host}/x"), &host);
    assert_eq!((answer.status, &*answer.code()), (404, "no-route"));
}

#[test]
fn without_a_port_nothing_is_guessed_among_targets_of_which_none_has_443() {
    let folder = Folder::new();
    let (_first, _second, text) = two_ports(&folder, [8443, 9443]);
    let store = countersign::secret::store::Store::Disk;
    let loaded = countersign::config::parse("proxy.toml", &text, folder.path(), &store);
    let warnings = loaded.expect("no fault").warnings.to_string();
    assert!(
        warnings.contains("leads nowhere if it says no port"),
        "{warnings}"
    );
    let proxy = Proxy::start(&folder, &text);
    let answer = ask(&proxy, &format!("GET http://{NAME}/x"), NAME);
    assert_eq!((answer.status, &*answer.code()), (404, "no-route"));
    let host = format!("{NAME}:9443");
    assert_eq!(
        ask(&proxy, &format!("GET http://{host}/x"), &host).text(),
        "second"
    );
}

#[test]
fn two_targets_with_the_same_host_and_port_are_a_fault() {
    let folder = Folder::new();
    let (_first, _second, text) = two_ports(&folder, [8443, 8443]);
    let store = countersign::secret::store::Store::Disk;
    let loaded = countersign::config::parse("proxy.toml", &text, folder.path(), &store);
    let said = loaded.expect_err("a fault").to_string();
    assert_eq!(
        said.matches("http://upstream.example:8443 could take")
            .count(),
        1,
        "{said}"
    );
}

#[test]
fn a_whole_url_where_nothing_is_forwarded_is_refused_with_the_key_that_is_missing() {
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "");
    let proxy = Proxy::start(&folder, &text);
    let answer = ask(&proxy, &format!("GET http://{NAME}/x"), NAME);
    assert_eq!((answer.status, &*answer.code()), (403, "forbidden-host"));
    assert!(
        answer.text().contains("listeners.local.forward"),
        "{answer:?}"
    );
}
