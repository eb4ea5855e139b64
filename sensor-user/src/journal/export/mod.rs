//! `weir journal export`: records as JSON lines, CSV or Parquet, one at a time, in bounded memory.

mod csv;
mod json;
mod parquet;

use std::io::{self, Write};

pub use self::json::object;
use super::read::{Filter, ReadError, Reader, StoredRecord};

/// How records are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// One JSON object a line.
    JsonLines,
    /// For spreadsheets, with a heading.
    Csv,
    /// Apache Parquet.
    Parquet,
}

/// An export could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The journal could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file could not be written.
    #[error("cannot write the export: {0}")]
    Write(#[from] io::Error),
}

/// Writes records in a form.
trait Writer {
    fn record(&mut self, record: &StoredRecord) -> io::Result<()>;
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// Writes the records that the filter takes; how many.
///
/// # Errors
/// If the journal cannot be read, or `out` not be written.
pub fn export(
    reader: &Reader,
    filter: &Filter,
    form: Form,
    out: impl Write + Send + 'static,
) -> Result<u64, ExportError> {
    let mut writer: Box<dyn Writer> = match form {
        Form::JsonLines => Box::new(json::JsonLines::new(out)),
        Form::Csv => Box::new(csv::Csv::new(out)?),
        Form::Parquet => Box::new(parquet::Parquet::new(out)?),
    };
    let mut count = 0;
    let mut failed = None;
    reader.each(filter, |record| {
        count += 1;
        failed = writer.record(record).err();
        failed.is_none()
    })?;
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(writer.finish().map(|()| count)?),
    }
}

#[cfg(test)]
mod tests;
