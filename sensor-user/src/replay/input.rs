//! Files as a user names them: captures and recordings, told apart by their first bytes.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::recording::{Recording, RecordingError};
use crate::capture::{Capture, CaptureError, decompress};

/// How much tells them apart.
const HEAD: usize = 17;

/// Why a file could not be read, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A capture.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// A recording.
    #[error(transparent)]
    Recording(#[from] RecordingError),
}

/// A file.
pub enum Input {
    /// Packets.
    Capture(Capture),
    /// Events.
    Recording(Recording),
}

impl Input {
    /// Opens a file; `-` is standard input. Bytes read of it are counted in `meter`, as they lie in the
    /// file.
    ///
    /// # Errors
    /// If it cannot be opened, or is neither.
    pub fn open(path: &Path, meter: &Meter) -> Result<Self, InputError> {
        if path == Path::new("-") {
            return Self::read("standard input".to_owned(), io::stdin());
        }
        let file = path.display().to_string();
        match File::open(path) {
            Ok(opened) => Self::read(file, meter.reading(opened)),
            Err(source) => Err(CaptureError::Open { file, source }.into()),
        }
    }

    fn read(file: String, reader: impl Read + 'static) -> Result<Self, InputError> {
        let failed = |source| CaptureError::Read { file: file.clone(), offset: 0, source };
        let mut reader = decompress(reader).map_err(failed)?;
        let is_recording = Recording::begins_with(reader.peek(HEAD).map_err(failed)?);
        Ok(if is_recording {
            Self::Recording(Recording::read(file, reader)?)
        } else {
            Self::Capture(Capture::read(file, reader)?)
        })
    }
}

/// Counts bytes that were read, for whoever watches.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<AtomicU64>);

impl Meter {
    /// Bytes read so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn reading(&self, reader: File) -> Metered {
        Metered { reader, meter: self.clone() }
    }
}

struct Metered {
    reader: File,
    meter: Meter,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.meter.0.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
