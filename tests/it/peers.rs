//! Tests against other people's tools. They are ignored by default, for they need more than Rust;
//! run with `--ignored`, a tool that is missing is a failure.

use std::process::{Command, Output};

use crate::support::{Folder, Proxy, Upstream, acme, get, proxy_to};

fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}:\n{said}");
    output
}

/// The Python that has PyJWT.
fn python() -> Command {
    Command::new(std::env::var("COUNTERSIGN_PYTHON").unwrap_or_else(|_| "python3".into()))
}

const VERIFY: &str = r#"
import json, sys, jwt
key, tokens = open(sys.argv[1]).read(), open(sys.argv[2]).read().split()
for token in tokens:
    claims = jwt.decode(token, key, algorithms=["ES512"], audience="acme")
    assert jwt.get_unverified_header(token) == {"alg": "ES512", "typ": "JWT"}
    assert claims["scp"] == ["read_only", "full_access"], claims
    assert claims["sub"] == "user:123" and claims["cid"] == "a-client", claims
    assert isinstance(claims["iat"], int) and claims["exp"] - claims["iat"] == 60, claims
print(len(tokens))
"#;

#[test]
#[ignore = "needs PyJWT"]
fn pyjwt_verifies_every_token() {
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    let public = folder.write_key("key.pem");
    folder.write("public.pem", public);
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "")
        .replace("user = 123", "user = 123\nsign = \"each-request\"");
    let proxy = Proxy::start(&folder, &text);
    for _ in 0..50 {
        assert_eq!(get(proxy.address, "/acme").status, 200);
    }
    let tokens: Vec<String> = upstream
        .requests()
        .iter()
        .map(|it| {
            it.split_once("Bearer ")
                .expect("a token")
                .1
                .split("\r\n")
                .next()
                .expect("a line")
                .to_owned()
        })
        .collect();
    let (key, file) = (
        folder.path().join("public.pem"),
        folder.write("tokens", tokens.join("\n")),
    );
    let said = run(python().args(["-c", VERIFY]).arg(key).arg(file));
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "50");
}

#[test]
#[ignore = "needs openssl"]
fn keys_that_openssl_makes_load_in_every_form() {
    let upstream = Upstream::saying("");
    for make in [
        "openssl ecparam -genkey -name secp521r1 -noout -out key.pem",
        "openssl ecparam -genkey -name secp521r1 -out key.pem",
        "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out key.pem",
        "openssl ecparam -genkey -name secp521r1 -noout | openssl pkcs8 -topk8 -nocrypt -out key.pem",
        "openssl ecparam -genkey -name secp521r1 -noout -outform DER -out key.pem",
    ] {
        let folder = Folder::new();
        let text = acme(&folder, upstream.address, &upstream.ca_pem, "");
        run(Command::new("sh")
            .args(["-c", make])
            .current_dir(folder.path()));
        folder.chmod("key.pem", 0o600);
        let proxy = Proxy::start(&folder, &text);
        assert_eq!(get(proxy.address, "/acme").status, 200, "{make}");
    }
}

#[test]
#[ignore = "needs openssl"]
fn openssl_reads_the_keys_that_keygen_makes() {
    let folder = Folder::new();
    run(Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["keygen", "vdr"])
        .current_dir(folder.path()));
    let openssl = |arguments: &[&str]| {
        let output = run(Command::new("openssl")
            .args(arguments)
            .current_dir(folder.path()));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let private = "impersonation-api-private.pem";
    assert!(openssl(&["pkey", "-in", private, "-noout", "-text", "-check"]).contains("secp521r1"));
    let public = std::fs::read_to_string(folder.path().join("impersonation-api-public.pem"));
    assert_eq!(
        openssl(&["ec", "-in", private, "-pubout"]),
        public.expect("just written")
    );
}

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
