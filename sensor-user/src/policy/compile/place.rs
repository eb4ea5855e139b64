//! Where in a file a character of a text stands.
//!
//! YAML removes indentation, folds lines and knows escapes, but it keeps every character that is
//! not white space, in order. So what is written is read once more in each style that it could be
//! in, and the style that gives the text is the one.

use super::{Report, Span, Typed};

/// The place of the `offset`th character of a text; behind the last one, the text's end. Of a text
/// that an alias stands for, the place where it is written.
pub(super) fn within(report: &Report<'_>, text: &Typed<String>, offset: usize) -> Span {
    let whole = report.written(text.at);
    let file = report.text(whole);
    let end = whole.start.saturating_add(whole.len).min(file.len());
    let Some(written) = file.get(whole.start..end) else { return text.at };
    let styles: [fn(&str) -> Vec<Unit>; 3] = [double_quoted, single_quoted, plain_or_block];
    let is_text = |units: &Vec<Unit>| {
        let wanted = text.value.chars().filter(|c| !c.is_whitespace());
        units.iter().map(|unit| unit.character).eq(wanted)
    };
    let Some(units) = styles.iter().map(|read| read(written)).find(is_text) else {
        return text.at;
    };
    let before = text.value.chars().take(offset).filter(|c| !c.is_whitespace()).count();
    let is_character = text.value.chars().nth(offset).is_some_and(|c| !c.is_whitespace());
    let at = if is_character {
        units.get(before).map(|unit| unit.start)
    } else {
        // Behind the last character before.
        before.checked_sub(1).and_then(|last| units.get(last)).map(|unit| unit.end)
    };
    span_at(file, whole.start + at.unwrap_or_default(), whole)
}

/// A character of a text that is not white space, and the bytes that it is written with.
struct Unit {
    character: char,
    start: usize,
    end: usize,
}

fn plain_or_block(written: &str) -> Vec<Unit> {
    let units = written.char_indices().map(|(start, character)| {
        let end = start + character.len_utf8();
        Unit { character, start, end }
    });
    units.filter(|unit| !unit.character.is_whitespace()).collect()
}

/// `'it''s'`
fn single_quoted(written: &str) -> Vec<Unit> {
    let Some(inner) = written.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) else {
        return Vec::new();
    };
    let mut units = Vec::new();
    let mut rest = plain_or_block(inner).into_iter().peekable();
    while let Some(mut unit) = rest.next() {
        if unit.character == '\'' && rest.peek().is_some_and(|next| next.character == '\'') {
            unit.end += 1;
            rest.next();
        }
        units.push(Unit { start: unit.start + 1, end: unit.end + 1, ..unit });
    }
    units
}

/// `"a \"quoted\" text"` (YAML 1.2, section 5.7).
fn double_quoted(written: &str) -> Vec<Unit> {
    let Some(inner) = written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Vec::new();
    };
    let mut units = Vec::new();
    let mut start = 0;
    while let Some(first) = inner.get(start..).and_then(|rest| rest.chars().next()) {
        let mut end = start + first.len_utf8();
        let mut character = first;
        if first == '\\' {
            let Some(kind) = inner.get(end..).and_then(|rest| rest.chars().next()) else { break };
            end += kind.len_utf8();
            let digits = match kind {
                'x' => 2,
                'u' => 4,
                'U' => 8,
                _ => 0,
            };
            let code = inner.get(end..end + digits).unwrap_or_default();
            end += code.len();
            character = escaped(kind, code);
        }
        if !character.is_whitespace() {
            units.push(Unit { character, start: start + 1, end: end + 1 });
        }
        start = end;
    }
    units
}

/// What an escape stands for; white space is as good as any other.
fn escaped(kind: char, code: &str) -> char {
    match kind {
        '0' => '\0',
        'a' => '\u{7}',
        'b' => '\u{8}',
        'e' => '\u{1b}',
        't' | 'n' | 'v' | 'f' | 'r' | 'N' | '_' | 'L' | 'P' => ' ',
        'x' | 'u' | 'U' => {
            let number = u32::from_str_radix(code, 16).ok();
            number.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
        other => other,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(units: &[Unit], written: &str) -> Vec<(char, String)> {
        units.iter().map(|u| (u.character, written[u.start..u.end].to_owned())).collect()
    }

    #[test]
    fn every_character_knows_how_it_is_written() {
        let written = r#""a\u00e9 \"\
   é\n\x41\t""#;
        let expected = [('a', "a"), ('é', "\\u00e9"), ('"', "\\\""), ('é', "é"), ('A', "\\x41")];
        let expected = expected.map(|(character, written)| (character, written.to_owned()));
        assert_eq!(shown(&double_quoted(written), written), expected);
        let written = "'it''s'";
        let expected = [('i', "i"), ('t', "t"), ('\'', "''"), ('s', "s")]
            .map(|(character, written)| (character, written.to_owned()));
        assert_eq!(shown(&single_quoted(written), written), expected);
    }

    #[test]
    fn broken_escapes_come_to_an_end() {
        for written in ["\"\\\"", "\"\\x\"", "\"\\u00\"", "\"", "'", "\"\\U0000000é\""] {
            double_quoted(written);
            single_quoted(written);
        }
    }
}
