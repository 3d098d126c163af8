//! What the configuration may do to headers: which of them are the proxy's own business, and which
//! are removed and set.

use http::{HeaderName, HeaderValue, header};

use super::problem::Severity;
use super::read::{Given, Reader};
use crate::outgoing::Place;

/// Headers to remove, and headers to set.
pub(super) type Changes = (Vec<HeaderName>, Vec<(HeaderName, HeaderValue)>);

/// Headers to remove and to set. Never one that the proxy itself answers for.
pub(super) fn changes(reader: &Reader<'_>, name: &str) -> Changes {
    let header = |given: &Given<String>| {
        let noted = |message: String| {
            reader.problems().note(
                Severity::Fault,
                &given.at,
                given.given.as_ref(),
                message,
                "",
            );
            None
        };
        match HeaderName::try_from(given.value.as_str()) {
            Err(_) => noted(format!("`{}` is no header name", given.value)),
            Ok(name) if is_ours(&name) => noted(format!(
                "`{}` is a header that the proxy itself sets",
                given.value
            )),
            Ok(name) => Some(name),
        }
    };
    let read = |it: &Reader<'_>| {
        let remove = it.texts("remove").iter().filter_map(&header).collect();
        let set = it.text_table("set");
        let set = set.iter().filter_map(|(name, value)| {
            let name = header(name)?;
            let Ok(parsed) = HeaderValue::try_from(value.value.as_str()) else {
                let message = format!("what `{name}` is set to cannot be a header's value");
                reader.problems().fault(&value.at, message, "");
                return None;
            };
            Some((name, parsed))
        });
        (remove, set.collect())
    };
    reader.table(name, read).unwrap_or_default()
}

/// Whether a header is one that the proxy itself answers for: those of a message's framing and of
/// its way. The one that carries the credential is [`note_doubled`]'s.
pub(super) fn is_ours(name: &HeaderName) -> bool {
    crate::headers::is_hop_by_hop(name)
        || [
            header::HOST,
            header::CONTENT_LENGTH,
            header::EXPECT,
            header::VIA,
        ]
        .contains(name)
}

/// Notes a header that is set beside the credential that stands in it.
pub(super) fn note_doubled(
    reader: &Reader<'_>,
    set: &[(HeaderName, HeaderValue)],
    place: Option<&Place>,
) {
    // A cookie of ours is put beside those that are set.
    let Some(Place::Header(own)) = place else {
        return;
    };
    for (name, _) in set.iter().filter(|(name, _)| name == own) {
        let message = format!("`{name}` in {} carries the credential", reader.place());
        let help = "take it out of `set`";
        reader.problems().fault(reader.at(), message, help);
    }
}
