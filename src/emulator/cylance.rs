//! The Cylance user API: the client signs a token with its application's secret, and exchanges it
//! for another, which the server has signed and which the API takes. Beside it stands the
//! multi-tenant console, in `mtc.rs`, which has a login of its own.
//!
//! Documented by the vendor are the client's token (HS256; the claims `iss`, `sub`, `tid`, `jti`,
//! `iat`, `exp` and an optional `scp`; 400 where `exp` is more than half an hour after `iat`), the
//! exchange at `/auth/v2/token`, 401 for bad credentials and for an access token that has expired,
//! and 403 for a scope that was not granted. Seen in the field are the body of that 401, the bare
//! 401 for the wrong region's host, 409 for an entry that a list has already, and flat error
//! documents with a `message`. **Every other status, body and check of this emulator is ours**; so
//! are the data, most of their fields, `/echo`, and these readings:
//!
//! - The signing key is the secret's text, byte by byte, even where it looks like something
//!   encoded.
//! - `iat` and `exp` are whole seconds. There is no tolerance for clocks that differ, unless
//!   [`Settings`] has one.
//! - `scp` is one string with commas or a list of such strings, trimmed. All of it must have been
//!   granted to the application; left out, it stands for all that was.
//! - An access token carries its application, tenant and scopes, and is of no use at the host of
//!   another region. How long it lives is not documented: half an hour, as clients assume.
//! - The answer has no `expires_in`; no client reads one.
//! - A `jti` may come again, unless [`Settings`] has it refused: the vendor says what it can be
//!   used for and not that it is.
//!
//! An exchange is checked in this order, and the first thing wrong is the reason in the log:
//! `Content-Type`; a JSON document with an `auth_token` (these two are 400); three segments,
//! base64url, JSON; `alg`; `iss`; (`tid`, `sub`); the host's region; the signature; `jti`; `iat`
//! and `exp` present, integers, not milliseconds; not too long a life (400); not expired; not
//! issued in the future; `scp`; and last, where it is asked for, that the `jti` is new. All of
//! these are 401 but for the three, and to the caller all 401 are the same.
//!
//! A call of the API is checked in this order: exactly one `Authorization`; `Bearer`; three
//! segments, base64url, JSON; `alg`; the signature, which a client's own token cannot pass; what
//! the token is for; not expired; not revoked; the application; the host's region. All of these are
//! 401. Then 404 for the path, 405 for the method, 403 for the scope that path and method need.
//!
//! 429 has been seen both here and there; a test that wants one has [`Faults`](super::Faults).

mod access;
mod api;
mod data;
mod exchange;
mod mtc;
mod region;
mod routes;
pub mod scene;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use self::access::Mint;
use super::once::Once;
use super::{Call, Error, Reply, Vendor, lock};

pub use self::mtc::{Console, Venue};
pub use self::region::Region;

/// Where a client's token is exchanged.
const TOKEN: &str = "/auth/v2/token";

/// The largest JSON document taken.
const DOCUMENT: usize = 64 * 1024;

/// A custom application of a tenant's: what its creation in the console yields.
#[derive(Clone)]
pub struct Application {
    /// Where the tenant lives, and so the one host that knows the application.
    pub region: Region,
    /// The tenant's id: a UUID, in lower case and with dashes.
    pub tenant: String,
    /// The application's id: a UUID of the same form.
    pub id: String,
    /// The application's secret, whose text is the signing key.
    pub secret: String,
    /// The scopes granted to it, such as `device:list`.
    pub scopes: Vec<String>,
}

impl fmt::Debug for Application {
    /// Leaves the secret out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Application")
            .field("region", &self.region)
            .field("tenant", &self.tenant)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// What the vendor leaves open, and this emulator therefore lets a test decide.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How far in the future `iat` may lie, as clocks differ. None by default.
    pub tolerance: Duration,
    /// Whether a `jti` is good for one exchange only. It is not by default.
    pub refuse_replays: bool,
    /// The time from an access token's `iat` to its `exp`. Half an hour by default.
    pub token_life: Duration,
    /// How long after its `iat` an access token dies whatever its `exp` says. It does not by
    /// default.
    pub early_death: Option<Duration>,
    /// Whether the answer has `expires_in` besides the token. It has not by default.
    pub say_expires_in: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            tolerance: Duration::ZERO,
            refuse_replays: false,
            token_life: Duration::from_secs(30 * 60),
            early_death: None,
            say_expires_in: false,
        }
    }
}

