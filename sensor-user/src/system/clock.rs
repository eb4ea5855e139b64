//! The clock that the kernel's programs use, and its relation to wall time.

use std::{
    fs, io,
    time::{Duration, SystemTime},
};

use nix::time::{ClockId, clock_gettime};

/// Now, as `bpf_ktime_get_ns` counts: `CLOCK_MONOTONIC` in nanoseconds.
#[must_use]
pub fn monotonic_ns() -> u64 {
    // CLOCK_MONOTONIC always exists (POSIX); 0 only if the call itself were filtered.
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map(|time| time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
        .unwrap_or_default()
}

/// The wall-clock time of a monotonic instant, past or future, as things stand now.
#[must_use]
pub fn wall_time(at_ns: u64) -> SystemTime {
    let now_ns = monotonic_ns();
    let now = SystemTime::now();
    let then = if at_ns >= now_ns {
        now.checked_add(Duration::from_nanos(at_ns - now_ns))
    } else {
        now.checked_sub(Duration::from_nanos(now_ns - at_ns))
    };
    then.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// [`wall_time`] as RFC 3339 in UTC, to the millisecond.
#[must_use]
pub fn wall_text(at_ns: u64) -> String {
    humantime::format_rfc3339_millis(wall_time(at_ns)).to_string()
}

/// Now, nanoseconds since 1970.
#[must_use]
pub fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Seconds since 1970 when `CLOCK_MONOTONIC` was 0.
#[must_use]
pub fn unix_s_at_zero() -> u64 {
    wall_time(0).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Names this boot: monotonic instants mean nothing in another one. A debug build believes
/// `WEIR_BOOT_ID`, so that tests can pretend that the host was started again.
pub fn boot_id() -> io::Result<String> {
    if cfg!(debug_assertions)
        && let Ok(pretended) = std::env::var("WEIR_BOOT_ID")
    {
        return Ok(pretended);
    }
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// A moment of the wall clock, nanoseconds since 1970, as RFC 3339.
#[must_use]
pub fn rfc3339(unix_ns: u64) -> String {
    let moment = SystemTime::UNIX_EPOCH + Duration::from_nanos(unix_ns);
    humantime::format_rfc3339_millis(moment).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monotonic_instant_maps_to_the_wall_clock_both_ways() {
        let now_ns = monotonic_ns();
        let later = wall_time(now_ns + 60_000_000_000);
        let earlier = wall_time(now_ns.saturating_sub(1_000_000_000));
        let gap = later.duration_since(earlier).unwrap();
        assert!(gap >= Duration::from_secs(60) && gap < Duration::from_secs(63), "{gap:?}");
    }
}
