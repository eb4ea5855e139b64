//! Addresses, prefixes and fingerprints from arguments, files and standard input, as one list in which every
//! line can be traced back to where it stood.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use crate::api::{LARGEST_LIST_BYTES, message::Failure};

/// A list and where its lines came from.
#[derive(Debug, Default)]
pub(super) struct Input {
    text: Vec<u8>,
    sources: Vec<Source>,
}

#[derive(Debug)]
struct Source {
    /// Name of a file; `None` = an argument.
    file: Option<String>,
    /// First line in the list, from 1.
    first_line: usize,
}

impl Input {
    /// Reads arguments (of which `-` is standard input) and files.
    pub(super) fn gather(arguments: &[String], files: &[PathBuf]) -> anyhow::Result<Self> {
        let mut input = Self::default();
        for argument in arguments {
            if argument == "-" {
                input.read("(standard input)", io::stdin().lock())?;
            } else if argument.contains(['\n', '#', ';']) {
                bail!("{argument:?} is not an address, prefix or fingerprint");
            } else {
                input.append(None, argument.as_bytes());
            }
        }
        for path in files {
            if path == Path::new("-") {
                input.read("(standard input)", io::stdin().lock())?;
            } else {
                let name = path.display().to_string();
                let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
                input.read(&name, file)?;
            }
        }
        Ok(input)
    }

    /// The list's text, for the daemon.
    pub(super) fn take_text(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.text)
    }

    /// A failure in the list, told with the files and lines that the user knows.
    pub(super) fn explain(&self, failure: &Failure) -> String {
        let mut told = failure.message.clone();
        for bad in &failure.lines {
            told.push_str("\n  ");
            if let Some(place) = self.place(bad.line) {
                told.push_str(&place);
                told.push_str(": ");
            }
            told.push_str(&bad.message);
        }
        if failure.more_lines > 0 {
            told.push_str(&format!("\n  … and {} more", failure.more_lines));
        }
        told
    }

    /// `file:line` of a line of the list; nothing for an argument, which is its own place.
    fn place(&self, line: usize) -> Option<String> {
        let source = self.sources.iter().rfind(|source| source.first_line <= line)?;
        let file = source.file.as_ref()?;
        Some(format!("{file}:{}", line - source.first_line + 1))
    }

    fn read(&mut self, name: &str, from: impl Read) -> anyhow::Result<()> {
        let room = LARGEST_LIST_BYTES.saturating_sub(self.text.len());
        let mut text = Vec::new();
        from.take(room as u64 + 1)
            .read_to_end(&mut text)
            .with_context(|| format!("cannot read {name}"))?;
        if text.len() > room {
            bail!(
                "{name} makes the list longer than {} MiB: split it, or merge its prefixes",
                LARGEST_LIST_BYTES >> 20
            );
        }
        self.append(Some(name), &text);
        Ok(())
    }

    fn append(&mut self, file: Option<&str>, text: &[u8]) {
        let first_line = 1 + self.text.iter().filter(|byte| **byte == b'\n').count();
        self.sources.push(Source { file: file.map(str::to_owned), first_line });
        self.text.extend(text);
        if self.text.last() != Some(&b'\n') {
            self.text.push(b'\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::message::{BadLine, FailureKind};

    #[test]
    fn lines_are_traced_back_through_arguments_and_files() {
        let mut input = Input::gather(&["192.0.2.1".into(), "nonsense".into()], &[]).unwrap();
        input.read("a.netset", &b"192.0.2.2\n192.0.2.3"[..]).unwrap();
        input.read("b.netset", &b"# b\nrubbish\n"[..]).unwrap();
        assert_eq!(input.place(2), None);
        assert_eq!(input.place(4).unwrap(), "a.netset:2");
        assert_eq!(input.place(6).unwrap(), "b.netset:2");
        let failure = Failure {
            kind: FailureKind::BadList,
            message: "2 lines are wrong".into(),
            lines: vec![
                BadLine { line: 2, message: "`nonsense` is wrong".into() },
                BadLine { line: 6, message: "`rubbish` is wrong".into() },
            ],
            more_lines: 3,
        };
        assert_eq!(
            input.explain(&failure),
            "2 lines are wrong\n  `nonsense` is wrong\n  b.netset:2: `rubbish` is wrong\n  \
             … and 3 more"
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Input::gather(&[], &["/nonexistent/list".into()]).unwrap_err();
        assert_eq!(error.to_string(), "cannot open /nonexistent/list");
    }
}
