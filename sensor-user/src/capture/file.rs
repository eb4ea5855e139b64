//! A capture file, whatever its format and compression.

use std::{fs::File, io::Read, path::Path};

use super::{
    CaptureError, Frame, compression,
    pcap::{self, Pcap},
    pcapng::{self, Pcapng},
    source::Source,
};

/// A capture file that is being read, frame by frame.
pub struct Capture {
    format: Format,
    finished: bool,
}

enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

impl Capture {
    /// Opens a file.
    ///
    /// # Errors
    /// If it cannot be opened, or is no capture.
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => Self::read(name, file),
            Err(source) => Err(CaptureError::Open { file: name, source }),
        }
    }

    /// Reads standard input, or anything else. `name` is how errors call it.
    ///
    /// # Errors
    /// If it cannot be read, or is no capture.
    pub fn read(name: String, reader: impl Read + 'static) -> Result<Self, CaptureError> {
        let failed = |source| CaptureError::Read { file: name.clone(), offset: 0, source };
        let mut reader = compression::decompress(reader).map_err(failed)?;
        let head = reader.peek(4).map_err(failed)?.to_vec();
        let unknown = |found| CaptureError::Unknown { file: name.clone(), found };
        let Some(magic) = head.first_chunk::<4>() else {
            return Err(unknown(match head.len() {
                0 => "it is empty".to_owned(),
                count => format!("it has only {count} bytes"),
            }));
        };
        let format = if *magic == pcapng::MAGIC {
            Format::Pcapng(Pcapng::open(Source::new(name, Box::new(reader))))
        } else if let Some(variant) = pcap::Variant::of(*magic) {
            Format::Pcap(Pcap::open(Source::new(name, Box::new(reader)), variant)?)
        } else {
            let shown: Vec<String> = magic.iter().map(|byte| format!("{byte:02x}")).collect();
            return Err(unknown(format!("it begins with {}", shown.join(" "))));
        };
        Ok(Self { format, finished: false })
    }

    /// The next frame; `None` at the end of the file.
    ///
    /// # Errors
    /// If the file is cut off or damaged here. There is no frame behind an error.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, CaptureError> {
        if self.finished {
            return Ok(None);
        }
        let next = match &mut self.format {
            Format::Pcap(pcap) => pcap.next(),
            Format::Pcapng(pcapng) => pcapng.next(),
        };
        self.finished = !matches!(next, Ok(Some(_)));
        next
    }
}
