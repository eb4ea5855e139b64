//! How lists are printed.

use std::io::{self, Write};

use clap::{Args, ValueEnum};
use serde::Serialize;

/// How to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: one JSON document.
    Json,
}

/// The option that chooses.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct FormatOption {
    /// How to print.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl FormatOption {
    /// Prints `value`: as JSON, or as `table` writes it.
    pub(super) fn print<T: Serialize>(
        self,
        value: &T,
        table: impl FnOnce(&T, &mut dyn Write) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        let printed = match self.format {
            Format::Table => table(value, &mut out),
            Format::Json => serde_json::to_writer_pretty(&mut out, value)
                .map_err(io::Error::from)
                .and_then(|()| writeln!(out)),
        };
        match printed.and_then(|()| out.flush()) {
            // `weir verdicts | head`
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => Ok(other?),
        }
    }
}

/// Bytes as people read them.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {name}") }
}

/// Seconds as people read them.
pub(super) fn seconds(count: u64) -> String {
    humantime::format_duration(std::time::Duration::from_secs(count)).to_string()
}

#[cfg(test)]
mod tests {
    #[test]
    fn quantities_read_well() {
        assert_eq!(super::bytes(999), "999 B");
        assert_eq!(super::bytes(4 << 20), "4.0 MiB");
        assert_eq!(super::seconds(3700), "1h 1m 40s");
    }
}
