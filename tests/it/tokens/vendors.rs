//! The emulated vendors, each of which verifies by its own reading what the proxy sends it.

use std::time::Duration;

use countersign::clock::{Clock, Hand};
use countersign::emulator::cylance::{Application, Console, Cylance, Region, Venue};
use countersign::emulator::protegrity::ppc::Ppc;
use countersign::emulator::protegrity::{Algorithm, Appliance, Cluster, Counts, Role, User};
use countersign::emulator::sws::{self, DataCentre, ServiceAccount, Sws};
use countersign::emulator::{self, Effect, Options, Running, Vendor, cylance, protegrity};
use countersign::jws::{KeyKind, generate};

use super::{START, wait_for, wait_until};
use crate::support::{Folder, Proxy, get, send};

/// A vendor whose clock and the proxy's show the same time, and are moved together.
struct Customer<V> {
    vendor: Running<V>,
    proxy: Proxy,
    hand: Hand,
    folder: Folder,
}

impl<V: Vendor> Customer<V> {
    /// The target `api` with what the credential's table says.
    fn of(vendor: V, folder: Folder, kind: &str, inputs: &str) -> Self {
        let clock = emulator::Clock::fixed(1_900_000_000);
        let options = Options {
            clock,
            ..Options::default()
        };
        let vendor = emulator::start(vendor, options).expect("it starts");
        folder.write("ca.pem", vendor.ca_pem());
        let address = vendor.address();
        let text = format!(
            r#"
[listeners.local]
address = "127.0.0.1:0"

[credentials.api.{kind}]
{inputs}
connect = "{address}"
tls.ca = "ca.pem"

[targets.api]
connect = "{address}"
tls.ca = "ca.pem"
"#
        );
        let (clock, hand) = Clock::manual(START);
        let proxy = Proxy::start_with(&folder, &text, clock);
        Self {
            vendor,
            proxy,
            hand,
            folder,
        }
    }

    fn get(&self, path: &str) -> u16 {
        get(self.proxy.address, &format!("/api{path}")).status
    }

    /// Lets the time pass on both sides, and waits for the renewal that it brings.
    fn renew_after(&self, seconds: u32) {
        let credential = self.proxy.credential("api");
        let before = wait_for("a token", || credential.state().token.clone());
        self.pass(seconds);
        wait_until("a renewal", || {
            let state = credential.state();
            let token = state.token.as_ref().expect("it is renewed while it lives");
            token.end != before.end
        });
    }

    fn pass(&self, seconds: u32) {
        self.vendor.clock().advance(seconds.into());
        self.hand.advance(Duration::from_secs(seconds.into()));
    }

    /// Tries to bring a token home by every spelling of these paths.
    fn keeps_its_tokens(&self, paths: &[&str], good: &str) {
        assert_eq!(self.get(good), 200);
        let (calls, address) = (self.vendor.requests().len(), self.proxy.address);
        for path in paths {
            for spelled in spellings(path) {
                for method in ["GET", "POST", "PUT"] {
                    let request = format!(
                        "{method} /api{spelled} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
                    );
                    let answer = send(address, &request);
                    assert!(
                        matches!(answer.status, 400 | 403),
                        "{request}{}",
                        answer.status
                    );
                }
            }
        }
        assert_eq!(self.vendor.requests().len(), calls, "none of them has left");
    }
}

/// What some server or other takes to be this path.
fn spellings(path: &str) -> Vec<String> {
    let (head, tail) = path.rsplit_once('/').expect("a path");
    let first = path.as_bytes()[1];
    let last = path.as_bytes()[path.len() - 1];
    let rest = &path[2..];
    vec![
        path.to_owned(),
        format!("{path}/"),
        format!("{path}?a=b"),
        format!("{path}/more"),
        format!("/{path}"),
        format!("/.{path}"),
        format!("/x/..{path}"),
        format!("/x/%2e%2e{path}"),
        format!("/x/..;{path}"),
        format!("/x/..;a=b{path}"),
        format!("/;{path}"),
        format!("{path};a=b"),
        format!("{path}%3Ba"),
        format!("{path}%20"),
        format!("{path}%00"),
        format!("{path}."),
        format!("{path}%2e"),
        path.to_ascii_uppercase(),
        format!("/%{first:02x}{rest}"),
        format!("/%{first:02X}{rest}"),
        format!("/%25{first:02x}{rest}"),
        format!("/%2525{first:02x}{rest}"),
        format!("/x/%252e%252e{path}"),
        format!("{path}/%252e%252e/x"),
        format!("{}%{last:02x}", &path[..path.len() - 1]),
        format!("{head}//{tail}"),
        format!("{head}/./{tail}"),
        format!("{head}%2f{tail}"),
        format!("{head}%2F{tail}"),
        format!("{head}%5c{tail}"),
        format!("{head}\\{tail}"),
        format!("%2f{}", &path[1..]),
    ]
    .into_iter()
    .map(|it| {
        if it.starts_with('/') {
            it
        } else {
            format!("/{it}")
        }
    })
    .collect()
}

