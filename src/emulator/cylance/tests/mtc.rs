//! The multi-tenant console.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

const CONSOLE: &str = "api-admin.cylance.com";
const LOGIN: &str = "/public/v2/us/auth";
const FORM: &str = "grant_type=client_credentials&scope=api";
const VENUE: &str = "55555555-aaaa-4bbb-8ccc-666666666666";

fn provider() -> Customer {
    let customer = customer();
    customer.running.vendor().add_console(Console {
        region: Region::NorthAmerica,
        id: "console".into(),
        secret: "s:ecret".into(),
        venues: vec![Venue {
            id: VENUE.into(),
            name: "Acme".into(),
            tenant: TENANT.into(),
            application: APPLICATION.into(),
        }],
    });
    customer
}

fn login(path: &str, credentials: &str, body: &str) -> Request<Body> {
    let basic = format!("Basic {}", STANDARD.encode(credentials));
    let form = ("content-type", "application/x-www-form-urlencoded");
    request("POST", path, &[("authorization", &basic), form], body)
}

impl Customer {
    fn console_token(&self) -> String {
        let answer = self.send_to(CONSOLE, login(LOGIN, "console:s:ecret", FORM));
        assert_eq!(answer.status(), 200, "{:?}", answer.body);
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    fn console_call(&self, token: &str, method: &str, path: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        let request = request(method, path, &[("authorization", &bearer)], "");
        self.send_to(CONSOLE, request)
    }

    /// Sees to it that a login is refused with this status and for this reason.
    fn refuses_login(&self, request: Request<Body>, status: u16, reason: &str) -> Answer {
        let answer = self.send_to(CONSOLE, request);
        assert_eq!(answer.status(), status, "{reason}");
        assert_eq!(self.reason(&answer), Some(reason));
        answer
    }
}

#[test]
fn a_login_answers_as_oauth_does() {
    let customer = provider();
    let answer = customer.send_to(CONSOLE, login(LOGIN, "console:s:ecret", FORM));
    let document = answer.json();
    assert_eq!(document["token_type"], "Bearer");
    assert_eq!(document["expires_in"], 1800);
    assert_eq!(customer.running.vendor().token_calls(), 1);
}

#[test]
fn a_token_of_the_console_lists_the_tenants() {
    let customer = provider();
    let token = customer.console_token();
    let answer = customer.console_call(&token, "GET", "/public/v2/us/tenants/list");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json()["listData"][0]["venueTenantId"], VENUE);
}

#[test]
fn a_tenants_token_comes_as_bare_text_and_opens_the_user_api() {
    let customer = provider();
    let path = format!("/public/v2/us/tenants/tenant-app/{VENUE}");
    let answer = customer.console_call(&customer.console_token(), "PUT", &path);
    assert_eq!(answer.status(), 200);
    let token = String::from_utf8(answer.body.to_vec()).unwrap();
    let answer = customer.call_with(&token, "GET", "/devices/v2", "");
    assert_eq!(answer.status(), 200);
}

#[test]
fn neither_sides_token_is_good_for_the_other() {
    let customer = provider();
    let answer = customer.call_with(&customer.console_token(), "GET", "/devices/v2", "");
    assert_eq!(answer.status(), 401);
    assert_eq!(customer.reason(&answer), Some("other-use"));
    let answer = customer.console_call(&customer.access(), "GET", "/public/v2/us/tenants/list");
    assert_eq!(answer.status(), 401);
    assert_eq!(customer.reason(&answer), Some("other-use"));
}

#[test]
fn bad_credentials_are_refused() {
    let customer = provider();
    for credentials in ["console:wrong", "other:s:ecret", "console:", "console"] {
        let request = login(LOGIN, credentials, FORM);
        let answer = customer.refuses_login(request, 401, "bad-credentials");
        assert_eq!(answer.json()["error"], "invalid_client");
        assert!(answer.header("www-authenticate").starts_with("Basic "));
    }
    let elsewhere = login("/public/v2/eu/auth", "console:s:ecret", FORM);
    customer.refuses_login(elsewhere, 401, "bad-credentials");
    let none = request("POST", LOGIN, &[], FORM);
    customer.refuses_login(none, 401, "bad-credentials");
}

#[test]
fn a_form_that_is_not_the_logins_is_a_bad_request() {
    let customer = provider();
    for (body, reason) in [
        ("grant_type=%", "bad-form"),
        ("grant_type=a&grant_type=b", "bad-form"),
        ("scope=api", "no-grant-type"),
        ("grant_type=password&scope=api", "wrong-grant-type"),
        ("grant_type=client_credentials", "wrong-scope"),
        ("grant_type=client_credentials&scope=all", "wrong-scope"),
    ] {
        customer.refuses_login(login(LOGIN, "console:s:ecret", body), 400, reason);
    }
    let mut json = login(LOGIN, "console:s:ecret", FORM);
    let media_type = HeaderValue::from_static("application/json");
    json.headers_mut().insert("content-type", media_type);
    customer.refuses_login(json, 400, "not-a-form");
}

#[test]
fn what_the_console_does_not_have_is_not_found() {
    let customer = provider();
    let token = customer.console_token();
    for (method, path) in [
        ("POST", "/public/v2/xx/auth"),
        ("GET", "/public/v2"),
        ("GET", "/devices/v2"),
        ("GET", "/public/v2/us/tenants"),
        ("PUT", "/public/v2/us/tenants/tenant-app/other"),
    ] {
        let answer = customer.console_call(&token, method, path);
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(customer.reason(&answer), Some("not-found"));
    }
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    let customer = provider();
    let token = customer.console_token();
    for (method, path, allowed) in [
        ("GET", LOGIN, "POST"),
        ("POST", "/public/v2/us/tenants/list", "GET, HEAD"),
        ("GET", "/public/v2/us/tenants/tenant-app/x", "PUT"),
    ] {
        let answer = customer.console_call(&token, method, path);
        assert_eq!(answer.status(), 405, "{path}");
        assert_eq!(answer.header("allow"), allowed);
    }
}

#[test]
fn another_regions_path_is_forbidden() {
    let customer = provider();
    let answer = customer.console_call(
        &customer.console_token(),
        "GET",
        "/public/v2/jp/tenants/list",
    );
    assert_eq!(answer.status(), 403);
    assert_eq!(customer.reason(&answer), Some("other-region"));
}

#[test]
fn the_console_gives_nothing_without_a_live_token() {
    let customer = provider();
    let path = "/public/v2/us/tenants/list";
    let refused = |answer: Answer, reason| {
        assert_eq!(answer.status(), 401);
        assert_eq!(customer.reason(&answer), Some(reason));
    };
    refused(
        customer.send_to(CONSOLE, request("GET", path, &[], "")),
        "no-authorization",
    );
    let token = customer.console_token();
    customer.running.vendor().revoke_all();
    refused(customer.console_call(&token, "GET", path), "revoked");
    let token = customer.console_token();
    customer.running.clock().advance(1800);
    refused(customer.console_call(&token, "GET", path), "expired");
}
