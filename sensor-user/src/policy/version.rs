//! The version of a policy: a hash of what is written, so that a decision says by which text it was
//! made, and two hosts can tell whether theirs are the same.

use ring::digest::{Context, SHA256};

use super::diagnostic::{Report, Span};

/// How many hexadecimal digits are shown.
const DIGITS: usize = 12;

/// The version of what the documents at these places say. Line ends, and white space around a
/// document, do not count; comments inside do.
pub(super) fn of(report: &Report<'_>, documents: &[Span]) -> String {
    let mut hash = Context::new(&SHA256);
    for at in documents {
        for line in document(report.text(*at), at.start).lines() {
            hash.update(line.as_bytes());
            hash.update(b"\n");
        }
        // No text has this byte: where one document ends and the next begins counts.
        hash.update(&[0xff]);
    }
    let digest = hash.finish();
    let hexadecimal: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    hexadecimal.chars().take(DIGITS).collect()
}

/// The text of the document around a place: between two markers (YAML 1.2, section 9.1.2: `---` or
/// `...` at the beginning of a line is always one, also inside of scalars).
fn document(text: &str, place: usize) -> &str {
    let mut start = 0;
    let mut line_start = 0;
    for line in text.split_inclusive('\n') {
        let line_end = line_start + line.len();
        if is_marker(line) {
            if line_start > place {
                return text.get(start..line_start).unwrap_or(text).trim();
            }
            // What stands behind a `---` belongs to its document.
            start = line_start + 3;
        }
        line_start = line_end;
    }
    text.get(start..).unwrap_or(text).trim()
}

fn is_marker(line: &str) -> bool {
    let rest = line.strip_prefix("---").or_else(|| line.strip_prefix("..."));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str, place: usize) -> String {
        of(&Report::new("x", text), &[Span { start: place, line: 1, ..Span::default() }])
    }

    #[test]
    fn a_document_ends_where_the_next_begins() {
        let text = "# a\r\nkind: Site\r\n--- # b\nkind: Policy\nx: |\n  ---\n...\n---\nkind: C\n";
        let place = |part: &str| text.find(part).unwrap();
        assert_eq!(document(text, place("Site")), "# a\r\nkind: Site");
        assert_eq!(document(text, place("Policy")), "# b\nkind: Policy\nx: |\n  ---");
        assert_eq!(document(text, place("kind: C")), "kind: C");
    }

    #[test]
    fn only_what_is_written_in_it_counts() {
        let alone = version("kind: Site\nx: 1\n", 0);
        assert_eq!(alone.len(), 12);
        assert_eq!(version("\n\nkind: Site\r\nx: 1\r\n---\nkind: Policy\n", 2), alone);
        assert_ne!(version("kind: Site\nx: 2\n", 0), alone);
        assert_ne!(version("kind: Site\nx: 1 # why\n", 0), alone);
    }
}
