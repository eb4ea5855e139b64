//! Files of every format and of none, and hellos through all layers.

use std::io::{self, Cursor, Read, Write};

use proptest::prelude::*;
use weir_common::{packet::tcp as flags, tls::keys::Transport};

use super::{
    packet::tests::{ipv4, tcp, udp},
    *,
};
use crate::fingerprint::hello::tests::message;

/// A frame with nothing borrowed.
type Kept = (u64, LinkType, Vec<u8>, u32);

/// Reads a file to its end, or as far as it can be read.
fn read(bytes: &[u8]) -> (Vec<Kept>, Option<String>) {
    let mut frames = Vec::new();
    let mut capture = match Capture::read("x.pcap".into(), Cursor::new(bytes.to_vec())) {
        Ok(capture) => capture,
        Err(error) => return (frames, Some(error.to_string())),
    };
    loop {
        match capture.next_frame() {
            Ok(Some(frame)) => {
                frames.push((frame.time_ns, frame.link, frame.bytes.to_vec(), frame.original_len))
            }
            Ok(None) => return (frames, None),
            Err(error) => {
                assert!(matches!(capture.next_frame(), Ok(None)), "nothing behind an error");
                return (frames, Some(error.to_string()));
            }
        }
    }
}

/// Numbers in one of the byte orders.
#[derive(Clone, Copy)]
struct Writer {
    big: bool,
}

impl Writer {
    fn half(self, value: u16) -> [u8; 2] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn word(self, value: u32) -> [u8; 4] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn words(self, values: &[u32]) -> Vec<u8> {
        values.iter().flat_map(|value| self.word(*value)).collect()
    }

    /// A pcap file with these packets: seconds, fraction, bytes, length on the wire.
    fn pcap(self, magic: u32, link: u32, packets: &[(u32, u32, &[u8], u32)]) -> Vec<u8> {
        let mut file = self.words(&[magic]);
        file.extend(self.half(2));
        file.extend(self.half(4));
        file.extend(self.words(&[0, 0, 65_535, link]));
        for (seconds, fraction, bytes, original) in packets {
            file.extend(self.words(&[*seconds, *fraction, bytes.len() as u32, *original]));
            if magic == 0xa1b2_cd34 {
                file.extend([0; 8]);
            }
            file.extend(*bytes);
        }
        file
    }

    fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let padded = body.len().next_multiple_of(4);
        let length = self.word(padded as u32 + 12);
        let mut block = self.word(kind).to_vec();
        block.extend(length);
        block.extend(body);
        block.resize(8 + padded, 0);
        block.extend(length);
        block
    }

    fn section(self) -> Vec<u8> {
        let mut body = self.word(0x1a2b_3c4d).to_vec();
        body.extend(self.half(1));
        body.extend(self.half(0));
        body.extend([0xff; 8]);
        self.block(0x0a0d_0d0a, &body)
    }

    /// With options of code and value.
    fn interface(self, link: u16, snapshot: u32, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = self.half(link).to_vec();
        body.extend([0, 0]);
        body.extend(self.word(snapshot));
        for (code, value) in options {
            body.extend(self.half(*code));
            body.extend(self.half(value.len() as u16));
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        self.block(1, &body)
    }

    fn packet(self, interface: u32, ticks: u64, bytes: &[u8]) -> Vec<u8> {
        let length = bytes.len() as u32;
        let fields = [interface, (ticks >> 32) as u32, ticks as u32, length, length + 1];
        let mut body = self.words(&fields);
        body.extend(bytes);
        self.block(6, &body)
    }
}

const LITTLE: Writer = Writer { big: false };
const BIG: Writer = Writer { big: true };

#[test]
fn pcap_in_every_order_and_precision() {
    for writer in [LITTLE, BIG] {
        for (magic, unit) in [(0xa1b2_c3d4, 1000), (0xa1b2_3c4d, 1), (0xa1b2_cd34, 1000)] {
            // The high half of the link type: a checksum of four bytes at the end.
            let packets = [(5, 7, &b"abc"[..], 3), (6, 999_999, b"", 900)];
            let file = writer.pcap(magic, 0x2400_0001, &packets);
            let expected = vec![
                (5_000_000_000 + 7 * unit, LinkType::Ethernet, b"abc".to_vec(), 3),
                (6_000_000_000 + 999_999 * unit, LinkType::Ethernet, vec![], 900),
            ];
            assert_eq!(read(&file), (expected, None), "{magic:x}");
        }
    }
}

