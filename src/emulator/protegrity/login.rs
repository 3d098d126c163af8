//! What the logins have in common: who is it, and what does a good answer look like.

use std::sync::Arc;

use bytes::Bytes;
use http::{StatusCode, header};
use serde_json::{Value, json};

use super::account::{Accounts, User};
use super::form;
use super::refusal::Refusal;
use crate::emulator::{Call, Reply};

/// The largest body taken.
const BODY: usize = 4 * 1024;

/// The user who logs in with the request's form, and who may have a token.
pub(super) async fn user(call: &mut Call, accounts: &Accounts) -> Result<Arc<User>, Refusal> {
    let body = body(call, "application/x-www-form-urlencoded").await?;
    let fields = form::parse(&body).ok_or(Refusal::Syntax("bad-form"))?;
    let (name, password) = match fields.as_slice() {
        [(first, name), (second, password)] if first == "loginname" && second == "password" => {
            (name, password)
        }
        [(first, password), (second, name)] if first == "password" && second == "loginname" => {
            (name, password)
        }
        _ => return Err(Refusal::Syntax("other-fields")),
    };
    if name.is_empty() || password.is_empty() {
        return Err(Refusal::Syntax("empty-field"));
    }
    let user = accounts.log_in(name, password, call.now())?;
    if user.may_create_tokens {
        Ok(user)
    } else {
        Err(Refusal::MayNotCreateTokens)
    }
}

/// The body, of this media type, of a call that has no query: a password does not belong into one.
pub(super) async fn body(call: &mut Call, media_type: &str) -> Result<Bytes, Refusal> {
    if call.head.uri.query().is_some() {
        return Err(Refusal::Syntax("query"));
    }
    if !is(call, media_type) {
        return Err(Refusal::Syntax("other-media-type"));
    }
    call.collect(BODY).await.ok_or(Refusal::Syntax("bad-body"))
}

/// Whether the one `Content-Type` names a media type; its parameters do not matter.
fn is(call: &Call, media_type: &str) -> bool {
    let mut values = call.headers().get_all(header::CONTENT_TYPE).iter();
    let given = values.next().and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.split(';').next());
    values.next().is_none() && given.is_some_and(|it| it.trim().eq_ignore_ascii_case(media_type))
}

/// Sees to it that a call has no body.
pub(super) async fn no_body(call: &mut Call) -> Result<(), Refusal> {
    match call.collect(0).await {
        Some(_) => Ok(()),
        None => Err(Refusal::Syntax("body")),
    }
}

/// The vendor's answer to a login that went well; the token goes into a header.
pub(super) fn granted() -> Reply {
    Reply::json(
        StatusCode::OK,
        &json!({ "status": 0, "messages": [], "data": Value::Null }),
    )
}
