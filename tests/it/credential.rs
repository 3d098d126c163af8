//! The life of a token, seen from the upstream.

use std::collections::HashSet;
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countersign::clock::{Clock, Moment};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::support::caller::PATIENCE;
use crate::support::{Folder, Proxy, Upstream, acme, get, proxy_to};

/// The tokens that the upstream saw, in order.
fn tokens(upstream: &Upstream) -> Vec<String> {
    let token = |request: &String| {
        let (_, rest) = request
            .split_once("\r\nauthorization: Bearer ")
            .expect("a token");
        rest.split("\r\n").next().expect("a line").to_owned()
    };
    upstream.requests().iter().map(token).collect()
}

fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).expect("three parts");
    let bytes = URL_SAFE_NO_PAD.decode(part).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// A self-signed credential with a claim that is new in every token.
fn counted(folder: &Folder, upstream: &Upstream, extra: &str) -> String {
    let vdr = acme(folder, upstream.address, &upstream.ca_pem, "");
    let start = vdr
        .find("[credentials.acme.vdr]")
        .expect("the preset's table");
    let end = vdr.find("[targets.acme]").expect("the target's table");
    let written_out = format!(
        r#"
[credentials.acme.self-signed]
algorithm = "ES512"
key = {{ file = "key.pem" }}
claims = {{ jti = "${{uuid}}", iat = "${{now}}", exp = "${{expires}}" }}
{extra}

"#
    );
    [&vdr[..start], &written_out, &vdr[end..]].concat()
}

#[test]
fn the_token_is_what_the_vendor_documents_and_another_library_verifies_it() {
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    let public_pem = folder.write_key("key.pem");
    // An issuer that is itself a JWT, as the vendor's are, and has what looks like a variable.
    let issuer = "eyJhbGciOiJIUzI1NiJ9.eyJ4IjoxfQ.c2lnbmF0dXJl-${now}";
    folder.write("secrets/issuer", format!("{issuer}\n"));
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "")
        .replace("\"an.issuer.text\"", "{ file = \"secrets/issuer\" }");
    let proxy = Proxy::start(&folder, &text);
    assert_eq!(get(proxy.address, "/acme").status, 200);

    let token = tokens(&upstream).remove(0);
    assert_eq!(part(&token, 0), json!({ "alg": "ES512", "typ": "JWT" }));
    let claims = part(&token, 1);
    let (iat, exp) = (
        claims["iat"].as_u64().expect("whole"),
        claims["exp"].as_u64().expect("whole"),
    );
    assert_eq!(exp - iat, 60);
    assert_eq!(
        claims,
        json!({
            "iss": issuer, "iat": iat, "exp": exp, "aud": "acme", "sub": "user:123",
            "cid": "a-client", "scp": ["read_only", "full_access"],
        })
    );

    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    assert_eq!(signature.len(), 132);
    let der: String = public_pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    let key = STANDARD.decode(der).expect("base64");
    UnparsedPublicKey::new(&ECDSA_P521_SHA512_FIXED, key)
        .verify(signed.as_bytes(), &signature)
        .expect("the signature is good");
}

#[test]
fn a_thousand_first_requests_make_one_signature() {
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    let proxy = Proxy::start(&folder, &counted(&folder, &upstream, ""));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..1000 {
            callers.spawn(async move {
                let mut stream = tokio::net::TcpStream::connect(proxy.address).await?;
                stream.write_all(b"GET /acme HTTP/1.0\r\n\r\n").await?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await?;
                Ok::<_, std::io::Error>(answer)
            });
        }
        while let Some(answer) = callers.join_next().await {
            let answer = answer.expect("no panic").expect("an answer");
            assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
        }
    });
    let seen: HashSet<String> = tokens(&upstream).into_iter().collect();
    assert_eq!((upstream.requests().len(), seen.len()), (1000, 1));
}

#[test]
fn a_credential_can_be_signed_anew_for_each_request() {
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    let proxy = Proxy::start(
        &folder,
        &counted(&folder, &upstream, "sign = \"each-request\""),
    );
    for _ in 0..10 {
        assert_eq!(get(proxy.address, "/acme").status, 200);
    }
    let seen: HashSet<String> = tokens(&upstream).into_iter().collect();
    assert_eq!(seen.len(), 10);
}

