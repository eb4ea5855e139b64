//! Keeps every event as it was handled, for `weir replay`.
//!
//! The loop puts events down in memory and hands them over; a thread packs and writes them. The loop
//! never waits for it: what finds the queue full (a disk that is slower than the events) is lost, and
//! the recording says so where it happened. A file that cannot be written ends the recording, and
//! nothing else.

use std::{
    io,
    path::PathBuf,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

use super::{Daemon, sensor::Sensor};
use crate::{
    event::Event,
    replay::recording::{self, Head, Writer},
};

/// Bytes that are handed over at a time.
const CHUNK: usize = 64 << 10;
/// Chunks that wait: 4 MiB.
const QUEUE: usize = 64;

/// What is recorded where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingPlan {
    /// The file.
    pub file: PathBuf,
    /// Bytes that it and the one before it may have together.
    pub limit: u64,
}

/// The loop's end of the recording.
#[derive(Debug)]
pub(super) struct Recorder {
    queue: SyncSender<Work>,
    thread: JoinHandle<()>,
    chunk: Vec<u8>,
    events: u64,
    lost: u64,
}

enum Work {
    Write(Vec<u8>),
    Change(Box<Head>),
    Flush,
}

impl Recorder {
    /// Begins a recording.
    pub(super) fn start(plan: &RecordingPlan, head: Head) -> io::Result<Self> {
        let mut writer = Writer::create(&plan.file, plan.limit, head)?;
        let (queue, work) = sync_channel(QUEUE);
        let file = plan.file.display().to_string();
        let thread = thread::Builder::new().name("weir-record".into()).spawn(move || {
            let done = carry_out(&work, &mut writer).and_then(|()| writer.finish());
            if let Err(error) = done {
                tracing::error!("cannot write {file}: {error}; nothing more is recorded");
            }
        })?;
        Ok(Self { queue, thread, chunk: Vec::with_capacity(CHUNK), events: 0, lost: 0 })
    }

    /// Keeps an event.
    pub(super) fn note(&mut self, event: &Event) {
        if self.chunk.is_empty() && self.lost > 0 {
            recording::put_lost(self.lost, &mut self.chunk);
        }
        recording::put(event, &mut self.chunk);
        self.events += 1;
        if self.chunk.len() >= CHUNK {
            self.hand_over();
        }
    }

    /// Brings what was noted into the file, soon.
    pub(super) fn flush(&mut self) {
        self.hand_over();
        // A queue that is full is written anyway.
        let _ = self.queue.try_send(Work::Flush);
    }

    /// From here on services and signals have other numbers.
    fn change(&mut self, head: Head) {
        self.hand_over();
        // A recording with the wrong numbers is worse than a reload that waits for a moment.
        let _ = self.queue.send(Work::Change(Box::new(head)));
    }

    /// Writes the rest, and ends.
    pub(super) fn finish(self) {
        // Nothing else has to go on: the end waits for its place in the queue.
        if !self.chunk.is_empty() {
            let _ = self.queue.send(Work::Write(self.chunk));
        }
        drop(self.queue);
        if self.thread.join().is_err() {
            tracing::error!("the thread that records failed: the recording has no end");
        }
    }

    fn hand_over(&mut self) {
        if self.chunk.is_empty() {
            return;
        }
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        let is_taken = self.queue.try_send(Work::Write(chunk)).is_ok();
        // That events were lost stands in the chunk, if there is one.
        self.lost = if is_taken { 0 } else { self.lost + self.events };
        self.events = 0;
    }
}

fn carry_out(work: &Receiver<Work>, writer: &mut Writer) -> io::Result<()> {
    for work in work {
        match work {
            Work::Write(records) => writer.write(&records)?,
            Work::Change(head) => writer.change(*head)?,
            Work::Flush => writer.flush()?,
        }
    }
    Ok(())
}

impl<S: Sensor> Daemon<S> {
    /// Records from now on.
    pub(super) fn record(&mut self, plan: &RecordingPlan) -> io::Result<()> {
        self.recorder = Some(Recorder::start(plan, self.recording_head())?);
        Ok(())
    }

    /// Services or signals may have changed.
    pub(super) fn record_change(&mut self) {
        let head = self.recording_head();
        if let Some(recorder) = &mut self.recorder {
            recorder.change(head);
        }
    }

