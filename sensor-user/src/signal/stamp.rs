//! Times in lines: RFC 3339, nginx's and Apache's `[10/Oct/2027:13:55:36 -0700]`, and seconds since 1970.

use weir_common::abi::time::SECOND_NS;

use super::refusal::Refusal;
use crate::system::clock;

/// Nothing is counted over more than this.
const OLDEST_NS: u64 = 3600 * SECOND_NS;

/// A time of the wall clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Since 1970, ns.
    pub unix_ns: u64,
    /// To what it is exact, ns.
    pub exact_ns: u64,
}

/// The same instant on both clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// Since 1970, ns.
    pub unix_ns: u64,
    /// `CLOCK_MONOTONIC`, ns.
    pub monotonic_ns: u64,
}

impl Now {
    /// This instant.
    #[must_use]
    pub fn here() -> Self {
        let monotonic_ns = clock::monotonic_ns();
        let since = clock::wall_time(monotonic_ns).duration_since(std::time::UNIX_EPOCH);
        let unix_ns = since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX));
        Self { unix_ns, monotonic_ns }
    }

    /// When something happened, `CLOCK_MONOTONIC` ns. Without a stamp, or with one of the future, now.
    ///
    /// # Errors
    /// If it is too long ago to be counted.
    pub fn place(&self, stamp: Option<Stamp>) -> Result<u64, Refusal> {
        let Some(stamp) = stamp else { return Ok(self.monotonic_ns) };
        let latest_ns = stamp.unix_ns.saturating_add(stamp.exact_ns.saturating_sub(1));
        let age_ns = self.unix_ns.saturating_sub(latest_ns);
        if age_ns > OLDEST_NS {
            return Err(Refusal::TooOld);
        }
        Ok(self.monotonic_ns.saturating_sub(age_ns))
    }
}

/// `2027-06-30T12:00:00.25+02:00`
#[must_use]
pub fn rfc3339(text: &str) -> Option<Stamp> {
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let mut date = date.split('-');
    let (year, month, day) = (date.next()?, date.next()?, date.next()?);
    if date.next().is_some() {
        return None;
    }
    let days = days(digits(year, 4)?, digits(month, 2)?, digits(day, 2)?)?;
    let (fraction, offset) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?),
        None => ("", rest),
    };
    let (fraction_ns, exact_ns) = fraction_of(fraction, rest.starts_with('.'))?;
    let offset_s = match offset {
        "Z" | "z" => 0,
        _ => {
            let (hours, minutes) = offset.get(1..)?.split_once(':')?;
            signed(offset, digits(hours, 2)?, digits(minutes, 2)?)?
        }
    };
    stamp(days * 86_400 + seconds(clock)? - offset_s, fraction_ns, exact_ns)
}

/// `10/Oct/2027:13:55:36 -0700`
#[must_use]
pub fn common(text: &str) -> Option<Stamp> {
    let (date, offset) = text.split_once(' ')?;
    let (date, clock) = date.split_once(':')?;
    let mut date = date.split('/');
    let (day, month, year) = (date.next()?, date.next()?, date.next()?);
    if date.next().is_some() || offset.len() != 5 {
        return None;
    }
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let days = days(digits(year, 4)?, month, digits(day, 2)?)?;
    let offset_s = signed(offset, digits(offset.get(1..3)?, 2)?, digits(offset.get(3..5)?, 2)?)?;
    stamp(days * 86_400 + seconds(clock)? - offset_s, 0, SECOND_NS)
}

/// `1814400000.123`
#[must_use]
pub fn epoch(text: &str) -> Option<Stamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || whole.len() > 11 || !whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (fraction_ns, exact_ns) = fraction_of(fraction, text.contains('.'))?;
    stamp(whole.parse().ok()?, fraction_ns, exact_ns)
}

