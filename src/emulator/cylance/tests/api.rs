//! The user API.

use super::*;

/// Sees to it that these headers are refused for this reason; gives the message.
fn refuses_all(customer: &Customer, authorizations: &[&str], reason: &str) -> String {
    let headers: Vec<(&str, &str)> = authorizations
        .iter()
        .map(|value| ("authorization", *value))
        .collect();
    let answer = customer.send(request("GET", "/devices/v2", &headers, ""));
    assert_eq!(answer.status(), 401);
    assert_eq!(customer.reason(&answer), Some(reason));
    assert!(answer.header("www-authenticate").starts_with("Bearer "));
    answer.json()["message"].as_str().unwrap().to_owned()
}

fn refuses(customer: &Customer, access: &str, reason: &str) -> String {
    refuses_all(customer, &[&format!("Bearer {access}")], reason)
}

#[test]
fn an_access_token_opens_the_api() {
    let customer = customer();
    for path in ["/devices/v2", "/threats/v2", "/policies/v2", "/zones/v2"] {
        assert!(customer.get(path)["total_number_of_items"].as_u64() > Some(1));
    }
    let answer = customer.call("HEAD", "/devices/v2", "");
    assert_eq!(answer.status(), 200);
}

#[test]
fn anything_but_one_bearer_token_is_refused() {
    let customer = customer();
    let bearer = format!("Bearer {}", customer.access());
    refuses_all(&customer, &[], "no-authorization");
    refuses_all(&customer, &[&bearer, &bearer], "several-authorizations");
    refuses_all(&customer, &["Basic YTpi"], "not-bearer");
    refuses_all(&customer, &["Bearer abc"], "not-three-segments");
    refuses_all(&customer, &["Bearer a.b.="], "not-base64url");
    refuses_all(&customer, &["Bearer YWJj.YWJj.YWJj"], "not-json");
}

#[test]
fn a_clients_own_token_is_no_access_token() {
    let customer = customer();
    refuses(&customer, &auth_token(&claims()), "bad-signature");
    let other = signed(b"key", &json!({ "alg": "HS512" }), &claims());
    refuses(&customer, &other, "wrong-algorithm");
}

#[test]
fn an_access_token_is_good_until_the_second_it_expires_in() {
    let customer = customer();
    let access = customer.access();
    customer.running.clock().advance(1799);
    assert_eq!(
        customer.call_with(&access, "GET", "/echo", "").status(),
        200
    );
    customer.running.clock().advance(1);
    refuses(&customer, &access, "expired");
}

#[test]
fn an_early_death_comes_before_the_time_that_the_token_says() {
    let customer = customer_with(Settings {
        early_death: Some(Duration::from_secs(60)),
        ..Settings::default()
    });
    let access = customer.access();
    customer.running.clock().advance(59);
    assert_eq!(
        customer.call_with(&access, "GET", "/echo", "").status(),
        200
    );
    customer.running.clock().advance(1);
    refuses(&customer, &access, "expired");
}

#[test]
fn revoked_tokens_are_refused_and_new_ones_are_not() {
    let customer = customer();
    let access = customer.access();
    customer.running.vendor().revoke_all();
    refuses(&customer, &access, "revoked");
    customer.get("/devices/v2");
}

#[test]
fn the_token_of_a_withdrawn_application_is_refused() {
    let customer = customer();
    let access = customer.access();
    customer.running.vendor().withdraw(TENANT, APPLICATION);
    refuses(&customer, &access, "unknown-application");
}

#[test]
fn the_host_of_another_region_refuses_a_token_as_it_would_a_foreign_one() {
    let customer = customer();
    let foreign = refuses(&customer, &auth_token(&claims()), "bad-signature");
    let bearer = format!("Bearer {}", customer.access());
    let request = request("GET", "/devices/v2", &[("authorization", &bearer)], "");
    let answer = customer.send_to("protectapi-euc1.cylance.com", request);
    assert_eq!(answer.status(), 401);
    assert_eq!(customer.reason(&answer), Some("other-region"));
    assert_eq!(answer.json()["message"], foreign);
}

