//! A list of prefixes and fingerprints as people keep them: one a line, blank lines, and comments
//! after `#` or `;`.
//!
//! Read in pieces as they arrive. Every bad line is found, and one bad line spoils the list.

use std::net::IpAddr;

use ipnet::IpNet;

use super::message::{BadLine, Failure, FailureKind};
use crate::enforce::fingerprint::{self, Fingerprint};

/// Bad lines that are listed one by one; beyond it they are counted.
const LISTED_MAX: usize = 1000;

/// Longest line that is kept: a JA4_r with the longest lists that anybody sends fits, and a comment
/// may follow.
const LINE_MAX: usize = 4096;

/// Whom a request is about.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BlockList {
    /// Addresses.
    pub prefixes: Vec<IpNet>,
    /// Fingerprints.
    pub fingerprints: Vec<Fingerprint>,
}

impl BlockList {
    /// How many entries it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.prefixes.len() + self.fingerprints.len()
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A list that is being read.
#[derive(Debug, Default)]
pub struct ListReader {
    list: BlockList,
    /// The beginning of a line whose end has not arrived.
    partial: Vec<u8>,
    line: usize,
    bad: Vec<BadLine>,
    more_bad: usize,
}

impl ListReader {
    /// Takes the next piece of text.
    pub fn push(&mut self, mut text: &[u8]) {
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = text.split_at(end);
            text = rest.get(1..).unwrap_or_default();
            if self.partial.is_empty() {
                self.take_line(line);
            } else {
                self.keep(line);
                let line = std::mem::take(&mut self.partial);
                self.take_line(&line);
            }
        }
        self.keep(text);
    }

    /// The whole list, once all of it was pushed.
    pub fn finish(mut self) -> Result<BlockList, Failure> {
        if !self.partial.is_empty() {
            let line = std::mem::take(&mut self.partial);
            self.take_line(&line);
        }
        if self.bad.is_empty() {
            return Ok(self.list);
        }
        let count = self.bad.len() + self.more_bad;
        let lines = if count == 1 { "line" } else { "lines" };
        Err(Failure {
            kind: FailureKind::BadList,
            message: format!("{count} {lines} cannot be used; nothing was changed"),
            lines: self.bad,
            more_lines: self.more_bad,
        })
    }

    fn keep(&mut self, text: &[u8]) {
        let room = LINE_MAX.saturating_sub(self.partial.len());
        self.partial.extend(text.iter().take(room));
    }

    fn take_line(&mut self, line: &[u8]) {
        self.line += 1;
        let entry = line.split(|byte| matches!(byte, b'#' | b';')).next().unwrap_or_default();
        let entry = entry.trim_ascii();
        if entry.is_empty() {
            return;
        }
        let text = str::from_utf8(entry).unwrap_or_default();
        let taken = if fingerprint::is_meant(text) {
            let read = text.parse().map(|fingerprint| self.list.fingerprints.push(fingerprint));
            read.map_err(|error| error.to_string())
        } else {
            prefix(entry).map(|prefix| self.list.prefixes.push(prefix))
        };
        match taken {
            Ok(()) => {}
            Err(_) if self.bad.len() >= LISTED_MAX => self.more_bad += 1,
            Err(message) => self.bad.push(BadLine { line: self.line, message }),
        }
    }
}

/// An address as a full-length prefix, or a prefix with the bits beyond its length cleared.
fn prefix(entry: &[u8]) -> Result<IpNet, String> {
    let text = str::from_utf8(entry).unwrap_or_default();
    let parsed = match text.parse::<IpAddr>() {
        Ok(address) => Some(IpNet::from(address)),
        Err(_) => text.parse::<IpNet>().ok().map(|prefix| prefix.trunc()),
    };
    let Some(prefix) = parsed else {
        return Err(format!("{} {}", shown(entry), complaint(text)));
    };
    match prefix {
        IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some() && v6.prefix_len() >= 96 => {
            Err(format!("{} is an IPv4 address in IPv6 form: write it as IPv4", shown(entry)))
        }
        IpNet::V6(v6) if (65..=127).contains(&v6.prefix_len()) => Err(format!(
            "{} is part of a /64, in which a host chooses its addresses freely: write the /64, or \
             single addresses",
            shown(entry)
        )),
        _ if prefix.prefix_len() == 0 => Err(format!("{} covers every address", shown(entry))),
        _ => Ok(prefix),
    }
}

