//! Time: the clock that the kernel's programs use too, and waiting outside of a runtime.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use nix::time::{ClockId, clock_gettime};

/// How often [`wait_until`] looks.
const LOOK: Duration = Duration::from_millis(10);

/// `CLOCK_MONOTONIC` in nanoseconds.
#[must_use]
pub fn monotonic_ns() -> u64 {
    // The clock exists on every Linux, so the error cannot happen.
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |now| now.tv_sec().unsigned_abs() * 1_000_000_000 + now.tv_nsec().unsigned_abs())
}

/// Puts the calling thread to sleep. Not for async code.
#[expect(
    clippy::disallowed_methods,
    reason = "callers are threads of their own, without a runtime"
)]
pub fn sleep(duration: Duration) {
    std::thread::sleep(duration);
}

/// Waits until something holds, at most `patience`; fails with `what` it should have been. Not for
/// async code.
pub fn wait_until(
    what: &str,
    patience: Duration,
    mut holds: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let deadline = Instant::now() + patience;
    while !holds()? {
        if Instant::now() > deadline {
            bail!("within {patience:?} it did not come true that {what}");
        }
        sleep(LOOK);
    }
    Ok(())
}
