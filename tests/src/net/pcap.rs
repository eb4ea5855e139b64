//! Captures as files: the classic pcap format with nanoseconds, which every tool reads.
//!
//! The format has no place for the direction. A frame to the edge's link-layer address is read
//! back as arriving there, any other as leaving.

use std::{
    fs::File,
    io::{BufReader, BufWriter, ErrorKind, Read as _, Write as _},
    path::Path,
};

use anyhow::{Context, Result, ensure};

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
    let shown = || format!("cannot read {}", path.display());
    let mut file = BufReader::new(File::open(path).with_context(shown)?);
    let header: [u32; 6] = read_words(&mut file).with_context(shown)?.with_context(shown)?;
    let [magic, _, _, _, _, link] = header;
    ensure!(
        magic == MAGIC_NANOSECONDS && link == LINK_ETHERNET,
        "{} is not a little-endian Ethernet pcap with nanoseconds",
        path.display()
    );
    let mut capture = Capture::new();
    while let Some([seconds, rest, length, _]) = read_words(&mut file).with_context(shown)? {
        ensure!(length <= SNAPSHOT, "{} has a frame of {length} bytes", path.display());
        let mut bytes = vec![0; length as usize];
        file.read_exact(&mut bytes).with_context(shown)?;
        let direction = if bytes.starts_with(&EDGE_MAC) { Direction::In } else { Direction::Out };
        let at_ns = u64::from(seconds) * SECOND_NS + u64::from(rest);
        capture.push(Captured { at_ns, direction, bytes });
    }
    Ok(capture)
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// The next `N` words; `None` at the end of the file.
fn read_words<const N: usize>(file: &mut BufReader<File>) -> Result<Option<[u32; N]>> {
    let mut result = [0; N];
    for (position, word) in result.iter_mut().enumerate() {
        let mut bytes = [0; 4];
        match file.read_exact(&mut bytes) {
            Ok(()) => *word = u32::from_le_bytes(bytes),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof && position == 0 => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(result))
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
