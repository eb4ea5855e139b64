//! What is learned, kept and read back, and what a hostile file does.

use proptest::prelude::*;

use super::*;

const CHROME: &str = "t13d1516h2_002f,0035,009c,009d,1301,1302,1303,c013,c014,c02b,c02c,c02f,c030,\
                      cca8,cca9_0005,000a,000b,000d,0012,0017,001b,0023,002b,002d,0033,44cd,fe0d,\
                      ff01_0403,0804,0401,0503,0805,0501,0806,0601";

/// A hello with one extension of this number.
fn hello(extension: u16) -> Ja4Raw {
    let extension = extension.max(0x0011) | 1;
    format!("t13i010100_1301_{extension:04x}_0403").parse().unwrap()
}

fn source(n: u32) -> SourceKey {
    SourceKey { words: [u32::MAX, n] }
}

fn learn(known: &mut KnownFingerprints, hello: &Ja4Raw, from: u32, unix_s: u64) -> bool {
    known.learn(&hello.ja4(), hello, &source(from), unix_s)
}

#[test]
fn what_was_learned_is_found_and_survives_a_restart() {
    let mut known = KnownFingerprints::default();
    let chrome: Ja4Raw = CHROME.parse().unwrap();
    assert!(learn(&mut known, &chrome, 1, 100));
    assert!(!learn(&mut known, &chrome, 1, 200));
    assert!(!learn(&mut known, &chrome, 2, 300));
    assert!(learn(&mut known, &hello(0x99), 1, 400));
    let read = KnownFingerprints::read(&known.write().unwrap()).unwrap();
    for known in [&known, &read] {
        let it = known.get(&chrome.ja4()).unwrap();
        assert_eq!((it.hellos(), it.stable()), (&[chrome.clone()][..], chrome.stable()));
        assert_eq!((it.first_unix_s(), it.last_unix_s()), (100, 300));
        assert_eq!((it.connections(), it.senders()), (3, 2));
        assert_eq!(known.len(), 2);
    }
    let mut read = read;
    assert!(!learn(&mut read, &chrome, 7, 500));
    assert_eq!(read.get(&chrome.ja4()).unwrap().senders(), 2, "who came before is not known");
}

#[test]
fn another_hello_of_the_same_ja4_is_remembered_beside_the_first() {
    let mut known = KnownFingerprints::default();
    let ja4 = hello(0x31).ja4();
    for extension in [0x31, 0x33, 0x35, 0x37, 0x39] {
        // As if the hash were the same.
        known.learn(&ja4, &hello(extension), &source(1), 1);
    }
    let hellos: Vec<Ja4Raw> = [0x31, 0x33, 0x35, 0x37].map(hello).into();
    assert_eq!(known.get(&ja4).unwrap().hellos(), hellos);
}

#[test]
fn one_sender_with_many_fingerprints_pushes_out_nobody_elses() {
    let mut known = KnownFingerprints::default();
    let chrome: Ja4Raw = CHROME.parse().unwrap();
    learn(&mut known, &chrome, 1, 1);
    learn(&mut known, &chrome, 2, 2);
    for extension in 0x1001..0x8000 {
        learn(&mut known, &hello(extension), 66, 3);
    }
    assert!(known.get(&chrome.ja4()).is_some());
    assert!(known.len() <= CAPACITY);
    let read = KnownFingerprints::read(&known.write().unwrap()).unwrap();
    assert!(read.get(&chrome.ja4()).is_some());
    assert_eq!(read.len(), known.len());
}

#[test]
fn a_file_that_is_something_else_is_refused_in_words() {
    let error = |text: &str| KnownFingerprints::read(text.as_bytes()).unwrap_err().to_string();
    assert!(error("").contains("not a list of fingerprints"));
    assert!(error("[1]").contains("not a list of fingerprints"));
    assert!(error(r#"{"form":7,"fingerprints":[]}"#).contains("has form 7"));
    let line = r#"{"ja4_r":["t13d9999h2__"],"first_unix_s":1,"last_unix_s":1,"connections":1,"senders":1}"#;
    let refused = error(&format!(r#"{{"form":1,"fingerprints":[{line}]}}"#));
    assert!(refused.contains("entry 1 is no fingerprint"), "{refused}");
    let long = vec![b' '; LARGEST_BYTES + 1];
    assert!(matches!(KnownFingerprints::read(&long), Err(KnownError::TooLong { .. })));
    let nested = "[".repeat(1 << 20);
    assert!(matches!(KnownFingerprints::read(nested.as_bytes()), Err(KnownError::Syntax(_))));
}

proptest! {
    #[test]
    fn no_contents_crash_it(contents in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = KnownFingerprints::read(&contents);
    }

    #[test]
    fn whatever_was_learned_is_read_back(
        learned in prop::collection::vec((any::<u16>(), 0u32..5, 0u64..1000), 0..60),
    ) {
        let mut known = KnownFingerprints::default();
        for (extension, from, unix_s) in &learned {
            if !weir_common::tls::is_grease(extension.max(&0x11) | 1) {
                learn(&mut known, &hello(*extension), *from, *unix_s);
            }
        }
        let read = KnownFingerprints::read(&known.write().unwrap()).unwrap();
        prop_assert_eq!(read.len(), known.len());
        for (ja4, it) in known.iter() {
            let other = read.get(ja4).unwrap();
            prop_assert_eq!(it.hellos(), other.hellos());
            prop_assert_eq!((it.connections(), it.senders()), (other.connections(), other.senders()));
        }
    }
}
