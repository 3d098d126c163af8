//! What a reload leaves alone, and what it begins anew.

use std::time::Duration;

use super::{LOCAL, credential, credential_at, endpoint, target, wait_until, write};
use crate::support::{Caller, Folder, Process, Proxy, Upstream, Vacant, get};

#[test]
fn a_credential_that_has_not_changed_keeps_its_token() {
    let (endpoint, upstream, folder) = (endpoint(), Upstream::saying("hi"), Folder::new());
    let api = credential(&folder, "api", &endpoint, "scopes = [\"read\"]");
    let to = |extra: &str| target(&folder, "api", &upstream, extra);
    write(&folder, &format!("{LOCAL}{api}{}", to("")));
    let proxy = Proxy::following(&folder);
    assert_eq!(get(proxy.address, "/api").status, 200);

    // Another target, a comment, and its keys the other way round.
    let turned: Vec<&str> = api.trim().lines().skip(1).collect();
    let turned: String = turned
        .iter()
        .rev()
        .map(|line| format!("{line}\n"))
        .collect();
    let second = target(&folder, "second", &upstream, "credential = \"api\"");
    let text = format!(
        "# A comment.\n{LOCAL}\n[credentials.api.exchange]\n{turned}{}{second}",
        to("timeouts.idle = \"7s\"")
    );
    write(&folder, &text);
    let report = proxy.reload().expect("it can be used");
    assert_eq!((report.kept, report.new.len()), (1, 0), "{report}");
    assert_eq!(get(proxy.address, "/second").status, 200);
    assert_eq!(endpoint.requests().len(), 1);
}

#[test]
fn a_credential_that_has_changed_gets_its_token_before_requests_depend_on_it() {
    let (endpoint, upstream, folder) = (endpoint(), Upstream::saying("hi"), Folder::new());
    let text = |scope: &str| {
        let scope = format!("scopes = [\"{scope}\"]");
        let api = credential(&folder, "api", &endpoint, &scope);
        format!("{LOCAL}{api}{}", target(&folder, "api", &upstream, ""))
    };
    write(&folder, &text("read"));
    let proxy = Proxy::following(&folder);
    assert_eq!(get(proxy.address, "/api").status, 200);
    let before = std::sync::Arc::downgrade(&proxy.credential("api"));
    write(&folder, &text("write"));
    let report = proxy.reload().expect("it can be used");
    assert_eq!(report.new, ["api"], "{report}");
    assert!(report.without_token.is_empty(), "{report}");
    assert_eq!(endpoint.requests().len(), 2);
    assert!(endpoint.requests()[1].contains("scope=write"));
    // The one before is let go of: by the plan at once, by its renewal a little later.
    wait_until("nobody has the credential any more", || {
        before.strong_count() == 0
    });
}

#[test]
fn one_that_comes_back_is_the_one_that_has_gone() {
    let (endpoint, upstream, folder) = (endpoint(), Upstream::saying("hi"), Folder::new());
    let api = credential(&folder, "api", &endpoint, "");
    let with = format!("{LOCAL}{api}{}", target(&folder, "api", &upstream, ""));
    let without = format!(
        "{LOCAL}{}",
        target(&folder, "api", &upstream, "credential = \"none\"")
    );
    write(&folder, &with);
    let proxy = Proxy::following(&folder);
    assert_eq!(get(proxy.address, "/api").status, 200);
    for text in [&without, &with] {
        write(&folder, text);
        proxy.reload().expect("it can be used");
    }
    assert_eq!(get(proxy.address, "/api").status, 200);
    assert_eq!(endpoint.requests().len(), 1);
}

