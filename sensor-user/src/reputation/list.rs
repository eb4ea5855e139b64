//! What a list's text says: plain lists, ipset's netsets, Spamhaus' DROP.
//!
//! A list with a single line that is none is refused whole: half of a page of an error, or of a
//! transfer, must not pass for a list.

use std::fmt;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use crate::policy::netset;

/// Largest list that is read: a million prefixes of usual length fit several times.
pub const LARGEST_BYTES: u64 = 64 << 20;

/// Most prefixes of a list.
pub const MOST_PREFIXES: usize = 2_000_000;

/// Longest line.
const LONGEST_LINE: usize = 4096;

/// How a list is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// As its text looks.
    #[default]
    Auto,
    /// An address or prefix a line; `#` and `;` begin comments.
    Plain,
    /// The same, or `ipset save`'s lines (`add NAME PREFIX`).
    Netset,
    /// Spamhaus' DROP: JSON lines with `cidr`, and a last one with how many there are.
    SpamhausDrop,
}

/// Why a text is no list.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ListError {
    /// A line is not what lines are.
    #[error("line {line}: `{text}` is no {expected}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What stands there, shortened.
        text: String,
        /// What should.
        expected: &'static str,
    },
    /// It names nothing.
    #[error("it is empty")]
    Empty,
    /// It names too much.
    #[error("it has more than {MOST_PREFIXES} prefixes")]
    TooMany,
    /// The line that ends a DROP list is not there.
    #[error("its last line, which says how many records it has, is missing: it was cut off")]
    CutOff,
    /// A DROP list has not as many records as it says.
    #[error("it says that it has {said} records, and has {found}: it was cut off")]
    Count {
        /// What it says.
        said: usize,
        /// What it has.
        found: usize,
    },
}

/// Reads a list. Prefixes are in the order of the text; IPv4-mapped IPv6 ones are IPv4.
///
/// # Errors
/// If any line is wrong, the list is empty, cut off, or too long.
pub fn parse(text: &[u8], format: Format) -> Result<Vec<IpNet>, ListError> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let nets = match format {
        Format::SpamhausDrop => parse_drop(text),
        Format::Auto if is_json(text) => parse_drop(text),
        Format::Auto | Format::Netset => parse_lines(text, true),
        Format::Plain => parse_lines(text, false),
    }?;
    if nets.is_empty() {
        return Err(ListError::Empty);
    }
    Ok(nets)
}

fn is_json(text: &[u8]) -> bool {
    text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.enumerate().map(|(index, line)| (index + 1, line)).filter(|(_, line)| !line.is_empty())
}

fn parse_lines(text: &[u8], is_netset: bool) -> Result<Vec<IpNet>, ListError> {
    const EXPECTED: &str = "address or prefix, like `192.0.2.7` or `2001:db8::/32`";
    let mut nets = Vec::new();
    for (line, written) in lines(text) {
        let entry = written.split(|byte| matches!(byte, b'#' | b';')).next().unwrap_or_default();
        let wrong = || complaint(line, written, EXPECTED);
        // Comments can be in any encoding; addresses are ASCII.
        let entry = std::str::from_utf8(entry).map_err(|_| wrong())?.trim();
        let entry = match entry.split_once(char::is_whitespace) {
            Some(("create" | "flush" | "destroy", _)) if is_netset => continue,
            Some(("add", rest)) if is_netset => {
                // The name of the set, the prefix, and options.
                rest.split_whitespace().nth(1).ok_or_else(wrong)?
            }
            _ => entry,
        };
        if entry.is_empty() {
            continue;
        }
        push(&mut nets, entry, wrong)?;
    }
    Ok(nets)
}

/// A line of a DROP list.
#[derive(Deserialize)]
struct Record {
    cidr: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    records: Option<usize>,
}

fn parse_drop(text: &[u8]) -> Result<Vec<IpNet>, ListError> {
    let mut nets = Vec::new();
    let mut said = None;
    for (line, written) in lines(text) {
        let wrong =
            || complaint(line, written, "record of a DROP list, like {\"cidr\": \"192.0.2.0/24\"}");
        if written.len() > LONGEST_LINE {
            return Err(wrong());
        }
        let record: Record = serde_json::from_slice(written).map_err(|_| wrong())?;
        match (record.cidr, record.kind.as_deref()) {
            (Some(cidr), _) => push(&mut nets, &cidr, wrong)?,
            (None, Some("metadata")) => said = record.records.or(said),
            (None, _) => return Err(wrong()),
        }
    }
    match said {
        None if nets.is_empty() => Err(ListError::Empty),
        None => Err(ListError::CutOff),
        Some(said) if said != nets.len() => Err(ListError::Count { said, found: nets.len() }),
        Some(_) => Ok(nets),
    }
}

fn push(
    nets: &mut Vec<IpNet>,
    entry: &str,
    wrong: impl Fn() -> ListError,
) -> Result<(), ListError> {
    let net = netset::prefix(entry).map_err(|_| wrong())?;
    if nets.len() >= MOST_PREFIXES {
        return Err(ListError::TooMany);
    }
    nets.push(unmapped(net));
    Ok(())
}

/// `::ffff:192.0.2.0/120` is `192.0.2.0/24`.
fn unmapped(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    let mapped = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    mapped.and_then(|(v4, length)| Ipv4Net::new(v4, length).ok()).map_or(net, IpNet::V4)
}

fn complaint(line: usize, written: &[u8], expected: &'static str) -> ListError {
    let shown = String::from_utf8_lossy(written.get(..60).unwrap_or(written));
    let text = shown.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    ListError::Line { line, text, expected }
}

