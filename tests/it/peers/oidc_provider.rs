//! `oidc-provider`, a certified OpenID provider: it gives us tokens for every way in which a client
//! can show who it is, and says no as real providers do. A resource beside it verifies what it
//! issued.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use countersign::emulator::Authority;
use countersign::jws::{Algorithm, public_jwk};
use countersign::secret::Secret;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::write_key;
use crate::support::caller::{Answer, PATIENCE};
use crate::support::{Folder, Process, Proxy, get};

const FOLDER: &str = "COUNTERSIGN_OIDC_PROVIDER";

/// Where the provider is mounted: as deep as that of Secure Web Sessions, which is a realm.
const MOUNT: &str = "/auth/realms/serviceaccounts";

/// The provider and its resource at work; killed when it is dropped.
struct Provider {
    child: Child,
    said: Arc<Mutex<String>>,
    issuer: String,
    resource: u64,
}

impl Provider {
    /// Starts one that knows these clients. `ca.pem` in the folder vouches for it.
    fn start(folder: &Folder, clients: &[Value]) -> Self {
        let packages = std::env::var(FOLDER).unwrap_or_else(|_| {
            panic!(
                "{FOLDER} is not set: it is the folder in which `npm ci` was run with the \
                 package.json of tests/it/peers/oidc-provider; .ci/run does that"
            )
        });
        let modules = PathBuf::from(packages).join("node_modules");
        assert!(
            modules.join("oidc-provider").is_dir(),
            "{FOLDER} is set, and there is no oidc-provider in {}",
            modules.display()
        );

        let authority = Authority::new().expect("an authority");
        let (certificate, key) = authority
            .server_certificate(vec!["localhost".into()])
            .expect("a certificate");
        let ca = folder.write("ca.pem", authority.pem());
        // Node looks for packages beside the script.
        let script = folder.write("server.mjs", include_str!("oidc-provider/server.mjs"));
        symlink(modules, folder.path().join("node_modules")).expect("a link");
        let settings = json!({
            "certificate": pem("CERTIFICATE", &certificate),
            "key": pem("PRIVATE KEY", key.secret_der()),
            "mount": MOUNT,
            "clients": clients,
        });
        let settings = folder.write("settings.json", settings.to_string());
        let errors = folder.write("node-said", "");

        let mut child = Command::new("node")
            .arg(script)
            .current_dir(folder.path())
            .env("NODE_EXTRA_CA_CERTS", ca)
            .stdin(File::open(settings).expect("just written"))
            .stdout(Stdio::piped())
            .stderr(File::create(&errors).expect("a file"))
            .spawn()
            .unwrap_or_else(|error| panic!("node does not start: {error}"));
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut first = String::new();
        out.read_line(&mut first).expect("a line");
        let ports: Value = serde_json::from_str(&first).unwrap_or_else(|_| {
            let _ = child.kill();
            let _ = child.wait();
            let errors = fs::read_to_string(&errors).unwrap_or_default();
            panic!("the provider said no ports: {first}{errors}")
        });
        let said = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&said);
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let mut heard = heard.lock().expect("no test panics while it holds this");
                heard.push_str(&line);
                heard.push('\n');
            }
        });
        Self {
            child,
            said,
            issuer: format!("https://localhost:{}{MOUNT}", ports["provider"]),
            resource: ports["resource"].as_u64().expect("a port"),
        }
    }

    /// Waits until the provider has said this.
    fn wait_for(&self, text: &str) {
        let start = Instant::now();
        loop {
            let said = self.said.lock().expect("nobody panics").clone();
            if said.contains(text) {
                return;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "not said: {text:?}, but:\n{said}"
            );
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// A configuration with this credential, called `it`, for the resource.
    fn configuration(&self, credential: &str) -> String {
        format!(
            r#"
[listeners.local]
address = "127.0.0.1:0"

{credential}

[targets.it]
url = "https://localhost:{}"
tls.ca = "ca.pem"
"#,
            self.resource
        )
    }

    /// An exchange with this provider. `extra` goes into its table.
    fn exchange(&self, extra: &str) -> String {
        self.configuration(&format!(
            "[credentials.it.exchange]\ndiscovery = \"{}\"\ntls.ca = \"ca.pem\"\n{extra}",
            self.issuer
        ))
    }

    /// One request through a proxy whose exchange has this in its table.
    fn ask(&self, folder: &Folder, extra: &str) -> Answer {
        let proxy = Proxy::start(folder, &self.exchange(extra));
        get(proxy.address, "/it/x")
    }

    /// What the resource says once it has verified the token's signature, issuer and audience.
    fn check(&self, answer: &Answer, client: &str) {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let seen = answer.json();
        assert_eq!(seen["header"]["alg"], "ES256");
        assert_eq!(seen["claims"]["client_id"], client);
        assert_eq!(seen["claims"]["iss"], self.issuer.as_str());
        self.wait_for(&format!("issued to {client}\n"));
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len())
        .step_by(64)
        .map(|at| &text[at..text.len().min(at + 64)])
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

/// A client that signs, and its key in the folder as `CLIENT.key`.
fn signing_client(folder: &Folder, client: &str, algorithm: Algorithm) -> Value {
    let name = format!("{client}.key");
    let verifies = write_key(folder, &name, algorithm);
    let mut enrolled = json!({
        "client_id": client,
        "redirect_uris": [],
        "token_endpoint_auth_signing_alg": algorithm.name(),
    });
    if algorithm.name().starts_with("HS") {
        enrolled["token_endpoint_auth_method"] = "client_secret_jwt".into();
        enrolled["client_secret"] = verifies.into();
    } else {
        let private = fs::read(folder.path().join(name)).expect("just written");
        let public = public_jwk(&Secret::new(private)).expect("a key");
        enrolled["token_endpoint_auth_method"] = "private_key_jwt".into();
        enrolled["jwks"] = json!({ "keys": [public] });
    }
    enrolled
}

fn secret_client(client: &str, secret: &str, method: &str) -> Value {
    json!({
        "client_id": client,
        "client_secret": secret,
        "token_endpoint_auth_method": method,
        "redirect_uris": [],
    })
}

/// What an exchange's table has for a client that signs.
fn assertion(client: &str, key: &str, algorithm: &str, audience: &str, id: &str) -> String {
    format!(
        r#"
client-authentication = "private-key-jwt"

[credentials.it.exchange.assertion]
algorithm = "{algorithm}"
key = {{ file = "{key}.key" }}
claims = {{ iss = "{client}", sub = "{client}", aud = "{audience}", jti = "{id}", iat = "${{now}}", exp = "${{expires}}" }}
"#
    )
}

#[test]
#[ignore = "needs Node and oidc-provider"]
fn a_provider_takes_assertions_of_every_algorithm() {
    let folder = Folder::new();
    let named: Vec<(String, Algorithm)> = Algorithm::ALL
        .into_iter()
        .map(|it| (format!("client-{}", it.name().to_lowercase()), it))
        .collect();
    let clients: Vec<Value> = named
        .iter()
        .map(|(client, algorithm)| signing_client(&folder, client, *algorithm))
        .collect();
    let provider = Provider::start(&folder, &clients);
    for (client, algorithm) in &named {
        for audience in ["${issuer-url}", "${endpoint-url}"] {
            let extra = assertion(client, client, algorithm.name(), audience, "${uuid}");
            provider.check(&provider.ask(&folder, &extra), client);
        }
    }
}

/// The preset as it is shipped, with a downloaded file as it is. Whom it trusts is the system, which
/// the environment can say more about; so this is the program in a process of its own.
#[test]
#[ignore = "needs Node and oidc-provider"]
fn a_provider_takes_what_the_sws_preset_sends() {
    let folder = Folder::new();
    let tenant = "0123456789abcdef0123456789abcdef";
    let client = format!("{tenant}.an-account.ExternalServiceAccount");
    let enrolled = signing_client(&folder, &client, Algorithm::Rs256);
    let provider = Provider::start(&folder, &[enrolled]);
    let key = fs::read_to_string(folder.path().join(format!("{client}.key"))).expect("a key");
    let account = json!({
        "serviceAccountId": "an-account",
        "privateKey": key.replace('\n', ""),
        "discoveryURI": format!("{}/.well-known/openid-configuration", provider.issuer),
    });
    folder.write("account.json", account.to_string());
    let credential = format!(
        r#"
[credentials.it.sws]
tenant = "{tenant}"
data-centre = "eu"
account = {{ file = "account.json" }}
"#
    );
    folder.write("proxy.toml", provider.configuration(&credential));
    let roots = folder.path().join("ca.pem");
    let process = Process::start_with(folder.path(), &[], &[("SSL_CERT_FILE", &roots)]);
    provider.check(&get(process.address(), "/it/x"), &client);
}

#[test]
#[ignore = "needs Node and oidc-provider"]
fn a_provider_takes_secrets_in_the_header_and_in_the_form() {
    let folder = Folder::new();
    // Whatever a form has to encode; an encoder that is not RFC 6749's is refused.
    let secret = "a+b/c=d e%f&g:h~*";
    folder.write("secret", secret);
    let provider = Provider::start(
        &folder,
        &[
            secret_client("client:basic +%", secret, "client_secret_basic"),
            secret_client("client-post", secret, "client_secret_post"),
        ],
    );
    for (client, method) in [("client:basic +%", "basic"), ("client-post", "post")] {
        let extra = format!(
            r#"
client-authentication = "{method}"
client-id = "{client}"
client-secret = {{ file = "secret" }}
scopes = ["read"]
"#
        );
        let answer = provider.ask(&folder, &extra);
        provider.check(&answer, client);
        assert_eq!(answer.json()["claims"]["scope"], "read");
    }
}

/// Nothing is sent to the resource, the caller hears whose fault it is not, and the operator hears
/// what the provider said.
#[test]
#[ignore = "needs Node and oidc-provider"]
fn what_a_provider_refuses_is_said_clearly() {
    let folder = Folder::new();
    folder.write("secret", "right");
    folder.write("wrong-secret", "wrong");
    let mut knows = secret_client("knows", "right", "client_secret_basic");
    knows["scope"] = "read".into();
    let provider = Provider::start(
        &folder,
        &[signing_client(&folder, "signs", Algorithm::Rs256), knows],
    );
    write_key(&folder, "other.key", Algorithm::Rs256);
    let (issuer, id) = ("${issuer-url}", "${uuid}");
    let once = assertion("signs", "signs", "RS256", issuer, "always-the-same");
    provider.check(&provider.ask(&folder, &once), "signs");
    let basic = |secret: &str, more: &str| {
        format!(
            "client-authentication = \"basic\"\nclient-id = \"knows\"\n\
             client-secret = {{ file = \"{secret}\" }}\n{more}"
        )
    };
    for (extra, provider_says, proxy_says) in [
        (
            assertion("signs", "other", "RS256", issuer, id),
            "signature verification failed",
            "invalid_client",
        ),
        (
            assertion("signs", "signs", "RS256", "https://elsewhere.example", id),
            "audience (aud) must equal",
            "invalid_client",
        ),
        (
            assertion("signs", "signs", "PS256", issuer, id),
            "alg mismatch",
            "invalid_client",
        ),
        (
            assertion("nobody", "signs", "RS256", issuer, id),
            "client not found",
            "invalid_client",
        ),
        (once, "must only be used once", "invalid_client"),
        (
            basic("wrong-secret", ""),
            "invalid secret provided",
            "invalid_client",
        ),
        (
            basic("secret", "scopes = [\"write\"]"),
            "refused: invalid_scope",
            "invalid_scope",
        ),
    ] {
        folder.write("proxy.toml", provider.exchange(&extra));
        let process = Process::start(folder.path(), &[]);
        let answer = get(process.address(), "/it/x");
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (503, "credential-unavailable")
        );
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        let detail = answer.json()["detail"].as_str().expect("a text").to_owned();
        assert!(detail.contains("credential `it` has no token"), "{detail}");
        provider.wait_for(provider_says);
        let said = process.wait_for(proxy_says);
        assert!(said.contains("the endpoint refused with 4"), "{said}");
    }
}

#[test]
#[ignore = "needs Node and oidc-provider"]
fn a_provider_is_found_by_its_issuer_with_and_without_a_slash_and_by_its_document() {
    let folder = Folder::new();
    let provider = Provider::start(
        &folder,
        &[secret_client("knows", "right", "client_secret_basic")],
    );
    folder.write("secret", "right");
    let text = provider.exchange(
        r#"
client-authentication = "basic"
client-id = "knows"
client-secret = { file = "secret" }
"#,
    );
    for end in ["", "/", "/.well-known/openid-configuration"] {
        let text = text.replace(MOUNT, &format!("{MOUNT}{end}"));
        let proxy = Proxy::start(&folder, &text);
        provider.check(&get(proxy.address, "/it/x"), "knows");
    }
}
