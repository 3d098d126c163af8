//! Secureworks Taegis VDR: the client signs its own bearer tokens, and there is no token endpoint
//! for it to call.
//!
//! Documented by the vendor is how such a token is made: ES512 with a P-521 key that was enrolled
//! beforehand, and the claims `iss`, `cid`, `aud`, `sub`, `scp`, `iat`, `exp`. What happens to a
//! bad one is not, so **every status, reason and body of this emulator is ours**; so are the data,
//! their paths below `/api/v2` apart from the specification's two, and these readings:
//!
//! - `iat` and `exp` are whole seconds. The vendor's sample computes fractions, which JWT allows;
//!   nothing says that they are safe, so a client had better not send them.
//! - No tolerance for clocks that differ, and a life of an hour at most ([`Settings`]).
//! - A token whose `aud` is its own client's instance may still have been sent to the host of
//!   another one, and is then refused.
//! - `read_only` stands for GET and HEAD, `full_access` for all else; neither implies the other.
//!
//! A token is checked in this order, and the first thing wrong with it is the reason given:
//! exactly one `Authorization`; `Bearer`; not the issuer string itself, which is a token of the
//! vendor's and which its page warns of; three segments, base64url, JSON; `alg`; (`iss`, `cid`);
//! the signature's length, then the signature; `aud`, then the host; `sub`; `scp`; `iat` and `exp`
//! present, integers, not milliseconds; not expired; not issued in the future; not too long a life.
//! All of these are 401. Then 403 for a method beyond the token's scopes, 404 for the path, 405 for
//! the method.
//!
//! `/auth/oauth2/token` hands a token, of no use here, to anyone: it is there to be kept from
//! callers.

mod data;
mod routes;
pub mod scene;
mod token;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED, ParsedPublicKey};
use http::{HeaderValue, Method, StatusCode, header};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use self::data::{ASSETS, Asset, Status, VULNERABILITIES, Vulnerability};
use self::routes::{Endpoint, Found};
use self::token::{Caller, Refusal};
use super::bearer::{self, NoBearer};
use super::echo::echo;
use super::{Call, Error, Reply, Vendor, lock};

/// Where all instances live, each in a subdomain of its own.
const DOMAIN: &str = "vdr.secureworks.com";

/// The largest JSON document taken.
const DOCUMENT: usize = 64 * 1024;

/// How many items a page has unless asked otherwise, and at most.
const PAGE: (usize, usize) = (100, 500);

/// A client that the vendor knows: what its enrolment yields.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// The customer's instance: the first label of its host name.
    pub instance: String,
    /// The issuer string that the vendor handed out.
    pub issuer: String,
    /// The client id that came with it.
    pub client_id: String,
    /// The client's public key: SPKI in PEM, on the curve P-521.
    pub public_key_pem: String,
    /// The users that the client may act as.
    pub users: Vec<u64>,
}

/// What the vendor leaves open, and this emulator therefore lets a test decide.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How far in the future `iat` may lie, as clocks differ. None by default.
    pub tolerance: Duration,
    /// The longest time from `iat` to `exp`. An hour by default; the vendor's sample has a minute.
    pub longest_life: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            tolerance: Duration::ZERO,
            longest_life: Duration::from_secs(3600),
        }
    }
}

/// The vendor: its clients, and what they have done to the data.
#[derive(Debug)]
pub struct Vdr {
    settings: Settings,
    clients: Mutex<Vec<Arc<Client>>>,
    /// By instance and vulnerability; those not here are as they were.
    statuses: Mutex<HashMap<(String, u64), Status>>,
}

#[derive(Debug)]
struct Client {
    enrolment: Enrolment,
    key: ParsedPublicKey,
}

impl Vdr {
    /// A vendor with these clients, of one instance or several.
    pub fn new(
        enrolments: impl IntoIterator<Item = Enrolment>,
        settings: Settings,
    ) -> Result<Self, Error> {
        let vdr = Vdr {
            settings,
            clients: Mutex::default(),
            statuses: Mutex::default(),
        };
        for enrolment in enrolments {
            vdr.enrol(enrolment)?;
        }
        Ok(vdr)
    }

