//! The API: what a bearer of an access token gets, by its role.

use http::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::bearer::Caller;
use super::{DOCUMENT, DataCentre, Role, Sws, data, no_such, problem, wrong_method};
use crate::emulator::echo::echo;
use crate::emulator::{Call, Reply, bearer, lock};

const BASE: &str = "/v2-edge/sws/";

/// What answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint<'a> {
    Recordings,
    Recording(&'a str),
    Sessions,
    Session(&'a str),
    Steps(&'a str),
    Policies,
    Users,
    Activities,
    Echo,
}

impl<'a> Endpoint<'a> {
    fn find(path: &'a str) -> Option<Self> {
        let segments: Vec<&str> = path.strip_prefix(BASE)?.split('/').collect();
        Some(match segments.as_slice() {
            ["recordings"] => Endpoint::Recordings,
            ["recordings", id] => Endpoint::Recording(id),
            ["sessions"] => Endpoint::Sessions,
            ["sessions", id] => Endpoint::Session(id),
            ["sessions", id, "steps"] => Endpoint::Steps(id),
            ["policies"] => Endpoint::Policies,
            ["users"] => Endpoint::Users,
            ["activities"] => Endpoint::Activities,
            ["echo"] => Endpoint::Echo,
            _ => return None,
        })
    }

    /// As `Allow` has them; nothing for any.
    fn methods(self) -> Option<&'static str> {
        match self {
            Endpoint::Echo => None,
            Endpoint::Users => Some("GET, HEAD, POST"),
            _ => Some("GET, HEAD"),
        }
    }
}

impl Role {
    fn may(self, method: &Method, endpoint: Endpoint<'_>) -> bool {
        let reading = matches!(*method, Method::GET | Method::HEAD);
        match self {
            Role::Administrator => true,
            Role::Auditor => reading && endpoint == Endpoint::Activities,
            Role::Viewer => reading,
        }
    }
}

impl Sws {
    pub(super) async fn serve(&self, call: &mut Call, centre: DataCentre) -> Reply {
        let caller = match self.caller(call, centre) {
            Ok(caller) => caller,
            Err(refusal) => return refusal.reply(),
        };
        let (path, method) = (call.path().to_owned(), call.head.method.clone());
        let Some(endpoint) = Endpoint::find(&path) else {
            return no_such("path");
        };
        if let Some(allowed) = endpoint.methods()
            && !allowed.split(", ").any(|it| it == method.as_str())
        {
            return wrong_method(allowed);
        }
        if !caller.account.account.role.may(&method, endpoint) {
            return forbidden();
        }
        match endpoint {
            Endpoint::Recordings => list(data::recordings()),
            Endpoint::Recording(id) => one("recording", data::recording(id)),
            Endpoint::Sessions => list(data::sessions()),
            Endpoint::Session(id) => one("session", data::session(id)),
            Endpoint::Steps(id) => match data::session(id) {
                Some(_) => list(data::steps()),
                None => no_such("session"),
            },
            Endpoint::Policies => list(data::policies()),
            Endpoint::Users if method == Method::POST => self.add_user(call, &caller).await,
            Endpoint::Users => list(self.users(&caller)),
            Endpoint::Activities => list(data::activities()),
            Endpoint::Echo => echo(call, caller.to_json()).await,
        }
    }

    fn users(&self, caller: &Caller) -> Vec<Value> {
        let added = lock(&self.users);
        let own = added
            .iter()
            .enumerate()
            .filter(|(_, (tenant, _))| *tenant == caller.account.account.tenant)
            .map(|(index, (_, name))| json!({ "id": user_id(index), "name": name }));
        data::users().into_iter().chain(own).collect()
    }

    /// Answers with the new user's id and nothing around it.
    async fn add_user(&self, call: &mut Call, caller: &Caller) -> Reply {
        let name = call
            .collect(DOCUMENT)
            .await
            .and_then(|body| serde_json::from_slice::<Value>(&body).ok())
            .and_then(|user| user.get("name")?.as_str().map(str::to_owned));
        let Some(name) = name else {
            let message = "a JSON object with a name is due";
            return problem(StatusCode::BAD_REQUEST, "bad-user", message);
        };
        let mut users = lock(&self.users);
        users.push((caller.account.account.tenant.clone(), name));
        let id = user_id(users.len() - 1);
        Reply::document(StatusCode::OK, "text/plain", id)
    }
}

fn user_id(index: usize) -> String {
    format!("{:032x}", 0x1000 + index)
}

fn list(items: Vec<Value>) -> Reply {
    let total = items.len();
    Reply::json(StatusCode::OK, &json!({ "total": total, "items": items }))
}

fn one(thing: &str, item: Option<Value>) -> Reply {
    match item {
        Some(item) => Reply::json(StatusCode::OK, &item),
        None => no_such(thing),
    }
}

fn forbidden() -> Reply {
    let message = "the service account's role does not cover this";
    let challenge = bearer::challenge("insufficient_scope", message);
    problem(StatusCode::FORBIDDEN, "role-missing", message)
        .header(header::WWW_AUTHENTICATE, challenge)
}