impl fmt::Display for Format {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Auto => "auto",
            Self::Plain => "plain",
            Self::Netset => "netset",
            Self::SpamhausDrop => "spamhaus-drop",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(text: &str, format: Format) -> Result<Vec<String>, ListError> {
        Ok(parse(text.as_bytes(), format)?.iter().map(ToString::to_string).collect())
    }

    const DROP: &str = "{\"cidr\":\"192.0.2.0/24\",\"sblid\":\"SBL1\",\"rir\":\"ripencc\"}\n\
        {\"cidr\":\"2001:db8::/32\",\"sblid\":\"SBL2\",\"rir\":\"arin\"}\n\
        {\"type\":\"metadata\",\"timestamp\":1700000000,\"size\":99,\"records\":2,\"copyright\":\"x\"}\n";

    #[test]
    fn plain_lists_have_comments_of_many_kinds() {
        let text = "\u{feff}# list\r\n192.0.2.7 # one\r\n198.51.100.9/24 ; SBL7\n\n;x\n::ffff:10.1.2.3/120\n";
        for format in [Format::Plain, Format::Auto, Format::Netset] {
            assert_eq!(
                texts(text, format).unwrap(),
                ["192.0.2.7/32", "198.51.100.0/24", "10.1.2.0/24"]
            );
        }
        assert_eq!(parse(b"10.0.0.0/8 # caf\xe9", Format::Plain).unwrap().len(), 1);
    }

    #[test]
    fn netsets_are_as_ipset_saves_them() {
        let text = "create bad hash:net family inet hashsize 1024\nadd bad 192.0.2.0/24 timeout 9\n\
                    add bad 2001:db8::/32\n198.51.100.7\n";
        let expected = ["192.0.2.0/24", "2001:db8::/32", "198.51.100.7/32"];
        assert_eq!(texts(text, Format::Netset).unwrap(), expected);
        assert_eq!(texts(text, Format::Auto).unwrap(), expected);
        let error = texts(text, Format::Plain).unwrap_err().to_string();
        assert!(error.starts_with("line 1: `create bad"), "{error}");
        assert!(texts("add bad\n", Format::Netset).is_err());
    }

    #[test]
    fn drop_lists_say_how_long_they_are() {
        let expected = ["192.0.2.0/24", "2001:db8::/32"];
        for format in [Format::SpamhausDrop, Format::Auto] {
            assert_eq!(texts(DROP, format).unwrap(), expected);
        }
        let one_less: String = DROP.lines().skip(1).collect::<Vec<_>>().join("\n");
        assert_eq!(texts(&one_less, Format::Auto), Err(ListError::Count { said: 2, found: 1 }));
        let unfinished: String = DROP.lines().take(2).collect::<Vec<_>>().join("\n");
        assert_eq!(texts(&unfinished, Format::Auto), Err(ListError::CutOff));
        assert!(matches!(
            texts(&DROP[..DROP.len() / 2], Format::Auto),
            Err(ListError::Line { .. })
        ));
        assert_eq!(
            texts("{\"type\":\"metadata\",\"records\":0}", Format::Auto),
            Err(ListError::Empty)
        );
    }

    #[test]
    fn what_is_no_list_is_refused_whole() {
        for (text, expected) in [
            ("", "it is empty"),
            ("# nothing\n", "it is empty"),
            ("10.0.0.0/8\n<html>\n", "line 2: `<html>` is no address"),
            ("10.0.0.0/33\n", "line 1: `10.0.0.0/33` is no"),
            ("10.0.0.0/8 10.1.0.0/16\n", "line 1: "),
            ("{\"cidr\":7}\n", "line 1: "),
            ("{\"cidr\":\"x\"}\n", "line 1: "),
            ("{\"sblid\":\"SBL1\"}\n", "line 1: "),
        ] {
            let error = texts(text, Format::Auto).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn errors_are_short_and_harmless_to_terminals() {
        let error = texts(&format!("\u{1b}[2J{}", "x".repeat(9000)), Format::Auto).unwrap_err();
        let shown = error.to_string();
        assert!(shown.len() < 200 && !shown.contains('\u{1b}'), "{shown}");
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_list_or_a_reason(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            for format in [Format::Auto, Format::Plain, Format::Netset, Format::SpamhausDrop] {
                if let Ok(nets) = parse(&bytes, format) {
                    prop_assert!(!nets.is_empty());
                    prop_assert!(nets.iter().all(|net| net.trunc() == *net));
                }
            }
        }

        #[test]
        fn a_cut_drop_list_is_never_a_shorter_one(at in 0usize..DROP.len()) {
            let cut = &DROP.as_bytes()[..at];
            // Only the last line's own end may be missing.
            if !DROP[at..].trim().is_empty() {
                prop_assert!(parse(cut, Format::Auto).is_err());
            }
        }

        #[test]
        fn lists_in_pieces_of_real_lines(
            picked in prop::collection::vec(prop::sample::select(&[
                "10.0.0.0/8", "add x 10.0.0.1", "# c", "create x", "{\"cidr\":\"10.0.0.0/8\"}",
                "::1", "0.0.0.0/0", "add", "add x", "\0", ";;;", "1.2.3.4/08", "٣.1.1.1", "10.0.0.0/8/8",
            ][..]), 0..12),
        ) {
            let text = picked.join("\n");
            for format in [Format::Auto, Format::Plain, Format::Netset, Format::SpamhausDrop] {
                let _ = parse(text.as_bytes(), format);
            }
        }
    }
}
