//! PPC, the vendor's newer product: its login has a body worth reading, and the header besides.
//!
//! Documented by the vendor are the login's path and form, its answer, the header
//! `pty_access_jwt_token` with a token of RS256, the lives of 300 and 900 seconds in the sample, the
//! permission `can_create_token`, and that agents log in at the appliances' path too. A client of
//! the product shows that a refresh is a JSON object with `refreshToken`, and reports that the
//! gateway refuses the token from the body and takes the one from the header. **All else is ours**:
//! the body of every refusal, which is the appliances'; the lives of the two access tokens, which
//! are one; that a refresh token is good for one refresh; and what the parent says of forms, users,
//! lock-outs and the APIs, which are the same here.
//!
//! A login is checked as the parent's are. A refresh: 405 for a method other than POST; 400 for a
//! query, a media type other than `application/json`, a body that is too long or breaks off, one
//! that is not `{"refreshToken":"…"}` and nothing else; 401 for the token, as the parent's are
//! checked, then for one that was used before; 403 for a user who may not create tokens (any more).

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Mutex;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::api::{self, Api, Caller};
use super::cluster::Kind;
use super::refusal::{self, Refusal};
use super::{Accounts, Algorithm, Cluster, HeaderCase, User, header_value, login};
use crate::emulator::spelling::Spelling;
use crate::emulator::{Call, Error, Reply, Vendor, bearer, lock};

/// Where a password buys tokens; the appliances' path does as well.
const LOGIN: &str = "/pty/v1/auth/login/token";

/// Where a refresh token buys the next.
const REFRESH: &str = "/pty/v1/auth/login/token/refresh";

/// What an operator sets, and what the vendor leaves open.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How many seconds an access token lives. 300 by default.
    pub expires_in: u32,
    /// How many seconds a refresh token lives. 900 by default.
    pub refresh_expires_in: u32,
    /// Whether the gateway takes the access token from the body too. Not by default.
    pub takes_body_token: bool,
    /// Whether a refresh token is good for one refresh only. It is by default.
    pub single_use: bool,
    /// How many wrong passwords in a row lock a user out. Five by default.
    pub wrong_passwords: u32,
    /// How the token's header is spelled. In lower case by default.
    pub header_case: HeaderCase,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            expires_in: 300,
            refresh_expires_in: 900,
            takes_body_token: false,
            single_use: true,
            wrong_passwords: 5,
            header_case: HeaderCase::Lower,
        }
    }
}

/// The product: its users, and the key that it signs with.
#[derive(Debug)]
pub struct Ppc {
    host: String,
    settings: Settings,
    /// There is one of it, whose key pair serves as a secret does elsewhere.
    cluster: Cluster,
    accounts: Accounts,
    token_header: Spelling,
    /// The numbers of refresh tokens that were used.
    used: Mutex<HashSet<u64>>,
    api: Api,
}

impl Ppc {
    /// A product with this host name and these users.
    ///
    /// # Errors
    ///
    /// There was no randomness to make a key from.
    pub fn new(
        host: &str,
        users: impl IntoIterator<Item = User>,
        settings: Settings,
    ) -> Result<Self, Error> {
        Ok(Ppc {
            host: host.to_owned(),
            settings,
            cluster: Cluster::new(Algorithm::Rs256)?,
            accounts: Accounts::new(users, settings.wrong_passwords),
            token_header: settings.header_case.spelling(),
            used: Mutex::default(),
            api: Api::default(),
        })
    }

    /// Signs with a new key from here on, which ends the life of every token.
    ///
    /// # Errors
    ///
    /// There was no randomness to make a key from.
    pub fn change_key(&self) -> Result<(), Error> {
        self.cluster.change_secret()
    }

    /// The users, to change them and to see what they did.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }
}

impl Vendor for Ppc {
    fn names(&self) -> Vec<String> {
        vec![self.host.clone()]
    }

    async fn answer(&self, call: &mut Call) -> Reply {
        match call.path() {
            LOGIN | super::LOGIN => self.login(call).await.unwrap_or_else(|it| it.reply()),
            REFRESH => self.refresh(call).await.unwrap_or_else(|it| it.reply()),
            path if api::needs_token(path) => match self.caller(call) {
                Ok(caller) => self.api.serve(call, &caller).await,
                Err(refusal) => refusal.reply(),
            },
            _ => refusal::no_such("path"),
        }
    }
}

impl Ppc {
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
        let body = login::body(call, "application/json").await?;
        let token = refresh_token(&body).ok_or(Refusal::Syntax("bad-json"))?;
        let token = self.cluster.verify(&token, &[Kind::Refresh], call.now())?;
        let number = token.number;
        let caller = Caller::new(token, &self.accounts)?;
        if self.settings.single_use && !lock(&self.used).insert(number) {
            return Err(Refusal::UsedBefore);
        }
        if !caller.user.may_create_tokens {
            return Err(Refusal::MayNotCreateTokens);
        }
        let reply = self.grant(call, &caller.user);
        self.accounts.count_refresh();
        Ok(reply)
    }

    /// Whose token the request has.
    fn caller(&self, call: &Call) -> Result<Caller, Refusal> {
        let token = bearer::token(call.headers())?;
        let kinds: &[Kind] = if self.settings.takes_body_token {
            &[Kind::Access, Kind::Body]
        } else {
            &[Kind::Access]
        };
        Caller::new(
            self.cluster.verify(token, kinds, call.now())?,
            &self.accounts,
        )
    }

    fn grant(&self, call: &Call, user: &User) -> Reply {
        let Settings {
            expires_in,
            refresh_expires_in,
            ..
        } = self.settings;
        let issue = |kind, life: u32| {
            let life = Some(i64::from(life));
            self.cluster.issue(kind, &user.name, call.now(), life)
        };
        let body = json!({
            "status": 0,
            "data": {
                "accessToken": issue(Kind::Body, expires_in),
                "refreshToken": issue(Kind::Refresh, refresh_expires_in),
                "expiresIn": expires_in,
                "refreshExpiresIn": refresh_expires_in,
            },
            "messages": [],
        });
        Reply::json(StatusCode::OK, &body).spelled(
            &self.token_header,
            header_value(&issue(Kind::Access, expires_in)),
        )
    }
}

/// The one member that a refresh has.
fn refresh_token(body: &[u8]) -> Option<String> {
    let mut object: Map<String, Value> = serde_json::from_slice(body).ok()?;
    match object.remove("refreshToken")? {
        Value::String(token) if object.is_empty() => Some(token),
        _ => None,
    }
}
