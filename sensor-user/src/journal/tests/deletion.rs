//! What is deleted lawfully: retention and erasure keep the chain whole.

use super::*;
use crate::journal::{
    forget::{Forgotten, erase, find},
    retain::{self, retain},
};

const DAY: i64 = 86_400 * SECOND;

fn keep(records_days: u64, personal_days: u64) -> PrivacySettings {
    let day = u64::try_from(DAY).unwrap();
    PrivacySettings {
        retain_ns: records_days * day,
        retain_personal_ns: personal_days * day,
        ..PrivacySettings::default()
    }
}

impl Book {
    /// A record a day, and a checkpoint after every tenth.
    fn days(name: &str, days: u32) -> Self {
        let mut book = Self::new(name);
        for number in 0..days {
            book.now += DAY;
            book.decide(number);
            if (number + 1) % 10 == 0 {
                book.sign();
            }
        }
        book
    }

    fn retain(&mut self, privacy: &PrivacySettings) -> retain::Retained {
        let transaction = self.connection.transaction().unwrap();
        let retained = retain(&transaction, privacy, Some(&self.key), self.now).unwrap();
        transaction.commit().unwrap();
        if let Some(checkpoint) = retained.appended.as_ref().and_then(|it| it.checkpoint.as_ref()) {
            fs::write(self.folder.join("journal.head"), checkpoint.to_head()).unwrap();
        }
        retained
    }

    fn forget(&mut self, whom: &[&str]) -> Vec<i64> {
        let nets: Vec<IpNet> = whom.iter().map(|text| net(text)).collect();
        let whom = Forgotten::new(&nets, &self.pseudonyms).unwrap();
        let found = find(&self.connection, &whom).unwrap();
        let transaction = self.connection.transaction().unwrap();
        let more = json!({"labels": 1});
        let erased =
            erase(&transaction, &found, &more, &Actor::User(0), Some(&self.key), self.now).unwrap();
        transaction.commit().unwrap();
        fs::write(self.folder.join("journal.head"), erased.checkpoint.unwrap().to_head()).unwrap();
        found
    }

    /// Whether a text is anywhere in the files.
    fn holds(&self, text: &str) -> bool {
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        ["weir.db", "weir.db-wal"].iter().any(|name| {
            let bytes = fs::read(self.folder.join(name)).unwrap_or_default();
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        })
    }
}

#[test]
fn old_records_go_up_to_a_checkpoint_and_the_chain_hangs_on_it() {
    let mut book = Book::days("old", 95);
    let retained = book.retain(&keep(60, 30));
    // Of 95 days, those before the 35th are too old: signed are 30.
    assert_eq!((retained.records, retained.personal), (30, 35), "{retained:?}");
    assert!(!retained.appended.as_ref().unwrap().tail.seq.is_negative());
    let report = book.verify();
    assert!(report.holds, "{:?}", told(&report));
    assert_eq!((report.first, report.last, report.personal_deleted), (31, 97, 35));
    assert!(report.notes.iter().any(|note| note.contains("up to 30 were deleted")));
    let again = book.retain(&keep(60, 30));
    assert!(!again.is_unfinished() && again.appended.is_none(), "{again:?}");
    // And once more, later.
    book.now += 20 * DAY;
    book.retain(&keep(60, 30));
    let report = book.verify();
    assert!(report.holds && report.first == 51, "{:?}", told(&report));
}

#[test]
fn what_retention_leaves_is_still_guarded() {
    let mut book = Book::days("guarded", 95);
    book.retain(&keep(60, 30));
    book.change("DELETE FROM journal WHERE seq = 31; DELETE FROM journal_personal WHERE seq = 31");
    assert_eq!(told(&book.verify()), ["Removed 31-31"]);
    book.change("DELETE FROM journal_personal WHERE seq = 80");
    assert!(finds(&book.verify(), Wrong::PersonalRemoved, 80));
    let mut book = Book::days("guarded-anchor", 95);
    book.retain(&keep(60, 30));
    book.change("DELETE FROM journal_checkpoints WHERE seq = 30");
    assert!(finds(&book.verify(), Wrong::CheckpointRemoved, 30));
    // Who deletes to a checkpoint without a record of retention is found.
    let book = Book::days("guarded-unlawful", 95);
    book.change(
        "DELETE FROM journal WHERE seq <= 30; DELETE FROM journal_personal WHERE seq <= 30;
         DELETE FROM journal_checkpoints WHERE seq < 30",
    );
    assert!(finds(&book.verify(), Wrong::Removed, 1));
}