#[test]
fn a_new_credential_is_waited_for() {
    let slow = Upstream::with(|conversation| {
        conversation.read_request();
        std::thread::park_timeout(Duration::from_millis(500));
        let body = r#"{"access_token":"slow","token_type":"Bearer","expires_in":3600}"#;
        let length = body.len();
        conversation.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
    });
    let (upstream, folder) = (Upstream::saying("hi"), Folder::new());
    let none = target(&folder, "api", &upstream, "credential = \"none\"");
    write(&folder, &format!("{LOCAL}{none}"));
    let proxy = Proxy::following(&folder);
    let api = credential(&folder, "api", &slow, "");
    write(
        &folder,
        &format!("{LOCAL}{api}{}", target(&folder, "api", &upstream, "")),
    );
    let report = proxy.reload().expect("it can be used");
    assert!(report.without_token.is_empty(), "{report}");
    assert!(proxy.credential("api").state().token.is_some());
}

#[test]
fn one_whose_endpoint_is_down_makes_no_configuration_wrong() {
    let (endpoint, upstream, folder) = (endpoint(), Upstream::saying("hi"), Folder::new());
    let api = credential(&folder, "api", &endpoint, "");
    let text = format!("{LOCAL}{api}{}", target(&folder, "api", &upstream, ""));
    write(&folder, &text);
    let proxy = Proxy::following(&folder);
    let nobody = Vacant::new();
    let down = credential_at(&folder, "down", nobody.address, "");
    write(
        &folder,
        &format!("{text}{down}{}", target(&folder, "down", &upstream, "")),
    );
    let report = proxy.reload().expect("it can be used");
    assert_eq!(report.without_token, ["down"], "{report}");
    let answer = get(proxy.address, "/down");
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (503, "credential-unavailable")
    );
    assert_eq!(get(proxy.address, "/api").status, 200);
}

#[test]
fn connections_to_a_target_that_has_not_moved_are_kept() {
    let (upstream, folder) = (Upstream::saying("hi"), Folder::new());
    let one_worker = LOCAL.replace("workers = 2", "workers = 1");
    let none = |extra: &str| {
        let extra = format!("credential = \"none\"\n{extra}");
        target(&folder, "api", &upstream, &extra)
    };
    write(&folder, &format!("{one_worker}{}", none("")));
    let proxy = Proxy::following(&folder);
    assert_eq!(get(proxy.address, "/api").status, 200);
    write(
        &folder,
        &format!("{one_worker}{}", none("headers.set.x-new = \"yes\"")),
    );
    proxy.reload().expect("it can be used");
    assert_eq!(get(proxy.address, "/api").status, 200);
    assert!(upstream.requests()[1].contains("x-new: yes"));
    assert_eq!(upstream.connections(), 1);
    write(
        &folder,
        &format!("{one_worker}{}", none("timeouts.connect = \"4s\"")),
    );
    proxy.reload().expect("it can be used");
    assert_eq!(get(proxy.address, "/api").status, 200);
    assert_eq!(
        upstream.connections(),
        2,
        "a place with other deadlines is another one"
    );
}

#[test]
fn a_request_under_way_ends_by_the_plan_that_it_began_with() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::with(move |conversation| {
        conversation.read_request();
        let _ = wait.lock().expect("one at a time").recv();
        conversation.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\nhi");
    });
    let folder = Folder::new();
    let none = |extra: &str| {
        let extra = format!("credential = \"none\"\n{extra}");
        target(&folder, "api", &upstream, &extra)
    };
    write(
        &folder,
        &format!("{LOCAL}{}", none("response-headers.set.x-plan = \"first\"")),
    );
    let proxy = Proxy::following(&folder);
    let mut caller = Caller::connect(proxy.address);
    let request = "GET /api HTTP/1.1\r\nHost: localhost\r\n\r\n";
    caller.write(request);
    wait_until("the request is at the target", || {
        upstream.requests().len() == 1
    });
    write(
        &folder,
        &format!(
            "{LOCAL}{}",
            none("response-headers.set.x-plan = \"second\"")
        ),
    );
    proxy.reload().expect("it can be used");
    go.send(()).expect("it waits");
    assert_eq!(caller.read().header("x-plan"), Some("first"));
    caller.write(request);
    go.send(()).expect("it waits");
    assert_eq!(caller.read().header("x-plan"), Some("second"));
}

