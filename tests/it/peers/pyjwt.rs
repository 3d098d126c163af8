//! PyJWT verifies what we sign: every token and every assertion, with every algorithm.

use countersign::jws::Algorithm;
use serde_json::{Value, json};

use super::{python, run, write_key, wrote};
use crate::support::{Folder, Proxy, Upstream, acme, get};

/// One object for each token: the algorithm that it must have, the key that verifies, the token,
/// and the `kid`. A token whose signature is another's must fail, so that a verifier that takes
/// everything is found out.
const VERIFY: &str = r#"
import json, sys, jwt
cases = json.load(open(sys.argv[1]))
for case in cases:
    alg, key, token = case["alg"], case["key"], case["token"]
    claims = jwt.decode(
        token, key, algorithms=[alg], audience="an-audience", issuer="an-issuer",
        options={"require": ["exp", "iat", "iss", "aud", "jti"]},
    )
    assert jwt.get_unverified_header(token) == {"alg": alg, "typ": "JWT", "kid": case["kid"]}
    assert claims["exp"] - claims["iat"] == 60, claims
    assert claims["list"] == [1, "zwei", {"drei": True}], claims
    assert len(claims["jti"]) == 36, claims
    head, body, signature = token.split(".")
    first = "B" if signature[20] == "A" else "A"
    try:
        jwt.decode(
            ".".join([head, body, signature[:20] + first + signature[21:]]), key,
            algorithms=[alg], audience="an-audience",
        )
    except jwt.InvalidSignatureError:
        continue
    raise SystemExit(f"PyJWT takes anything as {alg}")
print(len(cases))
"#;

const CLAIMS: &str = r#"{ iss = "an-issuer", aud = "an-audience", jti = "${uuid}", iat = "${now}", exp = "${expires}", list = [1, "zwei", { drei = true }] }"#;

/// A configuration with one credential and one target for each algorithm, and what verifies.
fn every_algorithm(
    folder: &Folder,
    upstream: &Upstream,
    credential: impl Fn(&str, &str) -> String,
) -> (String, Vec<Value>) {
    folder.write("ca.pem", &upstream.ca_pem);
    let mut text = "[listeners.local]\naddress = \"127.0.0.1:0\"\n".to_owned();
    let mut cases = Vec::new();
    for algorithm in Algorithm::ALL {
        let alg = algorithm.name();
        let name = alg.to_lowercase();
        let key = write_key(folder, &format!("{name}.key"), algorithm);
        text += &credential(&name, alg);
        text += &format!(
            r#"
[targets.{name}]
url = "https://upstream.example"
connect = "{}"
tls.ca = "ca.pem"
"#,
            upstream.address
        );
        cases.push(json!({ "alg": alg, "key": key, "kid": format!("key-{name}") }));
    }
    (text, cases)
}

fn verify(folder: &Folder, cases: &[Value]) {
    let file = folder.write("cases.json", json!(cases).to_string());
    let said = wrote(python().args(["-c", VERIFY]).arg(file));
    assert_eq!(said.trim(), cases.len().to_string());
}

#[test]
#[ignore = "needs PyJWT"]
fn pyjwt_verifies_tokens_of_every_algorithm() {
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    let (text, mut cases) = every_algorithm(&folder, &upstream, |name, alg| {
        format!(
            r#"
[credentials.{name}.self-signed]
algorithm = "{alg}"
key = {{ file = "{name}.key" }}
kid = "key-{name}"
claims = {CLAIMS}
"#
        )
    });
    let proxy = Proxy::start(&folder, &text);
    for case in &mut cases {
        let name = case["alg"].as_str().expect("a name").to_lowercase();
        assert_eq!(get(proxy.address, &format!("/{name}")).status, 200);
        let request = upstream.requests().pop().expect("just sent");
        case["token"] = bearer(&request).into();
    }
    verify(&folder, &cases);
}

#[test]
#[ignore = "needs PyJWT"]
fn pyjwt_verifies_assertions_of_every_algorithm() {
    let endpoint = Upstream::with(|conversation| {
        let answer = r#"{"access_token":"a-token","token_type":"Bearer","expires_in":60}"#;
        while conversation.read_request().is_some() {
            conversation.write(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{answer}",
                answer.len()
            ));
        }
    });
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    folder.write("endpoint.pem", &endpoint.ca_pem);
    let (text, mut cases) = every_algorithm(&folder, &upstream, |name, alg| {
        format!(
            r#"
[credentials.{name}.exchange]
url = "https://upstream.example/{name}"
connect = "{}"
tls.ca = "endpoint.pem"
client-authentication = "private-key-jwt"

[credentials.{name}.exchange.assertion]
algorithm = "{alg}"
key = {{ file = "{name}.key" }}
kid = "key-{name}"
claims = {CLAIMS}
"#,
            endpoint.address
        )
    });
    let proxy = Proxy::start(&folder, &text);
    for case in &mut cases {
        let name = case["alg"].as_str().expect("a name").to_lowercase();
        assert_eq!(get(proxy.address, &format!("/{name}")).status, 200);
        let request = upstream.requests().pop().expect("just sent");
        assert_eq!(bearer(&request), "a-token");
        let line = format!("POST /{name} HTTP/1.1\r\n");
        let posted = endpoint.requests();
        let posted = posted.iter().find(|it| it.starts_with(&line));
        case["token"] = assertion(posted.expect("it was asked")).into();
    }
    verify(&folder, &cases);
}

/// The token that a request brought.
fn bearer(request: &str) -> &str {
    let (_, rest) = request
        .split_once("\r\nauthorization: Bearer ")
        .expect("a token");
    rest.split("\r\n").next().expect("a line")
}

/// The assertion of a form. A token has no character that a form would encode.
fn assertion(request: &str) -> &str {
    let (_, form) = request.split_once("\r\n\r\n").expect("a body");
    let mut pairs = form.split('&');
    let found = pairs.find_map(|pair| pair.strip_prefix("client_assertion="));
    found.expect("an assertion")
}

/// A signature of P-521 has leading zeros in one of 256, which is where encodings go wrong.
const VERIFY_VDR: &str = r#"
import sys, jwt
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
fn pyjwt_verifies_every_token_of_the_vdr_preset() {
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    let public = folder.write_key("key.pem");
    folder.write("public.pem", public);
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "")
        .replace("user = 123", "user = 123\nsign = \"each-request\"");
    let proxy = Proxy::start(&folder, &text);
    for _ in 0..500 {
        assert_eq!(get(proxy.address, "/acme").status, 200);
    }
    let requests = upstream.requests();
    let tokens: Vec<&str> = requests.iter().map(|it| bearer(it)).collect();
    let (key, file) = (
        folder.path().join("public.pem"),
        folder.write("tokens", tokens.join("\n")),
    );
    let said = run(python().args(["-c", VERIFY_VDR]).arg(key).arg(file));
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "500");
}