#[test]
fn pcapng_with_its_clocks_interfaces_and_old_blocks() {
    for writer in [LITTLE, BIG] {
        let offset: Vec<u8> = if writer.big {
            (-1i64).to_be_bytes().to_vec()
        } else {
            (-1i64).to_le_bytes().to_vec()
        };
        let mut old = writer.half(2).to_vec();
        old.extend(writer.half(9));
        old.extend(writer.words(&[0, 3 * 1024, 2, 2]));
        old.extend(b"PB");
        let file = [
            writer.section(),
            writer.interface(1, 0, &[]),
            writer.interface(101, 0, &[(2, b"eth0"), (9, &[9]), (14, &offset), (0, &[])]),
            writer.interface(276, 2, &[(9, &[0x8a])]),
            writer.block(0x0bad, &[1; 7]),
            writer.packet(0, 2_000_001, b"micro"),
            writer.packet(1, 2_000_000_001, b"nano, minus a second"),
            writer.packet(2, 1024 + 512, b"ticks of 1/1024"),
            writer.block(2, &old),
            writer.block(3, &[&writer.word(3)[..], b"SPB"].concat()),
            if writer.big { LITTLE.section() } else { BIG.section() },
            if writer.big { LITTLE } else { BIG }.interface(113, 2, &[(9, &[0])]),
            if writer.big { LITTLE } else { BIG }
                .block(3, &[&(if writer.big { LITTLE } else { BIG }).word(9)[..], b"cut"].concat()),
            if writer.big { LITTLE } else { BIG }.packet(0, 3, b"seconds"),
        ]
        .concat();
        let (frames, problem) = read(&file);
        assert_eq!(problem, None);
        let told: Vec<(u64, LinkType, &[u8], u32)> =
            frames.iter().map(|frame| (frame.0, frame.1, &frame.2[..], frame.3)).collect();
        assert_eq!(
            told,
            [
                (2_000_001_000, LinkType::Ethernet, &b"micro"[..], 6),
                (1_000_000_001, LinkType::Ip, b"nano, minus a second", 21),
                (1_500_000_000, LinkType::Cooked2, b"ticks of 1/1024", 16),
                (3_000_000_000, LinkType::Cooked2, b"PB", 2),
                (0, LinkType::Ethernet, b"SPB", 3),
                (0, LinkType::Cooked, b"cu", 9),
                (3_000_000_000, LinkType::Cooked, b"seconds", 8),
            ]
        );
    }
}

#[test]
fn a_file_that_is_cut_off_gives_what_is_whole_and_says_where() {
    let pcap = LITTLE.pcap(0xa1b2_c3d4, 1, &[(1, 0, b"one", 3), (2, 0, b"two", 3)]);
    let pcapng = [
        BIG.section(),
        BIG.interface(1, 0, &[]),
        BIG.packet(0, 1, b"one."),
        BIG.packet(0, 2, b"two."),
    ]
    .concat();
    for (file, ends) in [(&pcap, vec![24, 43, 62]), (&pcapng, vec![28, 48, 84, 120])] {
        for length in 4..file.len() {
            let (frames, problem) = read(&file[..length]);
            let whole = ends.iter().filter(|end| **end <= length).count();
            let start = if whole == 0 { 0 } else { ends[whole - 1] };
            if start == length {
                assert_eq!(problem, None);
            } else {
                let problem = problem.unwrap();
                let place = format!("begins at byte {start}");
                assert!(
                    problem.contains("x.pcap is cut off") && problem.contains(&place),
                    "{problem}"
                );
            }
            assert_eq!(frames.len(), whole.saturating_sub(ends.len() - 2));
        }
    }
}

