//! Tests that need root say so, loudly, where they cannot run.

use std::io::{Write, stdout};

/// Whether this process may make namespaces.
#[must_use]
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Says that a test was skipped, past the test harness, which would keep a passing test's output
/// to itself.
pub fn say_skipped(name: &str) {
    let line = "needs root to make network namespaces";
    // Without a standard output there is nobody to tell.
    let _ = writeln!(stdout(), "SKIPPED-PRIVILEGED: {name}: {line}");
}

/// Leaves the test, with a line that CI looks for, unless this process is root.
///
/// ```
/// # fn story() {
/// weir_lab::require_root!("a story");
/// # }
/// ```
#[macro_export]
macro_rules! require_root {
    ($name:expr) => {
        if !$crate::is_root() {
            $crate::say_skipped($name);
            return;
        }
    };
}