    fn recording_head(&self) -> Head {
        Head::new(self.engine.policy(), self.engine.clock().unix_s_at_zero)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::{
        policy::{self, ServiceIds},
        replay::{Input, Meter, recording::Recording},
    };

    const POLICY: &str = "
kind: Site
services: {shop: {tcp: [443]}}
ladders: {default: [{at: 50, action: mark, for: 1m}]}
";

    fn head() -> Head {
        let policy = policy::parse("test", POLICY, Path::new("."), &ServiceIds::default());
        Head::new(&policy.unwrap(), 7)
    }

    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("weir-record-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn read(path: &Path) -> (Recording, Vec<Event>) {
        let Input::Recording(mut recording) = Input::open(path, &Meter::default()).unwrap() else {
            panic!("{} is no recording", path.display());
        };
        let mut events = Vec::new();
        while let Some(event) = recording.next_event().unwrap() {
            events.push(event);
        }
        (recording, events)
    }

    #[test]
    fn what_is_noted_is_read_again_and_the_file_is_its_owners() {
        let folder = folder("note");
        let plan = RecordingPlan { file: folder.join("events"), limit: 1 << 20 };
        let mut recorder = Recorder::start(&plan, head()).unwrap();
        let events: Vec<Event> = (1..2_000).map(|at_ns| Event::Tick { at_ns }).collect();
        events.iter().for_each(|event| recorder.note(event));
        recorder.finish();
        let (recording, read) = read(&plan.file);
        assert_eq!((recording.head(), recording.lost()), (&head(), 0));
        assert_eq!(read, events);
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(&plan.file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn it_stays_within_its_size_and_keeps_the_latest() {
        let folder = folder("size");
        let plan = RecordingPlan { file: folder.join("events"), limit: 64 << 10 };
        let mut recorder = Recorder::start(&plan, head()).unwrap();
        // Numbers that do not pack well.
        let number = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let last = 60_000;
        for n in 0..last {
            recorder.note(&Event::Tick { at_ns: number(n) });
            if n % 500 == 0 {
                // The loop is not as fast as this one, and never waits.
                let chunk = std::mem::take(&mut recorder.chunk);
                recorder.queue.send(Work::Write(chunk)).unwrap();
            }
        }
        recorder.finish();
        let older = folder.join("events.1");
        let size = |path: &Path| fs::metadata(path).unwrap().len();
        assert!(size(&plan.file) + size(&older) < 2 * plan.limit);
        let (_, mut events) = read(&older);
        events.extend(read(&plan.file).1);
        let events: Vec<u64> = events.iter().map(Event::at_ns).collect();
        let latest: Vec<u64> = (last - events.len() as u64..last).map(number).collect();
        assert_eq!(events, latest);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_lost_is_told() {
        let folder = folder("lost");
        let plan = RecordingPlan { file: folder.join("events"), limit: 1 << 20 };
        let (queue, work) = sync_channel(1);
        let mut writer = Writer::create(&plan.file, plan.limit, head()).unwrap();
        let (go, gone) = sync_channel::<()>(0);
        let thread = thread::spawn(move || {
            gone.recv().unwrap();
            carry_out(&work, &mut writer).and_then(|()| writer.finish()).unwrap();
        });
        let mut recorder = Recorder { queue, thread, chunk: Vec::new(), events: 0, lost: 0 };
        for at_ns in [1, 2, 3] {
            recorder.note(&Event::Tick { at_ns });
            recorder.hand_over();
        }
        assert_eq!(recorder.lost, 2, "the queue has room for the first");
        go.send(()).unwrap();
        recorder.note(&Event::Tick { at_ns: 4 });
        while recorder.lost > 0 {
            recorder.hand_over();
            if recorder.lost > 0 {
                // One more is lost, until the thread has taken the first.
                recorder.note(&Event::Tick { at_ns: 5 });
            }
        }
        recorder.finish();
        let (recording, events) = read(&plan.file);
        assert_eq!(events.first(), Some(&Event::Tick { at_ns: 1 }));
        assert!(recording.lost() >= 2 && events.len() == 2, "{} {events:?}", recording.lost());
        fs::remove_dir_all(folder).unwrap();
    }
}
