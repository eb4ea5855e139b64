//! Apache Parquet, without compression.

use std::{
    io::{self, Write},
    sync::Arc,
};

use parquet::{
    data_type::{ByteArray, ByteArrayType, DataType, Int64Type},
    file::{
        properties::WriterProperties,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::parser::parse_message_type,
};

use super::{StoredRecord, Writer};

/// Rows that are held in memory and written together.
const ROWS: usize = 8192;

const SCHEMA: &str = "
message journal {
    required int64 seq;
    required int64 time (TIMESTAMP(NANOS, true));
    required binary kind (STRING);
    required binary actor (STRING);
    required binary body (STRING);
    optional binary about (STRING);
    optional binary personal (STRING);
    optional binary form (STRING);
    required binary hash (STRING);
}";

/// Columns of rows, a group of them at a time.
pub(super) struct Parquet<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    rows: Vec<StoredRecord>,
}

fn failed(error: parquet::errors::ParquetError) -> io::Error {
    io::Error::other(error)
}

impl<W: Write + Send> Parquet<W> {
    pub(super) fn new(out: W) -> io::Result<Self> {
        let schema = Arc::new(parse_message_type(SCHEMA).map_err(failed)?);
        let properties = Arc::new(WriterProperties::builder().build());
        let writer = SerializedFileWriter::new(out, schema, properties).map_err(failed)?;
        Ok(Self { writer, rows: Vec::with_capacity(ROWS) })
    }

    fn write_rows(&mut self) -> io::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        let mut group = self.writer.next_row_group().map_err(failed)?;
        let text = |text: &str| ByteArray::from(text);
        column::<Int64Type, _>(&mut group, &rows, |row| Some(row.seq))?;
        column::<Int64Type, _>(&mut group, &rows, |row| Some(row.unix_ns))?;
        column::<ByteArrayType, _>(&mut group, &rows, |row| Some(text(&row.kind)))?;
        column::<ByteArrayType, _>(&mut group, &rows, |row| Some(text(&row.actor)))?;
        column::<ByteArrayType, _>(&mut group, &rows, |row| Some(text(&row.body)))?;
        optional(&mut group, &rows, |row| row.personal.as_ref().map(|_| row.about().join(" ")))?;
        optional(&mut group, &rows, |row| row.personal.clone())?;
        optional(&mut group, &rows, |row| row.form.clone())?;
        column::<ByteArrayType, _>(&mut group, &rows, |row| Some(text(&row.hash)))?;
        group.close().map_err(failed)?;
        Ok(())
    }
}

/// A column whose every row has a value.
fn column<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    rows: &[StoredRecord],
    value: impl Fn(&StoredRecord) -> Option<T::T>,
) -> io::Result<()> {
    let values: Vec<T::T> = rows.iter().filter_map(value).collect();
    write::<T, W>(group, &values, None)
}

/// A column of texts that rows may lack.
fn optional<W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    rows: &[StoredRecord],
    value: impl Fn(&StoredRecord) -> Option<String>,
) -> io::Result<()> {
    let texts: Vec<Option<String>> = rows.iter().map(value).collect();
    let levels: Vec<i16> = texts.iter().map(|text| i16::from(text.is_some())).collect();
    let values: Vec<ByteArray> =
        texts.iter().flatten().map(|text| ByteArray::from(text.as_str())).collect();
    write::<ByteArrayType, W>(group, &values, Some(&levels))
}

fn write<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> io::Result<()> {
    let column = group.next_column().map_err(failed)?;
    let mut column = column.ok_or_else(|| io::Error::other("the schema has no such column"))?;
    column.typed::<T>().write_batch(values, levels, None).map_err(failed)?;
    column.close().map_err(failed)
}

impl<W: Write + Send> Writer for Parquet<W> {
    fn record(&mut self, record: &StoredRecord) -> io::Result<()> {
        self.rows.push(record.clone());
        if self.rows.len() == ROWS { self.write_rows() } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.write_rows()?;
        self.writer.finish().map(|_| ()).map_err(failed)
    }
}
