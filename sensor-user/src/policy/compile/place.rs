//! Where in the file a character of a multi-line text stands.
//!
//! YAML removes indentation and may fold lines, but it keeps every other character in order, so
//! the two texts are walked side by side, skipping white space.

use super::{Report, Span, Typed};

/// The place of the `offset`th character of a text that was read from `file`. Where the two
/// differ (escapes in quotes), the place of the last character before.
pub(super) fn within(report: &Report<'_>, text: &Typed<String>, offset: usize) -> Span {
    let file = report.text(text.at);
    let start = text.at.start;
    let end = start.saturating_add(text.at.len).min(file.len());
    let Some(written) = file.get(start..end) else { return text.at };
    let mut written = written.char_indices().peekable();
    if matches!(written.peek(), Some((_, '"' | '\''))) && !text.value.starts_with(['"', '\'']) {
        written.next();
    }
    let mut found = start;
    for (index, wanted) in text.value.chars().enumerate() {
        if wanted.is_whitespace() {
            if index >= offset {
                break;
            }
            continue;
        }
        let Some((at, _)) = written.find(|(_, c)| *c == wanted) else { break };
        found = start + at;
        if index >= offset {
            break;
        }
        // The end of the text is the place behind its last character.
        found += wanted.len_utf8();
    }
    span_at(file, found, text.at)
}

fn span_at(file: &str, start: usize, whole: Span) -> Span {
    let Some(before) = file.get(..start) else { return whole };
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Span {
        file: whole.file,
        line: count(before.matches('\n').count() + 1),
        column: count(file.get(line_start..start).unwrap_or("").chars().count() + 1),
        start,
        len: 1,
    }
}
