//! What is near a token keeps it to itself.

use std::time::Duration;

use http::{HeaderValue, StatusCode};

use super::answer;
use super::call::Reply;
use super::memory::Memory;
use crate::clock::Moment;

#[test]
fn nothing_that_carries_a_token_shows_it_to_whoever_debugs() {
    let at = Moment {
        wall: Duration::from_secs(1_900_000_000),
        boot: Duration::from_secs(1000),
    };
    let body = r#"{"access_token":"hidden-token","refresh_token":"hidden-too"}"#;
    let reply = Reply {
        status: StatusCode::OK,
        headers: http::HeaderMap::from_iter([(
            http::header::SET_COOKIE,
            HeaderValue::from_static("a=hidden-cookie"),
        )]),
        body: body.into(),
        sent: at,
        offset: None,
    };
    let places = answer::Places {
        token: Some("/access_token".into()),
        refresh_token: Some("/refresh_token".into()),
        default_lifetime: Duration::from_secs(60),
        ..answer::Places::default()
    };
    let brought = places.take(&reply).expect("a token");
    let mut shown = format!("{reply:?}{brought:?}");
    let mut memory = Memory::default();
    let minted = memory.keep(brought, &reply);
    let files = [("key.pem".into(), "hidden-key".to_owned())].into();
    let store = crate::secret::store::Store::Memory(files);
    shown.push_str(&format!("{minted:?}{memory:?}{store:?}"));
    assert!(!shown.contains("hidden"), "{shown}");
    assert_eq!(minted.token, "hidden-token");
}