const TENANT: &str = "5f9c2b1e-7d34-4f8a-9c60-3be1a7d0c2f4";
const APPLICATION: &str = "0e6d8c52-1b7f-4a93-8d25-64c9f0b3a7e1";

fn application(secret: &str) -> Application {
    Application {
        region: Region::NorthAmerica,
        tenant: TENANT.into(),
        id: APPLICATION.into(),
        secret: secret.into(),
        scopes: vec!["device:list".into(), "device:read".into()],
    }
}

fn cylance() -> Customer<Cylance> {
    let settings = cylance::Settings {
        refuse_replays: true,
        ..cylance::Settings::default()
    };
    let secret = "what-the-application-shares";
    let vendor = Cylance::new([application(secret)], settings).expect("a vendor");
    let folder = Folder::new();
    folder.write("secret", secret);
    let inputs = format!(
        "region = \"na\"\ntenant = \"{TENANT}\"\napplication = \"{APPLICATION}\"\nsecret = {{ file = \"secret\" }}"
    );
    Customer::of(vendor, folder, "cylance", &inputs)
}

#[test]
fn cylance_gets_a_signed_token_for_another_and_serves() {
    let it = cylance();
    let vendor = it.vendor.vendor();
    for _ in 0..5 {
        assert_eq!(it.get("/devices/v2"), 200);
    }
    assert_eq!((vendor.token_calls(), vendor.tokens_issued()), (1, 1));
    it.renew_after(30 * 60 * 3 / 4);
    assert_eq!(it.get("/devices/v2"), 200);
    vendor.revoke_all();
    it.pass(31);
    assert_eq!(it.get("/devices/v2"), 200);
    assert_eq!((vendor.token_calls(), vendor.tokens_issued()), (3, 3));
    it.keeps_its_tokens(&["/auth/v2/token", "/auth"], "/devices/v2");
}

#[test]
fn cylances_console_gives_its_token_and_its_tenants_to_no_caller() {
    let vendor = Cylance::new([application("x")], cylance::Settings::default()).expect("a vendor");
    vendor.add_console(Console {
        region: Region::NorthAmerica,
        id: "console".into(),
        secret: "console-secret".into(),
        venues: vec![Venue {
            id: "a-venue".into(),
            name: "Acme".into(),
            tenant: TENANT.into(),
            application: APPLICATION.into(),
        }],
    });
    let folder = Folder::new();
    folder.write("secret", "console-secret");
    let inputs = "region = \"us\"\napplication = \"console\"\nsecret = { file = \"secret\" }";
    let it = Customer::of(vendor, folder, "cylance-mtc", inputs);
    let list = "/public/v2/us/tenants/list";
    assert_eq!(it.get(list), 200);
    it.keeps_its_tokens(
        &[
            "/public/v2/us/auth",
            "/public/v2/us/tenants/tenant-app/a-venue",
        ],
        list,
    );
}

const SWS_TENANT: &str = "11eb7a2f3c5d4e6f8a9b0c1d2e3f4a5b";
const SWS_ACCOUNT: &str = "11eb7a2f90ab4c1d8e2f3a4b5c6d7e8f";

fn sws(credential: sws::Credential, kind: &str, folder: Folder, inputs: &str) -> Customer<Sws> {
    let account = ServiceAccount {
        data_centre: DataCentre::UnitedStates,
        tenant: SWS_TENANT.into(),
        id: SWS_ACCOUNT.into(),
        role: sws::Role::Viewer,
        enabled: true,
        credential,
    };
    let vendor = Sws::new([account], sws::Settings::default()).expect("a vendor");
    Customer::of(vendor, folder, kind, inputs)
}

