//! The authorization server: discovery, keys, and the token endpoint.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use aws_lc_rs::error::Unspecified;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};

use super::refusal::Refusal;
use super::{
    Account, Credential, DOCUMENT, DataCentre, Sws, no_such, problem, realm, seconds, wrong_method,
};
use crate::emulator::form::{self, Form};
use crate::emulator::jwt::Jwt;
use crate::emulator::{Call, Reply, basic};

const REALM: &str = "/auth/realms/serviceaccounts";

/// The one kind of assertion there is (RFC 7523, section 2.2).
pub(super) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What a client may ask for by name; the last two it gets anyway.
pub(super) const SCOPES: [&str; 3] = ["openid", "profile", "email"];

impl Sws {
    pub(super) async fn authorize(&self, call: &mut Call, centre: DataCentre) -> Reply {
        let path = call.path().to_owned();
        let reading = matches!(call.head.method, Method::GET | Method::HEAD);
        match path.strip_prefix(REALM) {
            Some("/protocol/openid-connect/token") => self.token(call, centre).await,
            Some("/.well-known/openid-configuration") if reading => {
                Reply::json(StatusCode::OK, &realm::discovery(centre, &self.settings))
            }
            Some("/protocol/openid-connect/certs") if reading => {
                Reply::json(StatusCode::OK, &self.realm.jwks())
            }
            Some("/.well-known/openid-configuration" | "/protocol/openid-connect/certs") => {
                wrong_method("GET, HEAD")
            }
            _ => no_such("path"),
        }
    }

    async fn token(&self, call: &mut Call, centre: DataCentre) -> Reply {
        if call.head.method != Method::POST {
            return wrong_method("POST");
        }
        self.token_calls.fetch_add(1, Ordering::Relaxed);
        match self.grant(call, centre).await {
            Ok((account, scope)) => self
                .hand_out(&account, &scope, centre, call.now())
                .unwrap_or_else(|Unspecified| {
                    let message = "the token cannot be signed";
                    problem(StatusCode::INTERNAL_SERVER_ERROR, "unsigned", message)
                }),
            Err(refusal) => refusal.reply(self.settings.wording),
        }
    }

    async fn grant(
        &self,
        call: &mut Call,
        centre: DataCentre,
    ) -> Result<(Arc<Account>, String), Refusal> {
        let form = read_form(call).await?;
        let refreshing = match form.get("grant_type") {
            Some("client_credentials") => false,
            Some("refresh_token") if self.settings.refresh_life.is_some() => true,
            Some(_) => return Err(Refusal::WrongGrantType),
            None => return Err(Refusal::NoGrantType),
        };
        let account = self.client(call, &form, centre)?;
        let scope = scope(&form)?;
        if refreshing {
            let client_id = account.account.client_id();
            self.check_refresh(&form, centre, &client_id, call.now())?;
        }
        Ok((account, scope))
    }

    /// Who is calling, by whichever proof there is. A client with a secret may name the type of an
    /// assertion that it does not send.
    fn client(
        &self,
        call: &Call,
        form: &Form,
        centre: DataCentre,
    ) -> Result<Arc<Account>, Refusal> {
        let in_header = call.headers().contains_key(header::AUTHORIZATION);
        let in_form = form.get("client_secret");
        let asserted = form.get("client_assertion").is_some();
        match (in_header, in_form, asserted) {
            (false, None, _) => self.asserted(form, centre, call.now()),
            (true, None, false) => {
                let (id, secret) = basic::credentials(call.headers())
                    .and_then(|(id, secret)| Some((form::decode(&id)?, form::decode(&secret)?)))
                    .ok_or(Refusal::WrongSecret)?;
                if form.get("client_id").is_some_and(|other| other != id) {
                    return Err(Refusal::WrongSecret);
                }
                self.with_secret(centre, &id, &secret)
            }
            (false, Some(secret), false) => {
                let id = form.get("client_id").ok_or(Refusal::UnknownClient)?;
                self.with_secret(centre, id, secret)
            }
            _ => Err(Refusal::TwoWays),
        }
    }

    fn with_secret(
        &self,
        centre: DataCentre,
        id: &str,
        given: &str,
    ) -> Result<Arc<Account>, Refusal> {
        let account = self.account(centre, id).ok_or(Refusal::UnknownClient)?;
        match &account.account.credential {
            Credential::Secret { secret, .. } if secret == given => Ok(account),
            _ => Err(Refusal::WrongSecret),
        }
    }

    fn check_refresh(
        &self,
        form: &Form,
        centre: DataCentre,
        client_id: &str,
        now: i64,
    ) -> Result<(), Refusal> {
        let token = form.get("refresh_token").ok_or(Refusal::NoRefreshToken)?;
        let jwt = Jwt::parse(token).map_err(|_| Refusal::BadRefreshToken)?;
        if !self.realm.signed_refresh(&jwt, centre, client_id) {
            return Err(Refusal::BadRefreshToken);
        }
        match jwt.seconds("exp") {
            Ok(exp) if exp > now => Ok(()),
            _ => Err(Refusal::RefreshTokenExpired),
        }
    }

    fn hand_out(
        &self,
        account: &Account,
        scope: &str,
        centre: DataCentre,
        now: i64,
    ) -> Result<Reply, Unspecified> {
        let client_id = account.account.client_id();
        let life = seconds(self.settings.token_life);
        let refresh_life = self.settings.refresh_life.map_or(0, seconds);
        let access = self
            .realm
            .access_token(centre, &client_id, scope, now, life)?;
        let mut answer = json!({
            "access_token": access,
            "expires_in": life,
            "refresh_expires_in": refresh_life,
            "token_type": "Bearer",
            "not-before-policy": 0,
            "scope": scope,
        });
        if self.settings.refresh_life.is_some() {
            let token = self
                .realm
                .refresh_token(centre, &client_id, now, refresh_life)?;
            answer["refresh_token"] = Value::String(token);
        }
        // RFC 6749, section 5.1.
        let no_store = HeaderValue::from_static("no-store");
        Ok(Reply::json(StatusCode::OK, &answer).header(header::CACHE_CONTROL, no_store))
    }
}

async fn read_form(call: &mut Call) -> Result<Form, Refusal> {
    if call.media_type().as_deref() != Some(form::MEDIA_TYPE) {
        return Err(Refusal::NotAForm);
    }
    let body = call.collect(DOCUMENT).await.ok_or(Refusal::BadForm)?;
    let form = Form::parse(&body).ok_or(Refusal::BadForm)?;
    match form.repeated() {
        Some(_) => Err(Refusal::Repeated),
        None => Ok(form),
    }
}

/// What the token is good for: nothing here depends on it.
fn scope(form: &Form) -> Result<String, Refusal> {
    let asked: Vec<&str> = form.get("scope").unwrap_or_default().split(' ').collect();
    let known = |scope: &&str| scope.is_empty() || SCOPES.contains(scope);
    if !asked.iter().all(known) {
        return Err(Refusal::WrongScope(asked.join(" ")));
    }
    let openid = if asked.contains(&"openid") {
        "openid "
    } else {
        ""
    };
    Ok(format!("{openid}profile email"))
}