    /// Adds a client, in place of any of the same issuer and client id: so keys are rotated.
    ///
    /// The server's certificate keeps the names it was started with.
    pub fn enrol(&self, enrolment: Enrolment) -> Result<(), Error> {
        let key = public_key(&enrolment.public_key_pem).map_err(|fault| Error::Key {
            client_id: enrolment.client_id.clone(),
            fault,
        })?;
        let mut clients = lock(&self.clients);
        clients.retain(|client| !client.is(&enrolment.issuer, &enrolment.client_id));
        clients.push(Arc::new(Client { enrolment, key }));
        Ok(())
    }

    /// Forgets a client; says whether it was known.
    pub fn withdraw(&self, issuer: &str, client_id: &str) -> bool {
        let mut clients = lock(&self.clients);
        let before = clients.len();
        clients.retain(|client| !client.is(issuer, client_id));
        clients.len() < before
    }

    fn client(&self, issuer: &str, client_id: &str) -> Option<Arc<Client>> {
        let clients = lock(&self.clients);
        clients
            .iter()
            .find(|client| client.is(issuer, client_id))
            .cloned()
    }

    fn is_issuer(&self, token: &str) -> bool {
        let clients = lock(&self.clients);
        clients
            .iter()
            .any(|client| client.enrolment.issuer == token)
    }
}

impl Client {
    fn is(&self, issuer: &str, client_id: &str) -> bool {
        self.enrolment.issuer == issuer && self.enrolment.client_id == client_id
    }
}

fn public_key(pem: &str) -> Result<ParsedPublicKey, &'static str> {
    let spki = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| "it is not a PUBLIC KEY in PEM")?;
    ParsedPublicKey::new(&ECDSA_P521_SHA512_FIXED, spki)
        .map_err(|_| "it is not a key on the curve P-521 (secp521r1)")
}

impl Vendor for Vdr {
    fn names(&self) -> Vec<String> {
        let clients = lock(&self.clients);
        let mut names: Vec<String> = clients
            .iter()
            .map(|client| format!("{}.{DOMAIN}", client.enrolment.instance))
            .collect();
        names.sort();
        names.dedup();
        names
    }

    async fn answer(&self, call: &mut Call) -> Reply {
        if routes::needs_token(call.path()) {
            match self.verify(call) {
                Ok(caller) => self.serve(call, &caller).await,
                Err(refusal) => unauthorized(&refusal),
            }
        } else {
            outside(call)
        }
    }
}

impl Vdr {
    async fn serve(&self, call: &mut Call, caller: &Caller) -> Reply {
        if let Err(scope) = caller.may(&call.head.method) {
            return forbidden(scope);
        }
        let (endpoint, id) = match routes::find(&call.head.method, call.path()) {
            Found::Endpoint(endpoint, id) => (endpoint, id),
            Found::OtherMethods(allowed) => return wrong_method(allowed),
            Found::Nothing => return no_such("path"),
        };
        match endpoint {
            Endpoint::Spec => Reply::document(StatusCode::OK, "text/html", routes::page()),
            Endpoint::MachineSpec => Reply::json(StatusCode::OK, &routes::openapi()),
            Endpoint::Assets => page(call, ASSETS.iter().map(Asset::to_json).collect()),
            Endpoint::Asset => match data::asset(id) {
                Some(asset) => Reply::json(StatusCode::OK, &asset.to_json()),
                None => no_such("asset"),
            },
            Endpoint::Vulnerabilities => page(call, self.vulnerabilities(call, caller)),
            Endpoint::Vulnerability => match data::vulnerability(id) {
                Some(it) if call.head.method == Method::PATCH => self.patch(call, caller, it).await,
                Some(it) => Reply::json(StatusCode::OK, &self.describe(caller, it)),
                None => no_such("vulnerability"),
            },
            Endpoint::Echo => echo(call, caller.to_json()).await,
        }
    }

