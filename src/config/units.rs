//! Durations and sizes as they are written in the configuration.

use std::time::Duration;

/// A hundred years in milliseconds: far beyond any use, and far below what a clock's reading can be
/// added to.
const LONGEST: u64 = 36_500 * 86_400 * 1_000;

/// Reads a duration such as `"250ms"`, `"30s"`, `"5m"`, `"2h"` or `"1d"`.
///
/// # Errors
///
/// A sentence that says what is wrong with the text.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text)?;
    let millis = match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60 * 1_000),
        "h" => Some(3_600 * 1_000),
        "d" => Some(86_400 * 1_000),
        _ => None,
    }
    .ok_or_else(|| format!("`{text}` has no unit known here: ms, s, m, h or d"))?;
    let millis = number
        .checked_mul(millis)
        .filter(|millis| *millis <= LONGEST)
        .ok_or_else(|| format!("`{text}` is too long: 36500d is the longest"))?;
    Ok(Duration::from_millis(millis))
}

/// Reads a size such as `"512B"`, `"64KiB"`, `"10MiB"` or `"1GiB"`.
///
/// # Errors
///
/// A sentence that says what is wrong with the text.
pub fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let factor: u64 = match unit {
        "B" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    }
    .ok_or_else(|| format!("`{text}` has no unit known here: B, KiB, MiB or GiB"))?;
    number
        .checked_mul(factor)
        .ok_or_else(|| format!("`{text}` is too large"))
}

fn split(text: &str) -> Result<(u64, &str), String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    match number.parse() {
        Ok(number) => Ok((number, unit)),
        Err(_) if number.is_empty() => Err(format!("`{text}` does not start with a whole number")),
        Err(_) => Err(format!("`{text}` is too large")),
    }
}

/// Writes a duration as [`duration`] reads it, in the largest unit that divides it.
#[must_use]
pub fn show_duration(span: Duration) -> String {
    let millis = span.as_millis();
    for (unit, factor) in [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
    ] {
        if millis != 0 && millis.is_multiple_of(factor) {
            return format!("{}{unit}", millis / factor);
        }
    }
    format!("{millis}ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_every_unit_and_written_back() {
        for text in ["250ms", "30s", "5m", "2h", "1d", "90s"] {
            assert_eq!(show_duration(duration(text).expect(text)), text);
        }
    }

    #[test]
    fn a_number_without_a_unit_is_refused_with_the_units_named() {
        assert_eq!(
            duration("30"),
            Err("`30` has no unit known here: ms, s, m, h or d".into())
        );
        assert_eq!(
            size("64K"),
            Err("`64K` has no unit known here: B, KiB, MiB or GiB".into())
        );
        assert_eq!(
            size("KiB"),
            Err("`KiB` does not start with a whole number".into())
        );
    }

    #[test]
    fn numbers_beyond_what_can_be_counted_are_refused_and_not_wrapped() {
        assert!(duration("36500d").is_ok());
        assert!(duration("36501d").is_err());
        assert!(duration("99999999999999999d").is_err());
        assert!(duration("99999999999999999999999s").is_err());
        assert!(size("18446744073709551615GiB").is_err());
    }
}
