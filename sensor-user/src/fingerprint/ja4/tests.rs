//! The specification's own example, its corners, and the way back from the texts.

use weir_common::tls::{self, KeyBuilder, keys::Seed};

use super::*;
use crate::fingerprint::hello::tests::message;

/// The example of the JA4 specification.
const RAW: &str = "t13d1516h2_002f,0035,009c,009d,1301,1302,1303,c013,c014,c02b,c02c,c02f,c030,\
                   cca8,cca9_0005,000a,000b,000d,0012,0015,0017,001b,0023,002b,002d,0033,4469,ff01\
                   _0403,0804,0401,0503,0805,0501,0806,0601";
const HASHED: &str = "t13d1516h2_8daaf6152771_e5627efa2ab1";

fn raw(message: &[u8]) -> Ja4Raw {
    let raw = Ja4Raw::read(message, Transport::Tcp).unwrap();
    assert_eq!(Ja4Raw::of(&ClientHello::read(message).unwrap(), Transport::Tcp), raw);
    raw
}

fn alpn(name: &[u8]) -> Vec<u8> {
    let length = name.len() as u8;
    [&[0, length + 1, length][..], name].concat()
}

#[test]
fn the_example_of_the_specification() {
    let raw: Ja4Raw = RAW.parse().unwrap();
    assert_eq!(raw.ja4().to_string(), HASHED);
    assert_eq!(raw.to_string(), RAW);
    // Without 0x0015 and 0x0023: two fewer, and another hash, which sha256sum gives for the rest.
    assert_eq!(raw.stable().to_string(), "t13d1514h2_8daaf6152771_59204b37da4c");
    assert_eq!(HASHED.parse::<Ja4>().unwrap().as_str(), HASHED);
}

#[test]
fn alpn_is_its_ends_or_their_outer_digits() {
    for (name, expected) in [
        (&b"h2"[..], "h2"),
        (b"http/1.1", "h1"),
        (b"h", "hh"),
        (&[0xab], "ab"),
        (&[0xab, 0xcd], "ad"),
        (&[0x30, 0xab], "3b"),
        (&[0x30, 0x31, 0xab, 0xcd], "3d"),
        (&[0x30, 0xab, 0xcd, 0x31], "01"),
        (b"", "00"),
    ] {
        let hello = raw(&message(0x0303, &[1], &[(0x10, &alpn(name))]));
        assert_eq!(hello.to_string(), format!("t12i0101{expected}_0001_"), "{name:?}");
    }
}

#[test]
fn empty_lists_hash_to_zeros_and_have_no_underscore() {
    let none = raw(&message(0x0300, &[], &[]));
    assert_eq!(none.ja4().as_str(), "ts3i000000_000000000000_000000000000");
    assert_eq!(none.to_string(), "ts3i000000__");
    let name_only = raw(&message(0x0301, &[0x2f], &[(0, b"\x00\x04\x00\x00\x01a")]));
    assert_eq!(name_only.to_string(), "t10d010100_002f_");
    assert!(name_only.ja4().as_str().ends_with("_000000000000"));
    // printf 0017 | sha256sum
    let without_signatures = raw(&message(0x0303, &[0x2f], &[(0x17, &[])]));
    assert!(without_signatures.ja4().as_str().ends_with("_1ca028f07214"));
}

#[test]
fn counts_end_at_99_and_grease_counts_nowhere() {
    let many: Vec<u16> = (0x0001..0x0100).collect();
    let extensions: Vec<(u16, &[u8])> = (0x100..0x200).map(|id| (id, &[][..])).collect();
    let text = raw(&message(0x0303, &many, &extensions)).to_string();
    assert!(text.starts_with("t12i999900_0001,"), "{text}");
    let greasy =
        raw(&message(0x0303, &[0x0a0a, 1], &[(0xfafa, &[]), (0x2b, &[4, 0x1a, 0x1a, 3, 4])]));
    assert_eq!(greasy.to_string(), "t13i010100_0001_002b");
}

#[test]
fn the_longest_lists_are_hashed_whole() {
    // seq 1000 1999 | paste -sd, | tr -d '\n' | sha256sum
    let ciphers: Vec<u16> =
        (1000..2000).map(|n: u32| u16::from_str_radix(&n.to_string(), 16).unwrap()).collect();
    let ja4 = raw(&message(0x0303, &ciphers, &[])).ja4();
    assert_eq!(ja4.as_str(), "t12i990000_1c5e8d60adcc_000000000000");
}

