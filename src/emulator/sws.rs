//! CyberArk Secure Web Sessions: a service account signs an assertion with the private key that was
//! downloaded when it was made, and an OAuth 2.0 authorization server exchanges that for an access
//! token. Newer accounts have a client id and a client secret instead.
//!
//! Documented by the vendor are the method, `private_key_jwt` (OpenID Connect Core, section 9; RFC
//! 7523), the account's file, the roles, and that `expires_in` says how long a token can be reused.
//! Seen in the field are the URLs, from which the server looks like a Keycloak with the realm
//! `serviceaccounts`, the form of the client id, and calls that answer in bare text. The refusals
//! of the assertion have the statuses and words of a recent Keycloak, or by [`Settings`] of an
//! older one; which of them the vendor runs is not known. **Every other status, body and check of
//! this emulator is ours**; so are the data, the path `/v2-edge/sws/echo`, and these readings:
//!
//! - `aud` is the realm's issuer or its token endpoint. The others that Keycloak takes have no use
//!   here.
//! - Times are whole seconds, which JWT does not ask for. `exp` has no tolerance, as at Keycloak;
//!   `nbf` and `iat` have that of [`Settings`]. `nbf` may be digits in a string, for a helper of
//!   the vendor's writes it so.
//! - An assertion older than a minute is refused, which is Keycloak's default: `iat` counts, and a
//!   life of three days, as is seen in the field, is no way around that.
//! - A `jti` is good once, until its `exp`.
//! - Each data centre knows its own accounts only.
//! - Administrators may do everything, viewers GET everything, auditors GET activities.
//!
//! A call of the token endpoint is checked in this order, and the first thing wrong is the answer:
//! `POST` (405); `Content-Type` (415); the form, no parameter twice; `grant_type`; only one way of
//! authentication (400). With an assertion, then: `client_assertion_type`; `client_assertion`;
//! three segments, base64url, JSON; `sub`; `client_id`, where there is one (400); the client,
//! enabled; `iss` (401); `alg`; the signature; `aud`, the right one and alone; `exp` present; times
//! integers, not milliseconds; not expired, `nbf`; `iat` not in the future, not too old; without
//! `iat`, `exp` not too far; `jti` present, and new (400). With a secret: the client, enabled, and
//! the secret (401). Then `scope`, and the refresh token (400).
//!
//! A call of the API is checked in this order: exactly one `Authorization`; `Bearer`; three
//! segments, base64url, JSON; `alg`; `kid`; the signature; `typ`; `iss`, which is the data
//! centre's; not expired; not revoked; the account, enabled. All of these are 401. Then 404 for the
//! path, 405 for the method, 403 for the role.

mod api;
mod assertion;
mod bearer;
mod centre;
mod data;
mod realm;
mod refusal;
pub mod scene;
mod token;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use http::{HeaderValue, StatusCode, header};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

use self::centre::Side;
use self::realm::Realm;
use super::once::Once;
use super::{Call, Error, Reply, Vendor, lock};

pub use self::centre::DataCentre;
pub use self::realm::RealmKey;
pub use self::refusal::Wording;

/// The largest form or JSON document taken.
const DOCUMENT: usize = 64 * 1024;

/// A service account: what the vendor keeps of it.
#[derive(Clone, Debug)]
pub struct ServiceAccount {
    /// The data centre of the tenant.
    pub data_centre: DataCentre,
    /// The tenant's id: 32 hexadecimal digits.
    pub tenant: String,
    /// The account's own id: 32 hexadecimal digits.
    pub id: String,
    /// What it may do.
    pub role: Role,
    /// Its status; a disabled account is as good as none.
    pub enabled: bool,
    /// What it proves itself with.
    pub credential: Credential,
}

/// What a service account proves itself with.
#[derive(Clone)]
pub enum Credential {
    /// Assertions, by the private key to this public one: RSA of 2048 bits or more, SPKI in PEM.
    PublicKey(String),
    /// A client id and a client secret.
    Secret {
        /// The `ClientID` of the account's file.
        client_id: String,
        /// The `ClientSecret` of the account's file.
        secret: String,
    },
}

impl fmt::Debug for Credential {
    /// Leaves the secret out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credential::PublicKey(_) => f.write_str("PublicKey"),
            Credential::Secret { .. } => f.write_str("Secret"),
        }
    }
}

/// What a service account may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Administrator,
    /// GET activities.
    Auditor,
    /// GET everything.
    Viewer,
}

/// What the vendor leaves open, and this emulator therefore lets a test decide.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whose data centre is meant where the host is not the vendor's. The first by default.
    pub data_centre: DataCentre,
    /// The words of refusals. A recent Keycloak's by default.
    pub wording: Wording,
    /// How far in the future `iat` and `nbf` may lie, as clocks differ. 15 s by default.
    pub tolerance: Duration,
    /// How old an assertion may be, by its `iat` or, without that, by how far off its `exp` is. A
    /// minute by default; without it, only `exp` counts.
    pub oldest: Option<Duration>,
    /// The life of an access token. Five minutes by default.
    pub token_life: Duration,
    /// How long after its `iat` an access token dies whatever its `exp` says. It does not by
    /// default.
    pub early_death: Option<Duration>,
    /// The life of refresh tokens. There are none by default.
    pub refresh_life: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            data_centre: DataCentre::UnitedStates,
            wording: Wording::Recent,
            tolerance: Duration::from_secs(15),
            oldest: Some(Duration::from_secs(60)),
            token_life: Duration::from_secs(300),
            early_death: None,
            refresh_life: None,
        }
    }
}

