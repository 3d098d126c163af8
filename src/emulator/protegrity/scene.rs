//! A customer with one appliance, an ESA, and one user who may read.

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Algorithm, Appliance, Cluster, Role, Settings, User};
use crate::emulator::scene::Scene;
use crate::emulator::{self, Error, Options};

const NAME: &str = "esa";
const APPLIANCE: &str = "esa.corp.example";
const USER: &str = "reporting";

/// Makes up a password, and puts the appliance to work.
///
/// # Errors
///
/// What kept the emulator from starting.
pub fn scene(options: Options) -> Result<Scene, Error> {
    let password = password()?;
    let user = User {
        name: USER.into(),
        password: password.clone(),
        may_create_tokens: true,
        role: Role::SecurityViewer,
    };
    let cluster = Cluster::new(Algorithm::Hs512)?;
    let vendor = emulator::start(
        Appliance::new(APPLIANCE, [user], &cluster, Settings::default()),
        options,
    )?;
    let address = vendor.address();
    let configuration = format!(
        r#"
[credentials.{NAME}.protegrity]
appliance = "{APPLIANCE}"
user      = "{USER}"
password  = {{ file = "{NAME}-password" }}
connect   = "{address}"      # the emulator, in place of the appliance's own address
tls.ca    = ["{NAME}-ca.pem"]

[targets.{NAME}]
connect = "{address}"
tls.ca  = ["{NAME}-ca.pem"]
"#
    );
    Ok(Scene {
        name: NAME,
        about: "A Protegrity appliance, as a Security Viewer",
        configuration,
        files: vec![
            (format!("{NAME}-password"), password),
            (format!("{NAME}-ca.pem"), vendor.ca_pem()),
        ],
        paths: &[
            "/pty/v2/pim/policies",
            "/pty/v2/pim/dataelements",
            "/pty/v2/pim/echo",
        ],
        address: vendor.address(),
        _vendor: Box::new(vendor),
    })
}

/// Another one at each start, with the characters that a form has to escape.
fn password() -> Result<String, Error> {
    let mut bytes = [0; 12];
    rand::fill(&mut bytes).map_err(|_| Error::Keygen)?;
    Ok(format!("&+%=ä {}", URL_SAFE_NO_PAD.encode(bytes)))
}
