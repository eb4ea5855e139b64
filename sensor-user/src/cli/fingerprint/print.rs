//! Lines as they come: for people in columns, for programs as JSON.

use std::io::{self, Write};

use super::{Format, record::Record};

/// Widths that what is usual fits into; the last column takes what is left.
const WIDTHS: [usize; 7] = [24, 21, 21, 8, 8, 36, 32];
const HEADING: [&str; 8] =
    ["TIME", "CLIENT", "SERVER", "VERSION", "ALPN", "JA4", "JA3", "SERVER NAME"];

/// Writes lines, each at once: captures may be longer than memory, and an interface never ends.
pub(super) struct Printer<W> {
    out: W,
    format: Format,
    has_heading: bool,
}

impl<W: Write> Printer<W> {
    pub(super) const fn new(out: W, format: Format) -> Self {
        Self { out, format, has_heading: false }
    }

    /// Begins the lines of another capture. In JSON every line names its own.
    pub(super) fn title(&mut self, name: &str) -> io::Result<()> {
        if self.format == Format::Table {
            writeln!(self.out, "{}:", printable(name))?;
        }
        Ok(())
    }

    pub(super) fn print(&mut self, record: &Record<'_>) -> io::Result<()> {
        if self.format == Format::Json {
            let line = serde_json::to_string(record).map_err(io::Error::from)?;
            return writeln!(self.out, "{line}");
        }
        if !self.has_heading {
            self.has_heading = true;
            self.row(HEADING)?;
        }
        // To the millisecond: "2024-01-02T03:04:05.678" of the nanoseconds, and the Z.
        let millis = record.time.get(..23).map_or_else(|| record.time.clone(), |t| format!("{t}Z"));
        let dash = "-".to_owned();
        let shown = |text: &Option<String>| text.as_deref().map_or_else(|| dash.clone(), printable);
        self.row([
            &millis,
            &record.src,
            &record.dst,
            &record.version,
            &shown(&record.alpn),
            &record.ja4,
            &record.ja3,
            &shown(&record.sni),
        ])
    }

    fn row(&mut self, cells: [&str; 8]) -> io::Result<()> {
        let mut line = String::new();
        for (position, cell) in cells.into_iter().enumerate() {
            let width = WIDTHS.get(position).copied().unwrap_or_default();
            line.push_str(&format!("{cell:<width$}  "));
        }
        writeln!(self.out, "{}", line.trim_end())
    }
}

/// Names come from strangers: what could move a terminal's cursor is written out.
fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|character| {
            let harmless = !character.is_control() && !is_invisible(character);
            let (plain, escaped) = if harmless {
                (Some(character), None)
            } else {
                (None, Some(character.escape_default()))
            };
            plain.into_iter().chain(escaped.into_iter().flatten())
        })
        .collect()
}

/// Characters that change the direction of what follows, or have no width.
const fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_speak_to_the_terminal() {
        assert_eq!(printable("a.test\u{1b}[2J\u{202e}ü"), "a.test\\u{1b}[2J\\u{202e}ü");
    }
}
