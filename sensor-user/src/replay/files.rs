//! Captures as one stream of frames.
//!
//! The frames of several files come by their times; within a file they keep their order, whatever
//! their times say. One frame a file is held in memory.

use std::path::PathBuf;

use super::{
    input::{Input, Meter},
    server::{Census, Ports, Servers},
};
use crate::{
    capture::{Capture, CaptureError, Frame, LinkType},
    policy::CompiledPolicy,
};

/// Captures that are being read.
pub struct Files {
    files: Vec<File>,
    /// The file of the frame that was given last: its next one is not read yet.
    given: Option<usize>,
}

/// A file, and the frame that it gives next.
struct File {
    capture: Capture,
    ahead: Option<Ahead>,
}

/// A frame that waits for its turn.
struct Ahead {
    time_ns: u64,
    link: LinkType,
    bytes: Vec<u8>,
    original_len: u32,
}

impl Files {
    /// Reads captures. Damage is told to `trouble`; the others are read on, and the damaged one up to
    /// there.
    pub fn new(captures: Vec<Capture>, trouble: &mut impl FnMut(CaptureError)) -> Self {
        let files = captures.into_iter().map(|capture| {
            let mut file = File { capture, ahead: None };
            file.read(trouble);
            file
        });
        Self { files: files.collect(), given: None }
    }

    /// When the next frame was taken, in ns since 1970; `None` if there is none.
    #[must_use]
    pub fn first_ns(&self) -> Option<u64> {
        self.files.iter().filter_map(|file| Some(file.ahead.as_ref()?.time_ns)).min()
    }

    /// The next frame of all.
    pub fn next_frame(&mut self, trouble: &mut impl FnMut(CaptureError)) -> Option<Frame<'_>> {
        if let Some(given) = self.given.take().and_then(|given| self.files.get_mut(given)) {
            given.read(trouble);
        }
        let waiting = self.files.iter().enumerate();
        let times = waiting.filter_map(|(at, file)| Some((file.ahead.as_ref()?.time_ns, at)));
        let (_, first) = times.min()?;
        self.given = Some(first);
        let ahead = self.files.get(first)?.ahead.as_ref()?;
        Some(Frame {
            time_ns: ahead.time_ns,
            link: ahead.link,
            bytes: &ahead.bytes,
            original_len: ahead.original_len,
        })
    }

    /// Whose addresses the protected host's are, by who asks whom in all of these captures. Damage is
    /// told when they are replayed.
    #[must_use]
    pub fn servers(paths: &[PathBuf], policy: &CompiledPolicy) -> Servers {
        let mut census = Census::new(Ports::of(policy));
        let quiet = &mut |_| {};
        let captures = paths.iter().filter_map(|path| match Input::open(path, &Meter::default()) {
            Ok(Input::Capture(capture)) => Some(capture),
            _ => None,
        });
        let mut files = Self::new(captures.collect(), quiet);
        while let Some(frame) = files.next_frame(quiet) {
            census.frame(&frame);
        }
        census.servers()
    }
}

impl File {
    fn read(&mut self, trouble: &mut impl FnMut(CaptureError)) {
        let mut bytes = match self.ahead.take() {
            Some(ahead) => ahead.bytes,
            None => Vec::new(),
        };
        match self.capture.next_frame() {
            Ok(Some(frame)) => {
                bytes.clear();
                bytes.extend_from_slice(frame.bytes);
                let Frame { time_ns, link, original_len, .. } = frame;
                self.ahead = Some(Ahead { time_ns, link, bytes, original_len });
            }
            Ok(None) => {}
            Err(error) => trouble(error),
        }
    }
}
