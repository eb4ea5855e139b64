//! What is wrong with a policy file, where, and what would be right.

use std::{borrow::Cow, collections::BTreeMap, fmt, path::PathBuf, sync::Arc};

use serde::Serialize;
use unicode_width::UnicodeWidthChar;

/// Where something stands: which of the files that are read together, line and column from 1, and
/// the byte range. Without a line, it is all of the files.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Span {
    pub(crate) file: u16,
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) start: usize,
    pub(crate) len: usize,
}

/// Mistakes that are shown; more are counted.
const MOST_SHOWN: usize = 256;

/// Characters of a line up to which it is shown from its beginning.
const WIDEST: usize = 120;

/// Characters of a message or a help line.
const LONGEST_MESSAGE: usize = 600;

/// How bad something is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A mistake: nothing of the files takes effect.
    Error,
    /// Allowed, and probably not meant.
    Warning,
}

/// One mistake (or, as a warning, something that is probably not meant).
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Diagnostic {
    /// The file as it was named.
    pub file: Arc<str>,
    /// Line, from 1; 0 if the mistake is the file itself.
    pub line: u32,
    /// Column in characters, from 1; 0 if the mistake is the file itself.
    pub column: u32,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
    /// The line as written; of a long one, what is around the column.
    pub excerpt: Option<String>,
    // The place in the excerpt that the column means: terminal cells before it.
    #[serde(skip)]
    mark: usize,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        let severity = if self.severity == Severity::Warning { "warning: " } else { "" };
        write!(f, ": {severity}{}", self.message)?;
        if let Some(excerpt) = &self.excerpt {
            let number = self.line.to_string();
            let margin = " ".repeat(number.len());
            let indent = " ".repeat(self.mark);
            write!(f, "\n {margin} |\n {number} | {excerpt}\n {margin} | {indent}^")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n   help: {help}")?;
        }
        Ok(())
    }
}

/// Every mistake found in a policy file. Nothing of the file takes effect.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PolicyErrors {
    /// In the order of the files; at least one.
    pub diagnostics: Vec<Diagnostic>,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Diagnostic>,
}

impl PolicyErrors {
    /// A mistake of the file as a whole.
    pub(crate) fn of_file(file: &str, message: String, help: &str) -> Self {
        let help = Some(help.to_owned());
        let diagnostic = Diagnostic {
            file: file.into(),
            line: 0,
            column: 0,
            severity: Severity::Error,
            message,
            help,
            excerpt: None,
            mark: 0,
        };
        Self { diagnostics: vec![diagnostic], warnings: Vec::new() }
    }
}

impl fmt::Display for PolicyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, diagnostic) in self.diagnostics.iter().enumerate() {
            if nth > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyErrors {}

/// A file that is being read.
#[derive(Clone)]
struct Source<'a> {
    name: Arc<str>,
    text: Cow<'a, str>,
    directory: PathBuf,
}

/// Files being read together, and what was found wrong with them so far.
pub(crate) struct Report<'a> {
    name: Arc<str>,
    sources: Vec<Source<'a>>,
    // Where what aliases stand for is written, by where they are used.
    aliases: BTreeMap<Span, Span>,
    errors: Vec<(Span, Diagnostic)>,
    warnings: Vec<(Span, Diagnostic)>,
    later: Vec<(u64, Diagnostic)>,
    // Mistakes that are only counted.
    more: usize,
}

impl<'a> Report<'a> {
    /// Of files that are not there yet; `name` is what all of them together are called.
    pub(crate) fn empty(name: &str) -> Self {
        let (errors, warnings) = (Vec::new(), Vec::new());
        let aliases = BTreeMap::new();
        let later = Vec::new();
        Self { name: name.into(), sources: Vec::new(), aliases, errors, warnings, later, more: 0 }
    }

    /// The same files, with nothing found in them yet.
    pub(crate) fn fork(&self, name: &str) -> Self {
        let (sources, aliases) = (self.sources.clone(), self.aliases.clone());
        Self { sources, aliases, ..Self::empty(name) }
    }

    /// Of a single text.
    #[cfg(test)]
    pub(crate) fn new(name: &str, text: &'a str) -> Self {
        let mut report = Self::empty(name);
        report.add(name, text.into(), PathBuf::new());
        report
    }

    /// Takes a file in; files that it names are in `directory`. Gives its number.
    pub(crate) fn add(&mut self, name: &str, text: Cow<'a, str>, directory: PathBuf) -> u16 {
        self.sources.push(Source { name: name.into(), text, directory });
        u16::try_from(self.sources.len() - 1).unwrap_or(u16::MAX)
    }

    /// The text of the file that something stands in.
    pub(crate) fn text(&self, at: Span) -> &str {
        self.source(at).map_or("", |source| &source.text)
    }

    /// Takes note of an alias, and of where what it stands for is written.
    pub(crate) fn add_alias(&mut self, at: Span, written: Span) {
        self.aliases.insert(at, written);
    }

    /// Where a value is written: elsewhere, if an alias stands for it.
    pub(crate) fn written(&self, at: Span) -> Span {
        self.aliases.get(&at).copied().unwrap_or(at)
    }

    /// The place of a file that is named at `at`: beside the file that names it.
    pub(crate) fn beside(&self, at: Span, file: &str) -> PathBuf {
        self.source(at).map_or_else(PathBuf::new, |source| source.directory.join(file))
    }

