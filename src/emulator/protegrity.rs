//! A Protegrity appliance, an ESA or a DSG: a name and a password buy a token, which comes back in a
//! response header and is renewed, while it lives, by itself.
//!
//! Documented by the vendor are the two calls below `/api/v1/auth/login/token` with their statuses,
//! the bodies of 200 and 400, and the header `PTY_ACCESS_JWT_TOKEN`; that tokens are JWTs, signed
//! with a secret that the appliances of a cluster share, or with RSA; that their expiry is a number
//! and a unit; that none is kept on the server; the permission "Can Create JWT Token"; the APIs'
//! paths `/pty/v1/rps` and `/pty/v2/pim` with `version`, `health`, `doc` and `log`; and the roles
//! Security Officer, who writes, and Security Viewer, who reads. **All else is ours**: the claims,
//! the default algorithm and expiry, the bodies of 401, 403 and of the APIs, the data, and these
//! readings:
//!
//! - The form has its two fields, once each and not empty, and no others; the target has no query.
//!   A character that a form cannot have, such as the newline at the end of a file, is bad syntax.
//! - A refresh has no body, and one that has is bad syntax too.
//! - Five wrong passwords in a row lock a user out of the login until someone unlocks them. Tokens
//!   from before go on, for nobody keeps a list of them.
//! - A month has 30 days and a year 365.
//! - `datastores`, `policies` and `dataelements` can be listed and added to, and no more than that.
//! - Every path below `/pty` wants a token, `version` and `health` included. The appliances also take
//!   passwords and client certificates there; this one does not, lest a caller's own credentials
//!   that slip through be welcome.
//! - What is reading and what is writing is told by the method: GET and HEAD read, all else writes.
//!
//! A login is checked in this order: 405 for a method other than POST; 400 for a query, a media type
//! other than `application/x-www-form-urlencoded`, a body that is too long or breaks off, a bad
//! escape or character, the fields; 401 for a user who is unknown, then locked out, then gives a
//! wrong password; 403 for one who may not create tokens.
//!
//! A refresh: 405; 401 for the token; 400 for a body; 403 for a user who may not create tokens (any
//! more).
//!
//! A token: exactly one `Authorization`; `Bearer`; three segments, base64url, JSON; `alg`; the
//! signature; what the token is for; `exp`, where it has one; its user. All of these are 401. Then
//! 403 for a method beyond the user's role, 404 for the path, 405 for the method.
//!
//! The vendor's newer product, whose login is another, is [`ppc`].

mod account;
mod api;
mod cluster;
mod data;
mod form;
mod login;
pub mod ppc;
mod refusal;
pub mod scene;

#[cfg(test)]
mod tests;

use http::{HeaderValue, Method};

use self::api::Api;
use self::cluster::Kind;
use self::refusal::Refusal;
use super::spelling::Spelling;
use super::{Call, Reply, Vendor, bearer};

pub use self::account::{Accounts, Counts, RefusedLogin, Role, User};
pub use self::cluster::{Algorithm, Cluster, Expiry, Unit};

/// Where a password buys a token.
const LOGIN: &str = "/api/v1/auth/login/token";

/// Where a token buys the next.
const REFRESH: &str = "/api/v1/auth/login/token/refresh";

/// How the name of the header with the token is spelled on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderCase {
    /// `PTY_ACCESS_JWT_TOKEN`, as the appliances' pages have it.
    Upper,
    /// `pty_access_jwt_token`, as the pages of the newer product have it.
    Lower,
}

impl HeaderCase {
    fn spelling(self) -> Spelling {
        let name = match self {
            HeaderCase::Upper => "PTY_ACCESS_JWT_TOKEN",
            HeaderCase::Lower => "pty_access_jwt_token",
        };
        Spelling::new(name).expect("letters and underscores make a header's name")
    }
}

/// What an operator sets, and what the vendor leaves open.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a token lives; without it, tokens have no `exp` and live until the secret changes.
    /// An hour by default.
    pub expiry: Option<Expiry>,
    /// How many wrong passwords in a row lock a user out. Five by default.
    pub wrong_passwords: u32,
    /// How the token's header is spelled. In capitals by default.
    pub header_case: HeaderCase,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            expiry: Some(Expiry::new(1, Unit::Hours)),
            wrong_passwords: 5,
            header_case: HeaderCase::Upper,
        }
    }
}

/// An appliance: its users, and the cluster that it belongs to.
#[derive(Debug)]
pub struct Appliance {
    host: String,
    settings: Settings,
    cluster: Cluster,
    accounts: Accounts,
    token_header: Spelling,
    api: Api,
}

impl Appliance {
    /// An appliance with this host name, these users, and the cluster's secret.
    pub fn new(
        host: &str,
        users: impl IntoIterator<Item = User>,
        cluster: &Cluster,
        settings: Settings,
    ) -> Self {
        Appliance {
            host: host.to_owned(),
            settings,
            cluster: cluster.clone(),
            accounts: Accounts::new(users, settings.wrong_passwords),
            token_header: settings.header_case.spelling(),
            api: Api::default(),
        }
    }

    /// The cluster, to change its secret.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The users, to change them and to see what they did.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }
}

impl Vendor for Appliance {
    fn names(&self) -> Vec<String> {
        vec![self.host.clone()]
    }

    async fn answer(&self, call: &mut Call) -> Reply {
        match call.path() {
            LOGIN => self.login(call).await.unwrap_or_else(|it| it.reply()),
            REFRESH => self.refresh(call).await.unwrap_or_else(|it| it.reply()),
            path if api::needs_token(path) => match self.caller(call) {
                Ok(caller) => self.api.serve(call, &caller).await,
                Err(refusal) => refusal.reply(),
            },
            _ => refusal::no_such("path"),
        }
    }
}

impl Appliance {
    async fn login(&self, call: &mut Call) -> Result<Reply, Refusal> {
        if call.head.method != Method::POST {
            return Err(Refusal::WrongMethod("POST"));
        }
        let user = login::user(call, &self.accounts).await?;
        let reply = self.grant(call, &user);
        self.accounts.count_login();
        Ok(reply)
    }

    async fn refresh(&self, call: &mut Call) -> Result<Reply, Refusal> {
        if call.head.method != Method::POST {
            return Err(Refusal::WrongMethod("POST"));
        }
        let caller = self.caller(call)?;
        login::no_body(call).await?;
        if !caller.user.may_create_tokens {
            return Err(Refusal::MayNotCreateTokens);
        }
        let reply = self.grant(call, &caller.user);
        self.accounts.count_refresh();
        Ok(reply)
    }

    /// Whose token the request has.
    fn caller(&self, call: &Call) -> Result<api::Caller, Refusal> {
        let token = bearer::token(call.headers())?;
        let token = self.cluster.verify(token, &[Kind::Access], call.now())?;
        api::Caller::new(token, &self.accounts)
    }

    fn grant(&self, call: &Call, user: &User) -> Reply {
        let life = self.settings.expiry.map(Expiry::seconds);
        let token = self
            .cluster
            .issue(Kind::Access, &user.name, call.now(), life);
        login::granted().spelled(&self.token_header, header_value(&token))
    }
}

fn header_value(token: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(token).expect("base64url and dots are fit for a header");
    value.set_sensitive(true);
    value
}
