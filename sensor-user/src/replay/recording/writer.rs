//! Writes a recording, and keeps it within a size.
//!
//! At half of the size that the recording may have, the file is set aside as `FILE.1` and begun anew:
//! the two together hold the latest events, and never more bytes than they may. Each is whole in
//! itself.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};

use super::{Head, put};
use crate::event::Event;

/// A recording that is being written.
pub struct Writer {
    path: PathBuf,
    limit: u64,
    head: Head,
    file: GzEncoder<Counted>,
}

/// A file, and how much was written to it.
struct Counted {
    file: File,
    bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Writer {
    /// Begins a recording of at most `limit` bytes. What an earlier one left in `path` is set aside.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn create(path: &Path, limit: u64, head: Head) -> io::Result<Self> {
        if path.exists() {
            set_aside(path)?;
        }
        Ok(Self { path: path.to_owned(), limit, file: begin(path, &head)?, head })
    }

    /// Writes an event.
    ///
    /// # Errors
    /// If it cannot be written. What was written before can be read.
    pub fn event(&mut self, event: &Event) -> io::Result<()> {
        let mut record = Vec::new();
        put(event, &mut record);
        self.write(&record)
    }

    /// Writes records.
    ///
    /// # Errors
    /// If they cannot be written. What was written before can be read.
    pub(crate) fn write(&mut self, records: &[u8]) -> io::Result<()> {
        if self.file.get_ref().bytes >= self.limit / 2 {
            self.turn()?;
        }
        self.file.write_all(records)
    }

    /// From here on the recording says something else of itself.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn change(&mut self, head: Head) -> io::Result<()> {
        if head == self.head {
            return Ok(());
        }
        self.head = head;
        self.turn()
    }

    /// Brings what was written into the file, so that it can be read from there.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    /// Ends the recording.
    ///
    /// # Errors
    /// If the rest cannot be written.
    pub fn finish(self) -> io::Result<()> {
        self.file.finish()?.file.sync_all()
    }

    fn turn(&mut self) -> io::Result<()> {
        self.file.try_finish()?;
        set_aside(&self.path)?;
        self.file = begin(&self.path, &self.head)?;
        Ok(())
    }
}

/// The name of the older half.
fn older(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

fn set_aside(path: &Path) -> io::Result<()> {
    fs::rename(path, older(path))
}

/// A new file that only its owner can read: there are addresses in it.
fn begin(path: &Path, head: &Head) -> io::Result<GzEncoder<Counted>> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut file = GzEncoder::new(Counted { file, bytes: 0 }, Compression::fast());
    serde_json::to_writer(&mut file, head)?;
    file.write_all(b"\n")?;
    file.flush()?;
    Ok(file)
}
