//! The multi-tenant console: one login for a provider that looks after many tenants.
//!
//! Documented by the vendor is the login: `POST /public/v2/{region}/auth` with the application's id
//! and secret as `Basic`, a form with `grant_type=client_credentials` and `scope=api`, and an
//! answer with `access_token`, `expires_in` and `token_type`. Seen in the field are the regions'
//! short names, and that `PUT …/tenants/tenant-app/{venueTenantId}` answers with a token for the
//! tenant's own API as a bare string. The rest, the statuses above all, is ours: 401 for
//! credentials and for tokens, 400 for the form, 404 for what there is not, and the list of tenants
//! is made up.
//!
//! A login is checked in this order: the region's short name (404); `POST`; exactly one
//! `Authorization`, and that `Basic`; id, secret and region of one and the same console (401);
//! `Content-Type`; the form; `grant_type`; `scope` (400).
//!
//! A call is checked in this order: the token, in the order of the user API's; the console (401);
//! that the path's region is the console's (403); the path (404); the method (405).

use std::fmt;

use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};

use super::access::{Grant, Refusal};
use super::{Cylance, DOCUMENT, Region, no_such, problem, seconds, wrong_method};
use crate::emulator::{Call, Reply, basic, form, lock};

pub(super) const HOST: &str = "api-admin.cylance.com";

pub(super) const BASE: &str = "/public/v2/";

/// A provider's application at the multi-tenant console, and the tenants that it looks after.
#[derive(Clone)]
pub struct Console {
    /// Where it lives; not all regions have one.
    pub region: Region,
    /// The application's id.
    pub id: String,
    /// The application's secret.
    pub secret: String,
    /// The tenants.
    pub venues: Vec<Venue>,
}

/// A tenant as a console knows it.
#[derive(Clone, Debug)]
pub struct Venue {
    /// Its id at the console.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its id at the user API, and there the id of the application that a token is handed out for.
    pub tenant: String,
    /// See [`Venue::tenant`].
    pub application: String,
}

impl fmt::Debug for Console {
    /// Leaves the secret out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console")
            .field("region", &self.region)
            .field("id", &self.id)
            .field("venues", &self.venues)
            .finish_non_exhaustive()
    }
}

impl Cylance {
    pub(super) async fn console(&self, call: &mut Call) -> Reply {
        let path = call.path().to_owned();
        let parts = path
            .strip_prefix(BASE)
            .and_then(|rest| rest.split_once('/'));
        match parts {
            Some((code, "auth")) => match Region::of_console_code(code) {
                Some(region) => self.log_in(call, region).await,
                None => no_such("region"),
            },
            Some((code, rest)) => self.console_call(call, code, rest),
            None => no_such("path"),
        }
    }

    async fn log_in(&self, call: &mut Call, region: Region) -> Reply {
        if call.head.method != Method::POST {
            return wrong_method("POST");
        }
        self.count_token_call();
        let console = basic::credentials(call.headers()).and_then(|(id, secret)| {
            let console = self.console_with(&id)?;
            (console.region == region && console.secret == secret).then_some(console)
        });
        let Some(console) = console else {
            let challenge = HeaderValue::from_static("Basic realm=\"multi-tenant console\"");
            return oauth_error(
                StatusCode::UNAUTHORIZED,
                "invalid_client",
                "bad-credentials",
            )
            .header(header::WWW_AUTHENTICATE, challenge);
        };
        if let Err((error, reason)) = check_form(call).await {
            return oauth_error(StatusCode::BAD_REQUEST, error, reason);
        }
        let life = seconds(self.settings.token_life);
        let token = self.mint.for_console(&console.id, call.now(), life);
        Reply::json(
            StatusCode::OK,
            &json!({ "access_token": token, "expires_in": life, "token_type": "Bearer" }),
        )
    }

    fn console_call(&self, call: &Call, code: &str, rest: &str) -> Reply {
        let console = self
            .console_caller(call)
            .and_then(|id| self.console_with(&id).ok_or(Refusal::UnknownApplication));
        let console = match console {
            Ok(console) => console,
            Err(refusal) => return refusal.reply(),
        };
        if console.region.console_code() != Some(code) {
            let message = "the token is for another region";
            return problem(StatusCode::FORBIDDEN, "other-region", message);
        }
        if rest == "tenants/list" {
            return match call.head.method {
                Method::GET | Method::HEAD => list(&console),
                _ => wrong_method("GET, HEAD"),
            };
        }
        match rest.strip_prefix("tenants/tenant-app/") {
            Some(id) if call.head.method == Method::PUT => self.tenant_token(call, &console, id),
            Some(_) => wrong_method("PUT"),
            None => no_such("path"),
        }
    }

    /// A token for the user API, in the name of the tenant's own application.
    fn tenant_token(&self, call: &Call, console: &Console, id: &str) -> Reply {
        let known = console
            .venues
            .iter()
            .find(|venue| venue.id == id)
            .and_then(|venue| self.application(&venue.tenant, &venue.application));
        let Some(known) = known else {
            return no_such("tenant");
        };
        let grant = Grant {
            tenant: known.application.tenant.clone(),
            application: known.application.id.clone(),
            scopes: known.application.scopes.clone(),
        };
        let life = seconds(self.settings.token_life);
        let token = self.mint.for_api(&grant, call.now(), life);
        Reply::document(StatusCode::OK, "text/plain", token)
    }

    fn console_with(&self, id: &str) -> Option<Console> {
        let consoles = lock(&self.consoles);
        consoles.iter().find(|console| console.id == id).cloned()
    }
}

async fn check_form(call: &mut Call) -> Result<(), (&'static str, &'static str)> {
    if call.media_type().as_deref() != Some(form::MEDIA_TYPE) {
        return Err(("invalid_request", "not-a-form"));
    }
    let body = call.collect(DOCUMENT).await;
    let form = body
        .and_then(|body| form::Form::parse(&body))
        .filter(|form| form.repeated().is_none())
        .ok_or(("invalid_request", "bad-form"))?;
    match form.get("grant_type") {
        Some("client_credentials") => {}
        Some(_) => return Err(("unsupported_grant_type", "wrong-grant-type")),
        None => return Err(("invalid_request", "no-grant-type")),
    }
    match form.get("scope") {
        Some("api") => Ok(()),
        _ => Err(("invalid_scope", "wrong-scope")),
    }
}

fn list(console: &Console) -> Reply {
    let tenants: Vec<Value> = console
        .venues
        .iter()
        .map(|venue| json!({ "venueTenantId": venue.id, "name": venue.name }))
        .collect();
    Reply::json(StatusCode::OK, &json!({ "listData": tenants }))
}

/// As RFC 6749 has it, section 5.2.
fn oauth_error(status: StatusCode, error: &str, reason: &'static str) -> Reply {
    Reply::json(status, &json!({ "error": error })).because(reason)
}
