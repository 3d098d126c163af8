//! `countersign check --online`.

use std::process::Output;

use countersign::emulator::vdr::{Enrolment, Settings, Vdr};
use countersign::emulator::{self, Authority, Clock, Options, Running};
use tokio::time::Instant;

use super::{run, text};
use crate::support::caller::PATIENCE;
use crate::support::{Folder, Upstream, Vacant};

const NAME: &str = "upstream.example";

fn online(folder: &Folder, config: &str) -> (Option<i32>, String) {
    folder.write("proxy.toml", config);
    let start = Instant::now();
    let Output { status, stdout, .. } = run(folder.path(), &["check", "--online"]);
    assert!(start.elapsed() < PATIENCE);
    (status.code(), text(&stdout))
}

const LISTENER: &str = "[listeners.local]\naddress = \"127.0.0.1:1\"\n";

/// A target without a credential.
fn target(host: &str, address: impl std::fmt::Display, extra: &str) -> String {
    format!(
        "{LISTENER}[targets.it]\nurl = \"https://{host}\"\nconnect = \"{address}\"\n\
         credential = \"none\"\n{extra}\n"
    )
}

#[test]
fn a_target_that_can_be_reached_is_told_with_its_address() {
    let upstream = Upstream::saying("");
    let folder = Folder::new();
    folder.write("ca.pem", &upstream.ca_pem);
    let config = target(NAME, upstream.address, "tls.ca = \"ca.pem\"");
    let (code, out) = online(&folder, &config);
    assert_eq!(code, Some(0), "{out}");
    let address = upstream.address;
    assert_eq!(
        out,
        format!(
            "ok     target `it`: {address} speaks TLS 1.3, its certificate is verified for {NAME}\n"
        )
    );
}

#[test]
fn a_configuration_that_cannot_be_used_is_not_tried() {
    let (code, out) = online(&Folder::new(), "x = 1");
    assert_eq!((code, out.as_str()), (Some(78), ""));
}

#[test]
fn what_keeps_a_target_from_being_reached_is_told_with_the_way_out() {
    let upstream = Upstream::saying("");
    let nobody = Vacant::new();
    let address = nobody.address;
    let folder = Folder::new();
    folder.write("ca.pem", &upstream.ca_pem);
    let other = Authority::new().expect("an authority").pem();
    folder.write("other.pem", other);
    let ca = "tls.ca = \"ca.pem\"";
    for (config, said) in [
        (
            target(NAME, address, ca),
            vec![format!("{address} refuses connections"), "firewall".into()],
        ),
        (
            target(NAME, address, &format!("{ca}\nvia = \"http://{address}\"")),
            vec!["`127.0.0.1`, the proxy on the way".into(), "`via`".into()],
        ),
        (
            target(NAME, upstream.address, "tls.ca = \"other.pem\""),
            vec!["is not trusted".into(), "tls.ca".into()],
        ),
        (
            target("else.example", upstream.address, ca),
            vec![
                format!("is not for `else.example`, but for {NAME}"),
                "`connect`".into(),
            ],
        ),
        (
            target("no-such-host.invalid", "127.0.0.1:1", ca)
                .replace("connect = \"127.0.0.1:1\"\n", ""),
            vec![
                "`no-such-host.invalid` cannot be looked up".into(),
                "getent".into(),
            ],
        ),
    ] {
        let (code, out) = online(&folder, &config);
        assert_eq!(code, Some(1), "{out}");
        assert!(out.starts_with("WRONG  target `it`: "), "{out}");
        for said in said {
            assert!(out.contains(&said), "{said} is missing in\n{out}");
        }
    }
}

#[test]
fn servers_that_do_not_know_a_name_are_named_in_place_of_the_machines_own_resolver() {
    // It takes datagrams and answers none.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let server = silent.local_addr().expect("an address");
    let folder = Folder::new();
    let config =
        target("name.example", "127.0.0.1:1", "").replace("connect = \"127.0.0.1:1\"\n", "");
    for servers in [1, 4] {
        let servers = vec![format!("\"{server}\""); servers].join(", ");
        let config = format!("dns.servers = [{servers}]\n{config}");
        let (code, out) = online(&folder, &config);
        assert_eq!(code, Some(1), "{out}");
        let dig = format!("`dig @127.0.0.1 -p {} name.example`", server.port());
        assert!(out.contains(&dig) && out.contains("dns.servers"), "{out}");
        assert!(!out.contains("getent"), "{out}");
    }
}

