//! Quantities as people type them: durations (`10m`), rates (`5/s`), dates (`2027-06-30`).

use std::time::{Duration, SystemTime};

use weir_common::abi::time::SECOND_NS;

/// Longest duration that a policy may name: ten years, below the range of the kernel's ticks'
/// arithmetic in nanoseconds.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// Highest rate that a policy may name.
const FASTEST_PER_S: u64 = 1_000_000_000;

/// A duration in nanoseconds, or what would be right.
pub(crate) fn duration_ns(text: &str) -> Result<u64, String> {
    let example = || "a duration is written like `500ms`, `10s`, `5m`, `24h` or `7days`".to_owned();
    let duration = humantime::parse_duration(text.trim()).map_err(|_| example())?;
    if duration.is_zero() || duration > LONGEST {
        return Err("a duration lies between 1ns and ten years".into());
    }
    u64::try_from(duration.as_nanos()).map_err(|_| example())
}

/// Nanoseconds between two events at a rate, or what would be right.
pub(crate) fn rate_interval_ns(text: &str) -> Result<u64, String> {
    let example = || "a rate is written like `5/s`, `30/m` or `100/h`".to_owned();
    let (count, unit) = text.trim().split_once('/').ok_or_else(example)?;
    let count: u64 = count.trim_end().parse().map_err(|_| example())?;
    let unit_ns = match unit.trim_start() {
        "s" => SECOND_NS,
        "m" | "min" => 60 * SECOND_NS,
        "h" => 3600 * SECOND_NS,
        _ => return Err(example()),
    };
    if count == 0 {
        return Err("a rate is at least 1; to let nothing through, use `action: drop`".into());
    }
    if count > FASTEST_PER_S {
        return Err(format!("a rate is at most {FASTEST_PER_S} per unit"));
    }
    Ok((unit_ns / count).max(1))
}

/// A share in parts per million, or what would be right.
pub(crate) fn share_ppm(text: &str) -> Result<u32, String> {
    let help = || {
        "a share is written like `0.1%` or `5%`, from 0% to 100%, with up to four decimals"
            .to_owned()
    };
    let number = text.trim().strip_suffix('%').ok_or_else(help)?.trim_end();
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    if part.is_empty() || part.len() > 4 || !(part.bytes().all(|b| b.is_ascii_digit())) {
        return Err(help());
    }
    let whole: u32 = whole.parse().ok().filter(|whole| *whole <= 100).ok_or_else(help)?;
    let part: u32 = format!("{part:0<4}").parse().map_err(|_| help())?;
    Some(whole * 10_000 + part).filter(|ppm| *ppm <= 1_000_000).ok_or_else(help)
}

/// How many a minute, rounded down but never to none, or what would be right.
pub(crate) fn per_minute(text: &str) -> Result<u32, String> {
    let interval_ns =
        rate_interval_ns(text).map_err(|_| "a number a minute, like `60/m`".to_owned())?;
    let each = (60 * SECOND_NS / interval_ns).max(1);
    u32::try_from(each).map_err(|_| "fewer: that is as good as no cap".to_owned())
}

/// The end of a day (UTC) in seconds since 1970, or what would be right.
pub(crate) fn end_of_day_unix_s(text: &str) -> Result<u64, String> {
    let example =
        || "a date is written like `2027-06-30`; it holds to the end of that day, UTC".to_owned();
    let text = text.trim();
    if text.len() != "2027-06-30".len() {
        return Err(example());
    }
    let midnight = humantime::parse_rfc3339(&format!("{text}T00:00:00Z")).map_err(|_| example())?;
    let since = midnight.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| example())?;
    Ok(since.as_secs() + 24 * 3600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration_ns("10m"), Ok(600 * SECOND_NS));
        assert_eq!(duration_ns("500ms"), Ok(SECOND_NS / 2));
        for wrong in ["10", "", "0s", "-1s", "1 fortnight", "100000000h"] {
            assert!(duration_ns(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rates() {
        assert_eq!(rate_interval_ns("5/s"), Ok(200_000_000));
        assert_eq!(rate_interval_ns("30 / m"), Ok(2 * SECOND_NS));
        for wrong in ["5", "0/s", "5/fortnight", "-5/s", "1.5/s", "/s"] {
            assert!(rate_interval_ns(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn shares() {
        for (text, ppm) in [("0.1%", 1_000), ("5%", 50_000), ("100 %", 1_000_000), ("0%", 0)] {
            assert_eq!(share_ppm(text), Ok(ppm), "{text}");
        }
        for wrong in ["5", "-1%", "100.1%", "0.00001%", "%", ".5%", "5.%", "1e2%"] {
            assert!(share_ppm(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn drops_are_counted_by_the_minute() {
        for (text, expected) in [("60/m", 60), ("600/m", 600), ("5/s", 300), ("30/h", 1)] {
            assert_eq!(per_minute(text), Ok(expected), "{text}");
        }
        for wrong in ["60", "0/m", "many", "99999999999/s"] {
            assert!(per_minute(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_date_holds_to_its_end() {
        assert_eq!(end_of_day_unix_s("1970-01-01"), Ok(86_400));
        assert_eq!(end_of_day_unix_s("2027-06-30"), Ok(1_814_400_000));
        for wrong in ["2027-02-30", "tomorrow", "2027-6-30", "2027-06-30T00:00:00Z"] {
            assert!(end_of_day_unix_s(wrong).is_err(), "{wrong}");
        }
    }
}
