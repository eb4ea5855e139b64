//! Reads a recording.

use std::io::{self, BufRead, BufReader, Read};

use super::{
    Cursor, FORMAT, Head, Kind,
    layout::{Field, Layout},
};
use crate::event::Event;

/// Longest head that is read: room for every name of every layout, service and signal.
const LONGEST_HEAD: u64 = 1 << 20;

/// Why a recording could not be read, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// Reading or decompressing it failed.
    #[error("cannot read {file} behind event {event}: {source}")]
    Read {
        /// Which file.
        file: String,
        /// Events read before.
        event: u64,
        /// What the system or the decompressor said.
        source: io::Error,
    },
    /// It does not begin as a recording does.
    #[error("{file} is no recording: {source}")]
    Head {
        /// Which file.
        file: String,
        /// What is wrong with its first line.
        source: serde_json::Error,
    },
    /// Its format is another one.
    #[error(
        "{file} has version {found} of the format; this is version {FORMAT}: use the weir that wrote it, {by}"
    )]
    Format {
        /// Which file.
        file: String,
        /// Its version.
        found: u32,
        /// What wrote it.
        by: String,
    },
    /// It ends inside a record. What came before it was read.
    #[error("{file} is cut off: it ends inside the record behind event {event}")]
    CutOff {
        /// Which file.
        file: String,
        /// Events read before.
        event: u64,
    },
    /// It contradicts itself. What came before was read.
    #[error("{file} is damaged: the record behind event {event} {problem}")]
    Damaged {
        /// Which file.
        file: String,
        /// Events read before.
        event: u64,
        /// What is wrong with it.
        problem: String,
    },
}

/// A recording that is being read, event by event.
pub struct Recording {
    file: String,
    head: Head,
    plans: Vec<Plan>,
    reader: Box<dyn BufRead>,
    record: Vec<u8>,
    events: u64,
    lost: u64,
    finished: bool,
}

/// Where a kind's numbers lie in its records.
struct Plan {
    places: Vec<Option<usize>>,
    length: usize,
}

impl Plan {
    fn new(kind: Kind, head: &Head) -> Self {
        let layout = head.layouts.get(kind.name()).map_or(&[][..], Vec::as_slice);
        let mut at = 0usize;
        let mut places: Vec<(&Field, usize)> = Vec::with_capacity(layout.len());
        for field in layout {
            places.push((field, at));
            at = at.saturating_add(field.1);
        }
        let of = |wanted: &Field| places.iter().find(|(field, _)| *field == wanted);
        let places = kind.fields().iter().map(|field| Some(of(field)?.1)).collect();
        Self { places, length: at }
    }
}

impl Recording {
    /// Whether a file that begins so is a recording.
    #[must_use]
    pub fn begins_with(head: &[u8]) -> bool {
        head.starts_with(b"{\"weir-recording\"")
    }

    /// Reads a recording from its unpacked bytes. `file` is how errors call it.
    ///
    /// # Errors
    /// If it does not begin as a recording does.
    pub fn read(file: String, reader: impl Read + 'static) -> Result<Self, RecordingError> {
        let mut reader = BufReader::with_capacity(1 << 16, reader);
        let mut line = Vec::new();
        let read = (&mut reader).take(LONGEST_HEAD).read_until(b'\n', &mut line);
        if let Err(source) = read {
            return Err(RecordingError::Read { file, event: 0, source });
        }
        let head: Head = match serde_json::from_slice(&line) {
            Ok(head) => head,
            Err(source) => return Err(RecordingError::Head { file, source }),
        };
        if head.format != FORMAT {
            return Err(RecordingError::Format { file, found: head.format, by: head.by });
        }
        Ok(Self {
            file,
            plans: Kind::ALL.iter().map(|kind| Plan::new(*kind, &head)).collect(),
            head,
            reader: Box::new(reader),
            record: Vec::new(),
            events: 0,
            lost: 0,
            finished: false,
        })
    }

    /// What it says of itself.
    #[must_use]
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// Events that the daemon could not write, of those up to here.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// The next event; `None` at the end.
    ///
    /// # Errors
    /// If the recording is cut off or damaged here. There is no event behind an error.
    pub fn next_event(&mut self) -> Result<Option<Event>, RecordingError> {
        while !self.finished {
            match self.next_record() {
                Ok(Some(Ok(event))) => {
                    self.events += 1;
                    return Ok(Some(event));
                }
                Ok(Some(Err(Lost(events)))) => self.lost = self.lost.saturating_add(events),
                Ok(None) => self.finished = true,
                Err(error) => {
                    self.finished = true;
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    fn next_record(&mut self) -> Result<Option<Result<Event, Lost>>, RecordingError> {
        let Some([kind, low, high]) = self.frame()? else { return Ok(None) };
        let length = usize::from(u16::from_le_bytes([low, high]));
        self.record.resize(length, 0);
        let read = self.reader.read_exact(&mut self.record);
        read.map_err(|source| self.failed(source))?;
        let damaged = |problem: String| {
            let (file, event) = (self.file.clone(), self.events);
            Err(RecordingError::Damaged { file, event, problem })
        };
        let Some(known) = Kind::from_u8(kind) else {
            return damaged(format!("is of kind {kind}, which nobody writes"));
        };
        let plan = Kind::ALL.iter().position(|it| *it == known).and_then(|at| self.plans.get(at));
        let Some(plan) = plan.filter(|plan| plan.length == length) else {
            return damaged(format!("has {length} bytes, and {} have others", known.name()));
        };
        let event = known.event(Cursor::new(&self.record, &plan.places));
        let lost = || Lost(u64::take(&mut Cursor::new(&self.record, &plan.places)));
        Ok(Some(event.ok_or_else(lost)))
    }

    /// The three bytes before a record; `None` at the end.
    fn frame(&mut self) -> Result<Option<[u8; 3]>, RecordingError> {
        let mut frame = [0; 3];
        match self.reader.fill_buf() {
            Ok([]) => return Ok(None),
            Ok(_) => {}
            Err(source) => return Err(self.failed(source)),
        }
        match self.reader.read_exact(&mut frame) {
            Ok(()) => Ok(Some(frame)),
            Err(source) => Err(self.failed(source)),
        }
    }

    fn failed(&self, source: io::Error) -> RecordingError {
        let (file, event) = (self.file.clone(), self.events);
        match source.kind() {
            io::ErrorKind::UnexpectedEof => RecordingError::CutOff { file, event },
            _ => RecordingError::Read { file, event, source },
        }
    }
}

/// Not an event: so many could not be written.
struct Lost(u64);