#[test]
fn what_contradicts_itself_ends_the_file_with_its_place() {
    let says = |file: &[u8], words: &[&str]| {
        let (_, problem) = read(file);
        let problem = problem.unwrap();
        for word in words {
            assert!(problem.contains(word), "no {word:?} in: {problem}");
        }
    };
    let head = LITTLE.pcap(0xa1b2_c3d4, 1, &[(1, 0, b"one", 3)]);
    let long = [&head[..], &LITTLE.words(&[1, 0, MAX_FRAME + 1, 9])].concat();
    says(&long, &["x.pcap is damaged", "packet at byte 43", "1048577 bytes"]);
    let good = [LITTLE.section(), LITTLE.interface(1, 0, &[])].concat();
    let then = |block: &[u8]| [&good[..], block].concat();
    says(
        &then(&LITTLE.packet(1, 0, b"x")),
        &["block at byte 48", "an interface that is not there"],
    );
    says(&then(&LITTLE.words(&[5, 13, 0, 0])), &["says that it has 13 bytes"]);
    says(&then(&LITTLE.words(&[5, 8, 0, 0])), &["says that it has 8 bytes"]);
    says(&then(&LITTLE.words(&[6, 0x7fff_fffc, 0])), &["says that it has 2147483644 bytes"]);
    says(&then(&LITTLE.words(&[5, 16, 0, 20])), &["16 bytes by its beginning, 20 by its end"]);
    says(&then(&LITTLE.block(6, &LITTLE.words(&[0, 0, 0, 99, 99]))), &["its packet has 99 bytes"]);
    says(&then(&LITTLE.block(1, &[1, 0])), &["too short for an interface"]);
    says(&LITTLE.words(&[0x0a0d_0d0a, 28, 7, 0]), &["no byte-order mark"]);
    says(b"", &["neither pcap nor pcapng", "it is empty"]);
    says(b"PK\x03\x04", &["it begins with 50 4b 03 04"]);
}

#[test]
fn compressed_files_are_read_like_plain_ones() {
    let plain = BIG.pcap(0xa1b2_3c4d, 101, &[(1, 2, b"packet", 6)]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&plain).unwrap();
    let gzip = gzip.finish().unwrap();
    assert_eq!(read(&gzip), read(&plain));
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    assert_eq!(read(&ruzstd::encoding::compress_to_vec(&plain[..], level)), read(&plain));
    let (_, problem) = read(&gzip[..gzip.len() - 9]);
    assert!(problem.unwrap().contains("cannot read x.pcap from byte"));
}

/// Gives one byte at a time, as a pipe may.
struct Slowly(Cursor<Vec<u8>>);

impl Read for Slowly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(1);
        self.0.read(&mut buffer[..room])
    }
}

#[test]
fn a_pipe_may_give_single_bytes() {
    let file = LITTLE.pcap(0xa1b2_c3d4, 1, &[(1, 0, b"one", 3)]);
    let mut capture = Capture::read("-".into(), Slowly(Cursor::new(file))).unwrap();
    assert_eq!(capture.next_frame().unwrap().unwrap().bytes, b"one");
    assert_eq!(capture.next_frame().unwrap(), None);
}

/// A record with a hello.
fn record() -> (Vec<u8>, Vec<u8>) {
    let message = message(0x0303, &[0x1301], &[(0x17, &[]), (0x2b, &[2, 3, 4])]);
    let mut record = vec![22, 3, 1];
    record.extend((message.len() as u16).to_be_bytes());
    record.extend(&message);
    (record, message)
}

/// Feeds IP packets; the hellos that they complete.
fn feed(hellos: &mut Hellos, packets: &[Vec<u8>]) -> Vec<Hello> {
    let frame = |(at, ip): (u64, &Vec<u8>)| {
        let original_len = ip.len() as u32;
        let link = LinkType::Ip;
        hellos.frame(&Frame { time_ns: at, link, bytes: ip, original_len })
    };
    (1..).zip(packets).filter_map(frame).collect()
}

#[test]
fn a_hello_in_swapped_doubled_and_fragmented_segments() {
    let (record, message) = record();
    let segment = |range: std::ops::Range<usize>| {
        ipv4(6, &tcp(101 + range.start as u32, flags::ACK, &record[range]))
    };
    let mut first = segment(0..40);
    // Cut the first segment's packet into two fragments: 20 bytes of TCP and 4 of payload, the rest.
    let mut second = first.clone();
    second.drain(20..44);
    second[2..4].copy_from_slice(&((first.len() - 24) as u16).to_be_bytes());
    second[7] = 3;
    first.truncate(44);
    first[2..4].copy_from_slice(&44u16.to_be_bytes());
    first[6] = 0x20;
    let mut hellos = Hellos::new();
    let packets = [
        ipv4(6, &tcp(100, flags::SYN, &[])),
        segment(30..record.len()),
        segment(30..record.len()),
        second,
        first,
        segment(0..record.len()),
    ];
    let found = feed(&mut hellos, &packets);
    assert_eq!(
        found,
        [Hello {
            time_ns: 5,
            transport: Transport::Tcp,
            source: "192.0.2.1:5000".parse().unwrap(),
            destination: "198.51.100.2:443".parse().unwrap(),
            message,
            segments: 2,
            conflict: false,
        }]
    );
    let counts = hellos.counts();
    assert_eq!((counts.frames, counts.tcp.hellos, counts.unfinished_hellos), (6, 1, 0));
}