/// One random key in 256 ends in the byte that is a newline in texts, and needs it.
#[test]
fn a_key_of_bytes_may_end_in_a_newline() {
    use aws_lc_rs::hmac;
    use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _};

    let bytes = [[0xff; 31].as_slice(), b"\n"].concat();
    let pair = Ed25519KeyPair::from_seed_unchecked(&bytes).expect("any 32 bytes are a key");
    let public = UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref().to_vec());
    let shared = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
    // RFC 8410 section 7, in front of the seed.
    let head = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
    for (algorithm, file) in [
        ("EdDSA", [head.as_slice(), &bytes].concat()),
        ("HS256", bytes.clone()),
    ] {
        let upstream = Upstream::saying("");
        let folder = Folder::new();
        folder.write("key.pem", file);
        let text = counted(&folder, &upstream, "").replace("ES512", algorithm);
        let proxy = Proxy::start(&folder, &text);
        assert_eq!(get(proxy.address, "/acme").status, 200);
        let token = tokens(&upstream).remove(0);
        let (signed, signature) = token.rsplit_once('.').expect("three parts");
        let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
        let is_good = match algorithm {
            "EdDSA" => public.verify(signed.as_bytes(), &signature).is_ok(),
            _ => hmac::verify(&shared, signed.as_bytes(), &signature).is_ok(),
        };
        assert!(is_good, "{algorithm}");
    }
}

const START: Moment = Moment {
    wall: Duration::from_secs(1_900_000_000),
    boot: Duration::from_secs(1000),
};

/// Asks until the upstream has seen a token that is new, or gives up.
fn next_token(proxy: &Proxy, upstream: &Upstream, known: &str) -> String {
    let start = Instant::now();
    loop {
        assert_eq!(get(proxy.address, "/acme").status, 200);
        let token = tokens(upstream).pop().expect("just sent");
        if token != known {
            return token;
        }
        assert!(start.elapsed() < PATIENCE, "the token is never renewed");
    }
}

#[test]
fn a_token_is_renewed_before_it_ends_and_used_until_then() {
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    let (clock, hand) = Clock::manual(START);
    let proxy = Proxy::start_with(&folder, &counted(&folder, &upstream, ""), clock);
    let first = next_token(&proxy, &upstream, "");
    assert_eq!(part(&first, 1)["iat"], 1_900_000_000);

    // Three quarters of 60 s, less at most 5 % of jitter: not due at 41 s, due at 45 s.
    hand.advance(Duration::from_secs(41));
    for _ in 0..20 {
        assert_eq!(next_token(&proxy, &upstream, ""), first);
    }
    hand.advance(Duration::from_secs(4));
    let second = next_token(&proxy, &upstream, &first);
    assert_eq!(part(&second, 1)["iat"], 1_900_000_045);
    assert_eq!(part(&second, 1)["exp"], 1_900_000_105);
}

#[test]
fn a_token_that_ended_while_the_machine_slept_is_never_sent() {
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    let (clock, hand) = Clock::manual(START);
    let proxy = Proxy::start_with(&folder, &counted(&folder, &upstream, ""), clock);
    let first = next_token(&proxy, &upstream, "");
    hand.advance(Duration::from_secs(3600));
    assert_eq!(get(proxy.address, "/acme").status, 200);
    let second = tokens(&upstream).pop().expect("just sent");
    assert_ne!(first, second);
    assert_eq!(part(&second, 1)["iat"], 1_900_003_600);
}

#[test]
fn a_wall_clock_that_is_stepped_forward_ends_tokens_at_once() {
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    let (clock, hand) = Clock::manual(START);
    let proxy = Proxy::start_with(&folder, &counted(&folder, &upstream, ""), clock);
    let first = next_token(&proxy, &upstream, "");
    hand.set_wall(START.wall + Duration::from_secs(7200));
    assert_eq!(get(proxy.address, "/acme").status, 200);
    let second = tokens(&upstream).pop().expect("just sent");
    assert_ne!(first, second);
    assert_eq!(part(&second, 1)["iat"], 1_900_007_200);
}

