//! Recordings of any events, and of anybody's making.

use std::{io::Cursor as Bytes, path::Path};

use proptest::prelude::*;
use weir_common::abi::{EventHeader, FlowKey};

use super::*;
use crate::policy;

const POLICY: &str = "
kind: Site
services: {shop: {tcp: [443]}}
signals: {login_failed: {per: source, windows: [10m]}}
ladders: {default: [{at: 50, action: mark, for: 1m}]}
";

fn head() -> Head {
    let policy = policy::parse("test", POLICY, Path::new("."), &ServiceIds::default()).unwrap();
    Head::new(&policy, 1_700_000_000)
}

fn recording(head: &Head, records: &[u8]) -> Recording {
    let mut bytes = serde_json::to_vec(head).unwrap();
    bytes.push(b'\n');
    bytes.extend(records);
    Recording::read("it".into(), Bytes::new(bytes)).unwrap()
}

fn events(recording: &mut Recording) -> (Vec<Event>, Option<RecordingError>) {
    let mut events = Vec::new();
    loop {
        match recording.next_event() {
            Ok(Some(event)) => events.push(event),
            Ok(None) => return (events, None),
            Err(error) => {
                assert!(matches!(recording.next_event(), Ok(None)), "nothing behind an error");
                return (events, Some(error));
            }
        }
    }
}

/// An event of a kind whose numbers are these bytes, again and again.
fn any_event(kind: Kind, bytes: &[u8]) -> Event {
    let fields = kind.fields();
    let length = fields.iter().map(|(_, size)| size).sum();
    let record: Vec<u8> = bytes.iter().copied().cycle().take(length).collect();
    let mut at = 0;
    let places: Vec<Option<usize>> = fields
        .iter()
        .map(|(_, size)| {
            at += size;
            Some(at - size)
        })
        .collect();
    kind.event(Cursor::new(&record, &places)).unwrap()
}

fn kinds() -> impl Iterator<Item = Kind> {
    Kind::ALL.into_iter().filter(|kind| *kind != Kind::Lost)
}

proptest! {
    #[test]
    fn every_event_comes_back_as_it_was(bytes in prop::collection::vec(any::<u8>(), 1..400)) {
        let put_down: Vec<Event> = kinds().map(|kind| any_event(kind, &bytes)).collect();
        let mut records = Vec::new();
        put_down.iter().for_each(|event| put(event, &mut records));
        put_lost(3, &mut records);
        let mut recording = recording(&head(), &records);
        let (taken_up, error) = events(&mut recording);
        prop_assert!(error.is_none(), "{error:?}");
        prop_assert_eq!(taken_up, put_down);
        prop_assert_eq!(recording.lost(), 3);
    }

    #[test]
    fn damage_is_an_error_with_its_place_and_what_came_before_is_read(
        cut in 0usize..3_000,
        flips in prop::collection::vec((0usize..3_000, any::<u8>()), 0..4),
    ) {
        let mut records = Vec::new();
        kinds().for_each(|kind| put(&any_event(kind, &[7, 0, 0, 1]), &mut records));
        records.truncate(cut);
        for (at, byte) in flips {
            if let Some(place) = records.get_mut(at) {
                *place = byte;
            }
        }
        let (read, error) = events(&mut recording(&head(), &records));
        prop_assert!(read.len() <= Kind::ALL.len());
        if let Some(error) = error {
            prop_assert!(error.to_string().contains(&format!("event {}", read.len())), "{error}");
        }
    }

    #[test]
    fn nothing_that_anybody_writes_crashes_it(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = Recording::read("it".into(), Bytes::new(bytes.clone()));
        let mut head = head();
        head.layouts.insert("tick".into(), vec![("at_ns".into(), usize::MAX), ("x".into(), 9)]);
        events(&mut recording(&head, &bytes));
    }
}

#[test]
fn another_versions_numbers_are_found_by_their_names() {
    let mut head = head();
    let mut records = Vec::new();
    // A milestone of a version that knows less, and one number that nobody knows here.
    let layout = [("value", 8), ("unheard_of", 4), ("header.at_ns", 8), ("header.kind", 2)];
    let layout = layout.map(|(name, size)| (name.to_owned(), size));
    head.layouts.insert("milestone".into(), layout.to_vec());
    record(Kind::Milestone, &mut records, |into| {
        into.extend(17u64.to_le_bytes());
        into.extend([9; 4]);
        into.extend(5u64.to_le_bytes());
        into.extend([3, 0]);
    });
    let header = EventHeader { at_ns: 5, ..EventHeader::default() };
    let milestone = Milestone { header, key: FlowKey::default(), value: 17 };
    let (read, error) = events(&mut recording(&head, &records));
    assert_eq!(read, [Event::Milestone(milestone)], "a number of another size is another number");
    assert!(error.is_none());
}

#[test]
fn what_is_no_recording_is_said_to_be_none() {
    let read = |text: &str| match Recording::read("it".into(), Bytes::new(text.as_bytes().to_vec()))
    {
        Ok(_) => "read".to_owned(),
        Err(error) => error.to_string(),
    };
    assert_eq!(
        read("{}\n"),
        "it is no recording: missing field `weir-recording` at line 1 column 2"
    );
    assert!(read("").starts_with("it is no recording: EOF"), "{}", read(""));
    let mut newer = serde_json::to_string(&Head { format: 2, ..head() }).unwrap();
    newer.push('\n');
    assert!(read(&newer).contains("has version 2 of the format; this is version 1"));
    let mut records = Vec::new();
    put(&Event::Tick { at_ns: 1 }, &mut records);
    let at = records.len();
    records.extend([200, 0, 0]);
    let (read, error) = events(&mut recording(&head(), &records));
    assert_eq!(read.len(), 1);
    assert_eq!(
        error.unwrap().to_string(),
        "it is damaged: the record behind event 1 is of kind 200, which nobody writes"
    );
    records.truncate(at + 1);
    let (_, error) = events(&mut recording(&head(), &records));
    assert_eq!(
        error.unwrap().to_string(),
        "it is cut off: it ends inside the record behind event 1"
    );
}
