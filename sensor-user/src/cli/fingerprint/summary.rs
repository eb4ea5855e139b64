//! What was read, and what gave no hello, and why.

use std::io::{self, Write};

use super::{print::Printer, record::Record};
use crate::capture::{Counts, Hello};

/// Counts of what was printed.
#[derive(Debug, Default)]
pub(super) struct Summary {
    printed: u64,
    malformed: u64,
    conflicts: u64,
}

impl Summary {
    /// Prints a hello, if it holds together.
    pub(super) fn print(
        &mut self,
        file: &str,
        hello: &Hello,
        printer: &mut Printer<impl Write>,
    ) -> io::Result<()> {
        let Ok(record) = Record::of(file, hello) else {
            self.malformed += 1;
            return Ok(());
        };
        self.printed += 1;
        self.conflicts += u64::from(record.conflict);
        printer.print(&record)
    }

    /// How many hellos were printed.
    pub(super) const fn printed(&self) -> u64 {
        self.printed
    }

    /// The summary in one line, or two.
    pub(super) fn text(&self, name: &str, counts: &Counts) -> String {
        let mut text = format!(
            "{name}: {}, {}",
            several(counts.frames, "packet"),
            several(self.printed, "hello")
        );
        if self.conflicts > 0 {
            text.push_str(&format!(
                " ({} with copies of a segment that differ: the first counts)",
                self.conflicts
            ));
        }
        let reasons: Vec<String> = self
            .reasons(counts)
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, reason)| format!("{reason} ({count})"))
            .collect();
        if !reasons.is_empty() {
            text.push_str("\n  no hello from: ");
            text.push_str(&reasons.join("; "));
        }
        text
    }

    fn reasons(&self, counts: &Counts) -> [(u64, &'static str); 19] {
        let Counts { tcp, quic, .. } = counts;
        [
            (counts.not_ip, "packets without IP"),
            (counts.unread_link, "packets of a link type that is not read"),
            (counts.other_protocol, "packets with neither TCP nor UDP"),
            (counts.too_deep, "packets with too many tags or headers"),
            (counts.malformed, "packets with headers that contradict themselves"),
            (counts.cut, "packets captured only in part"),
            (counts.unfinished_packets, "packets with a fragment missing"),
            (counts.unfinished_hellos, "hellos that do not end in the capture"),
            (tcp.not_tls, "TCP streams that do not begin with a hello"),
            (tcp.no_beginning, "TCP streams without their beginning"),
            (tcp.too_long, "TCP streams with a hello of more than 16 KiB"),
            (tcp.too_many_pieces, "TCP streams in too many pieces"),
            (tcp.evicted + counts.evicted, "streams and fragments given up for newer ones"),
            (quic.undecryptable, "QUIC Initials that no key opens"),
            (quic.small_datagram, "QUIC Initials in datagrams that a server discards"),
            (quic.violations, "QUIC Initials with what they may not hold"),
            (quic.not_client_hello, "QUIC connections that begin with something else"),
            (quic.evicted_unfinished, "QUIC connections given up for newer ones"),
            (self.malformed, "hellos that do not hold together"),
        ]
    }
}

fn several(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_happened_is_said() {
        let summary = Summary { printed: 1, ..Summary::default() };
        let mut counts = Counts { frames: 7, ..Counts::default() };
        assert_eq!(summary.text("x.pcap", &counts), "x.pcap: 7 packets, 1 hello");
        counts.not_ip = 2;
        counts.tcp.not_tls = 1;
        assert_eq!(
            summary.text("x.pcap", &counts),
            "x.pcap: 7 packets, 1 hello\n  no hello from: packets without IP (2); \
             TCP streams that do not begin with a hello (1)"
        );
    }
}
