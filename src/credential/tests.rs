//! What a source remembers, and how keys follow each other.

use super::*;

#[test]
fn the_refresh_token_that_came_last_is_used_unless_another_one_is_given() {
    let mut memory = Memory::default();
    let given = || Some("given".to_owned());
    assert_eq!(memory.refresh_token(given()), given());
    memory.refresh_token = Some("came".into());
    assert_eq!(memory.refresh_token(given()).as_deref(), Some("came"));
    let anew = Some("given-anew".to_owned());
    assert_eq!(memory.refresh_token(anew.clone()), anew);
    memory.refresh_token = Some("came-later".into());
    memory.forget_refresh_token();
    assert_eq!(memory.refresh_token(anew.clone()), anew);
}

#[test]
fn a_clock_is_not_followed_second_by_second() {
    let mut memory = Memory::default();
    for (heard, kept) in [
        (Some(94), 94),
        (Some(95), 94),
        (None, 94),
        (Some(97), 97),
        (Some(0), 0),
    ] {
        memory.learn(heard);
        assert_eq!(memory.offset, kept, "{heard:?}");
    }
}

#[test]
fn an_error_is_told_with_its_causes_and_none_of_them_twice() {
    let cause = crate::dial::DialError::Connect {
        host: "acme.example".into(),
        tried: crate::dial::race::Tried::in_vain(([127, 0, 0, 1], 1).into()),
    };
    let error = MintError::from(CallError::from(cause));
    assert_eq!(
        chain(&error),
        "cannot connect to `acme.example`: 127.0.0.1:1: no answer"
    );
}

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
