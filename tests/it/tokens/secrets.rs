//! Secrets that change while the proxy runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use super::{Endpoint, Setting, is_signed_by, seen, wait_until};
use crate::support::{Folder, Process, Upstream, acme, get};

/// A self-signed credential whose key stands where the test says.
fn signing(folder: Folder, api: &Upstream, key: &str) -> Setting {
    let text = acme(&folder, api.address, &api.ca_pem, "")
        .replace("[credentials.acme.vdr]", "[credentials.api.vdr]")
        .replace("[targets.acme]", "[targets.api]")
        .replace("key = { file = \"key.pem\" }", key);
    Setting::of(folder, &text)
}

/// Whether the next request goes out with a token of that key.
fn signs_with(it: &Setting, api: &Upstream, public: &str) -> bool {
    assert_eq!(it.get().status, 200);
    is_signed_by(&seen(api).pop().expect("just sent"), public)
}

#[test]
fn a_key_that_is_replaced_is_used_and_a_half_written_one_is_not() {
    let api = Upstream::saying("");
    let folder = Folder::new();
    let first = folder.write_key("key.pem");
    let it = signing(folder, &api, "key = { file = \"key.pem\" }");
    assert!(signs_with(&it, &api, &first));

    let second = it.folder.write_key("other.pem");
    let whole = fs::read(it.folder.path().join("other.pem")).expect("the key");
    it.folder.write("key.pem", &whole[..whole.len() / 2]);
    // One look at it: this is what the proxy does every two seconds, and it tells nobody.
    super::pause(Duration::from_millis(2200));
    assert!(signs_with(&it, &api, &first));
    it.folder.write("new.pem", &whole);
    let path = it.folder.path();
    fs::rename(path.join("new.pem"), path.join("key.pem")).expect("replaced");
    wait_until("the new key", || signs_with(&it, &api, &second));
}

#[test]
fn a_key_behind_a_link_that_is_pointed_elsewhere_is_read_again() {
    let api = Upstream::saying("");
    let folder = Folder::new();
    fs::create_dir_all(folder.path().join("a")).expect("a folder");
    fs::create_dir_all(folder.path().join("b")).expect("a folder");
    let keys = [folder.write_key("a/key.pem"), folder.write_key("b/key.pem")];
    symlink("a", folder.path().join("..data")).expect("a link");
    symlink("..data/key.pem", folder.path().join("mounted.pem")).expect("a link");
    let it = signing(folder, &api, "key = { file = \"mounted.pem\" }");
    assert!(signs_with(&it, &api, &keys[0]));
    let path = it.folder.path();
    symlink("b", path.join("..new")).expect("a link");
    fs::rename(path.join("..new"), path.join("..data")).expect("swapped");
    wait_until("the new key", || signs_with(&it, &api, &keys[1]));
}

/// A credential whose token stands somewhere.
fn standing(folder: Folder, api: &Upstream, token: &str) -> Setting {
    folder.write("ca.pem", &api.ca_pem);
    Setting::of(folder, &standing_text(api, token))
}

fn standing_text(api: &Upstream, token: &str) -> String {
    format!(
        r#"
[listeners.local]
address = "127.0.0.1:0"

[credentials.api.static]
token = {token}
lifetime = "60s"

[targets.api]
url = "https://upstream.example"
connect = "{}"
tls.ca = "ca.pem"
"#,
        api.address
    )
}

#[test]
fn a_token_in_a_file_is_read_again_when_the_file_changes() {
    let api = Upstream::saying("");
    let folder = Folder::new();
    folder.write("token", "the-first\n");
    let it = standing(folder, &api, "{ file = \"token\" }");
    assert_eq!(it.get().status, 200);
    it.folder.write("token", "the-second\n");
    wait_until("the new token", || {
        it.get();
        seen(&api).pop().as_deref() == Some("the-second")
    });
}

#[test]
fn what_systemd_hands_over_is_read_again_when_it_changes() {
    let api = Upstream::saying("");
    let folder = Folder::new();
    fs::create_dir_all(folder.path().join("handed-over")).expect("a folder");
    folder.write("handed-over/token", "the-first\n");
    folder.write("ca.pem", &api.ca_pem);
    let text = standing_text(&api, "{ credential = \"token\" }");
    folder.write("proxy.toml", text);
    let handed_over = folder.path().join("handed-over");
    let process = Process::start_with(
        folder.path(),
        &[],
        &[("CREDENTIALS_DIRECTORY", &handed_over)],
    );
    assert_eq!(get(process.address(), "/api").status, 200);
    assert_eq!(seen(&api), ["the-first"]);
    folder.write("handed-over/new", "the-second\n");
    fs::rename(handed_over.join("new"), handed_over.join("token")).expect("replaced");
    wait_until("the new token", || {
        get(process.address(), "/api");
        seen(&api).pop().as_deref() == Some("the-second")
    });
}