#[test]
fn behind_a_proxy_the_client_is_who_the_header_names() {
    let (record, _) = record();
    let stream = [b"PROXY TCP6 2001:db8::7 2001:db8::1 5 443\r\n", &record[..]].concat();
    let packets = [
        ipv4(6, &tcp(100, flags::SYN, &[])),
        ipv4(6, &tcp(121, flags::ACK, &stream[20..])),
        ipv4(6, &tcp(101, flags::ACK, &stream[..20])),
    ];
    let found = feed(&mut Hellos::new().behind_proxy(), &packets);
    assert_eq!(found[0].source, "[2001:db8::7]:5".parse().unwrap());
    assert_eq!(found[0].segments, 1, "the header's own segment carried none of the hello");
    assert_eq!(feed(&mut Hellos::new(), &packets), [], "unless asked, the stream is no TLS");
}

#[test]
fn what_gives_no_hello_is_counted_with_its_reason() {
    let (record, _) = record();
    let mut hellos = Hellos::new();
    let mut segment = ipv4(6, &tcp(101, flags::ACK, &record));
    let cut = segment.split_off(60);
    assert!(!cut.is_empty());
    let mut frame = |bytes: &[u8], link, original_len| {
        assert_eq!(hellos.frame(&Frame { time_ns: 0, link, bytes, original_len }), None);
    };
    frame(&ipv4(6, &tcp(100, flags::SYN, &[])), LinkType::Ip, 40);
    frame(&segment, LinkType::Ip, 60 + cut.len() as u32);
    frame(&[0; 60], LinkType::Ethernet, 60);
    frame(&[0; 60], LinkType::Other(105), 60);
    frame(&ipv4(50, &[0; 20]), LinkType::Ip, 40);
    let mut lying = ipv4(6, &tcp(1, flags::ACK, b"x"));
    lying[32] = 0xf0;
    frame(&lying, LinkType::Ip, 41);
    frame(&ipv4(17, &udp(&[0xc0; 1200])), LinkType::Ip, 1228);
    let counts = hellos.counts();
    assert_eq!(counts.frames, 7);
    assert_eq!((counts.cut, counts.not_ip, counts.unread_link), (1, 1, 1));
    assert_eq!((counts.other_protocol, counts.malformed, counts.unfinished_hellos), (1, 1, 1));
    assert_eq!((counts.tcp.hellos, counts.quic.hellos), (0, 0));
}

proptest! {
    #[test]
    fn damaged_files_end_and_never_panic(
        which in 0usize..3,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let (record, _) = record();
        let packet = ipv4(6, &tcp(101, flags::ACK, &record));
        let pcapng =
            [LITTLE.section(), LITTLE.interface(101, 0, &[(9, &[9])]), LITTLE.packet(0, 7, &packet)];
        let pcap = LITTLE.pcap(0xa1b2_c3d4, 101, &[(1, 0, &packet, 200), (2, 0, &packet, 200)]);
        let level = ruzstd::encoding::CompressionLevel::Fastest;
        let mut file = match which {
            0 => pcap,
            1 => pcapng.concat(),
            _ => ruzstd::encoding::compress_to_vec(&pcap[..], level),
        };
        for (place, value) in changes {
            let place = place.index(file.len());
            file[place] = value;
        }
        file.truncate(cut.index(file.len() + 1));
        let (frames, _) = read(&file);
        let mut hellos = Hellos::new();
        for (time_ns, link, bytes, original_len) in &frames {
            let (time_ns, link, original_len) = (*time_ns, *link, *original_len);
            hellos.frame(&Frame { time_ns, link, bytes, original_len });
        }
        prop_assert_eq!(hellos.counts().frames, frames.len() as u64);
    }

    #[test]
    fn any_bytes_as_any_frame_never_panic(
        link in prop::sample::select(vec![0u16, 1, 9, 101, 113, 276]),
        head in prop::sample::select(vec![
            &b""[..], &[0; 12], &[0; 14], &[0x45], &[0x60, 0, 0, 0, 0, 60, 44], &[0; 4],
            &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x81, 0],
            &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0x45],
            &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x86, 0xdd, 0x60],
        ]),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        original_len in any::<u32>(),
    ) {
        let frame = [head, &bytes].concat();
        let link = LinkType::from_number(link);
        let mut hellos = Hellos::new();
        for time_ns in [0, u64::MAX] {
            hellos.frame(&Frame { time_ns, link, bytes: &frame, original_len });
        }
        prop_assert_eq!(hellos.counts().frames, 2);
    }
}
