//! CSV for spreadsheets.

use std::io::{self, Write};

use super::{StoredRecord, Writer};

/// Rows under a heading.
pub(super) struct Csv<W: Write>(csv::Writer<W>);

const HEADING: [&str; 9] =
    ["seq", "time", "unix_ns", "kind", "actor", "about", "body", "personal", "hash"];

impl<W: Write> Csv<W> {
    pub(super) fn new(out: W) -> io::Result<Self> {
        let mut writer = csv::Writer::from_writer(out);
        writer.write_record(HEADING)?;
        Ok(Self(writer))
    }
}

impl<W: Write> Writer for Csv<W> {
    fn record(&mut self, record: &StoredRecord) -> io::Result<()> {
        let row = [
            record.seq.to_string(),
            record.time(),
            record.unix_ns.to_string(),
            tame(&record.kind),
            tame(&record.actor),
            tame(&record.about().join(" ")),
            tame(&record.body),
            tame(record.personal.as_deref().unwrap_or_default()),
            tame(&record.hash),
        ];
        Ok(self.0.write_record(row)?)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.0.flush()
    }
}

/// A text that no spreadsheet takes for a formula: an apostrophe goes before what could begin one
/// (OWASP, CSV Injection).
pub(super) fn tame(text: &str) -> String {
    let is_formula = text
        .trim_start_matches([' ', '\u{a0}', '\n'])
        .starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠', '|', '%']);
    if is_formula { format!("'{text}") } else { text.to_owned() }
}
