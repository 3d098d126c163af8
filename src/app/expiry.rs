//! Says in time that a certificate of ours ends: nothing else would before callers do.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::clock::Clock;
use crate::plan::Plan;

/// How long before its end a certificate is spoken of. Tools that renew by themselves have done so
/// by then; whoever does it by hand has two weeks.
const AHEAD: u64 = 14 * DAY;
const DAY: u64 = 24 * 60 * 60;

/// Warns once a day of certificates that end soon, beginning in a day.
pub(super) async fn watch(plans: Arc<ArcSwap<Plan>>, clock: Clock) {
    loop {
        tokio::time::sleep(Duration::from_secs(DAY)).await;
        warn(&plans.load_full(), &clock);
    }
}

/// Warns of certificates that end soon.
pub(super) fn warn(plan: &Plan, clock: &Clock) {
    let now = clock.now().unix();
    for certificate in plan.certificates() {
        let (kind, name) = (certificate.kind, &certificate.name);
        let file = certificate.file.display();
        match certificate.end.checked_sub(now) {
            None | Some(0) => tracing::error!(
                "the certificate {file} of {kind} `{name}` has ended: nobody accepts it; it is read again when the file changes"
            ),
            Some(left) if left < AHEAD => tracing::warn!(
                "the certificate {file} of {kind} `{name}` ends in {}; it is read again when the file changes",
                match left / DAY {
                    0 => "less than a day".to_owned(),
                    1 => "a day".to_owned(),
                    days => format!("{days} days"),
                }
            ),
            Some(_) => {}
        }
    }
}