    fn vulnerabilities(&self, call: &Call, caller: &Caller) -> Vec<Value> {
        let wanted = |name: &str, value: &str| call.query(name).all(|wanted| wanted == value);
        VULNERABILITIES
            .iter()
            .filter(|it| wanted("asset_id", &it.asset_id.to_string()))
            .filter(|it| wanted("severity", it.severity))
            .map(|it| self.describe(caller, it))
            .collect()
    }

    async fn patch(&self, call: &mut Call, caller: &Caller, it: &Vulnerability) -> Reply {
        let status = call
            .collect(DOCUMENT)
            .await
            .and_then(|body| serde_json::from_slice::<Value>(&body).ok())
            .and_then(|change| Status::parse(change.get("status")?.as_str()?));
        let Some(status) = status else {
            let message = format!(
                "a JSON object with a status is due: {}",
                Status::NAMES.join(", ")
            );
            return problem(StatusCode::BAD_REQUEST, "bad-change", &message);
        };
        let key = (caller.instance.clone(), it.id);
        lock(&self.statuses).insert(key, status);
        Reply::json(StatusCode::OK, &self.describe(caller, it))
    }

    fn describe(&self, caller: &Caller, it: &Vulnerability) -> Value {
        let key = (caller.instance.clone(), it.id);
        let status = lock(&self.statuses).get(&key).copied();
        it.to_json(status.unwrap_or_default())
    }
}

/// What lies outside the API needs no token: its own login, and nothing else.
fn outside(call: &Call) -> Reply {
    if call.path() != routes::LOGIN {
        return no_such("path");
    }
    if call.head.method != Method::POST {
        return wrong_method("POST");
    }
    let token = token::useless(call.now());
    Reply::json(
        StatusCode::OK,
        &json!({ "access_token": token, "token_type": "Bearer", "expires_in": 3600 }),
    )
}

/// The page of `all` that `limit` and `offset` ask for.
fn page(call: &Call, all: Vec<Value>) -> Reply {
    let number = |name, default| match call.query(name).next() {
        Some(text) => text.parse::<usize>().map_err(|_| name),
        None => Ok(default),
    };
    let (limit, offset) = match (number("limit", PAGE.0), number("offset", 0)) {
        (Ok(limit @ 1..), Ok(offset)) => (limit.min(PAGE.1), offset),
        (Err(name), _) | (_, Err(name)) => {
            let message = format!("{name} is not a whole number");
            return problem(StatusCode::BAD_REQUEST, "bad-page", &message);
        }
        (Ok(0), Ok(_)) => {
            return problem(
                StatusCode::BAD_REQUEST,
                "bad-page",
                "limit must be at least 1",
            );
        }
    };
    let total = all.len();
    let items: Vec<Value> = all.into_iter().skip(offset).take(limit).collect();
    Reply::json(
        StatusCode::OK,
        &json!({ "total": total, "limit": limit, "offset": offset, "items": items }),
    )
}

/// RFC 6750, section 3.1: who sent no token at all is told no error, only what is wanted.
fn unauthorized(refusal: &Refusal) -> Reply {
    let message = refusal.to_string();
    let challenge = match refusal {
        Refusal::NoBearer(NoBearer::Missing) => HeaderValue::from_static("Bearer realm=\"vdr\""),
        _ => bearer::challenge("invalid_token", &message),
    };
    problem(StatusCode::UNAUTHORIZED, refusal.code(), &message)
        .header(header::WWW_AUTHENTICATE, challenge)
}

fn forbidden(scope: &str) -> Reply {
    let message = format!("this method needs the scope {scope}, which the token does not have");
    problem(StatusCode::FORBIDDEN, "scope-missing", &message).header(
        header::WWW_AUTHENTICATE,
        bearer::challenge("insufficient_scope", &message),
    )
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
