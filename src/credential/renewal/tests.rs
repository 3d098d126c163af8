//! How long is waited, and for what.

use super::*;

fn status(after: Option<Duration>) -> MintError {
    MintError::Status {
        status: StatusCode::BAD_GATEWAY,
        said: String::new(),
        after,
    }
}

fn unreachable() -> MintError {
    let error = crate::dial::DialError::ConnectTimeout {
        host: "upstream.example".into(),
        after: Duration::from_secs(5),
        tried: crate::dial::race::Tried::default(),
    };
    super::super::call::CallError::from(error).into()
}

fn source() -> Source {
    let place = crate::secret::material::Place {
        reference: crate::secret::store::Reference::Env("PATH".into()),
        folder: std::path::PathBuf::new(),
        store: crate::secret::store::Store::Disk,
        modes: crate::secret::store::Modes::Refuse,
    };
    let parse = |_: &crate::secret::Secret| Ok(crate::secret::Secret::from(String::new()));
    let (token, _) = Material::load(place, parse).expect("every process has it");
    Source::Static(Box::new(super::super::fixed::Static {
        token,
        lifetime: Duration::from_secs(60),
    }))
}

#[test]
fn what_cannot_be_reached_is_tried_every_second_or_two_however_long_it_takes() {
    let mut patience = Patience::default();
    for _ in 0..100 {
        let wait = patience.fail(&unreachable(), &source());
        assert!(
            wait >= Duration::from_secs(1) && wait <= Duration::from_secs(2),
            "{wait:?}"
        );
    }
}

#[test]
fn what_is_in_trouble_is_tried_ever_more_rarely_and_not_before_it_says() {
    let mut patience = Patience::default();
    let waits: Vec<Duration> = (0..10)
        .map(|_| patience.fail(&status(None), &source()))
        .collect();
    assert!(waits[0] <= Duration::from_millis(500));
    assert!(waits[9] >= Duration::from_secs(15) && waits[9] <= Duration::from_secs(30));
    let asked = Some(Duration::from_secs(200));
    assert_eq!(
        patience.fail(&status(asked), &source()),
        Duration::from_secs(200)
    );
    let throttled = MintError::Throttled { after: asked };
    assert_eq!(
        patience.fail(&throttled, &source()),
        Duration::from_secs(200)
    );
    patience.succeed();
    assert!(patience.fail(&status(None), &source()) <= Duration::from_millis(500));
}

#[test]
fn a_renewal_is_due_at_the_given_part_of_a_life_or_a_little_before() {
    for _ in 0..100 {
        let due = due_after(Duration::from_secs(100), 75);
        assert!(
            due >= Duration::from_secs(70) && due <= Duration::from_secs(75),
            "{due:?}"
        );
    }
    assert!(due_after(Duration::from_secs(24 * 3600), 95) < Duration::from_secs(24 * 3600));
}
