//! Why a request is refused, and the answer that says so.

use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::emulator::Reply;
use crate::emulator::bearer::{self, NoBearer};
use crate::emulator::jwt::Malformed;

/// Why a login, a refresh or a token is refused: its text is for people, its code for tests.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The vendor's own words, whatever is wrong: only the code tells more.
    #[error("Incorrect syntax")]
    Syntax(&'static str),
    #[error("this path has only {0}")]
    WrongMethod(&'static str),

    #[error("there is no such user")]
    UnknownUser,
    #[error("the user is locked out after {0} wrong passwords in a row")]
    LockedOut(u32),
    #[error("the password is wrong, number {0} in a row")]
    WrongPassword(u32),
    #[error("the user lacks the permission Can Create JWT Token")]
    MayNotCreateTokens,

    #[error(transparent)]
    NoBearer(#[from] NoBearer),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("alg is {given}, and only {taken} is taken")]
    WrongAlgorithm { given: String, taken: &'static str },
    #[error("the token is not signed with the secret of today")]
    BadSignature,
    #[error("a token for {0} is not taken here")]
    WrongKind(String),
    #[error("the token expired {ago} s ago: exp is {exp}, and here it is {now}")]
    Expired { ago: i64, exp: i64, now: i64 },
    #[error("the token is good, but its user is gone")]
    UserGone,
    #[error("the refresh token has been used before")]
    UsedBefore,
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Refusal::Syntax(_) => StatusCode::BAD_REQUEST,
            Refusal::WrongMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::MayNotCreateTokens => StatusCode::FORBIDDEN,
            _ => StatusCode::UNAUTHORIZED,
        }
    }

    pub(super) fn code(&self) -> &'static str {
        match self {
            Refusal::Syntax(code) => code,
            Refusal::WrongMethod(_) => "wrong-method",
            Refusal::UnknownUser => "unknown-user",
            Refusal::LockedOut(_) => "locked-out",
            Refusal::WrongPassword(_) => "wrong-password",
            Refusal::MayNotCreateTokens => "may-not-create-tokens",
            Refusal::NoBearer(none) => none.code(),
            Refusal::Malformed(malformed) => malformed.code(),
            Refusal::WrongAlgorithm { .. } => "wrong-algorithm",
            Refusal::BadSignature => "bad-signature",
            Refusal::WrongKind(_) => "wrong-kind",
            Refusal::Expired { .. } => "expired",
            Refusal::UserGone => "user-gone",
            Refusal::UsedBefore => "used-before",
        }
    }

    pub(super) fn reply(&self) -> Reply {
        let message = self.to_string();
        if let Refusal::Syntax(code) = self {
            // The one refusal whose body is documented, and that has no room for a reason.
            return envelope(StatusCode::BAD_REQUEST, 400, &message, &Value::Null).because(code);
        }
        let reply = problem(self.status(), self.code(), &message);
        match self {
            Refusal::WrongMethod(allowed) => {
                reply.header(header::ALLOW, HeaderValue::from_static(allowed))
            }
            // The user has no token yet to speak of.
            Refusal::UnknownUser
            | Refusal::LockedOut(_)
            | Refusal::WrongPassword(_)
            | Refusal::MayNotCreateTokens => reply,
            // RFC 6750, section 3.1: who sent none at all is only told what is wanted.
            Refusal::NoBearer(NoBearer::Missing) => reply.header(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"protegrity\""),
            ),
            _ => reply.header(
                header::WWW_AUTHENTICATE,
                bearer::challenge("invalid_token", &message),
            ),
        }
    }
}

/// A refusal in the vendor's envelope, with its code where data would be.
pub(super) fn problem(status: StatusCode, reason: &'static str, message: &str) -> Reply {
    let data = json!({ "reason": reason });
    envelope(status, status.as_u16(), message, &data).because(reason)
}

pub(super) fn no_such(thing: &str) -> Reply {
    let message = format!("there is no such {thing}");
    problem(StatusCode::NOT_FOUND, "not-found", &message)
}

fn envelope(status: StatusCode, number: u16, message: &str, data: &Value) -> Reply {
    Reply::json(
        status,
        &json!({ "status": number, "messages": [message], "data": data }),
    )
}
