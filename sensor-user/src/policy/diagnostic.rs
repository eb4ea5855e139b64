//! What is wrong with a policy file, where, and what would be right.

use std::{borrow::Cow, collections::BTreeMap, fmt, path::PathBuf, sync::Arc};

use serde::Serialize;

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

/// One mistake (or, as a warning, something that is probably not meant).
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Diagnostic {
    /// The file as it was named.
    pub file: Arc<str>,
    /// Line, from 1; 0 if the mistake is the file itself.
    pub line: u32,
    /// Column in characters, from 1; 0 if the mistake is the file itself.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
    /// The line as written.
    pub excerpt: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "{}: {}", self.file, self.message)?;
        } else {
            write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        }
        if let Some(excerpt) = &self.excerpt {
            let number = self.line.to_string();
            let margin = " ".repeat(number.len());
            let indent = " ".repeat((self.column as usize).saturating_sub(1));
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
        let excerpt = None;
        let diagnostic =
            Diagnostic { file: file.into(), line: 0, column: 0, message, help, excerpt };
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
}

impl<'a> Report<'a> {
    /// Of files that are not there yet; `name` is what all of them together are called.
    pub(crate) fn empty(name: &str) -> Self {
        let (errors, warnings) = (Vec::new(), Vec::new());
        let aliases = BTreeMap::new();
        Self { name: name.into(), sources: Vec::new(), aliases, errors, warnings }
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
        let diagnostic = self.diagnostic(at, message.into(), help);
        self.errors.push((at, diagnostic));
    }

    /// Notes something that is allowed and probably not meant.
    pub(crate) fn warn(&mut self, at: Span, message: impl Into<String>, help: Option<String>) {
        let diagnostic = self.diagnostic(at, message.into(), help);
        self.warnings.push((at, diagnostic));
    }

    /// The warnings, or every mistake in the order of the files.
    pub(crate) fn finish(self) -> Result<Vec<Diagnostic>, PolicyErrors> {
        let warnings = in_order(self.warnings);
        if self.errors.is_empty() {
            return Ok(warnings);
        }
        Err(PolicyErrors { diagnostics: in_order(self.errors), warnings })
    }

    fn source(&self, at: Span) -> Option<&Source<'a>> {
        self.sources.get(usize::from(at.file))
    }

    fn diagnostic(&self, at: Span, message: String, help: Option<String>) -> Diagnostic {
        let excerpt = (at.line as usize)
            .checked_sub(1)
            .and_then(|index| self.text(at).lines().nth(index))
            .map(excerpt);
        let file = match self.source(at) {
            Some(source) if at.line > 0 => Arc::clone(&source.name),
            _ => Arc::clone(&self.name),
        };
        Diagnostic { file, line: at.line, column: at.column, message, help, excerpt }
    }
}

/// In the order of the files. The same thing is said once, also where an alias has it read twice.
fn in_order(mut found: Vec<(Span, Diagnostic)>) -> Vec<Diagnostic> {
    found.sort_by_key(|(at, _)| (at.file, at.start));
    found.dedup();
    found.into_iter().map(|(_, diagnostic)| diagnostic).collect()
}

/// A line as it can be shown: tabs and other control characters would put the mark under another
/// character than the one meant, or do things to a terminal.
fn excerpt(line: &str) -> String {
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
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
