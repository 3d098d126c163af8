//! `[credentials.NAME.self-signed]`, and the assertion of an exchange.

use std::time::Duration;

use crate::config::credentials::claims::object;
use crate::config::credentials::secrets;
use crate::config::problem::Severity;
use crate::config::read::{Given, Reader};
use crate::config::{Context, reference};
use crate::credential::keys::Keys;
use crate::credential::self_signed::SelfSigned;
use crate::credential::template::Blank;
use crate::jws::Algorithm;

/// A self-signed token, or the assertion of an exchange, whose next key stands one table up.
pub(super) fn self_signed(
    reader: &Reader<'_>,
    above: Option<&Reader<'_>>,
    context: &Context<'_>,
) -> Option<SelfSigned> {
    let algorithm = reader.parsed("algorithm", |text| {
        text.parse::<Algorithm>().map_err(|error| error.to_string())
    });
    let blanks = if above.is_some() {
        Blank::ASSERTION
    } else {
        Blank::CLAIMS
    };
    let claims = object(reader, "claims", blanks);
    let kid = identified(reader, "kid", context);
    let (lifetime, backdate) = lifetime(reader);
    let algorithm = algorithm?.value;
    let present = secrets::key(reader, "key", algorithm, context);
    let holder = above.unwrap_or(reader);
    let next = holder
        .has("next-key")
        .then(|| secrets::key(holder, "next-key", algorithm, context));
    Some(SelfSigned {
        keys: Keys::new(present?, next.flatten()),
        kid,
        typ: reader.text("typ")?.value,
        claims: claims?,
        lifetime,
        backdate,
    })
}

/// An identifier, if it is given.
pub(super) fn identified(reader: &Reader<'_>, name: &str, context: &Context<'_>) -> Option<String> {
    let node = reader.node(name)?;
    reference::identifier(&format!("`{name}` in {}", reader.place()), &node, context)?.as_literal()
}

pub(super) fn lifetime(reader: &Reader<'_>) -> (Duration, Duration) {
    let (lifetime, backdate) = (reader.duration("lifetime"), reader.duration("backdate"));
    let second = Duration::from_secs(1);
    let fault = |given: &Given<Duration>, message: &str| {
        let at = given.given.as_ref();
        reader
            .problems()
            .note(Severity::Fault, &given.at, at, message, "");
    };
    if lifetime.value < 2 * second {
        fault(
            &lifetime,
            "`lifetime` is shorter than two seconds, and tokens count whole ones",
        );
    } else if backdate.value + second >= lifetime.value {
        fault(&backdate, "`backdate` leaves nothing of `lifetime`");
    }
    (lifetime.value, backdate.value)
}