#[test]
fn versions_are_those_of_the_table_and_drafts_are_none() {
    for (legacy, expected) in [
        (0x0304, "13"),
        (0x0303, "12"),
        (0x0302, "11"),
        (0x0301, "10"),
        (0x0300, "s3"),
        (0x0002, "s2"),
        (0xfeff, "d1"),
        (0xfefd, "d2"),
        (0xfefc, "d3"),
        (0x7f1c, "00"),
    ] {
        let text = raw(&message(legacy, &[], &[])).to_string();
        assert_eq!(text, format!("t{expected}i000000__"));
    }
    let draft = raw(&message(0x0303, &[], &[(0x2b, &[4, 0x7f, 0x1c, 3, 3])]));
    assert!(draft.to_string().starts_with("t00i"));
}

#[test]
fn keys_from_the_text_are_those_from_the_bytes() {
    let seed = Seed { add: 0x1234_5678_9abc_def0, multiply: 0x0fed_cba9_8765_4321 };
    let many: Vec<u16> = (0x0001..0x0100).collect();
    let hellos = [
        message(
            0x0303,
            &[0x1301, 0x2a2a, 0x2f],
            &[
                (0x00, b"\x00\x04\x00\x00\x01a"),
                (0x10, &alpn(b"h2")),
                (0x0d, &[0, 4, 8, 4, 4, 3]),
                (0x15, &[0; 9]),
                (0x23, &[]),
                (0x2b, &[4, 3, 4, 3, 3]),
                (0xfe0d, &[]),
            ],
        ),
        message(0x0301, &many, &[]),
        message(0x7f12, &[], &[(0x10, &alpn(b""))]),
    ];
    for hello in hellos {
        let mut builder = KeyBuilder::new(seed);
        tls::walk(&hello, &mut builder).unwrap();
        let from_bytes = raw(&hello);
        let from_text: Ja4Raw = from_bytes.to_string().parse().unwrap();
        assert_eq!(from_text, from_bytes);
        assert_eq!(from_text.keys(seed), builder.finish(Transport::Tcp), "{from_text}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    let ja4 = |text: &str| text.parse::<Ja4>().unwrap_err().to_string();
    assert!(ja4("t13d1516h2").contains("has 1 parts between underscores, a JA4 has three"));
    assert!(ja4("x13d1516h2_8daaf6152771_e5627efa2ab1").contains("t (TLS over TCP), q (QUIC)"));
    assert!(ja4("t14d1516h2_8daaf6152771_e5627efa2ab1").contains("the version is 10 to 13"));
    assert!(ja4("t13x1516h2_8daaf6152771_e5627efa2ab1").contains("d (with a server name)"));
    assert!(ja4("t13d15a6h2_8daaf6152771_e5627efa2ab1").contains("two digits each"));
    assert!(ja4("t13d1516h-_8daaf6152771_e5627efa2ab1").contains("two letters or digits"));
    assert!(ja4("t13d1516h2_8DAAF6152771_e5627efa2ab1").contains("twelve lower-case"));
    assert!(ja4("t13d1516h2_8daaf6152771_e5627efa2ab").contains("twelve lower-case"));
    assert!(ja4("é13d1516h2_8daaf6152771_e5627efa2ab1").contains("ten characters"));
    let raw = |text: &str| text.parse::<Ja4Raw>().unwrap_err().to_string();
    assert!(raw(HASHED).contains("four lower-case hexadecimal digits"));
    assert!(raw("t13i020100_0035,002f_0017").contains("002f is where it does not belong"));
    assert!(raw("t13i010100_0a0a_0017").contains("0a0a is where it does not belong"));
    assert!(raw("t13d010200_002f_0000,0017").contains("is this a JA4_ro?"));
    assert!(raw("t13i020100_002f_0017").contains("counts 2 cipher suites, but the list makes 1"));
    assert!(raw("t13d010100_002f_0017").contains("counts 1 extensions, but the list makes 2"));
    assert!(raw("t13i010100_002f_0017_").contains("three, or four with signature algorithms"));
}