#[test]
fn a_wall_clock_that_is_stepped_back_does_not_lengthen_a_tokens_life() {
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    let (clock, hand) = Clock::manual(START);
    let proxy = Proxy::start_with(&folder, &counted(&folder, &upstream, ""), clock);
    let first = next_token(&proxy, &upstream, "");
    hand.set_wall(START.wall - Duration::from_secs(7200));
    hand.advance(Duration::from_secs(60));
    assert_eq!(get(proxy.address, "/acme").status, 200);
    assert_ne!(tokens(&upstream).pop().expect("just sent"), first);
}

#[test]
fn several_instances_and_several_users_of_one_are_served_at_once() {
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    folder.write_key("other.pem");
    let text = acme(&folder, upstream.address, &upstream.ca_pem, "")
        + &format!(
            r#"
[credentials.acme-auditor.vdr]
instance = "acme"
user = 456
issuer = "an.issuer.text"
client-id = "a-client"
key = {{ file = "key.pem" }}
scopes = ["read_only"]

[targets.acme-auditor]
url = "https://upstream.example"
connect = "{0}"
tls.ca = "ca.pem"

[credentials.globex.vdr]
instance = "globex"
user = 7
issuer = "another.issuer.text"
client-id = "b-client"
key = {{ file = "other.pem" }}

[targets.globex]
url = "https://upstream.example"
connect = "{0}"
tls.ca = "ca.pem"
"#,
            upstream.address
        );
    let proxy = Proxy::start(&folder, &text);
    for path in ["/acme", "/acme-auditor", "/globex", "/acme"] {
        assert_eq!(get(proxy.address, path).status, 200, "{path}");
    }
    let said: Vec<(Value, Value, Value)> = tokens(&upstream)
        .iter()
        .map(|token| part(token, 1))
        .map(|it| (it["aud"].clone(), it["sub"].clone(), it["scp"].clone()))
        .collect();
    let all = json!(["read_only", "full_access"]);
    assert_eq!(
        said,
        [
            (json!("acme"), json!("user:123"), all.clone()),
            (json!("acme"), json!("user:456"), json!(["read_only"])),
            (json!("globex"), json!("user:7"), all.clone()),
            (json!("acme"), json!("user:123"), all),
        ]
    );
}

#[test]
fn the_management_api_gets_the_claims_that_the_operator_writes_and_no_others() {
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    folder.write_key("key.pem");
    folder.write("ca.pem", &upstream.ca_pem);
    let text = format!(
        r#"
[listeners.local]
address = "127.0.0.1:0"

[credentials.licences.vdr-management]
url = "https://upstream.example"
issuer = "mgt.issuer"
client-id = "mgt-client"
key = {{ file = "key.pem" }}

[credentials.licences.vdr-management.claims]
iss = "${{issuer}}"
cid = "${{client-id}}"
exp = "${{expires}}"
level = 3
flags = [true, 1.5, "for ${{client-id}} at ${{now}}"]

[targets.licences]
connect = "{}"
tls.ca = "ca.pem"
"#,
        upstream.address
    );
    let (clock, _hand) = Clock::manual(START);
    let proxy = Proxy::start_with(&folder, &text, clock);
    assert_eq!(get(proxy.address, "/licences/x").status, 200);
    assert_eq!(
        part(&tokens(&upstream)[0], 1),
        json!({
            "iss": "mgt.issuer", "cid": "mgt-client", "exp": 1_900_000_060, "level": 3,
            "flags": [true, 1.5, "for mgt-client at 1900000000"],
        })
    );
}

#[test]
fn a_token_shows_in_no_answer_of_ours() {
    let upstream = Upstream::answering("not HTTP\r\n\r\n");
    let (proxy, _folder) = proxy_to(&upstream, "");
    let answer = get(proxy.address, "/acme");
    assert_eq!(answer.status, 502);
    let token = tokens(&upstream).remove(0);
    let shown = format!("{:?}{}", answer.headers, answer.text());
    assert!(!shown.contains(&token[..20]), "{shown}");
}
