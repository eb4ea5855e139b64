//! The events of a recording, unpacked on this thread or on another one. They come in the same order.

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

use super::{
    input::{Input, InputError, Meter},
    recording::{Head, Recording, RecordingError},
};
use crate::event::Event;

/// Events that are handed over at a time.
const BATCH: usize = 1_024;
/// Batches that wait.
const QUEUE: usize = 16;

/// Gives events.
pub(super) struct Feed {
    head: Head,
    way: Way,
    lost: u64,
}

enum Way {
    Here(Recording),
    Elsewhere { batches: Receiver<Batch>, events: std::vec::IntoIter<Event>, end: Option<End> },
}

/// Why there are no more events; `None`: they are at their end.
type End = Option<RecordingError>;

struct Batch {
    events: Vec<Event>,
    lost: u64,
    end: Option<End>,
}

impl Feed {
    /// The events of a recording. `path` is where it was opened from.
    pub(super) fn new(recording: Recording, path: &Path, meter: &Meter, threads: usize) -> Self {
        let head = recording.head().clone();
        let can_be_read_again = path != Path::new("-");
        let way = if threads > 1 && can_be_read_again {
            let batches = elsewhere(path.to_owned(), meter.clone());
            Way::Elsewhere { batches, events: Vec::new().into_iter(), end: None }
        } else {
            Way::Here(recording)
        };
        Self { head, way, lost: 0 }
    }

    pub(super) const fn head(&self) -> &Head {
        &self.head
    }

    /// Events that the daemon could not write.
    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }

    /// The next event.
    pub(super) fn next_event(&mut self) -> Result<Option<Event>, RecordingError> {
        match &mut self.way {
            Way::Here(recording) => {
                let event = recording.next_event();
                self.lost = recording.lost();
                event
            }
            Way::Elsewhere { batches, events, end } => loop {
                if let Some(event) = events.next() {
                    return Ok(Some(event));
                }
                if let Some(end) = end.take() {
                    return end.map_or(Ok(None), Err);
                }
                let Ok(batch) = batches.recv() else { return Ok(None) };
                self.lost = batch.lost;
                *events = batch.events.into_iter();
                *end = batch.end;
            },
        }
    }
}

/// Reads a recording on a thread of its own, which ends when nobody takes its events any more.
fn elsewhere(path: PathBuf, meter: Meter) -> Receiver<Batch> {
    let (batches, events) = sync_channel(QUEUE);
    thread::spawn(move || {
        let mut recording = match Input::open(&path, &meter) {
            Ok(Input::Recording(recording)) => recording,
            // It was a recording a moment ago.
            Ok(Input::Capture(_)) => return,
            Err(error) => {
                if let InputError::Recording(error) = error {
                    let end = Some(Some(error));
                    drop(batches.send(Batch { events: Vec::new(), lost: 0, end }));
                }
                return;
            }
        };
        loop {
            let batch = batch(&mut recording);
            let is_last = batch.end.is_some();
            if batches.send(batch).is_err() || is_last {
                return;
            }
        }
    });
    events
}

fn batch(recording: &mut Recording) -> Batch {
    let mut events = Vec::with_capacity(BATCH);
    let mut end = None;
    while events.len() < BATCH && end.is_none() {
        match recording.next_event() {
            Ok(Some(event)) => events.push(event),
            Ok(None) => end = Some(None),
            Err(error) => end = Some(Some(error)),
        }
    }
    Batch { events, lost: recording.lost(), end }
}
