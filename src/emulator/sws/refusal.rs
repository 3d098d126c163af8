//! Why there is no access token, in the words of Keycloak where it has words for it.

use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use super::token::ASSERTION_TYPE;
use crate::emulator::Reply;
use crate::emulator::jwt::{Malformed, NoTime};

/// In which version's words refusals are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wording {
    /// Of a recent Keycloak: `invalid_client`, and a sentence for each case.
    Recent,
    /// Of a Keycloak before late 2020: `unauthorized_client`, and for all that is wrong with an
    /// assertion one introduction.
    Older,
}

/// What older versions put before what is wrong with an assertion.
const INTRODUCTION: &str = "Client authentication with signed JWT failed: ";

/// Why there is no access token: its text is for the caller, its code for tests.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("a form is due")]
    NotAForm,
    #[error("the form is broken")]
    BadForm,
    #[error("duplicated parameter")]
    Repeated,
    #[error("Missing form parameter: grant_type")]
    NoGrantType,
    #[error("Unsupported grant_type")]
    WrongGrantType,
    #[error("more than one way of client authentication")]
    TwoWays,

    #[error("Parameter client_assertion_type is missing")]
    NoAssertionType,
    #[error("Parameter client_assertion_type has value '{0}' but expected is '{ASSERTION_TYPE}'")]
    WrongAssertionType(String),
    #[error("client_assertion parameter missing")]
    NoAssertion,
    #[error("the assertion is not a JWT")]
    Malformed(Malformed),
    #[error("Token sub claim is required")]
    NoSubject,
    #[error("client_id parameter does not match sub claim")]
    OtherClientId,
    #[error("Invalid client or Invalid client credentials")]
    UnknownClient,
    #[error("Invalid client or Invalid client credentials")]
    WrongIssuer,
    #[error("Invalid client or Invalid client credentials")]
    WrongSecret,
    #[error("Invalid signature algorithm")]
    WrongAlgorithm,
    #[error("{INTRODUCTION}Signature on JWT token failed validation")]
    BadSignature,
    #[error("Invalid token audience")]
    WrongAudience,
    #[error("Multiple audiences not allowed")]
    SeveralAudiences,
    #[error("Token exp claim is required")]
    NoExpiry,
    #[error("a time is not a whole number of seconds")]
    BadTime(NoTime),
    #[error("Token is not active")]
    NotActive,
    #[error("Token was issued in the future")]
    IssuedInTheFuture,
    #[error("Token was issued too far in the past to be used now")]
    TooOld,
    #[error("Token expiration is too far in the future and iat claim not present in token")]
    TooLongWithoutIat,
    #[error("Token jti claim is required")]
    NoTokenId,
    #[error("Token reuse detected")]
    Reused,

    #[error("Invalid scopes: {0}")]
    WrongScope(String),
    #[error("No refresh token")]
    NoRefreshToken,
    #[error("Invalid refresh token")]
    BadRefreshToken,
    #[error("Token is not active")]
    RefreshTokenExpired,
}