/// Any of them.
#[must_use]
pub fn read(text: &str) -> Option<Stamp> {
    rfc3339(text).or_else(|| common(text)).or_else(|| epoch(text))
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn stamp(unix_s: i64, fraction_ns: u64, exact_ns: u64) -> Option<Stamp> {
    let unix_ns = u64::try_from(unix_s).ok()?.checked_mul(SECOND_NS)?.checked_add(fraction_ns)?;
    Some(Stamp { unix_ns, exact_ns })
}

fn digits(text: &str, count: usize) -> Option<u64> {
    let is_number = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// Digits behind a point: how many nanoseconds, and to what they are exact.
fn fraction_of(text: &str, is_there: bool) -> Option<(u64, u64)> {
    if text.is_empty() {
        return (!is_there).then_some((0, SECOND_NS));
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let counted = text.get(..text.len().min(9))?;
    let exact_ns = 10u64.pow(9 - u32::try_from(counted.len()).ok()?);
    Some((counted.parse::<u64>().ok()? * exact_ns, exact_ns))
}

/// `13:55:36` in seconds; a leap second counts as the one before.
fn seconds(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next()?);
    let (hour, minute, second) = (digits(hour, 2)?, digits(minute, 2)?, digits(second, 2)?);
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    i64::try_from(hour * 3600 + minute * 60 + second.min(59)).ok()
}

fn signed(text: &str, hours: u64, minutes: u64) -> Option<i64> {
    let offset_s = i64::try_from(hours * 3600 + minutes * 60).ok()?;
    match text.as_bytes().first()? {
        _ if hours > 23 || minutes > 59 => None,
        b'+' => Some(offset_s),
        b'-' => Some(-offset_s),
        _ => None,
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar (Howard Hinnant's `days_from_civil`).
fn days(year: u64, month: u64, day: u64) -> Option<i64> {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let longest = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if day == 0 || day > longest || year < 1970 {
        return None;
    }
    let from_march = if month <= 2 { year - 1 } else { year };
    let era = from_march / 400;
    let year_of_era = from_march % 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    i64::try_from(era * 146_097 + day_of_era).ok()?.checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(stamp: Option<Stamp>) -> Option<(u64, u64)> {
        stamp.map(|stamp| (stamp.unix_ns / 1_000_000, stamp.exact_ns / 1_000_000))
    }

    #[test]
    fn times_as_they_are_written() {
        // As `date -d … +%s` has them.
        for (text, unix_ms, exact_ms) in [
            ("2027-06-30T12:00:00Z", 1_814_356_800_000, 1000),
            ("2027-06-30T14:00:00+02:00", 1_814_356_800_000, 1000),
            ("2027-06-30 08:30:00.250-03:30", 1_814_356_800_250, 1),
            ("2024-02-29t23:59:60z", 1_709_251_199_000, 1000),
            ("30/Jun/2027:12:00:00 +0000", 1_814_356_800_000, 1000),
            ("30/Jun/2027:05:00:00 -0700", 1_814_356_800_000, 1000),
            ("1814356800.123", 1_814_356_800_123, 1),
            ("1814356800", 1_814_356_800_000, 1000),
        ] {
            assert_eq!(at(read(text)), Some((unix_ms, exact_ms)), "{text}");
        }
        for wrong in [
            "",
            "-",
            "2027-02-29T12:00:00Z",
            "2027-06-30T24:00:00Z",
            "2027-06-30T12:00:00",
            "2027-06-30T12:00:00.Z",
            "2027-06-30T12:00:00+24:00",
            "30/June/2027:12:00:00 +0000",
            "31/Jun/2027:12:00:00 +0000",
            "1969-12-31T23:59:59Z",
            "1e9",
            "-5",
            "1814356800.",
            "999999999999",
            "2027-06-30T12:00:00+0200",
            "٢٠٢٧-06-30T12:00:00Z",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_future_is_now_and_an_hour_ago_is_too_old() {
        let now = Now { unix_ns: 10_000 * SECOND_NS, monotonic_ns: 5000 * SECOND_NS };
        let at = |unix_s: u64, exact_ns| {
            now.place(Some(Stamp { unix_ns: unix_s * SECOND_NS, exact_ns }))
        };
        assert_eq!(now.place(None), Ok(5000 * SECOND_NS));
        assert_eq!(at(10_060, 1), Ok(5000 * SECOND_NS));
        assert_eq!(at(9990, 1), Ok(4990 * SECOND_NS));
        assert_eq!(at(10_000, SECOND_NS), Ok(5000 * SECOND_NS), "within the second");
        assert_eq!(at(6400, 1), Ok(1400 * SECOND_NS));
        assert_eq!(at(6399, 1), Err(Refusal::TooOld));
    }

    proptest! {
        #[test]
        fn as_humantime_has_it(unix_s in 0u64..4_000_000_000) {
            let when = std::time::UNIX_EPOCH + std::time::Duration::from_secs(unix_s);
            let text = humantime::format_rfc3339_seconds(when).to_string();
            prop_assert_eq!(rfc3339(&text).map(|it| it.unix_ns), Some(unix_s * SECOND_NS));
        }

        #[test]
        fn nothing_written_breaks_it(text in ".{0,40}") {
            let _ = read(&text);
        }
    }
}
