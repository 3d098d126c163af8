//! The APIs behind the token: a little of the resilient packages and of the policy management.

use std::sync::Arc;

use http::{Method, StatusCode, header};
use serde_json::{Map, Value, json};

use super::account::{Accounts, Role, User};
use super::cluster::Token;
use super::data::{Added, Collection};
use super::refusal::{Refusal, no_such, problem};
use crate::emulator::echo::echo;
use crate::emulator::{Call, Reply, bearer};

/// The largest JSON document taken.
const DOCUMENT: usize = 64 * 1024;

/// An API and its version, as they stand in its paths.
const RPS: &str = "/pty/v1/rps";
const PIM: &str = "/pty/v2/pim";

/// Whose token a request has.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) user: Arc<User>,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl Caller {
    /// The user whom a good token names, with the rights of today.
    pub(super) fn new(token: Token, accounts: &Accounts) -> Result<Self, Refusal> {
        Ok(Caller {
            user: accounts.find(&token.user).ok_or(Refusal::UserGone)?,
            header: token.header,
            claims: token.claims,
        })
    }

    fn may(&self, method: &Method) -> bool {
        match self.user.role {
            Role::SecurityOfficer => true,
            Role::SecurityViewer => matches!(*method, Method::GET | Method::HEAD),
        }
    }

    /// The token, told without the part that makes it one.
    fn to_json(&self) -> Value {
        json!({ "scheme": "Bearer", "header": self.header, "claims": self.claims })
    }
}

/// What answers.
#[derive(Clone, Copy, Debug)]
enum Endpoint {
    Version(&'static str),
    Health,
    Doc,
    Log,
    Collection(Collection),
    Echo,
}

/// Whether a path is the APIs', where nothing goes without a token.
pub(super) fn needs_token(path: &str) -> bool {
    path == "/pty" || path.starts_with("/pty/")
}

fn find(path: &str) -> Option<Endpoint> {
    if let Some(rest) = path.strip_prefix(RPS) {
        return common(rest, "1");
    }
    let rest = path.strip_prefix(PIM)?;
    let collections = [
        Collection::DataStores,
        Collection::Policies,
        Collection::DataElements,
    ];
    collections
        .into_iter()
        .find(|it| rest.strip_prefix('/') == Some(it.name()))
        .map(Endpoint::Collection)
        .or_else(|| common(rest, "2"))
}

/// What every API has, below its own path.
fn common(rest: &str, version: &'static str) -> Option<Endpoint> {
    match rest {
        "/version" => Some(Endpoint::Version(version)),
        "/health" => Some(Endpoint::Health),
        "/doc" => Some(Endpoint::Doc),
        "/log" => Some(Endpoint::Log),
        "/echo" => Some(Endpoint::Echo),
        _ => None,
    }
}

impl Endpoint {
    /// As `Allow` has them; empty for any.
    fn methods(self) -> &'static str {
        match self {
            Endpoint::Collection(_) => "GET, HEAD, POST",
            Endpoint::Echo => "",
            _ => "GET, HEAD",
        }
    }
}

/// The APIs of one appliance, and what was done to their data.
#[derive(Debug, Default)]
pub(super) struct Api {
    added: Added,
}

impl Api {
    pub(super) async fn serve(&self, call: &mut Call, caller: &Caller) -> Reply {
        if !caller.may(&call.head.method) {
            return forbidden(caller.user.role);
        }
        let Some(endpoint) = find(call.path()) else {
            return no_such("path");
        };
        let methods = endpoint.methods();
        let method = call.head.method.as_str();
        if !methods.is_empty() && !methods.split(", ").any(|it| it == method) {
            return Refusal::WrongMethod(methods).reply();
        }
        match endpoint {
            Endpoint::Version(version) => ok(&json!({
                "version": version,
                "buildVersion": env!("CARGO_PKG_VERSION"),
            })),
            Endpoint::Health => ok(&json!({ "isHealthy": true })),
            Endpoint::Doc => Reply::document(StatusCode::OK, "text/html", page()),
            Endpoint::Log => ok(&json!({ "level": "info" })),
            Endpoint::Collection(it) if call.head.method == Method::POST => {
                self.add(call, it).await
            }
            Endpoint::Collection(it) => ok(&Value::Array(self.added.list(it))),
            Endpoint::Echo => echo(call, caller.to_json()).await,
        }
    }

    async fn add(&self, call: &mut Call, collection: Collection) -> Reply {
        let added = call
            .collect(DOCUMENT)
            .await
            .and_then(|body| serde_json::from_slice::<Value>(&body).ok())
            .and_then(|item| self.added.add(collection, &item));
        match added {
            Some(item) => Reply::json(StatusCode::CREATED, &item),
            None => problem(
                StatusCode::BAD_REQUEST,
                "bad-item",
                "a JSON object with a name that is not taken is due, and may have a description",
            ),
        }
    }
}

fn ok(value: &Value) -> Reply {
    Reply::json(StatusCode::OK, value)
}

fn forbidden(role: Role) -> Reply {
    let message = format!("a {} may only read", role.name());
    problem(StatusCode::FORBIDDEN, "may-only-read", &message).header(
        header::WWW_AUTHENTICATE,
        bearer::challenge("insufficient_scope", &message),
    )
}

/// The page for people.
fn page() -> String {
    let paths = [RPS, PIM].map(|api| {
        ["version", "health", "doc", "log", "echo"].map(|it| format!("<li>{api}/{it}\n"))
    });
    let collections = [
        Collection::DataStores,
        Collection::Policies,
        Collection::DataElements,
    ]
    .map(|it| format!("<li>{PIM}/{}\n", it.name()));
    format!(
        "<!doctype html><title>Emulated Protegrity API</title>\
         <p>This is an emulator. It serves:\n<ul>\n{}{}</ul>\n",
        paths.as_flattened().concat(),
        collections.concat()
    )
}
