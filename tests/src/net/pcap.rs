//! Captures as files: the classic pcap format with nanoseconds, which every tool reads.
//!
//! The format has no place for the direction. A frame to the edge's link-layer address is read
//! back as arriving there, any other as leaving.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use weir_sensor::capture::{self, LinkType};

use super::{
    plan::EDGE_MAC,
    recorder::{Capture, Captured, Direction},
};

const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
const LINK_ETHERNET: u32 = 1;
const SNAPSHOT: u32 = 262_144;
const SECOND_NS: u64 = 1_000_000_000;

/// Writes a capture to a file, little-endian.
pub fn write_pcap(path: &Path, capture: &[Captured]) -> Result<()> {
    let shown = || format!("cannot write {}", path.display());
    let mut file = BufWriter::new(File::create(path).with_context(shown)?);
    // Magic, version 2.4, two fields that are always zero, snapshot length, link type.
    let header = [MAGIC_NANOSECONDS, 4 << 16 | 2, 0, 0, SNAPSHOT, LINK_ETHERNET];
    let mut bytes = words(&header);
    for frame in capture {
        let length = frame.bytes.len() as u32;
        let (seconds, rest) = (frame.at_ns / SECOND_NS, frame.at_ns % SECOND_NS);
        bytes.extend(words(&[seconds as u32, rest as u32, length, length]));
        bytes.extend_from_slice(&frame.bytes);
        file.write_all(&bytes).with_context(shown)?;
        bytes.clear();
    }
    file.write_all(&bytes).with_context(shown)?;
    file.flush().with_context(shown)
}

/// Reads a capture that [`write_pcap`] wrote.
pub fn read_pcap(path: &Path) -> Result<Capture> {
    let mut file = capture::Capture::open(path)?;
    let mut capture = Capture::new();
    while let Some(frame) = file.next_frame()? {
        ensure!(frame.link == LinkType::Ethernet, "{} is not of Ethernet", path.display());
        let bytes = frame.bytes.to_vec();
        let direction = if bytes.starts_with(&EDGE_MAC) { Direction::In } else { Direction::Out };
        capture.push(Captured { at_ns: frame.time_ns, direction, bytes });
    }
    Ok(capture)
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Ethernet, ipv4};

    #[test]
    fn a_capture_survives_the_file() {
        let there = ipv4([203, 0, 113, 7], [198, 51, 100, 10]).tcp(1, 2).syn().build();
        let back = Ethernet::new()
            .to_mac([2, 0, 0, 0, 0, 0x0b])
            .ipv4([198, 51, 100, 10], [203, 0, 113, 7])
            .tcp(2, 1)
            .build();
        let capture = vec![
            Captured { at_ns: 5 * SECOND_NS + 1, direction: Direction::In, bytes: there },
            Captured { at_ns: 5 * SECOND_NS + 2, direction: Direction::Out, bytes: back },
        ];
        let path = std::env::temp_dir().join(format!("weir-lab-{}.pcap", std::process::id()));
        write_pcap(&path, &capture).unwrap();
        let read = read_pcap(&path);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read.unwrap(), capture);
    }
}