#[test]
fn a_standing_jwt_is_used_no_longer_than_it_says() {
    let now = super::START.wall.as_secs();
    let jwt = |exp: u64| super::unsigned(&serde_json::json!({ "iat": now - 5000, "exp": exp }));
    let api = Upstream::saying("");
    let folder = Folder::new();
    folder.write("token", jwt(now + 20));
    let it = standing(folder, &api, "{ file = \"token\" }");
    assert_eq!(it.token().end, super::START.after(Duration::from_secs(20)));
    assert_eq!(it.get().status, 200);
    it.pass(20.0);
    assert_eq!(it.get().code(), "credential-unavailable");
    it.folder.write("token", jwt(now + 5000));
    wait_until("the next one", || it.get().status == 200);
    assert_eq!(seen(&api), [jwt(now + 20), jwt(now + 5000)]);
}

#[test]
fn a_token_from_a_command_is_asked_for_again_and_ends_when_the_command_fails() {
    let api = Upstream::saying("");
    let folder = Folder::new();
    folder.write("said", "one");
    let it = standing(folder, &api, "{ command = [\"cat\", \"said\"] }");
    let first = it.token();
    assert_eq!(it.get().status, 200);
    it.folder.write("said", "two");
    it.pass(45.0);
    it.next_token(&first);
    assert_eq!(it.get().status, 200);
    assert_eq!(seen(&api), ["one", "two"]);

    fs::remove_file(it.folder.path().join("said")).expect("removed");
    it.pass(45.0);
    it.failure();
    assert_eq!(it.get().status, 200, "until it ends");
    it.pass(15.0);
    assert_eq!(it.get().code(), "credential-unavailable");
    it.folder.write("said", "three");
    let failure = it.failure();
    it.hand.advance(Duration::from_secs(60));
    it.wait("the command", |it| {
        it.failure
            .as_ref()
            .is_none_or(|it| it.until != failure.until)
            .then_some(())
    });
    wait_until("service", || it.get().status == 200);
    assert_eq!(seen(&api).pop().as_deref(), Some("three"));
}

#[test]
fn a_key_from_a_command_signs_each_request() {
    let api = Upstream::saying("");
    let folder = Folder::new();
    let public = folder.write_key("key.pem");
    let it = signing(
        folder,
        &api,
        "key = { command = [\"cat\", \"key.pem\"] }\nsign = \"each-request\"",
    );
    wait_until("the command", || it.get().status == 200);
    assert!(signs_with(&it, &api, &public));
}

#[test]
fn one_secret_that_cannot_be_read_does_not_hide_that_another_has_changed() {
    let endpoint = Endpoint::giving(1000);
    let extra = "grant = \"password\"\nuser = \"me\"\npassword = { file = \"password\" }";
    let upstream = &endpoint.upstream;
    let api = Upstream::saying("");
    let (folder, text) = super::exchange(upstream.address, &upstream.ca_pem, &api, extra);
    folder.write("password", "old");
    let it = Setting::of(folder, &text);
    let first = it.token();
    it.folder.write("client-secret", "");
    it.folder.write("password", "new");
    it.next_token(&first);
    assert!(
        endpoint
            .form(1)
            .contains(&("password".into(), "new".into()))
    );

    it.folder.write("client-secret", "newer");
    let second = it.token();
    it.folder.write("password", "");
    it.next_token(&second);
}

#[test]
fn a_refresh_token_that_is_given_anew_takes_the_place_of_the_one_that_came_last() {
    let endpoint = Endpoint::with(|number, _| {
        super::Say::This(super::ok(format!(
            r#"{{"access_token":"token-{number}","expires_in":100,"refresh_token":"came-{number}"}}"#
        )))
    });
    let extra = "grant = \"refresh-token\"\nrefresh-token = { file = \"refresh\" }";
    let upstream = &endpoint.upstream;
    let api = Upstream::saying("");
    let (folder, text) = super::exchange(upstream.address, &upstream.ca_pem, &api, extra);
    folder.write("refresh", "given");
    let it = Setting::of(folder, &text);
    let sent = |call| {
        let form = endpoint.form(call);
        let found = form.into_iter().find(|(name, _)| name == "refresh_token");
        found.expect("a refresh token").1
    };
    let first = it.token();
    it.pass(75.0);
    let second = it.next_token(&first);
    it.folder.write("client-secret", "another");
    let third = it.next_token(&second);
    it.folder.write("refresh", "given-anew");
    it.next_token(&third);
    assert_eq!(
        [sent(0), sent(1), sent(2), sent(3)],
        ["given", "came-0", "came-1", "given-anew"]
    );
}