/// The vendor: its service accounts, the tokens it handed out, and what was done to the data.
#[derive(Debug)]
pub struct Sws {
    settings: Settings,
    accounts: Mutex<Vec<Arc<Account>>>,
    realm: Realm,
    used: Once,
    token_calls: AtomicU64,
    /// The users that were added: tenant and name.
    users: Mutex<Vec<(String, String)>>,
}

#[derive(Debug)]
struct Account {
    account: ServiceAccount,
    /// There is one where the credential is a key.
    key: Option<ParsedPublicKey>,
}

impl Sws {
    /// A vendor with these accounts, and a realm with a new key.
    ///
    /// # Errors
    ///
    /// [`Error::Keygen`] where there is no key to be had, [`Error::Key`] for an account's.
    pub fn new(
        accounts: impl IntoIterator<Item = ServiceAccount>,
        settings: Settings,
    ) -> Result<Self, Error> {
        Self::with_key(RealmKey::generate()?, accounts, settings)
    }

    /// A vendor whose realm has this key: making a new one takes a while.
    ///
    /// # Errors
    ///
    /// As for [`Sws::new`].
    pub fn with_key(
        key: RealmKey,
        accounts: impl IntoIterator<Item = ServiceAccount>,
        settings: Settings,
    ) -> Result<Self, Error> {
        let sws = Sws {
            settings,
            accounts: Mutex::default(),
            realm: Realm::new(key)?,
            used: Once::default(),
            token_calls: AtomicU64::new(0),
            users: Mutex::default(),
        };
        for account in accounts {
            sws.enrol(account)?;
        }
        Ok(sws)
    }

    /// Adds an account, in place of any of the same data centre and client id.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] where its public key is none.
    pub fn enrol(&self, account: ServiceAccount) -> Result<(), Error> {
        let client_id = account.client_id();
        let key = match &account.credential {
            Credential::Secret { .. } => None,
            Credential::PublicKey(pem) => Some(public_key(pem).map_err(|fault| Error::Key {
                client_id: client_id.clone(),
                fault,
            })?),
        };
        let mut accounts = lock(&self.accounts);
        accounts.retain(|known| !known.is(account.data_centre, &client_id));
        accounts.push(Arc::new(Account { account, key }));
        Ok(())
    }

    /// Forgets an account; says whether it was known.
    pub fn withdraw(&self, data_centre: DataCentre, client_id: &str) -> bool {
        let mut accounts = lock(&self.accounts);
        let before = accounts.len();
        accounts.retain(|known| !known.is(data_centre, client_id));
        accounts.len() < before
    }

    /// Makes all tokens void that were handed out so far, access and refresh.
    pub fn revoke_all(&self) {
        self.realm.revoke_all();
    }

    /// How often the token endpoint was called, in vain or not. Calls that a fault answered do not
    /// count: they are in the log only.
    pub fn token_calls(&self) -> u64 {
        self.token_calls.load(Ordering::Relaxed)
    }

    /// How many access tokens were handed out.
    pub fn tokens_issued(&self) -> u64 {
        self.realm.tokens_issued()
    }

    /// An account that is there and enabled.
    fn account(&self, data_centre: DataCentre, client_id: &str) -> Option<Arc<Account>> {
        let accounts = lock(&self.accounts);
        accounts
            .iter()
            .find(|known| known.is(data_centre, client_id) && known.account.enabled)
            .cloned()
    }
}

impl ServiceAccount {
    /// The OAuth client id: an account with a key has it made from its ids.
    pub fn client_id(&self) -> String {
        match &self.credential {
            Credential::PublicKey(_) => {
                format!("{}.{}.ExternalServiceAccount", self.tenant, self.id)
            }
            Credential::Secret { client_id, .. } => client_id.clone(),
        }
    }
}

impl Account {
    fn is(&self, data_centre: DataCentre, client_id: &str) -> bool {
        self.account.data_centre == data_centre && self.account.client_id() == client_id
    }
}

fn public_key(pem: &str) -> Result<ParsedPublicKey, &'static str> {
    let spki = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| "it is not a PUBLIC KEY in PEM")?;
    ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, spki)
        .map_err(|_| "it is not an RSA key of 2048 to 8192 bits")
}

impl Vendor for Sws {
    fn names(&self) -> Vec<String> {
        let all = DataCentre::ALL.into_iter();
        all.flat_map(|centre| [centre.auth_host(), centre.api_host()])
            .collect()
    }

    /// The vendor's own host names say which data centre is meant, and which of its sides; with any
    /// other, the path and the settings do.
    async fn answer(&self, call: &mut Call) -> Reply {
        let host = call.host().unwrap_or_default();
        let (centre, side) = DataCentre::of_host(&host).unwrap_or_else(|| {
            let auth = call.path().starts_with("/auth/");
            let side = if auth { Side::Auth } else { Side::Api };
            (self.settings.data_centre, side)
        });
        match side {
            Side::Auth => self.authorize(call, centre).await,
            Side::Api => self.serve(call, centre).await,
        }
    }
}

fn wrong_method(allowed: &'static str) -> Reply {
    let message = format!("this path has only {allowed}");
    problem(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", &message)
        .header(header::ALLOW, HeaderValue::from_static(allowed))
}

fn no_such(thing: &str) -> Reply {
    let message = format!("there is no such {thing}");
    problem(StatusCode::NOT_FOUND, "not-found", &message)
}

fn problem(status: StatusCode, reason: &'static str, message: &str) -> Reply {
    Reply::json(status, &json!({ "reason": reason, "message": message })).because(reason)
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