fn complaint(text: &str) -> &'static str {
    if text.contains([',', ' ', '\t']) {
        "holds more than one thing: write one address, prefix or fingerprint a line"
    } else if text.contains('/') {
        "is not a prefix like 192.0.2.0/24 or 2001:db8::/32"
    } else if text.contains(|c: char| c.is_alphabetic()) && !text.contains(':') {
        "is not an address; names are not looked up"
    } else {
        "is not an address or prefix like 192.0.2.7 or 2001:db8::/32"
    }
}

/// A line's text for a message: quoted, control characters made visible, cut at 60 characters.
fn shown(entry: &[u8]) -> String {
    let text = String::from_utf8_lossy(entry);
    let cut: String = text.chars().take(60).collect();
    let dots = if cut.len() < text.len() { "…" } else { "" };
    format!("`{}{dots}`", cut.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, piece: usize) -> Result<BlockList, Failure> {
        let mut list = ListReader::default();
        for piece in text.as_bytes().chunks(piece) {
            list.push(piece);
        }
        list.finish()
    }

    #[test]
    fn pieces_make_the_same_list_wherever_they_are_cut() {
        let text = "# feed of today\n192.0.2.7\n\n 198.51.100.9/24 ; office\r\n2001:db8::/32\n::1";
        let whole = read(text, text.len()).unwrap();
        let shown: Vec<String> = whole.prefixes.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["192.0.2.7/32", "198.51.100.0/24", "2001:db8::/32", "::1/128"]);
        for piece in 1..text.len() {
            assert_eq!(read(text, piece).unwrap(), whole, "in pieces of {piece}");
        }
    }

    #[test]
    fn every_bad_line_is_reported_with_its_number_and_why() {
        let text = "192.0.2.1\n192.0.2.300\nexample.com\n\n192.0.2.0/33\n1.2.3.4, 5.6.7.8\n\
                    0.0.0.0/0\n::ffff:192.0.2.1\n2001:db8::/96\n";
        let failure = read(text, 7).unwrap_err();
        let lines: Vec<usize> = failure.lines.iter().map(|bad| bad.line).collect();
        assert_eq!(lines, [2, 3, 5, 6, 7, 8, 9]);
        assert_eq!(failure.message, "7 lines cannot be used; nothing was changed");
        let messages: Vec<&str> = failure.lines.iter().map(|bad| bad.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "`192.0.2.300` is not an address or prefix like 192.0.2.7 or 2001:db8::/32",
                "`example.com` is not an address; names are not looked up",
                "`192.0.2.0/33` is not a prefix like 192.0.2.0/24 or 2001:db8::/32",
                "`1.2.3.4, 5.6.7.8` holds more than one thing: write one address, prefix or \
                 fingerprint a line",
                "`0.0.0.0/0` covers every address",
                "`::ffff:192.0.2.1` is an IPv4 address in IPv6 form: write it as IPv4",
                "`2001:db8::/96` is part of a /64, in which a host chooses its addresses freely: \
                 write the /64, or single addresses",
            ]
        );
    }

    #[test]
    fn fingerprints_stand_among_addresses() {
        let text = "192.0.2.7\nja4:t13d1516h2_8daaf6152771_e5627efa2ab1 # chrome\n\
                    tcp:4:64:0:*:mss*44,7:mss,sok,ts,nop,ws:df,id+:0 ; linux\n2001:db8::/32\n";
        let whole = read(text, text.len()).unwrap();
        assert_eq!((whole.prefixes.len(), whole.fingerprints.len(), whole.len()), (2, 2, 4));
        for piece in [1, 7, 64] {
            assert_eq!(read(text, piece).unwrap(), whole, "in pieces of {piece}");
        }
        let failure = read("192.0.2.7\nja4:t13\njaa4:x\n", 100).unwrap_err();
        let lines: Vec<usize> = failure.lines.iter().map(|bad| bad.line).collect();
        assert_eq!(lines, [2, 3]);
        assert!(failure.lines[1].message.ends_with("did you mean `ja4`?"), "{failure:?}");
    }

    #[test]
    fn a_file_of_rubbish_is_counted_and_not_held() {
        let failure = read(&"rubbish\n".repeat(LISTED_MAX + 7), 4096).unwrap_err();
        assert_eq!((failure.lines.len(), failure.more_lines), (LISTED_MAX, 7));
        let endless = "a".repeat(LINE_MAX * 3);
        let failure = read(&endless, 100).unwrap_err();
        assert!(failure.lines[0].message.chars().count() < 150);
    }
}
