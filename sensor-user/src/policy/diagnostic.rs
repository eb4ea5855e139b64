//! What is wrong with a policy file, where, and what would be right.

use std::{fmt, sync::Arc};

use serde::Serialize;

/// Where something stands in a file: line and column from 1, and the byte range.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Span {
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
    /// In the order of the file; at least one.
    pub diagnostics: Vec<Diagnostic>,
}

impl PolicyErrors {
    /// A mistake of the file as a whole.
    pub(crate) fn of_file(file: &str, message: String, help: &str) -> Self {
        let help = Some(help.to_owned());
        let excerpt = None;
        let diagnostic =
            Diagnostic { file: file.into(), line: 0, column: 0, message, help, excerpt };
        Self { diagnostics: vec![diagnostic] }
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

/// A file being read, and what was found wrong with it so far.
pub(crate) struct Report<'a> {
    file: Arc<str>,
    text: &'a str,
    errors: Vec<(usize, Diagnostic)>,
    warnings: Vec<Diagnostic>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(file: &str, text: &'a str) -> Self {
        Self { file: file.into(), text, errors: Vec::new(), warnings: Vec::new() }
    }

    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// Notes a mistake.
    pub(crate) fn error(&mut self, at: Span, message: impl Into<String>, help: Option<String>) {
        let diagnostic = self.diagnostic(at, message.into(), help);
        self.errors.push((at.start, diagnostic));
    }

    /// Notes something that is allowed and probably not meant.
    pub(crate) fn warn(&mut self, at: Span, message: impl Into<String>, help: Option<String>) {
        let diagnostic = self.diagnostic(at, message.into(), help);
        self.warnings.push(diagnostic);
    }

    /// The warnings, or every mistake in the order of the file.
    pub(crate) fn finish(mut self) -> Result<Vec<Diagnostic>, PolicyErrors> {
        if self.errors.is_empty() {
            return Ok(self.warnings);
        }
        self.errors.sort_by_key(|(start, _)| *start);
        Err(PolicyErrors { diagnostics: self.errors.into_iter().map(|(_, error)| error).collect() })
    }

    fn diagnostic(&self, at: Span, message: String, help: Option<String>) -> Diagnostic {
        let excerpt = (at.line as usize)
            .checked_sub(1)
            .and_then(|index| self.text.lines().nth(index))
            // A tab would put the mark under another character than the one meant.
            .map(|line| line.replace('\t', " "));
        Diagnostic {
            file: Arc::clone(&self.file),
            line: at.line,
            column: at.column,
            message,
            help,
            excerpt,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_line_and_marks_the_column() {
        let mut report = Report::new("site.yaml", "kind: Site\nkindness: 1\n");
        let at = Span { line: 2, column: 1, start: 11, len: 8 };
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
        report.error(Span { line: 2, column: 1, start: 2, len: 1 }, "second", None);
        report.error(Span { line: 1, column: 1, start: 0, len: 1 }, "first", None);
        let errors = report.finish().unwrap_err();
        let messages: Vec<_> = errors.diagnostics.iter().map(|d| d.message.as_str()).collect();
        assert_eq!(messages, ["first", "second"]);
    }
}
