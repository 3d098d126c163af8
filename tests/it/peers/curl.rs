//! curl as the caller.

use std::process::Command;

use super::run;
use crate::support::{Upstream, proxy_to};

#[test]
#[ignore = "needs curl"]
fn curl_is_answered_and_its_own_authorization_never_arrives() {
    let upstream = Upstream::saying("hello");
    let (proxy, folder) = proxy_to(&upstream, "");
    let url = format!("http://{}/acme/api/v2/assets", proxy.address);
    let curl = |arguments: &[&str]| {
        let output = run(Command::new("curl")
            .args(["-sS", "--fail"])
            .args(arguments)
            .arg(&url));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(curl(&["-H", "Authorization: Basic eA=="]), "hello");
    assert_eq!(curl(&["-u", "user:password"]), "hello");
    assert_eq!(curl(&["--http1.0"]), "hello");
    assert_eq!(curl(&["-d", "a=b"]), "hello");
    folder.write("large", vec![b'x'; 3 << 20]);
    let file = format!("@{}", folder.path().join("large").display());
    assert_eq!(curl(&["-X", "PUT", "--data-binary", &file]), "hello");
    assert_eq!(
        curl(&["-H", "Transfer-Encoding: chunked", "-d", "a=b"]),
        "hello"
    );
    for request in upstream.requests() {
        let lines = request
            .split("\r\n\r\n")
            .next()
            .expect("a head")
            .to_lowercase();
        assert_eq!(lines.matches("authorization:").count(), 1, "{lines}");
        assert!(lines.contains("authorization: bearer "), "{lines}");
    }
    assert_eq!(upstream.requests().len(), 6);
}
