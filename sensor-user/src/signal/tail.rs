//! A log that grows, read line by line: through rotation (renamed and made anew, or copied and
//! truncated), while it is missing, and however long its lines are.
//!
//! Reading begins at the end of a file that is there at the start, and at the beginning of one that
//! appears later. What was read is remembered nowhere: what is written while nobody reads is not heard.
//! A file that was renamed is read on for [`LINGER_NS`], because its writer goes on with it until it is
//! told.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use weir_common::abi::time::SECOND_NS;

use super::refusal::Refusal;

/// Longest line that is read.
pub const LONGEST_LINE: usize = 16 << 10;
/// Read at once of one file.
const CHUNK: usize = 64 << 10;
/// How long a renamed file is read on.
pub const LINGER_NS: u64 = 10 * SECOND_NS;
/// Renamed files that are read on at once; the oldest goes first.
const MOST_RENAMED: usize = 4;
/// So many bytes before the place are compared, to see whether the file is still the same.
const REMEMBERED: usize = 64;

/// A line, or why there is none.
pub type Line<'a> = Result<&'a [u8], Refusal>;

/// One log.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    current: Option<Opened>,
    renamed: Vec<(Opened, u64)>,
    /// Whether this is the first look: what is there already is old.
    is_first: bool,
    problem: Option<String>,
}

/// A file and how far it was read.
#[derive(Debug)]
struct Opened {
    file: File,
    identity: (u64, u64),
    offset: u64,
    /// The last bytes before `offset`.
    last: Vec<u8>,
    /// A line without its end.
    partial: Vec<u8>,
    /// Whether the rest of the line is passed over.
    is_skipping: bool,
}

impl Tail {
    /// A log at this path, whether it is there or not.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path, current: None, renamed: Vec::new(), is_first: true, problem: None }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Why it is not read; `None`: it is.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Bytes that were not read yet.
    #[must_use]
    pub fn behind(&self) -> u64 {
        let open = self.current.iter().chain(self.renamed.iter().map(|(open, _)| open));
        open.map(Opened::behind).sum()
    }

    /// Reads what was added, at most a chunk of each file, and hands over every line. Whether there may
    /// be more at once.
    pub fn read(&mut self, now_ns: u64, on_line: &mut dyn FnMut(Line<'_>)) -> bool {
        let mut has_more = false;
        // Older lines first.
        for (open, _) in &mut self.renamed {
            has_more |= open.read(on_line).unwrap_or(false);
        }
        self.renamed.retain(|(open, until_ns)| now_ns < *until_ns || open.behind() > 0);
        match self.follow(now_ns, on_line) {
            Ok(more) => {
                self.problem = None;
                has_more | more
            }
            Err(error) => {
                self.problem = Some(error.to_string());
                has_more
            }
        }
    }

    fn follow(&mut self, now_ns: u64, on_line: &mut dyn FnMut(Line<'_>)) -> io::Result<bool> {
        let is_first = std::mem::replace(&mut self.is_first, false);
        let mut has_more = match &mut self.current {
            Some(open) => open.read(on_line)?,
            None => false,
        };
        let there = std::fs::metadata(&self.path);
        let identity = there.as_ref().ok().map(|there| (there.dev(), there.ino()));
        let current = self.current.as_ref().map(|open| open.identity);
        let is_same = current.is_some() && current == identity;
        // A file that is gone, and has no successor yet, may still be written to.
        if !is_same && (identity.is_some() || self.current.is_none()) {
            if let Some(open) = self.current.take() {
                if self.renamed.len() >= MOST_RENAMED {
                    self.renamed.remove(0);
                }
                self.renamed.push((open, now_ns.saturating_add(LINGER_NS)));
            }
            there?;
            let open = self.current.insert(Opened::at(&self.path, is_first)?);
            has_more |= open.read(on_line)?;
        }
        Ok(has_more)
    }
}

impl Opened {
    fn at(path: &Path, at_end: bool) -> io::Result<Self> {
        // Not waiting for a writer, should this be a pipe.
        let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("this is no regular file"));
        }
        let mut open = Self {
            identity: (metadata.dev(), metadata.ino()),
            offset: if at_end { file.seek(SeekFrom::End(0))? } else { 0 },
            file,
            last: Vec::new(),
            partial: Vec::new(),
            is_skipping: false,
        };
        let before = open.offset.min(REMEMBERED as u64);
        let mut last = vec![0; usize::try_from(before).unwrap_or_default()];
        open.file.read_exact_at(&mut last, open.offset - before)?;
        // In the middle of a line, its rest makes no sense.
        open.is_skipping = last.last().is_some_and(|byte| *byte != b'\n');
        open.last = last;
        Ok(open)
    }

    fn behind(&self) -> u64 {
        self.file.metadata().map_or(0, |it| it.len().saturating_sub(self.offset))
    }

    /// Reads a chunk; whether there may be more.
    fn read(&mut self, on_line: &mut dyn FnMut(Line<'_>)) -> io::Result<bool> {
        let length = self.file.metadata()?.len();
        if length == self.offset {
            return Ok(false);
        }
        if length < self.offset || !self.is_unchanged()? {
            // Truncated, and maybe longer again than it was.
            if !self.partial.is_empty() {
                on_line(Err(Refusal::NotUnderstood));
            }
            self.partial.clear();
            self.last.clear();
            self.is_skipping = false;
            self.offset = 0;
        }
        self.file.seek(SeekFrom::Start(self.offset))?;
        let mut chunk = Vec::new();
        (&self.file).take(CHUNK as u64).read_to_end(&mut chunk)?;
        self.offset += chunk.len() as u64;
        self.remember(&chunk);
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            self.take(piece, on_line);
        }
        Ok(chunk.len() == CHUNK)
    }

    /// Whether what stands before the place is what was read there.
    fn is_unchanged(&self) -> io::Result<bool> {
        let mut now = vec![0; self.last.len()];
        match self.file.read_exact_at(&mut now, self.offset - self.last.len() as u64) {
            Ok(()) => Ok(now == self.last),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn remember(&mut self, chunk: &[u8]) {
        self.last.extend(chunk.get(chunk.len().saturating_sub(REMEMBERED)..).unwrap_or_default());
        self.last.drain(..self.last.len().saturating_sub(REMEMBERED));
    }

    /// Takes a piece of a line, which ends at its newline if it has one.
    fn take(&mut self, piece: &[u8], on_line: &mut dyn FnMut(Line<'_>)) {
        let ended = piece.strip_suffix(b"\n");
        let text = ended.unwrap_or(piece);
        if !self.is_skipping && self.partial.len() + text.len() > LONGEST_LINE {
            self.is_skipping = true;
            self.partial = Vec::new();
            on_line(Err(Refusal::TooLong));
        }
        if !self.is_skipping && ended.is_none() {
            self.partial.extend(text);
        } else if !self.is_skipping && self.partial.is_empty() {
            hand_over(text, on_line);
        } else if !self.is_skipping {
            self.partial.extend(text);
            hand_over(&self.partial, on_line);
            self.partial.clear();
        }
        self.is_skipping &= ended.is_none();
    }
}

fn hand_over(line: &[u8], on_line: &mut dyn FnMut(Line<'_>)) {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if !line.is_empty() {
        on_line(Ok(line));
    }
}

#[cfg(test)]
mod tests;
