//! A tenant of Cylance in North America with one custom application that may look and not touch.

use uuid::Uuid;

use super::{Application, Cylance, Region, Settings};
use crate::emulator::scene::Scene;
use crate::emulator::{self, Error, Options};

const NAME: &str = "cylance";
const TENANT: &str = "5f9c2b1e-7d34-4f8a-9c60-3be1a7d0c2f4";
const APPLICATION: &str = "0e6d8c52-1b7f-4a93-8d25-64c9f0b3a7e1";

/// Makes a secret, enrols the application, and puts the vendor to work.
///
/// # Errors
///
/// What kept the emulator from starting.
pub fn scene(options: Options) -> Result<Scene, Error> {
    let secret = Uuid::new_v4().to_string();
    let scopes = ["device:list", "device:read", "threat:list", "policy:list"];
    let application = Application {
        region: Region::NorthAmerica,
        tenant: TENANT.into(),
        id: APPLICATION.into(),
        secret: secret.clone(),
        scopes: scopes.map(str::to_owned).into(),
    };
    let vendor = emulator::start(Cylance::new([application], Settings::default())?, options)?;
    let address = vendor.address();
    let configuration = format!(
        r#"
[credentials.{NAME}.cylance]
region      = "na"
tenant      = "{TENANT}"
application = "{APPLICATION}"
secret      = {{ file = "{NAME}-secret" }}
connect     = "{address}"      # the emulator, in place of the vendor's own address
tls.ca      = ["{NAME}-ca.pem"]

[targets.{NAME}]
connect = "{address}"
tls.ca  = ["{NAME}-ca.pem"]
"#
    );
    Ok(Scene {
        name: NAME,
        about: "Cylance user API, as an application that may read",
        configuration,
        files: vec![
            (format!("{NAME}-secret"), secret),
            (format!("{NAME}-ca.pem"), vendor.ca_pem()),
        ],
        paths: &["/devices/v2?page_size=2", "/threats/v2", "/echo"],
        address: vendor.address(),
        _vendor: Box::new(vendor),
    })
}
