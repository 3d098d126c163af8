//! An operator has things done.

use super::{PAGES, post, proxy_to, robot, status, token, wait_for};
use crate::support::{Folder, Process, Proxy, Upstream, acme, get};

#[test]
fn an_operator_has_a_token_renewed() {
    let endpoint = Upstream::with(|conversation| {
        let number = conversation.number;
        while conversation.read_request().is_some() {
            conversation.write(token(&format!("token-{number}")));
            conversation.close();
        }
    });
    let folder = Folder::new();
    let upstream = Upstream::saying("");
    let text = robot(&folder, &endpoint, &upstream, "") + PAGES;
    let proxy = Proxy::start(&folder, &text);
    assert_eq!(get(proxy.address, "/robot").status, 200);
    let renewed = post(&proxy, "/renew/robot");
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    assert_eq!(renewed.json()["credentials"][0]["minted"], 2);
    assert_eq!(get(proxy.address, "/robot").status, 200);
    let requests = upstream.requests();
    assert!(requests[0].contains("Bearer token-0\r\n"), "{requests:?}");
    assert!(requests[1].contains("Bearer token-1\r\n"), "{requests:?}");
}

#[test]
fn a_renewal_is_the_way_out_of_the_wait_after_a_refused_password() {
    let endpoint = Upstream::with(|conversation| {
        let is_first = conversation.number == 0;
        while conversation.read_request().is_some() {
            if is_first {
                conversation.write("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n");
                return;
            }
            conversation.write(token("one"));
        }
    });
    let folder = Folder::new();
    let upstream = Upstream::saying("");
    let text = robot(&folder, &endpoint, &upstream, "") + PAGES;
    let proxy = Proxy::start(&folder, &text);
    let waits = wait_for("a wait for the second attempt", || {
        let robot = status(&proxy)["credentials"][0].clone();
        robot["error"].as_str()?;
        robot["next-attempt-in"].as_u64()
    });
    assert!(waits > 50, "{waits}");
    assert_eq!(get(proxy.address, "/robot").status, 503);
    let renewed = post(&proxy, "/renew/robot");
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    assert_eq!(get(proxy.address, "/robot").status, 200);
}

#[test]
fn a_renewal_that_fails_says_why() {
    let endpoint = Upstream::answering("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
    let folder = Folder::new();
    let upstream = Upstream::saying("");
    let text = robot(&folder, &endpoint, &upstream, "") + PAGES;
    let proxy = Proxy::start(&folder, &text);
    let renewed = post(&proxy, "/renew/robot");
    assert_eq!(renewed.status, 503);
    let error = renewed.json()["credentials"][0]["error"].to_string();
    assert!(error.contains("500"), "{error}");
}

#[test]
fn a_name_that_no_credential_has_is_not_renewed() {
    let (proxy, _folder) = proxy_to(&Upstream::saying(""));
    let answer = post(&proxy, "/renew/some%20one");
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("`some one`"), "{}", answer.text());
}

#[test]
fn an_operator_has_the_configuration_read_again() {
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "") + PAGES;
    folder.write("proxy.toml", &text);
    let process = Process::start(folder.path(), &[]);
    let said = process.wait_for("status are on http://");
    let (_, rest) = said.split_once("status are on http://").expect("just seen");
    let admin = rest.split_whitespace().next().expect("a word");
    let admin = admin.parse().expect("an address");
    let reload = || {
        let request = "POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
        crate::support::send(admin, request)
    };
    let done = reload();
    assert_eq!(done.status, 200, "{}", done.text());
    folder.write("proxy.toml", text.replace("user = 123", "usr = 123"));
    let refused = reload();
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("usr"), "{}", refused.text());
    let metrics = get(admin, "/metrics").text();
    assert!(metrics.contains("countersign_reloads_total{outcome=\"failed\"} "));
    assert!(!metrics.contains("countersign_reloads_total{outcome=\"failed\"} 0\n"));
    assert_eq!(get(process.address(), "/acme").status, 200);
}