    /// Where something stands, for messages about something else: `line 7`, or in another file
    /// `site.yaml:7`.
    pub(crate) fn place(&self, at: Span, seen_from: Span) -> String {
        match self.source(at) {
            Some(source) if at.file != seen_from.file => format!("{}:{}", source.name, at.line),
            _ => format!("line {}", at.line),
        }
    }

    /// Notes a mistake.
    pub(crate) fn error(&mut self, at: Span, message: impl Into<String>, help: Option<String>) {
        if self.errors.len() >= MOST_SHOWN {
            self.more += 1;
            return;
        }
        let diagnostic = self.diagnostic(at, Severity::Error, message.into(), help);
        self.errors.push((at, diagnostic));
    }

    /// Notes something that is allowed and probably not meant.
    pub(crate) fn warn(&mut self, at: Span, message: impl Into<String>, help: Option<String>) {
        if self.warnings.len() >= MOST_SHOWN {
            return;
        }
        let diagnostic = self.diagnostic(at, Severity::Warning, message.into(), help);
        self.warnings.push((at, diagnostic));
    }

    /// Notes something that is a warning from some time on, in seconds since 1970.
    pub(crate) fn warn_from(
        &mut self,
        time_unix_s: u64,
        at: Span,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        let diagnostic = self.diagnostic(at, Severity::Warning, message.into(), help);
        self.later.push((time_unix_s, diagnostic));
    }

    /// What becomes a warning with time.
    pub(crate) fn take_later(&mut self) -> Vec<(u64, Diagnostic)> {
        std::mem::take(&mut self.later)
    }

    /// The warnings, or every mistake in the order of the files.
    pub(crate) fn finish(self) -> Result<Vec<Diagnostic>, PolicyErrors> {
        let warnings = in_order(self.warnings);
        if self.errors.is_empty() {
            return Ok(warnings);
        }
        let more = self.more;
        let mut diagnostics = in_order(self.errors);
        if more > 0 {
            let message = format!("and {more} more mistakes");
            let help = "they are shown when these are gone";
            diagnostics.extend(PolicyErrors::of_file(&self.name, message, help).diagnostics);
        }
        Err(PolicyErrors { diagnostics, warnings })
    }

    fn source(&self, at: Span) -> Option<&Source<'a>> {
        self.sources.get(usize::from(at.file))
    }

    fn diagnostic(
        &self,
        at: Span,
        severity: Severity,
        message: String,
        help: Option<String>,
    ) -> Diagnostic {
        let line =
            (at.line as usize).checked_sub(1).and_then(|index| self.text(at).lines().nth(index));
        let column = (at.column as usize).saturating_sub(1);
        let (excerpt, mark) = match line {
            Some(line) => excerpt(line, column),
            None => (None, 0),
        };
        let message = clipped(message);
        let help = help.map(clipped);
        let file = match self.source(at) {
            Some(source) if at.line > 0 => Arc::clone(&source.name),
            _ => Arc::clone(&self.name),
        };
        let (line, column) = (at.line, at.column);
        Diagnostic { file, line, column, severity, message, help, excerpt, mark }
    }
}

/// In the order of the files. The same thing is said once, also where an alias has it read twice.
fn in_order(mut found: Vec<(Span, Diagnostic)>) -> Vec<Diagnostic> {
    found.sort_by_key(|(at, _)| (at.file, at.start));
    found.dedup();
    found.into_iter().map(|(_, diagnostic)| diagnostic).collect()
}

/// A line as it can be shown, and how many terminal cells are before its `column`th character (from
/// 0): some characters are two wide, and some none. Tabs and other
/// control characters would put the mark under another character than the one meant, or do things
/// to a terminal. Of a long line, what is around the column.
fn excerpt(line: &str, column: usize) -> (Option<String>, usize) {
    let from = if column > WIDEST { column - WIDEST / 2 } else { 0 };
    let mut rest = line.chars().skip(from).map(|c| if c.is_control() { ' ' } else { c });
    let mut shown: String = if from > 0 { "…".to_owned() } else { String::new() };
    shown.extend(rest.by_ref().take(WIDEST + 40));
    if rest.next().is_some() {
        shown.push('…');
    }
    let before = column - from + usize::from(from > 0);
    let cells = shown.chars().take(before).map(|c| c.width().unwrap_or(0)).sum();
    (Some(shown), cells)
}

/// A message of a length that people read.
fn clipped(text: String) -> String {
    match text.char_indices().nth(LONGEST_MESSAGE) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_line_and_marks_the_column() {
        let mut report = Report::new("site.yaml", "kind: Site\nkindness: 1\n");
        let at = Span { file: 0, line: 2, column: 1, start: 11, len: 8 };
        report.error(at, "unknown field `kindness`", Some("did you mean `kind`?".into()));
        let errors = report.finish().unwrap_err();
        assert_eq!(
            errors.to_string(),
            "site.yaml:2:1: unknown field `kindness`\n   |\n 2 | kindness: 1\n   | ^\n   help: did you mean `kind`?"
        );
    }

    #[test]
    fn mistakes_come_in_the_order_of_the_file() {
        let mut report = Report::new("site.yaml", "a\nb\n");
        report.error(Span { file: 0, line: 2, column: 1, start: 2, len: 1 }, "second", None);
        report.error(Span { file: 0, line: 1, column: 1, start: 0, len: 1 }, "first", None);
        let errors = report.finish().unwrap_err();
        let messages: Vec<_> = errors.diagnostics.iter().map(|d| d.message.as_str()).collect();
        assert_eq!(messages, ["first", "second"]);
    }
}
