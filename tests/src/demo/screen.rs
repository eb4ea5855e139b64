//! The terminal: colours where there is one and nobody asked for none, a part that is redrawn in
//! place, and plain lines everywhere else.

use std::{
    env,
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use anyhow::Result;

/// Width that the demo is written for.
const WIDTH: usize = 100;

/// Where nothing can be redrawn, progress is a line every so often.
const PLAIN_PROGRESS: Duration = Duration::from_secs(5);

/// Colours, or none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    coloured: bool,
}

impl Paint {
    pub(super) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(super) fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    pub(super) fn warn(self, text: &str) -> String {
        self.paint("33", text)
    }

    pub(super) fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }

    pub(super) fn strong(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self { coloured: false }
    }
}

/// A frame of the live part.
#[derive(Clone, Debug)]
pub(super) struct Live {
    /// In one line, for where nothing can be redrawn.
    pub(super) line: String,
    /// In full.
    pub(super) lines: Vec<String>,
}

/// Standard output.
#[derive(Debug)]
pub(super) struct Screen {
    paint: Paint,
    redraws: bool,
    drawn: usize,
    last_line: Option<Instant>,
}

impl Screen {
    pub(super) fn of_stdout() -> Self {
        let redraws = io::stdout().is_terminal();
        // https://no-color.org: set and not empty.
        let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { paint: Paint { coloured: redraws && !unwanted }, redraws, drawn: 0, last_line: None }
    }

    /// The first line.
    pub(super) fn title(&self, text: &str) {
        println!("\n{}\n", self.paint.strong(text));
    }

    /// Something that was done or begins.
    pub(super) fn step(&self, text: &str) -> Result<()> {
        println!("  {} {text}", self.paint.faint("·"));
        Ok(io::stdout().flush()?)
    }

    /// More about the step before.
    pub(super) fn detail(&self, text: &str) -> Result<()> {
        println!("    {}", self.paint.faint(text));
        Ok(io::stdout().flush()?)
    }

    /// Lines that stay, with an empty one before.
    pub(super) fn block(&self, lines: impl FnOnce(Paint) -> Vec<String>) -> Result<()> {
        println!();
        for line in lines(self.paint) {
            println!("{line}");
        }
        Ok(io::stdout().flush()?)
    }

    /// Redraws the live part.
    pub(super) fn live(&mut self, frame: impl FnOnce(Paint) -> Live) -> Result<()> {
        if !self.redraws {
            if self.last_line.is_none_or(|last| last.elapsed() >= PLAIN_PROGRESS) {
                self.last_line = Some(Instant::now());
                self.step(&frame(self.paint).line)?;
            }
            return Ok(());
        }
        let frame = frame(self.paint);
        self.rewind();
        for line in &frame.lines {
            println!("{line}");
        }
        self.drawn = frame.lines.len();
        Ok(io::stdout().flush()?)
    }

    /// Removes the live part.
    pub(super) fn clear_live(&mut self) -> Result<()> {
        self.rewind();
        self.drawn = 0;
        Ok(io::stdout().flush()?)
    }

    /// Goes back to the first line of the live part and clears what follows.
    fn rewind(&self) {
        if self.drawn > 0 {
            print!("\x1b[{}A\x1b[J", self.drawn);
        }
    }
}

/// Cuts a text to the terminal's width, less what stands before it.
pub(super) fn fit(text: &str, before: usize) -> String {
    let room = WIDTH.saturating_sub(before);
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(room.saturating_sub(1)).collect();
    cut.push('…');
    cut
}