fn sws_serves(it: &Customer<Sws>) {
    let (vendor, path) = (it.vendor.vendor(), "/v2-edge/sws/recordings");
    for _ in 0..5 {
        assert_eq!(it.get(path), 200);
    }
    assert_eq!((vendor.token_calls(), vendor.tokens_issued()), (1, 1));
    it.renew_after(225);
    assert_eq!(it.get(path), 200);
    vendor.revoke_all();
    it.pass(31);
    assert_eq!(it.get(path), 200);
    assert_eq!((vendor.token_calls(), vendor.tokens_issued()), (3, 3));
    it.keeps_its_tokens(
        &[
            "/auth/realms/serviceaccounts/protocol/openid-connect/token",
            "/auth",
        ],
        path,
    );
}

#[test]
fn sws_is_let_in_by_the_file_that_it_lets_its_customers_download() {
    let pair = generate(KeyKind::Rsa2048);
    let folder = Folder::new();
    let file = serde_json::json!({
        "serviceAccountId": SWS_ACCOUNT,
        "privateKey": pair.private_pem.expose_str().expect("PEM is text"),
        "discoveryURI": DataCentre::UnitedStates.issuer(),
    });
    folder.write("account.json", file.to_string());
    let inputs = format!(
        "tenant = \"{SWS_TENANT}\"\naccount = {{ file = \"account.json\" }}\ndata-centre = \"us\""
    );
    let credential = sws::Credential::PublicKey(pair.public_pem);
    sws_serves(&sws(credential, "sws", folder, &inputs));
}

#[test]
fn sws_is_let_in_by_a_clients_secret() {
    let folder = Folder::new();
    folder.write("secret", "a client's &secret=");
    let credential = sws::Credential::Secret {
        client_id: "a-client".into(),
        secret: "a client's &secret=".into(),
    };
    let inputs = "client = \"a-client\"\nsecret = { file = \"secret\" }\ndata-centre = \"us\"";
    sws_serves(&sws(credential, "sws-secret", folder, inputs));
}

const PASSWORD: &str = "&+%=ä pass word";

fn user() -> User {
    User {
        name: "reporting".into(),
        password: PASSWORD.into(),
        may_create_tokens: true,
        role: Role::SecurityViewer,
    }
}

fn counts(logins: u64, refreshes: u64) -> Counts {
    Counts {
        logins,
        refreshes,
        refused_logins: 0,
    }
}

const POLICIES: &str = "/pty/v2/pim/policies";

fn appliance() -> Customer<Appliance> {
    let cluster = Cluster::new(Algorithm::Hs512).expect("a secret");
    let settings = protegrity::Settings::default();
    let vendor = Appliance::new("esa.corp.example", [user()], &cluster, settings);
    let folder = Folder::new();
    folder.write("password", PASSWORD);
    let inputs = "appliance = \"esa.corp.example\"\nuser = \"reporting\"\npassword = { file = \"password\" }";
    Customer::of(vendor, folder, "protegrity", inputs)
}

#[test]
fn an_appliance_is_logged_in_to_and_refreshed_and_logged_in_to_anew_when_it_refuses_the_token() {
    let it = appliance();
    let vendor = it.vendor.vendor();
    for _ in 0..5 {
        assert_eq!(it.get(POLICIES), 200);
    }
    assert_eq!(vendor.accounts().counts(), counts(1, 0));
    it.renew_after(45 * 60);
    assert_eq!(it.get(POLICIES), 200);
    assert_eq!(vendor.accounts().counts(), counts(1, 1));
    it.pass(31);
    vendor.cluster().change_secret().expect("a secret");
    assert_eq!(it.get(POLICIES), 200);
    assert_eq!(vendor.accounts().counts(), counts(2, 1));
    let refreshes = |it: &&emulator::Received| it.target.ends_with("/refresh");
    assert_eq!(
        it.vendor.requests().iter().filter(refreshes).count(),
        1,
        "nothing is asked for with the dead token"
    );
    // After a long sleep there is nothing to refresh with.
    it.pass(2 * 3600);
    assert_eq!(it.get(POLICIES), 200);
    assert_eq!(vendor.accounts().counts(), counts(3, 1));
}

