//! What time an emulator thinks it is: the system's, or one that a test sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A clock in whole seconds since 1970; its clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock {
    ticks: bool,
    /// Seconds ahead of the system's clock, or since 1970 where the clock stands still.
    shift: Arc<AtomicI64>,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::skewed(0)
    }

    /// A clock that is this many seconds ahead of the system's; behind it where negative.
    pub fn skewed(seconds: i64) -> Self {
        Clock {
            ticks: true,
            shift: Arc::new(AtomicI64::new(seconds)),
        }
    }

    /// A clock that stands still at this many seconds after 1970.
    pub fn fixed(unix_seconds: i64) -> Self {
        Clock {
            ticks: false,
            shift: Arc::new(AtomicI64::new(unix_seconds)),
        }
    }

    /// Moves the clock on by this many seconds; back where negative.
    pub fn advance(&self, seconds: i64) {
        self.shift.fetch_add(seconds, Ordering::Relaxed);
    }

    /// Seconds since 1970.
    pub fn now(&self) -> i64 {
        let shift = self.shift.load(Ordering::Relaxed);
        if self.ticks {
            system_seconds().saturating_add(shift)
        } else {
            shift
        }
    }

    /// The time as the `Date` header has it (RFC 9110, section 5.6.7): a client whose own clock is
    /// wrong learns that from there.
    pub(super) fn http_date(&self) -> String {
        http_date(self.now())
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the emulator has no part in the proxy's clock, and this is its own"
)]
fn system_seconds() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        })
}

fn http_date(unix_seconds: i64) -> String {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (days, second) = (
        unix_seconds.div_euclid(86_400),
        unix_seconds.rem_euclid(86_400),
    );
    let (year, month, day) = civil(days);
    format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        pick(&WEEKDAYS, days.rem_euclid(7)),
        pick(&MONTHS, month - 1),
        second / 3600,
        second / 60 % 60,
        second % 60,
    )
}

fn pick(names: &[&'static str], index: i64) -> &'static str {
    usize::try_from(index)
        .ok()
        .and_then(|index| names.get(index).copied())
        .expect("a weekday is below 7 and a month from 1 to 12")
}

/// Year, month and day of a day counted from 1970. Years are taken to begin in March, so that the
/// leap day is a year's last and the months before it have lengths that a straight line describes.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_as_http_has_it() {
        assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(1_709_210_096), "Thu, 29 Feb 2024 12:34:56 GMT");
        assert_eq!(http_date(-1), "Wed, 31 Dec 1969 23:59:59 GMT");
    }

    #[test]
    fn clones_of_a_clock_show_the_same_time() {
        let clock = Clock::fixed(1000);
        clock.clone().advance(-60);
        assert_eq!(clock.now(), 940);
    }
}
