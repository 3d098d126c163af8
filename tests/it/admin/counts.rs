//! `/metrics`: what is counted, and in which form.

use std::collections::BTreeSet;

use super::{PAGES, page, proxy_to, sample, wait_for_sample};
use crate::support::{Caller, Folder, Proxy, Upstream, Vacant, acme, get, send};

#[test]
fn requests_are_counted_by_target_and_class_and_refusals_by_code() {
    let upstream = Upstream::saying("eight ch");
    let (proxy, _folder) = proxy_to(&upstream);
    let mut caller = Caller::connect(proxy.address);
    for _ in 0..3 {
        caller.write("GET /acme/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(caller.read().status, 200);
    }
    assert_eq!(get(proxy.address, "/nowhere").status, 404);
    let refused = "GET /acme HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    assert_eq!(send(proxy.address, refused).status, 403);
    for (series, value) in [
        (
            r#"countersign_requests_total{target="acme",status="2xx"}"#,
            3.0,
        ),
        (r#"countersign_requests_total{target="",status="4xx"}"#, 2.0),
        (
            r#"countersign_refusals_total{target="",code="no-route"}"#,
            1.0,
        ),
        (
            r#"countersign_refusals_total{target="",code="forbidden-host"}"#,
            1.0,
        ),
        (
            r#"countersign_request_duration_seconds_count{target="acme"}"#,
            3.0,
        ),
        (
            r#"countersign_request_duration_seconds_bucket{target="acme",le="+Inf"}"#,
            3.0,
        ),
        (r#"countersign_answer_bytes_total{target="acme"}"#, 24.0),
        (
            r#"countersign_upstream_connections_opened_total{target="acme"}"#,
            1.0,
        ),
        (
            r#"countersign_upstream_connections_reused_total{target="acme"}"#,
            2.0,
        ),
        (r#"countersign_requests_active{target="acme"}"#, 0.0),
        ("countersign_connections_total", 3.0),
        ("countersign_connections_active", 1.0),
        (r#"countersign_credential_up{credential="acme"}"#, 1.0),
        (
            r#"countersign_credential_mints_total{credential="acme"}"#,
            1.0,
        ),
        (
            r#"countersign_credential_failures_total{credential="acme"}"#,
            0.0,
        ),
        (
            r#"countersign_credential_waiting_requests{credential="acme"}"#,
            0.0,
        ),
    ] {
        wait_for_sample(&proxy, series, value);
    }
    let left = sample(
        &proxy,
        r#"countersign_credential_expiry_seconds{credential="acme"}"#,
    );
    assert!(left > Some(1.0), "{left:?}");
    for series in [
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_threads",
    ] {
        assert!(sample(&proxy, series) > Some(1.0), "{series}");
    }
}

#[test]
fn requests_that_nobody_could_read_are_counted_as_refusals() {
    let folder = Folder::new();
    let upstream = Upstream::saying("");
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "") + PAGES;
    let proxy = Proxy::start(&folder, &format!("timeouts.head = \"3s\"\n{text}"));
    let large = format!("GET /acme HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(70_000));
    for (request, status, code) in [
        (
            "GET /#x HTTP/1.1\r\nHost: localhost\r\n\r\n",
            400,
            "bad-request",
        ),
        (&*large, 431, "too-large"),
        ("GET /", 408, "request-timeout"),
    ] {
        assert_eq!(send(proxy.address, request).status, status);
        let series = format!("countersign_refusals_total{{target=\"\",code=\"{code}\"}}");
        wait_for_sample(&proxy, &series, 1.0);
    }
}

#[test]
fn a_request_is_under_way_until_the_last_byte_of_its_answer() {
    let upstream = Upstream::with(|conversation| {
        conversation.read_request();
        conversation.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfirst ");
        conversation.read_request();
    });
    let (proxy, _folder) = proxy_to(&upstream);
    let active = r#"countersign_requests_active{target="acme"}"#;
    let mut caller = Caller::connect(proxy.address);
    caller.write("GET /acme HTTP/1.1\r\nHost: localhost\r\n\r\n");
    wait_for_sample(&proxy, active, 1.0);
    wait_for_sample(
        &proxy,
        r#"countersign_answer_bytes_total{target="acme"}"#,
        6.0,
    );
    drop(caller);
    wait_for_sample(&proxy, active, 0.0);
    wait_for_sample(
        &proxy,
        r#"countersign_requests_total{target="acme",status="2xx"}"#,
        1.0,
    );
}

#[test]
fn a_target_that_cannot_be_reached_and_a_token_that_is_refused_are_counted() {
    let refusing = Upstream::with(|conversation| {
        conversation.read_request();
        conversation.write("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n");
        while conversation.read_request().is_some() {
            conversation.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let (proxy, _folder) = proxy_to(&refusing);
    // Too new a token is not renewed, and the 401 is the caller's.
    assert_eq!(get(proxy.address, "/acme").status, 401);
    wait_for_sample(
        &proxy,
        r#"countersign_requests_total{target="acme",status="4xx"}"#,
        1.0,
    );
    wait_for_sample(&proxy, r#"countersign_replays_total{target="acme"}"#, 0.0);
    let nobody = Vacant::new();
    let folder = Folder::new();
    let text = acme(&folder, nobody.address, &refusing.ca_pem, "") + PAGES;
    let proxy = Proxy::start(&folder, &text);
    assert_eq!(get(proxy.address, "/acme").code(), "upstream-refused");
    for series in [
        r#"countersign_upstream_connections_failed_total{target="acme"}"#,
        r#"countersign_refusals_total{target="acme",code="upstream-refused"}"#,
        r#"countersign_requests_total{target="acme",status="5xx"}"#,
    ] {
        wait_for_sample(&proxy, series, 1.0);
    }
}

#[test]
fn the_page_is_in_the_text_format_that_scrapers_read() {
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    // A variant of the credential, which has its name.
    let routes = "routes = [{ path = \"/acme\" }, { path = \"/seven\", with = { user = 7 } }]";
    let text = acme(&folder, upstream.address, &upstream.ca_pem, routes) + PAGES;
    let proxy = Proxy::start(&folder, &text);
    assert_eq!(get(proxy.address, "/acme").status, 200);
    let up = r#"countersign_credential_up{credential="acme",with="{ user = 7 }"}"#;
    wait_for_sample(&proxy, up, 1.0);
    let answer = page(&proxy, "/metrics");
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let text = answer.text();
    assert!(text.ends_with('\n'));
    let (mut family, mut kind) = (String::new(), String::new());
    let (mut families, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert!(!help.is_empty());
            assert!(families.insert(name.to_owned()), "{name} comes twice");
            family = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, of) = rest.split_once(' ').expect("a type");
            assert_eq!(name, family);
            assert!(["counter", "gauge", "histogram"].contains(&of), "{line}");
            kind = of.to_owned();
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
            let name = series.split('{').next().expect("a name");
            let base = match kind.as_str() {
                "histogram" => ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|it| name.strip_suffix(it))
                    .unwrap_or_else(|| panic!("{line}")),
                _ => name,
            };
            assert_eq!(base, family, "{line}");
            assert!(seen.insert(series.to_owned()), "{series} comes twice");
        }
    }
    assert!(families.contains("countersign_build_info"));
    let buckets: Vec<f64> = text
        .lines()
        .filter(|it| it.contains("_bucket{target=\"acme\""))
        .map(|it| {
            it.rsplit(' ')
                .next()
                .expect("a value")
                .parse()
                .expect("a number")
        })
        .collect();
    assert!(buckets.is_sorted(), "{buckets:?}");
    assert_eq!(buckets.last(), Some(&1.0));
}
