//! Log lines on standard error, for a person and for the journal.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Which lines are written: `WEIR_LOG`, in the syntax of tracing-subscriber's filter.
const FILTER: &str = "WEIR_LOG";

/// Starts logging. The journal has its own clock, so lines carry no time there.
pub(super) fn start() {
    let filter = EnvFilter::try_from_env(FILTER).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    // A second start in one process (tests) keeps the first.
    let _ = if std::env::var_os("JOURNAL_STREAM").is_some() {
        lines.without_time().try_init()
    } else {
        lines.try_init()
    };
}
