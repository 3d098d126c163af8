//! A customer of Taegis VDR with one instance, one enrolled key and two users.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_ECDSA_P521_SHA512};

use super::{Enrolment, Settings, Vdr};
use crate::emulator::scene::Scene;
use crate::emulator::{self, Error, Options};

const INSTANCE: &str = "acme";
const CLIENT_ID: &str = "ZGVtb25zdHJhdGlvbg";

/// Makes a key, enrols it, and puts the vendor to work.
///
/// # Errors
///
/// What kept the emulator from starting.
pub fn scene(options: Options) -> Result<Scene, Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512).map_err(Error::Certificate)?;
    let issuer = issuer();
    let enrolment = Enrolment {
        instance: INSTANCE.into(),
        issuer: issuer.clone(),
        client_id: CLIENT_ID.into(),
        public_key_pem: key.public_key_pem(),
        users: vec![123, 456],
    };
    let vendor = emulator::start(Vdr::new([enrolment], Settings::default())?, options)?;
    let configuration = format!(
        r#"
[credentials.{INSTANCE}.vdr]
instance  = "{INSTANCE}"
user      = 123
issuer    = {{ file = "issuer" }}
client-id = "{CLIENT_ID}"
key       = {{ file = "impersonation-api-private.pem" }}

[targets.{INSTANCE}]
connect = "{}"      # the emulator, in place of the vendor's own address
tls.ca  = ["ca.pem"]
"#,
        vendor.address()
    );
    Ok(Scene {
        name: INSTANCE,
        about: "Secureworks Taegis VDR, as user 123",
        configuration,
        files: vec![
            ("issuer".into(), issuer),
            ("impersonation-api-private.pem".into(), key.serialize_pem()),
            ("ca.pem".into(), vendor.ca_pem()),
        ],
        paths: &[
            "/api/v2/assets",
            "/api/v2/vulnerabilities?severity=critical",
            "/api/v2/echo",
        ],
        address: vendor.address(),
        _vendor: Box::new(vendor),
    })
}

/// What the vendor sends: very long, and itself a JWT.
fn issuer() -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let claims = format!(r#"{{"instance":"{INSTANCE}","api":"impersonation"}}"#);
    let signature = "not a signature, for nobody checks it. ".repeat(4);
    format!(
        "{}.{}.{}",
        part(r#"{"alg":"HS512","typ":"JWT"}"#),
        part(&claims),
        part(&signature)
    )
}