#[test]
fn an_appliances_tokens_reach_no_caller() {
    let it = appliance();
    it.keeps_its_tokens(
        &[
            "/api/v1/auth/login/token",
            "/api/v1/auth/login/token/refresh",
            "/pty/v1/auth/login/token",
            "/pty/v1/auth/login/token/refresh",
        ],
        POLICIES,
    );
    for name in [
        "PTY_ACCESS_JWT_TOKEN",
        "pty_access_jwt_token",
        "Pty_Access_Jwt_Token",
    ] {
        let answer = http::Response::builder()
            .header(name.to_ascii_lowercase(), "eyJ.a.token")
            .header("x-other", "stays")
            .body(bytes::Bytes::new())
            .expect("an answer");
        it.vendor
            .faults()
            .next_at("/pty", 1, Effect::Answer(answer));
        let answer = get(it.proxy.address, &format!("/api{POLICIES}"));
        assert_eq!(answer.header("x-other"), Some("stays"));
        assert_eq!(answer.header("pty_access_jwt_token"), None);
    }
}

fn ppc() -> Customer<Ppc> {
    let settings = protegrity::ppc::Settings::default();
    let vendor = Ppc::new("ppc.corp.example", [user()], settings).expect("a key");
    let folder = Folder::new();
    folder.write("password", PASSWORD);
    let inputs =
        "host = \"ppc.corp.example\"\nuser = \"reporting\"\npassword = { file = \"password\" }";
    Customer::of(vendor, folder, "protegrity-ppc", inputs)
}

#[test]
fn the_newer_product_is_refreshed_with_tokens_that_are_good_once() {
    let it = ppc();
    let vendor = it.vendor.vendor();
    assert_eq!(it.get(POLICIES), 200);
    for round in 1..=3 {
        it.renew_after(225);
        assert_eq!(it.get(POLICIES), 200);
        assert_eq!(vendor.accounts().counts(), counts(1, round));
    }
    it.pass(31);
    vendor.change_key().expect("a key");
    assert_eq!(it.get(POLICIES), 200);
    assert_eq!(vendor.accounts().counts(), counts(2, 3));
    it.keeps_its_tokens(
        &[
            "/pty/v1/auth/login/token",
            "/pty/v1/auth/login/token/refresh",
            "/api/v1/auth/login/token",
        ],
        POLICIES,
    );
}

#[test]
fn a_refresh_that_got_lost_on_its_way_back_is_not_tried_with_the_same_token() {
    let it = ppc();
    let vendor = it.vendor.vendor();
    assert_eq!(it.get(POLICIES), 200);
    let refresh = "/pty/v1/auth/login/token/refresh";
    it.vendor.faults().next_at(refresh, 1, Effect::Truncate);
    it.pass(225);
    let credential = it.proxy.credential("api");
    wait_until("a failed refresh", || credential.state().failure.is_some());
    assert_eq!(it.get(POLICIES), 200, "the old token serves");
    it.pass(1);
    wait_until("a login", || vendor.accounts().counts() == counts(2, 1));
    assert_eq!(it.get(POLICIES), 200);
}

#[test]
fn a_wrong_password_does_not_lock_the_account() {
    let it = appliance();
    let vendor = it.vendor.vendor();
    assert_eq!(it.get(POLICIES), 200);
    let mut user = user();
    user.password = "changed".into();
    vendor.accounts().set(user);
    vendor.cluster().change_secret().expect("a secret");
    it.pass(31);
    for _ in 0..60 {
        it.get(POLICIES);
        it.pass(29);
    }
    // 29 minutes: two tries, three short of the lock.
    let refused = || vendor.accounts().counts().refused_logins;
    assert_eq!(refused(), 2);
    it.folder.write("password", "changed");
    wait_until("service", || it.get(POLICIES) == 200);
    assert_eq!(refused(), 2);
}

#[test]
fn a_vendor_whose_clock_is_ahead_is_let_in_by_the_second_assertion() {
    let it = cylance();
    assert_eq!(it.get("/devices/v2"), 200);
    // The token's own time is up over there, and so is every assertion's that goes by our clock.
    it.vendor.clock().advance(94);
    it.vendor.vendor().revoke_all();
    it.hand.advance(Duration::from_secs(31));
    it.vendor.clock().advance(31);
    wait_until("service", || {
        it.pass(1);
        it.get("/devices/v2") == 200
    });
    assert!(it.vendor.vendor().token_calls() <= 3);
}
