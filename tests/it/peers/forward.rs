//! Tools that are told of a proxy and ask it for whole URLs: curl, wget and Python's requests.

use std::process::Command;

use super::{python, wrote};
use crate::forward::forwarding;
use crate::support::Upstream;
use crate::support::upstream::NAME;

#[test]
#[ignore = "needs curl, wget and Python with requests"]
fn tools_with_an_http_proxy_reach_the_target_by_its_own_name() {
    let upstream = Upstream::saying("hello");
    let (proxy, _folder) = forwarding(&upstream, "");
    let through = format!("http://{}", proxy.address);
    let url = format!("http://{NAME}/api/v2/assets?x=1");
    let curl = |with: &mut Command| wrote(with.args(["-sS", "--fail", &url]));
    assert_eq!(curl(Command::new("curl").args(["-x", &through])), "hello");
    assert_eq!(
        curl(Command::new("curl").env("http_proxy", &through)),
        "hello"
    );
    let post = ["-x", &through, "-u", "user:password", "-d", "a=b"];
    assert_eq!(curl(Command::new("curl").args(post)), "hello");
    let wget = Command::new("wget")
        .args(["--no-config", "--tries=1", "-q", "-O", "-", &url])
        .env("http_proxy", &through)
        .output()
        .expect("wget");
    assert_eq!(String::from_utf8_lossy(&wget.stdout), "hello");
    let script = format!("import requests\nprint(requests.get('{url}').text)");
    let mut requests = python();
    requests.args(["-c", &script]).env("http_proxy", &through);
    assert_eq!(wrote(&mut requests), "hello\n");
    let requests = upstream.requests();
    assert_eq!(requests.len(), 5);
    for request in requests {
        assert!(
            request.contains(" /api/v2/assets?x=1 HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(
            request.contains(&format!("\r\nhost: {NAME}\r\n")),
            "{request}"
        );
        let lower = request.to_ascii_lowercase();
        assert_eq!(lower.matches("authorization:").count(), 1, "{request}");
        assert!(lower.contains("\r\nauthorization: bearer ey"), "{request}");
    }
}