#[test]
fn a_certificate_that_has_expired_is_told_so() {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(vec![NAME.to_owned()]).expect("a name");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let certificate = params.self_signed(&key).expect("a certificate");
    let der = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let chain = vec![certificate.der().clone()];
    let pem = certificate.pem();
    let upstream = Upstream::with_certificate(pem.clone(), chain, der.into(), |it| {
        it.read_request();
    });
    let folder = Folder::new();
    folder.write("ca.pem", pem);
    let config = target(NAME, upstream.address, "tls.ca = \"ca.pem\"");
    let (code, out) = online(&folder, &config);
    assert_eq!(code, Some(1), "{out}");
    assert!(
        out.contains("has expired") && out.contains("clock"),
        "{out}"
    );
}

fn vendor(folder: &Folder, clock: Clock) -> Running<Vdr> {
    let enrolment = Enrolment {
        instance: "acme".into(),
        issuer: "an.issuer.text".into(),
        client_id: "a-client".into(),
        public_key_pem: folder.write_key("key.pem"),
        users: vec![123],
    };
    let vendor = Vdr::new([enrolment], Settings::default()).expect("a vendor");
    let options = Options {
        clock,
        ..Options::default()
    };
    let running = emulator::start(vendor, options).expect("it starts");
    folder.write("ca.pem", running.ca_pem());
    running
}

fn acme(vendor: &Running<Vdr>, user: u64) -> String {
    let address = vendor.address();
    format!(
        "{LISTENER}[credentials.acme.vdr]\ninstance = \"acme\"\nuser = {user}\n\
         issuer = \"an.issuer.text\"\nclient-id = \"a-client\"\nkey = {{ file = \"key.pem\" }}\n\
         [targets.acme]\nconnect = \"{address}\"\ntls.ca = \"ca.pem\"\n"
    )
}

#[test]
fn a_token_of_our_own_is_shown_to_the_target() {
    let folder = Folder::new();
    let vendor = vendor(&folder, Clock::system());
    let (code, out) = online(&folder, &acme(&vendor, 123));
    assert_eq!(code, Some(0), "{out}");
    let said = "takes it (GET /api/v2/assets: 200 OK)";
    assert!(out.contains(said), "{out}");

    let (code, out) = online(&folder, &acme(&vendor, 999));
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("ok     target `acme`"), "{out}");
    for said in [
        "WRONG  credential `acme`: `acme.vdr.secureworks.com` refuses the token with 401 Unauthorized: ",
        "the public key is not enrolled",
    ] {
        assert!(out.contains(said), "{said} is missing in\n{out}");
    }
}

#[test]
fn a_clock_that_is_off_is_told_with_the_difference() {
    let folder = Folder::new();
    for (skew, said) in [
        (-300, "this machine's clock is "),
        (
            7200,
            "s behind the other side's (`acme.vdr.secureworks.com`)",
        ),
    ] {
        let vendor = vendor(&folder, Clock::skewed(skew));
        let (code, out) = online(&folder, &acme(&vendor, 123));
        assert_eq!(code, Some(1), "{out}");
        assert!(out.contains(said), "{said} is missing in\n{out}");
    }
}

/// A token endpoint that refuses with these words, and a configuration that asks it.
fn refused(folder: &Folder, status: &str, body: &str, credential: &str, host: &str) -> String {
    refused_with(
        folder,
        &format!("{LISTENER}{credential}"),
        status,
        body,
        host,
    )
}

/// The same, after everything that stands before the endpoint's address.
fn refused_with(folder: &Folder, config: &str, status: &str, body: &str, host: &str) -> String {
    let authority = Authority::new().expect("an authority");
    let (certificate, key) = authority
        .server_certificate(vec![host.to_owned()])
        .expect("a certificate");
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
    let upstream = Upstream::with_certificate(authority.pem(), vec![certificate], key, move |it| {
        while it.read_request().is_some() {
            it.write(&answer);
        }
    });
    folder.write("ca.pem", &upstream.ca_pem);
    folder.write("secret", "a shared secret of thirty-two bytes or more");
    let address = upstream.address;
    let config = format!(
        "{config}connect = \"{address}\"\ntls.ca = \"ca.pem\"\n\
         [targets.it]\nconnect = \"{address}\"\ntls.ca = \"ca.pem\"\n"
    );
    let (code, out) = online(folder, &config);
    assert_eq!(code, Some(1), "{out}");
    out
}