/// A token endpoint that answers each refresh token with the next.
fn rotating() -> Upstream {
    let count = std::sync::atomic::AtomicUsize::new(0);
    Upstream::with(move |conversation| {
        conversation.read_request();
        let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let body = format!(
            r#"{{"access_token":"a","token_type":"Bearer","expires_in":3600,"refresh_token":"came-{number}"}}"#
        );
        let length = body.len();
        conversation.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
    })
}

#[test]
fn a_refresh_token_that_was_used_up_is_not_used_again_by_a_changed_credential() {
    let endpoint = rotating();
    let (upstream, folder) = (Upstream::saying("hi"), Folder::new());
    folder.write("refresh", "given");
    let text = |scope: &str| {
        let grant = format!(
            "grant = \"refresh-token\"\nrefresh-token = {{ file = \"refresh\" }}\nscopes = [\"{scope}\"]"
        );
        let api = credential(&folder, "api", &endpoint, &grant);
        format!("{LOCAL}{api}{}", target(&folder, "api", &upstream, ""))
    };
    write(&folder, &text("read"));
    let proxy = Proxy::following(&folder);
    assert_eq!(get(proxy.address, "/api").status, 200);
    write(&folder, &text("write"));
    proxy.reload().expect("it can be used");
    let requests = endpoint.requests();
    assert!(requests[0].contains("refresh_token=given"), "{requests:?}");
    assert!(requests[1].contains("refresh_token=came-0"), "{requests:?}");
}

#[test]
fn a_refresh_token_that_is_kept_outlives_the_process_until_another_one_is_given() {
    let endpoint = rotating();
    let (upstream, folder) = (Upstream::saying("hi"), Folder::new());
    let state = folder.path().join("state");
    std::fs::create_dir(&state).expect("a new folder");
    let grant = "grant = \"refresh-token\"\nrefresh-token = { file = \"refresh\" }";
    let api = credential(&folder, "api", &endpoint, grant);
    let text = format!(
        "secrets.state = \"state\"\n{LOCAL}{api}{}",
        target(&folder, "api", &upstream, "")
    );
    for (given, sent) in [
        ("given", "given"),
        ("given", "came-0"),
        ("another", "another"),
    ] {
        folder.write("refresh", given);
        let before = endpoint.requests().len();
        let proxy = Proxy::start(&folder, &text);
        assert_eq!(get(proxy.address, "/api").status, 200);
        let request = endpoint.requests().remove(before);
        assert!(
            request.contains(&format!("refresh_token={sent}")),
            "{request}"
        );
    }
    let kept: Vec<_> = std::fs::read_dir(&state)
        .expect("a folder")
        .flatten()
        .collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    let mode = kept[0].metadata().expect("a file").permissions();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777,
        0o600
    );
}

#[test]
fn a_confined_process_may_keep_what_it_has_to() {
    let endpoint = rotating();
    let (upstream, folder) = (Upstream::saying("hi"), Folder::new());
    std::fs::create_dir(folder.path().join("state")).expect("a new folder");
    folder.write("refresh", "given");
    let grant = "grant = \"refresh-token\"\nrefresh-token = { file = \"refresh\" }";
    let api = credential(&folder, "api", &endpoint, grant);
    write(
        &folder,
        &format!(
            "secrets.state = \"state\"\n{LOCAL}{api}{}",
            target(&folder, "api", &upstream, "")
        ),
    );
    let process = Process::start(folder.path(), &[]);
    assert_eq!(get(process.address(), "/api").status, 200);
    let said = process.said();
    assert!(!said.contains("cannot keep"), "{said}");
    let mut kept = std::fs::read_dir(folder.path().join("state")).expect("a folder");
    assert!(kept.next().is_some());
}