#[test]
fn retention_does_not_delete_what_was_tampered_with_at_its_checkpoint() {
    let mut book = Book::days("tampered", 95);
    book.change("UPDATE journal SET hash = zeroblob(32) WHERE seq = 30");
    assert_eq!(book.retain(&keep(60, 90)).records, 0);
    assert!(finds(&book.verify(), Wrong::Edited, 30));
}

#[test]
fn personal_parts_go_by_their_age_also_where_a_clock_was_set() {
    let mut book = Book::days("clock", 5);
    let forward = book.now + 40 * DAY;
    let behind = std::mem::replace(&mut book.now, forward);
    book.decide(6);
    book.now = behind;
    book.decide(7);
    book.now = behind + 31 * DAY;
    let retained = book.retain(&keep(60, 30));
    assert_eq!(retained.personal, 6, "all but the one from the future");
    let report = book.verify();
    assert!(report.holds && report.personal == 1, "{:?}", told(&report));
}

#[test]
fn one_step_deletes_so_much_and_the_next_goes_on() {
    let mut book = Book::new("steps");
    let mut record = Record::new(Kind::Audit, &Actor::Daemon, json!({}));
    record.unix_ns = u64::try_from(BEGIN).unwrap();
    let entry = conceal(&record, AddressForm::Plain, None).unwrap();
    for _ in 0..12 {
        book.append(&vec![entry.clone(); 1000], Sign::WhenDue);
        book.sign();
    }
    book.now += 100 * DAY;
    let steps: Vec<usize> = (0..4).map(|_| book.retain(&keep(60, 30)).records).collect();
    assert_eq!(steps, [5000, 5000, 2000, 0]);
    assert!(book.verify().holds);
}

#[test]
fn who_is_forgotten_is_nowhere_and_the_chain_holds() {
    let mut book = Book::of("forget", 300);
    assert!(book.holds("192.0.2.7/32"));
    let found = book.forget(&["192.0.2.7/32"]);
    assert_eq!(found, [8, 258]);
    assert!(!book.holds("192.0.2.7/32"), "in no file, not even in what was deleted");
    assert!(book.holds("192.0.2.70/32"), "nobody else is");
    let report = book.verify();
    assert!(report.holds, "{:?}", told(&report));
    assert_eq!((report.last, report.personal_deleted), (301, 2));
    let body: String = book
        .connection
        .query_row("SELECT body FROM journal WHERE seq = 301", [], |row| row.get(0))
        .unwrap();
    assert_eq!(body, r#"{"count":2,"labels":1,"personal":[[8,8],[258,258]]}"#);
    assert_eq!(book.forget(&["198.51.100.0/24"]), [0_i64; 0]);
    assert!(book.verify().holds, "a request that finds nothing is written down too");
}

#[test]
fn a_prefix_is_forgotten_with_all_that_lies_in_it() {
    let mut book = Book::of("forget-prefix", 60);
    assert_eq!(book.forget(&["192.0.2.16/28"]), (17..=32).collect::<Vec<i64>>());
    assert!(book.verify().holds);
}

#[test]
fn free_text_that_names_somebody_goes_with_them() {
    let mut book = Book::new("forget-text");
    let record = Record::new(Kind::Block, &Actor::User(0), json!({}))
        .with_personal(json!({"reason": "same person as 203.0.113.9, says support"}));
    book.write(record);
    assert_eq!(book.forget(&["203.0.113.9/32"]), [1]);
    assert!(!book.holds("203.0.113.9"));
}

#[test]
fn pseudonyms_are_found_under_every_key_that_is_kept() {
    let mut book = Book::new("forget-pseudonym");
    book.form = AddressForm::Pseudonymise;
    let about = |book: &mut Book, whom: &str| {
        book.write(Record::new(Kind::Decision, &Actor::Daemon, json!({})).about([net(whom)]))
            .tail
            .seq
    };
    let first = about(&mut book, "192.0.2.7/32");
    book.pseudonyms.rotate(2).unwrap();
    let second = about(&mut book, "192.0.2.7/32");
    about(&mut book, "192.0.2.8/32");
    let host = about(&mut book, "2001:db8:1:2::5/128");
    let network = about(&mut book, "2001:db8:1:2::/64");
    assert!(!book.holds("192.0.2."));
    assert_eq!(book.forget(&["192.0.2.7/32"]), [first, second]);
    assert_eq!(book.forget(&["2001:db8:1:2::99/128"]), [host, network], "IPv6 is judged by /64");
    assert!(book.verify().holds);
    let keys = &book.pseudonyms;
    assert!(Forgotten::new(&[net("10.0.0.0/15")], keys).is_err());
    assert!(Forgotten::new(&[net("2001:db8::/47")], keys).is_err());
    assert!(Forgotten::new(&[net("10.0.0.0/30"), net("2001:db8::/62")], keys).is_ok());
}
