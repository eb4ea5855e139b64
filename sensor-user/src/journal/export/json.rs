//! JSON lines.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::{StoredRecord, Writer};

/// One JSON object a line.
pub(super) struct JsonLines<W: Write>(io::BufWriter<W>);

impl<W: Write> JsonLines<W> {
    pub(super) fn new(out: W) -> Self {
        Self(io::BufWriter::new(out))
    }
}

impl<W: Write> Writer for JsonLines<W> {
    fn record(&mut self, record: &StoredRecord) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, &object(record))?;
        self.0.write_all(b"\n")
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.0.flush()
    }
}

/// A record as an object.
#[must_use]
pub fn object(record: &StoredRecord) -> Value {
    // What somebody damaged is shown as it is.
    let read =
        |text: &str| serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
    json!({
        "seq": record.seq,
        "time": record.time(),
        "unix_ns": record.unix_ns,
        "kind": record.kind,
        "actor": read(&record.actor),
        "body": read(&record.body),
        "personal": record.personal.as_deref().map(read),
        "form": record.form,
        "hash": record.hash,
    })
}
