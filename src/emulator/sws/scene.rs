//! A tenant of Secure Web Sessions with one service account that may look at everything.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rsa::RsaPrivateKey;
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::pkcs8::DecodePrivateKey;
use serde_json::json;

use super::{Credential, DataCentre, Role, ServiceAccount, Settings, Sws};
use crate::emulator::scene::Scene;
use crate::emulator::{self, Error, Options};

const NAME: &str = "sws";
const TENANT: &str = "11eb7a2f3c5d4e6f8a9b0c1d2e3f4a5b";
const ACCOUNT: &str = "11eb7a2f90ab4c1d8e2f3a4b5c6d7e8f";

/// Makes a key, enrols its service account, and puts the vendor to work.
///
/// # Errors
///
/// What kept the emulator from starting.
pub fn scene(options: Options) -> Result<Scene, Error> {
    let key = KeyPair::generate(KeySize::Rsa2048).map_err(|_| Error::Keygen)?;
    let (public, private) = pems(&key).ok_or(Error::Keygen)?;
    let centre = DataCentre::UnitedStates;
    let account = ServiceAccount {
        data_centre: centre,
        tenant: TENANT.into(),
        id: ACCOUNT.into(),
        role: Role::Viewer,
        enabled: true,
        credential: Credential::PublicKey(public),
    };
    let vendor = emulator::start(Sws::new([account], Settings::default())?, options)?;
    let address = vendor.address();
    let configuration = format!(
        r#"
[credentials.{NAME}.sws]
tenant      = "{TENANT}"
account     = {{ file = "{NAME}-service-account.json" }}
data-centre = "{}"
connect     = "{address}"      # the emulator, in place of the vendor's own address
tls.ca      = ["{NAME}-ca.pem"]

[targets.{NAME}]
connect = "{address}"
tls.ca  = ["{NAME}-ca.pem"]
"#,
        centre.domain()
    );
    let account = json!({
        "serviceAccountId": ACCOUNT,
        "privateKey": private,
        "discoveryURI": centre.issuer(),
    });
    Ok(Scene {
        name: NAME,
        about: "CyberArk Secure Web Sessions, as a service account with the role Viewer",
        configuration,
        files: vec![
            (format!("{NAME}-service-account.json"), account.to_string()),
            (format!("{NAME}-ca.pem"), vendor.ca_pem()),
        ],
        paths: &[
            "/v2-edge/sws/recordings",
            "/v2-edge/sws/activities",
            "/v2-edge/sws/echo",
        ],
        address: vendor.address(),
        _vendor: Box::new(vendor),
    })
}

/// The public key as it is enrolled, and the private key as the vendor writes it into the account's
/// file: PKCS#1 on one line, the markers glued to the base64.
fn pems(key: &KeyPair) -> Option<(String, String)> {
    let public: PublicKeyX509Der<'_> = key.public_key().as_der().ok()?;
    let pkcs8: Pkcs8V1Der<'_> = key.as_der().ok()?;
    let pkcs1 = RsaPrivateKey::from_pkcs8_der(pkcs8.as_ref())
        .ok()?
        .to_pkcs1_der()
        .ok()?;
    Some((
        format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD.encode(public.as_ref())
        ),
        format!(
            "-----BEGIN RSA PRIVATE KEY-----{}-----END RSA PRIVATE KEY-----",
            STANDARD.encode(pkcs1.as_bytes())
        ),
    ))
}