/// The vendor: its applications, the tokens it handed out, and what was done to the data.
#[derive(Debug)]
pub struct Cylance {
    settings: Settings,
    applications: Mutex<Vec<Arc<Known>>>,
    consoles: Mutex<Vec<Console>>,
    mint: Mint,
    used: Once,
    token_calls: AtomicU64,
    /// The entries of the global lists: tenant, list and hash.
    entries: Mutex<HashSet<(String, String, String)>>,
}

#[derive(Debug)]
struct Known {
    application: Application,
    key: hmac::Key,
}

impl Cylance {
    /// A vendor with these applications, of one tenant or several.
    ///
    /// # Errors
    ///
    /// [`Error::Keygen`] where there is no key for the access tokens to be had.
    pub fn new(
        applications: impl IntoIterator<Item = Application>,
        settings: Settings,
    ) -> Result<Self, Error> {
        let cylance = Cylance {
            settings,
            applications: Mutex::default(),
            consoles: Mutex::default(),
            mint: Mint::new()?,
            used: Once::default(),
            token_calls: AtomicU64::new(0),
            entries: Mutex::default(),
        };
        for application in applications {
            cylance.enrol(application);
        }
        Ok(cylance)
    }

    /// Adds an application, in place of any of the same tenant and id: so secrets are rotated.
    pub fn enrol(&self, application: Application) {
        let key = hmac::Key::new(hmac::HMAC_SHA256, application.secret.as_bytes());
        let mut known = lock(&self.applications);
        known.retain(|known| !known.is(&application.tenant, &application.id));
        known.push(Arc::new(Known { application, key }));
    }

    /// Forgets an application; says whether it was known.
    pub fn withdraw(&self, tenant: &str, id: &str) -> bool {
        let mut known = lock(&self.applications);
        let before = known.len();
        known.retain(|known| !known.is(tenant, id));
        known.len() < before
    }

    /// Adds a console, in place of any with the same id.
    pub fn add_console(&self, console: Console) {
        let mut consoles = lock(&self.consoles);
        consoles.retain(|known| known.id != console.id);
        consoles.push(console);
    }

    /// Makes all access tokens void that were handed out so far, the console's included.
    pub fn revoke_all(&self) {
        self.mint.issued.revoke_all();
    }

    /// How often the token endpoints were called, in vain or not. Calls that a fault answered do
    /// not count: they are in the log only.
    pub fn token_calls(&self) -> u64 {
        self.token_calls.load(Ordering::Relaxed)
    }

    /// How many access tokens were handed out.
    pub fn tokens_issued(&self) -> u64 {
        self.mint.issued.count()
    }

    fn application(&self, tenant: &str, id: &str) -> Option<Arc<Known>> {
        let known = lock(&self.applications);
        known.iter().find(|known| known.is(tenant, id)).cloned()
    }

    fn count_token_call(&self) {
        self.token_calls.fetch_add(1, Ordering::Relaxed);
    }
}

impl Known {
    fn is(&self, tenant: &str, id: &str) -> bool {
        self.application.tenant == tenant && self.application.id == id
    }
}

impl Vendor for Cylance {
    fn names(&self) -> Vec<String> {
        let hosts = Region::ALL.iter().map(|region| region.host().to_owned());
        hosts.chain([mtc::HOST.to_owned()]).collect()
    }

    /// The vendor's own host names say which of its sides is meant; with any other, the path does.
    async fn answer(&self, call: &mut Call) -> Reply {
        let host = call.host().unwrap_or_default();
        let console = host == mtc::HOST
            || Region::of_host(&host).is_none() && call.path().starts_with(mtc::BASE);
        if console {
            self.console(call).await
        } else if call.path() == TOKEN {
            self.exchange(call).await
        } else {
            self.serve(call).await
        }
    }
}

fn wrong_method(allowed: &str) -> Reply {
    let message = format!("this path has only {allowed}");
    let reply = problem(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", &message);
    match HeaderValue::from_str(allowed) {
        Ok(allowed) => reply.header(header::ALLOW, allowed),
        Err(_) => reply,
    }
}

fn no_such(thing: &str) -> Reply {
    let message = format!("there is no such {thing}");
    problem(StatusCode::NOT_FOUND, "not-found", &message)
}

fn problem(status: StatusCode, reason: &'static str, message: &str) -> Reply {
    Reply::json(status, &json!({ "message": message })).because(reason)
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
