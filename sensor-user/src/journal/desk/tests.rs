//! The daemon's end, on a store of its own.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use ipnet::IpNet;

use super::*;
use crate::journal::{
    SCHEMA, StoredRecord,
    forget::Forgotten,
    read::{Filter, Reader},
    verify::{Head, Knowledge, Report, verify},
};

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("weir-desk-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn paths(&self) -> Paths {
        Paths { state_dir: self.0.clone(), ..Paths::default() }
    }

    fn open(&self) -> Desk {
        open(&self.paths())
    }

    /// What is on disk.
    fn records(&self) -> Vec<StoredRecord> {
        let mut records = Vec::new();
        let reader = Reader::open(&self.paths().store_file()).unwrap();
        reader
            .each(&Filter::default(), |record| {
                records.push(record.clone());
                true
            })
            .unwrap();
        records
    }

    fn kinds(&self) -> Vec<String> {
        self.records().into_iter().map(|record| record.kind).collect()
    }

    fn verify(&self) -> Report {
        let places = Places::of(&self.paths());
        let head = Head::read(&places.head);
        let key = SigningKey::read(&places.signature_key).unwrap().unwrap();
        let knowledge = Knowledge { keys: vec![key.public()], known: Vec::new(), head: Some(head) };
        verify(&Reader::open(&self.paths().store_file()).unwrap(), &knowledge).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn open(paths: &Paths) -> Desk {
    let schemas = [
        SCHEMA,
        crate::label::SCHEMA,
        crate::enforce::cohort::SCHEMA,
        crate::enforce::ledger::durable::SCHEMA,
    ];
    let (store, _) = Store::open(&paths.store_file(), &schemas).unwrap();
    Desk::open(store, Places::of(paths), PrivacySettings::default())
}

fn close(mut desk: Desk) {
    desk.finish();
    desk.store.close(Duration::from_secs(10));
}

fn record(kind: Kind) -> Record {
    let about: IpNet = "192.0.2.7/32".parse().unwrap();
    Record::new(kind, &Actor::Daemon, json!({"score": 60})).about([about])
}

fn within(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn what_is_noted_is_on_disk_signed_and_holds() {
    let place = Place::new("noted");
    let mut desk = place.open();
    assert_eq!(desk.last_run_ended_well(), None);
    desk.note(&record(Kind::Start));
    for _ in 0..2_500 {
        desk.note(&record(Kind::Decision));
    }
    desk.note(&record(Kind::Stop));
    close(desk);
    let report = place.verify();
    assert!(report.holds, "{report:?}");
    assert_eq!((report.records, report.signed_through), (2_502, 2_502));
    assert!(place.records().iter().all(|record| record.form.as_deref() == Some("pseudonym")));
    let again = place.open();
    assert_eq!(again.last_run_ended_well(), Some(true));
    assert_eq!(again.health().trouble, [""; 0]);
    close(again);
}

#[test]
fn while_nothing_can_be_written_decisions_give_way_first_and_a_gap_tells_of_it() {
    let place = Place::new("full");
    let database = place.paths().store_file();
    fs::create_dir_all(&database).unwrap();
    let mut desk = place.open();
    desk.note(&record(Kind::Start));
    for _ in 0..3 * MOST / 4 + 10 {
        desk.note(&record(Kind::Decision));
    }
    assert_eq!(desk.health().lost, 11, "the rest is kept for others");
    for _ in 0..MOST / 4 + 5 {
        desk.note(&record(Kind::Block));
    }
    assert_eq!((desk.health().waiting, desk.health().lost), (MOST, 16));
    fs::remove_dir(&database).unwrap();
    within("the store can be written again", || {
        desk.tick();
        desk.health().written > MOST as u64
    });
    close(desk);
    let report = place.verify();
    assert!(report.holds, "{report:?}");
    let records = place.records();
    let gap = records.last().unwrap();
    assert_eq!(
        (gap.kind.as_str(), gap.body.as_str()),
        ("gap", r#"{"lost":{"block":5,"decision":11}}"#)
    );
    assert_eq!(records.len(), MOST + 1);
}

#[test]
fn memory_is_bounded_in_bytes_too() {
    let place = Place::new("bytes");
    fs::create_dir_all(place.paths().store_file()).unwrap();
    let mut desk = place.open();
    let large = Record::new(Kind::Audit, &Actor::Daemon, json!({"text": "x".repeat(1 << 20)}));
    for _ in 0..40 {
        desk.note(&large);
    }
    assert!(desk.waiting_bytes <= MOST_BYTES && desk.health().lost >= 24, "{:?}", desk.health());
}

#[test]
fn who_changes_the_journal_while_the_daemon_runs_is_told_of_in_it() {
    let place = Place::new("behind");
    let mut desk = place.open();
    for _ in 0..5 {
        desk.note(&record(Kind::Audit));
    }
    within("they are on disk, and signed", || {
        desk.tick();
        desk.health().signed_through == 5
    });
    let other = Connection::open(place.paths().store_file()).unwrap();
    other.busy_timeout(Duration::from_secs(5)).unwrap();
    other
        .execute_batch(
            "DELETE FROM journal WHERE seq > 3; DELETE FROM journal_personal WHERE seq > 3",
        )
        .unwrap();
    desk.note(&record(Kind::Audit));
    within("it is noticed", || {
        desk.tick();
        desk.health().written == 7
    });
    close(desk);
    let told = place.records();
    let body = &told.last().unwrap().body;
    assert!(body.contains("behind Weir's back") && body.contains("ended at record 5:"), "{body}");
    assert!(!place.verify().holds, "the checkpoint of record 5 knows another");
}

#[test]
fn a_journal_that_is_not_as_it_was_left_is_told_of_at_the_start() {
    let place = Place::new("left");
    let mut desk = place.open();
    for _ in 0..5 {
        desk.note(&record(Kind::Audit));
    }
    close(desk);
    let other = Connection::open(place.paths().store_file()).unwrap();
    other.execute_batch("DELETE FROM journal WHERE seq > 3; DELETE FROM journal_personal WHERE seq > 3; DELETE FROM journal_checkpoints").unwrap();
    drop(other);
    let desk = place.open();
    assert!(desk.health().trouble.iter().any(|text| text.contains("not as it was left")));
    assert_eq!(desk.last_run_ended_well(), Some(false));
    close(desk);
    let records = place.records();
    assert_eq!(records.last().unwrap().kind, "audit");
    assert!(records.last().unwrap().body.contains("the head file knows record 5"), "{records:?}");
}

#[test]
fn keys_are_replaced_while_records_are_written() {
    let place = Place::new("keys");
    let mut desk = place.open();
    desk.note(&record(Kind::Audit));
    let first = desk.public_key().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    desk.rotate_signature(&Actor::User(0), Box::new(move |rotated| tell.send(rotated).unwrap()));
    let new = told.recv_timeout(Duration::from_secs(30)).unwrap().unwrap();
    assert_eq!(hex(&desk.public_key().unwrap()), new);
    assert_ne!(desk.public_key(), Some(first));
    assert_eq!(desk.rotate_pseudonyms(&Actor::User(0)).unwrap(), 2);
    desk.note(&record(Kind::Audit));
    close(desk);
    let report = place.verify();
    assert!(report.holds, "{report:?}");
    let reader = Reader::open(&place.paths().store_file()).unwrap();
    let head = Head::read(&Places::of(&place.paths()).head);
    let knowledge = Knowledge { keys: vec![first], known: Vec::new(), head: Some(head) };
    assert!(
        verify(&reader, &knowledge).unwrap().holds,
        "who knows the first key trusts the second"
    );
    let names: Vec<Vec<String>> = place.records().iter().map(StoredRecord::about).collect();
    assert_ne!(names[0], names[3], "one client under two keys");
}

#[test]
fn keys_of_pseudonyms_are_renewed_and_deleted_by_their_age() {
    let place = Place::new("renewed");
    let mut desk = place.open();
    let rotation = desk.privacy.key_rotation_ns / 1_000_000_000;
    let keep = desk.privacy.keep_keys_ns / 1_000_000_000;
    let now = now_s();
    desk.renew_pseudonyms(now + rotation - 10);
    assert_eq!(desk.all_pseudonym_keys().unwrap().ids(), [1]);
    desk.renew_pseudonyms(now + rotation + 10);
    assert_eq!(desk.all_pseudonym_keys().unwrap().ids(), [1, 2]);
    desk.renew_pseudonyms(now + rotation + 20 + keep);
    let ids = desk.all_pseudonym_keys().unwrap().ids();
    assert!(!ids.contains(&1), "{ids:?}");
    close(desk);
    assert!(place.kinds().iter().all(|kind| kind == "key"));
}

#[test]
fn who_is_forgotten_is_forgotten_through_the_store_too() {
    let place = Place::new("forget");
    let mut desk = place.open();
    for _ in 0..5_000 {
        desk.note(&record(Kind::Decision));
    }
    desk.note(
        &Record::new(Kind::Decision, &Actor::Daemon, json!({}))
            .about(["198.51.100.1/32".parse().unwrap()]),
    );
    desk.flush();
    let keys = desk.all_pseudonym_keys().unwrap();
    let whom = Forgotten::new(&["192.0.2.0/24".parse().unwrap()], &keys).unwrap();
    let more = json!({"unblocked": 1});
    let erased = crate::journal::erasure::carry_out(
        &desk.writer(),
        &whom,
        &Actor::User(0),
        more.as_object().unwrap(),
    )
    .unwrap();
    assert_eq!(erased.records, 5_000);
    close(desk);
    let report = place.verify();
    assert!(report.holds, "{report:?}");
    assert_eq!((report.personal, report.personal_deleted), (1, 5_000));
    let records = place.records();
    let forgets: Vec<&str> =
        records.iter().filter(|it| it.kind == "forget").map(|it| it.body.as_str()).collect();
    assert_eq!(forgets.len(), 3, "a step of 2,000 at a time");
    assert!(
        forgets[0].contains(r#""unblocked":1"#) && !forgets.concat().contains("192.0.2"),
        "{forgets:?}"
    );
}

/// Not a test: what the next one kills.
#[test]
fn writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os("WEIR_KILLED_JOURNAL") else { return };
    let mut desk = open(&Paths { state_dir: Path::new(&folder).into(), ..Paths::default() });
    loop {
        for _ in 0..50 {
            desk.note(&record(Kind::Decision));
        }
        desk.note(&record(Kind::Unblock));
        desk.tick();
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

#[test]
fn whenever_it_is_killed_the_journal_holds() {
    let place = Place::new("killed");
    let mut before = 0;
    for round in 0..6_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["journal::desk::tests::writes_until_it_is_killed", "--exact", "--nocapture"])
            .env("WEIR_KILLED_JOURNAL", &place.0)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let database = place.paths().store_file();
        within("it writes", || {
            Connection::open(&database)
                .and_then(|it| {
                    it.query_row("SELECT max(seq) FROM journal", [], |row| row.get::<_, i64>(0))
                })
                .is_ok_and(|last| last > before + 100)
        });
        std::thread::park_timeout(Duration::from_millis(17 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let report = place.verify();
        assert!(report.holds, "round {round}: {report:?}");
        before = report.last;
    }
}

#[test]
fn the_cost_of_a_record_is_printed() {
    let place = Place::new("cost");
    let mut desk = place.open();
    const COUNT: u32 = 20_000;
    let begun = Instant::now();
    for _ in 0..COUNT {
        desk.note(&record(Kind::Decision));
        while desk.waiting.len() > MOST / 2 {
            desk.flush();
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
    let loop_time = begun.elapsed();
    desk.flush();
    desk.writer().settle().unwrap();
    let whole = begun.elapsed();
    close(desk);
    let bytes = fs::metadata(place.paths().store_file()).unwrap().len();
    let verified = Instant::now();
    assert!(place.verify().holds);
    println!(
        "{COUNT} records: the loop {:?} each, on disk after {:?} each, {} bytes each; verified in {:?} each",
        loop_time / COUNT,
        whole / COUNT,
        bytes / u64::from(COUNT),
        verified.elapsed() / COUNT
    );
}