#[test]
fn a_refusal_by_a_token_endpoint_is_told_in_its_own_words_and_ours() {
    let folder = Folder::new();
    let cylance = "[credentials.it.cylance]\nregion = \"euc1\"\ntenant = \"t\"\n\
                   application = \"a\"\nsecret = { file = \"secret\" }\n";
    let host = "protectapi-euc1.cylance.com";
    let body = r#"{"message":"Invalid JWT payload"}"#;
    let out = refused(&folder, "401 Unauthorized", body, cylance, host);
    assert!(
        out.contains(
            "`protectapi-euc1.cylance.com` refused with 401 Unauthorized: Invalid JWT payload"
        ),
        "{out}"
    );
    assert!(out.contains("look at `region` first"), "{out}");
    let out = refused(&folder, "400 Bad Request", "{}", cylance, host);
    assert!(
        out.contains("30 minutes") && !out.contains("region"),
        "{out}"
    );

    let protegrity = "[credentials.it.protegrity]\nappliance = \"esa.example\"\nuser = \"u\"\n\
                      password = { file = \"secret\" }\n";
    let out = refused(&folder, "403 Forbidden", "", protegrity, "esa.example");
    assert!(out.contains("Can Create JWT Token"), "{out}");
    assert!(!out.contains("thirty-two"), "{out}");
}

const WIDGETS: &str = r#"
about     = "Widgets Inc, orders"
reference = "https://widgets.example/docs"
checked   = "2026-11-01"
probe     = { path = "/me" }

[inputs]
secret = { type = "secret", doc = "the secret that Widgets sent" }

[credential.exchange]
url                   = "https://widgets.example/token"
client-authentication = "post"
client-id             = "me"
client-secret         = "${secret}"

[target]
url = "https://widgets.example"

[[hint]]
status   = [400, 401]
contains = ["Expired", "too old"]
say      = "the secret has run out"
help     = "ask Widgets for another"

[[hint]]
status = [401]
say    = "the secret is wrong"
help   = "look at the letter"
"#;

#[test]
fn a_hint_that_finds_its_words_goes_before_one_that_looks_for_none() {
    let folder = Folder::new();
    folder.write("presets/widgets.toml", WIDGETS);
    let credential = "[credentials.it.widgets]\nsecret = { file = \"secret\" }\n";
    let config = format!("presets = \"presets\"\n{LISTENER}{credential}");
    let told = |body: &str| {
        refused_with(
            &folder,
            &config,
            "401 Unauthorized",
            body,
            "widgets.example",
        )
    };
    let out = told(r#"{"error":"invalid_client","error_description":"Secret expired"}"#);
    assert!(
        out.contains("has run out") && !out.contains("letter"),
        "{out}"
    );
    let out = told(r#"{"error":"invalid_client"}"#);
    assert!(
        out.contains("letter") && !out.contains("has run out"),
        "{out}"
    );
}

#[test]
fn a_hint_or_a_probe_that_cannot_be_meant_is_a_fault_of_the_preset() {
    let folder = Folder::new();
    folder.write("secret", "a secret");
    let config = format!(
        "presets = \"presets\"\n{LISTENER}[credentials.it.widgets]\nsecret = {{ file = \"secret\" }}\n[targets.it]\n"
    );
    folder.write("proxy.toml", config);
    for (from, to, said) in [
        ("[401]", "[200]", "a list of statuses from 400 wanted"),
        ("[401]", "[]", "a list of statuses from 400 wanted"),
        ("[401]", "401", "a list of statuses from 400 wanted"),
        ("\"/me\"", "\"me\"", "does not start with a slash"),
        ("help   =", "hlep   =", "did you mean `help`?"),
    ] {
        folder.write("presets/widgets.toml", WIDGETS.replace(from, to));
        let checked = run(folder.path(), &["check"]);
        let err = text(&checked.stderr);
        assert_eq!(checked.status.code(), Some(78), "{to}: {err}");
        assert!(err.contains(said), "{to}: {err}");
    }
}