#[test]
fn what_the_tokens_scopes_do_not_cover_is_forbidden() {
    let customer = customer();
    let access = customer.access_for(&claims_but("scp", json!("policy:list")));
    for (method, path, scope) in [
        ("GET", "/devices/v2", "device:list"),
        ("GET", "/devices/v2/x", "device:read"),
        ("GET", "/threats/v2", "threat:list"),
        ("GET", "/zones/v2", "zone:list"),
        ("GET", "/globallists/v2", "globallist:list"),
        ("POST", "/globallists/v2", "globallist:create"),
    ] {
        let answer = customer.call_with(&access, method, path, "{}");
        assert_eq!(answer.status(), 403, "{method} {path}");
        assert_eq!(customer.reason(&answer), Some("scope-missing"));
        let challenge = answer.header("www-authenticate");
        assert!(challenge.contains("insufficient_scope") && challenge.contains(scope));
    }
    for path in ["/policies/v2", "/echo"] {
        assert_eq!(customer.call_with(&access, "GET", path, "").status(), 200);
    }
}

#[test]
fn an_unknown_path_is_not_found() {
    let customer = customer();
    for path in [
        "/",
        "/devices/v1",
        "/devices/v2/",
        "/devices/v2/c0a81f22-51c6-4a52-a6a7-e1d2b0c3f199",
        "/devices/v2/a/b",
        "/public/v2/us/tenants/list",
    ] {
        let answer = customer.call("GET", path, "");
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(customer.reason(&answer), Some("not-found"));
    }
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    let customer = customer();
    let answer = customer.call("DELETE", "/globallists/v2", "");
    assert_eq!(answer.status(), 405);
    assert_eq!(customer.reason(&answer), Some("wrong-method"));
    assert_eq!(answer.header("allow"), "GET, HEAD, POST");
}

#[test]
fn a_device_is_found_by_its_id_letter_by_letter() {
    let customer = customer();
    let id = customer.get("/devices/v2")["page_items"][0]["id"].clone();
    let id = id.as_str().unwrap();
    assert_eq!(customer.get(&format!("/devices/v2/{id}"))["id"], id);
    let other = format!("/devices/v2/{}", id.to_uppercase().replace('-', ""));
    assert_eq!(customer.call("GET", &other, "").status(), 404);
}

#[test]
fn lists_come_by_page() {
    let customer = customer();
    let page = customer.get("/devices/v2?page=2&page_size=2");
    assert_eq!(page["page_items"].as_array().unwrap().len(), 2);
    assert_eq!(page["page_items"][0]["name"], "laptop-7.corp.example");
    assert_eq!(page["total_pages"], 3);
    assert_eq!(page["total_number_of_items"], 5);
    assert_eq!(customer.get("/devices/v2?page=9")["page_items"], json!([]));
    for query in ["page=0", "page=x", "page_size=0", "page_size=201"] {
        let answer = customer.call("GET", &format!("/devices/v2?{query}"), "");
        assert_eq!(answer.status(), 400, "{query}");
        assert_eq!(customer.reason(&answer), Some("bad-page"));
    }
}

#[test]
fn an_entry_that_a_list_has_already_is_a_conflict() {
    let customer = customer();
    let sha256 = "ab".repeat(32);
    let entry = json!({ "list_type": "GlobalSafe", "sha256": sha256 }).to_string();
    assert_eq!(
        customer.call("POST", "/globallists/v2", &entry).status(),
        200
    );
    let answer = customer.call("POST", "/globallists/v2", &entry.replace("ab", "AB"));
    assert_eq!(answer.status(), 409);
    assert_eq!(customer.reason(&answer), Some("duplicate-entry"));
    let other = entry.replace("Safe", "Quarantine");
    assert_eq!(
        customer.call("POST", "/globallists/v2", &other).status(),
        200
    );
    let all = customer.get("/globallists/v2");
    assert_eq!(all["total_number_of_items"], 2);
    assert_eq!(all["page_items"][1]["sha256"], sha256);
}

#[test]
fn an_entry_that_makes_no_sense_is_a_bad_request() {
    let customer = customer();
    let short = json!({ "list_type": "GlobalSafe", "sha256": "ab" }).to_string();
    let list = json!({ "list_type": "Local", "sha256": "ab".repeat(32) }).to_string();
    for body in ["", "{}", "[]", &short, &list] {
        let answer = customer.call("POST", "/globallists/v2", body);
        assert_eq!(answer.status(), 400, "{body}");
        assert_eq!(customer.reason(&answer), Some("bad-entry"));
    }
}

#[test]
fn an_echo_tells_the_request_without_its_token() {
    let customer = customer();
    let access = customer.access();
    let answer = customer.call_with(&access, "PATCH", "/echo?a=b", "hello");
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(!text.contains(access.rsplit('.').next().unwrap()));
    let echo = answer.json();
    assert_eq!(echo["method"], "PATCH");
    assert_eq!(echo["query"], "a=b");
    assert_eq!(echo["body"]["text"], "hello");
    assert_eq!(echo["authorization"]["claims"]["tid"], TENANT);
}