impl Refusal {
    pub(super) fn code(&self) -> &'static str {
        match self {
            Refusal::NotAForm => "not-a-form",
            Refusal::BadForm => "bad-form",
            Refusal::Repeated => "repeated-parameter",
            Refusal::NoGrantType => "no-grant-type",
            Refusal::WrongGrantType => "wrong-grant-type",
            Refusal::TwoWays => "two-ways",
            Refusal::NoAssertionType => "no-assertion-type",
            Refusal::WrongAssertionType(_) => "wrong-assertion-type",
            Refusal::NoAssertion => "no-assertion",
            Refusal::Malformed(malformed) => malformed.code(),
            Refusal::NoSubject => "no-subject",
            Refusal::OtherClientId => "other-client-id",
            Refusal::UnknownClient => "unknown-client",
            Refusal::WrongIssuer => "wrong-issuer",
            Refusal::WrongSecret => "wrong-secret",
            Refusal::WrongAlgorithm => "wrong-algorithm",
            Refusal::BadSignature => "bad-signature",
            Refusal::WrongAudience => "wrong-audience",
            Refusal::SeveralAudiences => "several-audiences",
            Refusal::NoExpiry => "no-expiry",
            Refusal::BadTime(NoTime::Milliseconds(_)) => "time-in-milliseconds",
            Refusal::BadTime(_) => "time-not-integer",
            Refusal::NotActive => "not-active",
            Refusal::IssuedInTheFuture => "issued-in-the-future",
            Refusal::TooOld => "too-old",
            Refusal::TooLongWithoutIat => "too-long-without-iat",
            Refusal::NoTokenId => "no-token-id",
            Refusal::Reused => "reused",
            Refusal::WrongScope(_) => "wrong-scope",
            Refusal::NoRefreshToken => "no-refresh-token",
            Refusal::BadRefreshToken => "bad-refresh-token",
            Refusal::RefreshTokenExpired => "refresh-token-expired",
        }
    }

    pub(super) fn reply(&self, wording: Wording) -> Reply {
        let status = self.status(wording);
        let reply = Reply::json(
            status,
            &json!({ "error": self.error(wording), "error_description": self.words(wording) }),
        )
        .because(self.code());
        if status == StatusCode::UNAUTHORIZED {
            // RFC 6749, section 5.2.
            let challenge = HeaderValue::from_static("Basic realm=\"serviceaccounts\"");
            return reply.header(header::WWW_AUTHENTICATE, challenge);
        }
        reply
    }

    fn status(&self, wording: Wording) -> StatusCode {
        match self {
            Refusal::NotAForm => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refusal::WrongIssuer if wording == Wording::Older => StatusCode::BAD_REQUEST,
            Refusal::UnknownClient | Refusal::WrongIssuer | Refusal::WrongSecret => {
                StatusCode::UNAUTHORIZED
            }
            _ => StatusCode::BAD_REQUEST,
        }
    }

    fn error(&self, wording: Wording) -> &'static str {
        match self {
            Refusal::NotAForm
            | Refusal::BadForm
            | Refusal::Repeated
            | Refusal::NoGrantType
            | Refusal::TwoWays
            | Refusal::NoRefreshToken => "invalid_request",
            Refusal::WrongGrantType => "unsupported_grant_type",
            Refusal::WrongScope(_) => "invalid_scope",
            Refusal::BadRefreshToken | Refusal::RefreshTokenExpired => "invalid_grant",
            _ if wording == Wording::Older => "unauthorized_client",
            _ => "invalid_client",
        }
    }

    fn words(&self, wording: Wording) -> String {
        let words = match self {
            Refusal::NoTokenId if wording == Wording::Older => "Missing ID on the token".into(),
            Refusal::WrongIssuer if wording == Wording::Older => {
                "Issuer mismatch. The issuer should match the subject".into()
            }
            _ => self.to_string(),
        };
        if wording == Wording::Older && self.is_about_the_assertion() {
            let bare = words.strip_prefix(INTRODUCTION).unwrap_or(&words);
            return format!("{INTRODUCTION}{bare}");
        }
        words
    }

    /// Whether the parameters were all right, and so was the client.
    fn is_about_the_assertion(&self) -> bool {
        matches!(
            self,
            Refusal::Malformed(_)
                | Refusal::NoSubject
                | Refusal::WrongIssuer
                | Refusal::WrongAlgorithm
                | Refusal::BadSignature
                | Refusal::WrongAudience
                | Refusal::SeveralAudiences
                | Refusal::NoExpiry
                | Refusal::BadTime(_)
                | Refusal::NotActive
                | Refusal::IssuedInTheFuture
                | Refusal::TooOld
                | Refusal::TooLongWithoutIat
                | Refusal::NoTokenId
                | Refusal::Reused
        )
    }
}
