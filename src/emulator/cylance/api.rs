//! The user API: what a bearer of an access token gets.

use http::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::access::Caller;
use super::data;
use super::routes::{self, Endpoint, Found};
use super::{Cylance, DOCUMENT, no_such, problem, wrong_method};
use crate::emulator::bearer;
use crate::emulator::echo::echo;
use crate::emulator::{Call, Reply, lock};

/// How many items a page has unless asked otherwise, and at most.
const PAGE: (usize, usize) = (10, 200);

/// The lists there are.
const LISTS: [&str; 2] = ["GlobalSafe", "GlobalQuarantine"];

impl Cylance {
    pub(super) async fn serve(&self, call: &mut Call) -> Reply {
        let caller = match self.caller(call) {
            Ok(caller) => caller,
            Err(refusal) => return refusal.reply(),
        };
        let (endpoint, id, scope) = match routes::find(&call.head.method, call.path()) {
            Found::Endpoint(endpoint, id, scope) => (endpoint, id, scope),
            Found::OtherMethods(allowed) => return wrong_method(&allowed),
            Found::Nothing => return no_such("path"),
        };
        if let Some(scope) = scope.filter(|scope| !caller.has(scope)) {
            return forbidden(scope);
        }
        match endpoint {
            Endpoint::Devices => page(call, data::devices()),
            Endpoint::Device => match data::device(id) {
                Some(device) => Reply::json(StatusCode::OK, &device),
                None => no_such("device"),
            },
            Endpoint::Threats => page(call, data::threats()),
            Endpoint::Policies => page(call, data::policies()),
            Endpoint::Zones => page(call, data::zones()),
            Endpoint::GlobalLists if call.head.method == Method::POST => {
                self.add_entry(call, &caller).await
            }
            Endpoint::GlobalLists => page(call, self.entries(&caller)),
            Endpoint::Echo => echo(call, caller.to_json()).await,
        }
    }

    fn entries(&self, caller: &Caller) -> Vec<Value> {
        let entries = lock(&self.entries);
        let mut own: Vec<_> = entries
            .iter()
            .filter(|(tenant, _, _)| *tenant == caller.tenant)
            .map(|(_, list, sha256)| (list, sha256))
            .collect();
        own.sort();
        own.into_iter()
            .map(|(list, sha256)| entry(list, sha256))
            .collect()
    }

    async fn add_entry(&self, call: &mut Call, caller: &Caller) -> Reply {
        let body = call.collect(DOCUMENT).await;
        let Some((list, sha256)) = body.and_then(|body| parse_entry(&body)) else {
            let message = format!(
                "a JSON object is due, with sha256 (64 hexadecimal digits) and list_type: {}",
                LISTS.join(" or ")
            );
            return problem(StatusCode::BAD_REQUEST, "bad-entry", &message);
        };
        let key = (caller.tenant.clone(), list.clone(), sha256.clone());
        if lock(&self.entries).insert(key) {
            Reply::json(StatusCode::OK, &entry(&list, &sha256))
        } else {
            let message = "there is an entry for this threat already";
            problem(StatusCode::CONFLICT, "duplicate-entry", message)
        }
    }
}

fn parse_entry(body: &[u8]) -> Option<(String, String)> {
    let document: Value = serde_json::from_slice(body).ok()?;
    let list = document.get("list_type")?.as_str()?;
    let sha256 = document.get("sha256")?.as_str()?;
    let hex = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
    (hex && LISTS.contains(&list)).then(|| (list.to_owned(), sha256.to_ascii_lowercase()))
}

fn entry(list: &str, sha256: &str) -> Value {
    json!({ "list_type": list, "sha256": sha256 })
}

/// The page of `all` that `page`, counted from 1, and `page_size` ask for.
fn page(call: &Call, all: Vec<Value>) -> Reply {
    let number = |name, default| match call.query(name).next() {
        Some(text) => text.parse::<usize>().ok().filter(|number| *number > 0),
        None => Some(default),
    };
    let Some(number_of_page) = number("page", 1) else {
        let message = "The page requested is not supported.";
        return problem(StatusCode::BAD_REQUEST, "bad-page", message);
    };
    let Some(size) = number("page_size", PAGE.0).filter(|size| *size <= PAGE.1) else {
        let message = "The page size requested is not supported.";
        return problem(StatusCode::BAD_REQUEST, "bad-page", message);
    };
    let total = all.len();
    let skipped = (number_of_page - 1).saturating_mul(size);
    let items: Vec<Value> = all.into_iter().skip(skipped).take(size).collect();
    Reply::json(
        StatusCode::OK,
        &json!({
            "page_items": items,
            "page_number": number_of_page,
            "page_size": size,
            "total_pages": total.div_ceil(size),
            "total_number_of_items": total,
        }),
    )
}

fn forbidden(scope: &str) -> Reply {
    let message = format!("this needs the scope {scope}, which the token does not have");
    problem(StatusCode::FORBIDDEN, "scope-missing", &message).header(
        header::WWW_AUTHENTICATE,
        bearer::challenge("insufficient_scope", &message),
    )
}
