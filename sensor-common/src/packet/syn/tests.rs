//! SYNs, byte by byte: what the walk makes of headers, options and what is wrong with them.

use super::*;
use crate::packet::{Heading, Link, parse, slice::SlicePacket};

const LINUX: [u8; 20] = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 1, 0, 0, 0, 0, 0, 1, 3, 3, 10];

/// An IPv4 packet with a SYN and these options, padded with zeros; `change` is applied to it.
fn read_changed(options: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Syn {
    let words = options.len().div_ceil(4);
    let length = 40 + 4 * words;
    let mut bytes = vec![0x45, 0, 0, length as u8, 0, 0, 0x40, 0, 63, 6, 0, 0];
    bytes.extend([192, 0, 2, 1, 192, 0, 2, 2]);
    bytes.extend([0xc0, 0, 1, 187, 0, 0, 0, 9, 0, 0, 0, 0]);
    bytes.extend([(5 + words as u8) << 4, tcp::SYN, 0xfa, 0xf0, 0, 0, 0, 0]);
    bytes.extend(options);
    bytes.resize(length, 0);
    change(&mut bytes);
    read_packet(&bytes)
}

fn read_packet(bytes: &[u8]) -> Syn {
    let packet = SlicePacket::new(bytes);
    let mut headers = Headers::default();
    parse(&packet, Link::None, Heading::Ingress, &mut headers).unwrap();
    let mut syn = Syn::default();
    if syn.begin(&packet, &headers) {
        let steps = (0..MAX_STEPS).take_while(|_| syn.step(&packet)).count();
        assert!(steps < MAX_STEPS as usize);
        syn.finish();
    }
    syn
}

fn read_options(options: &[u8]) -> Syn {
    read_changed(options, |_| ())
}

fn quirks(options: &[u8]) -> u32 {
    read_options(options).signature.quirks & !QUIRK_DF
}

fn layout(options: &[u8]) -> Vec<u8> {
    let signature = read_options(options).signature;
    let (count, rest) = signature.layout.split_at(usize::from(signature.options));
    assert!(rest.iter().all(|byte| *byte == 0));
    count.to_vec()
}

#[test]
fn a_linux_syn_is_read_whole() {
    let syn = read_options(&LINUX);
    let mut layout = [0; MAX_SYN_OPTIONS];
    layout[..5].copy_from_slice(&[2, 4, 8, 1, 3]);
    let expected = SynSignature {
        layout,
        quirks: QUIRK_DF,
        mss: 1460,
        window: 64240,
        ttl: 63,
        version: 4,
        ip_options_len: 0,
        scale: 10,
        options: 5,
        padding: 0,
        has_payload: 0,
        options_len: 20,
    };
    assert_eq!(syn.signature, expected);
    assert_eq!((syn.ts_value, syn.has_timestamps()), (256, true));
    assert!(!syn.offers_fast_open());
}

#[test]
fn the_headers_peculiarities_are_seen() {
    let of = |at: usize, byte: u8| {
        read_changed(&LINUX, |bytes| bytes[at] |= byte).signature.quirks & !QUIRK_DF
    };
    assert_eq!(of(1, 1), QUIRK_ECN);
    assert_eq!(of(1, 2), QUIRK_ECN);
    assert_eq!(of(5, 9), QUIRK_ID_WITH_DF);
    assert_eq!(of(6, 0x80), QUIRK_RESERVED);
    assert_eq!(of(28, 1), QUIRK_ACK_NUMBER);
    assert_eq!(of(31, 1), QUIRK_ACK_NUMBER, "any bit of it, where p0f 3.09b looks at one");
    assert_eq!(of(32, 1), QUIRK_ECN);
    assert_eq!(of(33, 0x40), QUIRK_ECN);
    assert_eq!(of(33, 0x80), QUIRK_ECN);
    assert_eq!(of(33, tcp::PSH), QUIRK_PSH);
    assert_eq!(of(33, tcp::URG), QUIRK_URG);
    assert_eq!(of(33, tcp::ACK), QUIRK_ZERO_ACK);
    assert_eq!(of(39, 1), QUIRK_URGENT_POINTER);
    let no_df = |id| read_changed(&LINUX, |bytes| (bytes[6], bytes[5]) = (0, id));
    assert_eq!(no_df(0).signature.quirks, QUIRK_NO_ID);
    assert_eq!(no_df(1).signature.quirks, 0);
    let zero_seq = read_changed(&LINUX, |bytes| bytes[27] = 0);
    assert_eq!(zero_seq.signature.quirks, QUIRK_DF | QUIRK_ZERO_SEQ);
    let payload = read_changed(&LINUX, |bytes| {
        bytes.push(7);
        bytes[3] += 1;
    });
    assert_eq!(payload.signature.has_payload, 1);
}

#[test]
fn ip_options_and_flow_labels_are_seen() {
    let with_options = read_changed(&[], |bytes| {
        bytes[0] = 0x46;
        bytes[3] += 4;
        bytes.splice(20..20, [1, 1, 1, 0]);
    });
    assert_eq!(with_options.signature.ip_options_len, 4);
    let mut v6 = vec![0x60, 0x30, 0, 1, 0, 28, 60, 255];
    v6.extend([0x20; 32]);
    v6.extend([6, 0, 1, 4, 0, 0, 0, 0]);
    v6.extend([0; 12]);
    v6.extend([0x50, tcp::SYN, 0, 0, 0, 0, 0, 0]);
    let signature = read_packet(&v6).signature;
    assert_eq!((signature.version, signature.ttl, signature.ip_options_len), (6, 255, 8));
    assert_eq!(signature.quirks, QUIRK_ECN | QUIRK_FLOW_LABEL | QUIRK_ZERO_SEQ);
}

#[test]
fn options_that_contradict_themselves_are_bad_and_may_hide_a_fast_open() {
    for options in [
        &[1, 2, 4, 5][..],
        &[2, 3, 5, 180],
        &[3, 4, 7, 1],
        &[4, 3, 0, 0],
        &[8, 9, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1],
        &[1, 1, 1, 2],
        &[1, 1, 1, 34],
        &[77, 0, 0, 0],
        &[77, 1, 0, 0],
        &[77, 5, 0, 0],
        &[5, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[5, 12, 0, 0],
        &[1; 40],
    ] {
        let syn = read_options(options);
        assert_ne!(syn.signature.quirks & QUIRK_BAD_OPTIONS, 0, "{options:?}");
        assert!(syn.offers_fast_open(), "{options:?}");
    }
    assert_eq!(layout(&[2, 9, 5, 180, 3, 3, 7, 1]), [2, 3, 1], "passed over by its own length");
    assert_eq!(layout(&[1; 40]), [1; MAX_SYN_OPTIONS]);
    assert_eq!(quirks(&[77, 2, 1, 1, 5, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]), 0);
    assert_eq!(quirks(&[1; 24]), 0);
}

#[test]
fn values_and_padding_are_taken_out() {
    assert_eq!(quirks(&[3, 3, 15, 1]), QUIRK_EXCESSIVE_SCALE);
    assert_eq!(read_options(&[3, 3, 15, 1]).window_shift(), MAX_WINDOW_SHIFT);
    assert_eq!(
        quirks(&[8, 10, 0, 0, 0, 0, 0, 0, 0, 7, 1, 1]),
        QUIRK_ZERO_TIMESTAMP | QUIRK_PEER_TIMESTAMP
    );
    let padded = read_options(&[2, 4, 5, 180, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!((padded.signature.padding, padded.signature.options), (7, 2));
    assert_eq!(padded.signature.quirks, QUIRK_DF);
    let hidden = [0, 0, 0, 0, 0, 0, 34, 2];
    assert_eq!(quirks(&hidden), QUIRK_TRAILING);
    assert!(!read_options(&hidden).offers_fast_open(), "nobody reads behind the end");
    assert_eq!(quirks(&[]), 0);
}

#[test]
fn fast_open_is_found_in_both_of_its_forms() {
    for options in
        [&[34, 2, 1, 1][..], &[34, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1], &[254, 4, 0xf9, 0x89]]
    {
        assert!(read_options(options).offers_fast_open(), "{options:?}");
    }
    assert!(!read_options(&[254, 4, 1, 2]).offers_fast_open(), "another experiment");
    assert!(!read_options(&LINUX).offers_fast_open());
}

#[test]
fn what_cannot_be_read_is_unknown() {
    let bytes = [0; 30];
    let headers = Headers { transport_at: 20, end: 40, ..Headers::default() };
    let mut syn = read_options(&LINUX);
    assert!(!syn.begin(&SlicePacket::new(&bytes), &headers));
    assert!(!syn.signature.is_known() && syn.offers_fast_open());
}
