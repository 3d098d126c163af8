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
        address: ([127, 0, 0, 1], 1).into(),
        source: std::io::Error::other("refused"),
    };
    let error = MintError::from(CallError::from(cause));
    assert_eq!(chain(&error), "cannot connect to 127.0.0.1:1: refused");
}
