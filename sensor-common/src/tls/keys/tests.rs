//! What keys depend on, and what they do not.

use super::*;
use crate::tls::walk::{tests as hellos, walk};

const SEED: Seed = Seed { add: 0x0123_4567_89ab_cdef, multiply: 0xfedc_ba98_7654_3210 };

type Extensions<'a> = &'a [(u16, &'a [u8])];

const CIPHERS: &[u16] = &[0x1301, 0x1302, 0xc02b];
const NAME: (u16, &[u8]) = (extension::SERVER_NAME, &[0, 4, 0, 0, 1, b'a']);
const H2: (u16, &[u8]) = (extension::ALPN, &[0, 3, 2, b'h', b'2']);
const SIGNATURES: (u16, &[u8]) = (extension::SIGNATURE_ALGORITHMS, &[0, 4, 4, 3, 8, 4]);
const VERSIONS: (u16, &[u8]) = (extension::SUPPORTED_VERSIONS, &[4, 3, 4, 3, 3]);
const EXTENSIONS: Extensions<'_> = &[NAME, H2, SIGNATURES, VERSIONS, (0x0017, &[]), (0x0005, &[])];

fn of(message: &[u8], seed: Seed) -> Keys {
    let mut builder = KeyBuilder::new(seed);
    walk(message, &mut builder).unwrap();
    builder.finish(Transport::Tcp)
}

fn keys(ciphers: &[u16], extensions: Extensions<'_>) -> Keys {
    of(&hellos::message(ciphers, Some(extensions)), SEED)
}

/// The keys with one more extension.
fn with(extension: (u16, &[u8])) -> Keys {
    keys(CIPHERS, &[EXTENSIONS, &[extension]].concat())
}

fn usual() -> Keys {
    keys(CIPHERS, EXTENSIONS)
}

#[test]
fn the_order_of_cipher_suites_and_extensions_does_not_count() {
    let mut ciphers = CIPHERS.to_vec();
    let mut extensions = EXTENSIONS.to_vec();
    for _ in 0..extensions.len() {
        extensions.rotate_left(1);
        ciphers.reverse();
        assert_eq!(keys(&ciphers, &extensions), usual());
    }
}

#[test]
fn the_order_of_signature_algorithms_does() {
    let other = |content: &'static [u8]| {
        let replaced = EXTENSIONS.iter().map(|it| match it.0 {
            extension::SIGNATURE_ALGORITHMS => (it.0, content),
            _ => *it,
        });
        keys(CIPHERS, &replaced.collect::<Vec<_>>())
    };
    assert_eq!(other(&[0, 4, 4, 3, 8, 4]), usual());
    assert_eq!(other(&[0, 6, 0x3a, 0x3a, 4, 3, 8, 4]), usual(), "GREASE");
    for content in [&[0, 4, 8, 4, 4, 3][..], &[0, 2, 4, 3], &[0, 6, 4, 3, 8, 4, 8, 4], &[0, 0]] {
        let keys = other(content);
        assert_ne!(keys.matching, usual().matching, "{content:?}");
        assert_ne!(keys.stable, usual().stable, "{content:?}");
    }
}

#[test]
fn every_cipher_suite_and_extension_counts() {
    for ciphers in [&[0x1301, 0x1302][..], &[0x1301, 0x1302, 0xc02c], &[]] {
        assert_ne!(keys(ciphers, EXTENSIONS).matching, usual().matching, "{ciphers:?}");
        assert_ne!(keys(ciphers, EXTENSIONS).stable, usual().stable, "{ciphers:?}");
    }
    for gone in 0..EXTENSIONS.len() {
        let mut extensions = EXTENSIONS.to_vec();
        extensions.remove(gone);
        assert_ne!(keys(CIPHERS, &extensions).matching, usual().matching, "without {gone}");
    }
    // The same number in the other list, and a list twice as long with the same members.
    assert_ne!(keys(&[0x0017], &[(0x0005, &[])]), keys(&[0x0005], &[(0x0017, &[])]));
    assert_ne!(keys(&[0x1301, 0x1301], EXTENSIONS), keys(&[0x1301], EXTENSIONS));
    assert_ne!(with((0x0017, &[])), usual());
}

#[test]
fn what_is_in_other_extensions_does_not_count() {
    let content: (u16, &[u8]) = (0x0005, &[1, 0, 0, 0, 0]);
    let replaced: Vec<_> =
        EXTENSIONS.iter().map(|it| if it.0 == 0x0005 { content } else { *it }).collect();
    assert_eq!(keys(CIPHERS, &replaced), usual());
    let other_name: (u16, &[u8]) = (extension::SERVER_NAME, &[0, 5, 0, 0, 2, b'b', b'c']);
    let renamed: Vec<_> = [&[other_name], &EXTENSIONS[1..]].concat();
    assert_eq!(keys(CIPHERS, &renamed), usual(), "the name itself");
}

#[test]
fn grease_does_not_count_anywhere() {
    for grease in [0x0a0a, 0x7a7a, 0xfafa] {
        let ciphers = [&[grease], CIPHERS].concat();
        assert_eq!(keys(&ciphers, EXTENSIONS), usual());
        assert_eq!(with((grease, &[])), usual());
        let [high, low] = u16::to_be_bytes(grease);
        let content = [6, high, low, 3, 4, 3, 3];
        let replaced: Vec<_> = EXTENSIONS
            .iter()
            .map(|it| match it.0 {
                extension::SUPPORTED_VERSIONS => (it.0, &content[..]),
                _ => *it,
            })
            .collect();
        assert_eq!(keys(CIPHERS, &replaced), usual());
    }
    assert_ne!(with((0x0a1a, &[])), usual(), "0x0a1a is none");
}

#[test]
fn the_stable_key_leaves_out_what_comes_and_goes() {
    for fleeting in [extension::PADDING, extension::SESSION_TICKET, extension::PRE_SHARED_KEY] {
        let keys = with((fleeting, &[0; 9]));
        assert_ne!(keys.matching, usual().matching, "{fleeting:#06x}");
        assert_eq!(keys.stable, usual().stable, "{fleeting:#06x}");
    }
    let keys = with((0x0012, &[]));
    assert_ne!(keys.matching, usual().matching);
    assert_ne!(keys.stable, usual().stable);
}

#[test]
fn the_two_keys_of_a_hello_are_never_each_others() {
    // They share a table: an entry for one must not be taken for one for the other.
    let keys = usual();
    assert_ne!(keys.matching, keys.stable);
    assert!(keys.matching != 0 && keys.stable != 0);
}

#[test]
fn counts_end_at_99() {
    let many = |ciphers: u32, extensions: u32, stable: u32| {
        let mut builder = KeyBuilder::new(SEED);
        builder.counts(ciphers, extensions, stable);
        builder.finish(Transport::Tcp)
    };
    assert_eq!(many(99, 99, 99), many(100, 100, 100));
    assert_eq!(many(99, 99, 99), many(u32::MAX, 5_000, 65_636));
    for (ciphers, extensions) in [(98, 99), (99, 98), (0, 99), (99, 0)] {
        assert_ne!(many(99, 99, 99).matching, many(ciphers, extensions, 99).matching);
    }
    assert_eq!(many(7, 8, 9).matching, many(7, 8, 1).matching);
    assert_ne!(many(7, 8, 9).stable, many(7, 8, 1).stable);
}

#[test]
fn the_version_is_the_newest_supported_one_else_the_hellos_own() {
    let version = |legacy: u16, content: Option<&[u8]>| {
        let list: Vec<_> =
            content.map(|content| (extension::SUPPORTED_VERSIONS, content)).into_iter().collect();
        let mut builder = KeyBuilder::new(SEED);
        let message = hellos::with_version(legacy, &[0x1301], Some(&list));
        walk(&message, &mut builder).unwrap();
        version_characters(builder.version as u16)
    };
    assert_eq!(version(0x0303, None), *b"12");
    assert_eq!(version(0x0301, Some(&[])), *b"10", "an extension without a list");
    assert_eq!(version(0x0303, Some(&[4, 3, 3, 3, 4])), *b"13");
    assert_eq!(version(0x0303, Some(&[2, 3, 1])), *b"10", "older than the hello's own");
    assert_eq!(version(0x0303, Some(&[4, 0x0a, 0x0a, 3, 3])), *b"12", "GREASE");
    assert_eq!(version(0x0303, Some(&[2, 0xfa, 0xfa])), *b"12", "nothing but GREASE");
    assert_eq!(version(0x0303, Some(&[4, 0x7f, 0x1c, 3, 4])), *b"00", "a draft is newest");
    assert_eq!(version(0xfefd, Some(&[4, 0xfe, 0xfd, 0xfe, 0xfc])), *b"d3", "DTLS counts down");
    assert_eq!(version(0x0002, None), *b"s2");
    assert_eq!(version(0x0305, None), *b"00");
}

#[test]
fn alpn_is_its_first_names_ends() {
    let alpn = |content: &[u8]| {
        let mut builder = KeyBuilder::new(SEED);
        let message = hellos::message(&[0x1301], Some(&[(extension::ALPN, content)]));
        walk(&message, &mut builder).unwrap();
        (builder.alpn as u16).to_be_bytes()
    };
    assert_eq!(alpn(&[0, 3, 2, b'h', b'2']), *b"h2");
    assert_eq!(alpn(&[0, 9, 8, b'h', b't', b't', b'p', b'/', b'1', b'.', b'1']), *b"h1");
    assert_eq!(alpn(&[0, 6, 2, b'x', b'y', 2, b'h', b'2']), *b"xy", "only the first");
    assert_eq!(alpn(&[0, 2, 1, b'q']), *b"qq");
    assert_eq!(alpn(&[0, 2, 1, 0xab]), *b"ab", "not ASCII: the outer digits");
    assert_eq!(alpn(&[0, 3, 2, 0x30, 0xab]), *b"3b");
    assert_eq!(alpn(&[0, 3, 2, b'-', b'2']), *b"22", "0x2d and 0x32");
    assert_eq!(alpn(&[0, 1, 0]), *b"00", "an empty name");
    assert_eq!(alpn(&[0, 0]), *b"00", "an empty list");
    assert_eq!(alpn(&[]), *b"00");
}

#[test]
fn transport_and_seed_count() {
    let message = hellos::message(CIPHERS, Some(EXTENSIONS));
    let mut builder = KeyBuilder::new(SEED);
    walk(&message, &mut builder).unwrap();
    let [tcp, quic, dtls] =
        [Transport::Tcp, Transport::Quic, Transport::Dtls].map(|it| builder.finish(it).matching);
    assert!(tcp != quic && quic != dtls && dtls != tcp);
    for seed in [
        Seed { add: SEED.add ^ 1, ..SEED },
        Seed { multiply: SEED.multiply ^ 2, ..SEED },
        Seed::default(),
    ] {
        assert_ne!(of(&message, seed).matching, usual().matching);
        assert_ne!(of(&message, seed).stable, usual().stable);
    }
}

#[test]
fn what_a_hello_is_known_by_as_text_comes_to_the_same_keys() {
    // As the daemon makes keys of a JA4_r: without names and ALPN in the list, but in the counts.
    let mut builder = KeyBuilder::new(SEED);
    builder.version(0x0304);
    for cipher in [0x1301, 0x1302, 0xc02b] {
        builder.cipher_suite(cipher);
    }
    for extension in [0x0005, 0x000d, 0x0017, 0x002b] {
        builder.extension(extension, 0);
    }
    for algorithm in [0x0403, 0x0804] {
        builder.signature_algorithm(algorithm);
    }
    builder.alpn_characters(*b"h2");
    builder.counts(3, 6, 6);
    builder.has_server_name(true);
    assert_eq!(builder.finish(Transport::Tcp), usual());
    builder.has_server_name(false);
    assert_ne!(builder.finish(Transport::Tcp), usual());
    assert!(!builder.may_hide_its_name());
    builder.extension(extension::ENCRYPTED_CLIENT_HELLO, 9);
    assert!(builder.may_hide_its_name());
}
