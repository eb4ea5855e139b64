//! Whatever somebody does to the tables is found, at its place.

use proptest::{prelude::*, test_runner::TestRunner};
use rusqlite::types::Value;

use super::*;
use crate::journal::verify::Known;

#[test]
fn a_journal_as_it_was_written_verifies() {
    let book = Book::of("whole", 25);
    let report = book.verify();
    assert!(report.holds, "{report:?}");
    assert_eq!((report.records, report.first, report.last), (25, 1, 25));
    assert_eq!((report.checkpoints, report.signed_through, report.personal), (2, 20, 25));
    assert!(report.notes.iter().any(|note| note.contains("21 to 25 are not signed")));
    let empty = Book::new("empty").verify();
    assert!(empty.holds && empty.records == 0, "{empty:?}");
}

#[test]
fn records_are_signed_every_1024_and_once_a_minute() {
    let mut book = Book::new("due");
    let record = |now| {
        let mut record = Record::new(Kind::Audit, &Actor::Daemon, json!({}));
        record.unix_ns = now;
        conceal(&record, AddressForm::Plain, None).unwrap()
    };
    let sign = |count: usize, now: i64| {
        let entries = vec![record(1); count];
        book.change("BEGIN");
        let appended = append(&book.connection, &entries, Some(&book.key), Sign::WhenDue, now);
        book.change("COMMIT");
        appended.unwrap().checkpoint.map(|checkpoint| checkpoint.seq)
    };
    assert_eq!(sign(1, BEGIN), Some(1), "the first at once");
    assert_eq!(sign(1023, BEGIN + SECOND), None);
    assert_eq!(sign(1, BEGIN + SECOND), Some(1025));
    assert_eq!(sign(1, BEGIN + 60 * SECOND), None);
    assert_eq!(sign(0, BEGIN + 61 * SECOND), Some(1026), "also when nothing is added");
    assert_eq!(sign(0, BEGIN + 500 * SECOND), None, "nothing new");
    assert_eq!(sign(1, BEGIN), Some(1027), "a clock that went back makes nobody wait");
    book.now = BEGIN;
    assert!(book.verify_with(&Knowledge::default()).holds);
}

/// Every column of every table: table, column, and how many rows there are.
const COLUMNS: &[(&str, &str)] = &[
    ("journal", "seq"),
    ("journal", "unix_ns"),
    ("journal", "kind"),
    ("journal", "actor"),
    ("journal", "body"),
    ("journal", "personal_digest"),
    ("journal", "prev_hash"),
    ("journal", "hash"),
    ("journal_personal", "seq"),
    ("journal_personal", "salt"),
    ("journal_personal", "form"),
    ("journal_personal", "content"),
    ("journal_checkpoints", "seq"),
    ("journal_checkpoints", "unix_ns"),
    ("journal_checkpoints", "previous"),
    ("journal_checkpoints", "hash"),
    ("journal_checkpoints", "public_key"),
    ("journal_checkpoints", "signature"),
];

/// The value with one bit of one byte flipped.
fn flipped(value: Value, place: usize, bit: u8) -> Option<Value> {
    let flip = |mut bytes: Vec<u8>| {
        let length = bytes.len();
        *bytes.get_mut(place.checked_rem(length)?)? ^= 1 << bit;
        Some(bytes)
    };
    Some(match value {
        // Seven bytes: places stay places.
        Value::Integer(number) => Value::Integer(number ^ (1_i64 << (bit + 8 * (place % 7) as u8))),
        Value::Text(text) => Value::Blob(flip(text.into_bytes())?),
        Value::Blob(bytes) => Value::Blob(flip(bytes)?),
        other => other,
    })
}

#[test]
fn any_bit_of_any_column_of_any_row_that_is_flipped_is_found_at_its_place() {
    let book = Book::of("flip", 40);
    let mut runner = TestRunner::new(ProptestConfig { cases: 600, ..ProptestConfig::default() });
    let cases = (0..COLUMNS.len(), 0_usize..1000, 0_usize..400, 0_u8..8);
    let ran = runner.run(&cases, |(column, row, place, bit)| {
        let (table, column) = COLUMNS[column];
        let (rowid, value) = nth(&book.connection, table, column, row);
        let Some(other) = flipped(value, place, bit) else { return Ok(()) };
        book.change("SAVEPOINT untouched");
        let is_taken = put(&book.connection, table, column, rowid, &other);
        // The verifier reads what is committed.
        let report = if is_taken {
            let reader = Reader { path: PathBuf::new(), connection: copy(&book.connection) };
            Some(verify(&reader, &book.knowledge()).unwrap())
        } else {
            None
        };
        book.change("ROLLBACK TO untouched; RELEASE untouched");
        let Some(report) = report else { return Ok(()) };
        prop_assert!(!report.holds, "{table}.{column} of row {rowid}");
        // What is moved is found where it was, or where it is.
        let moved = if let Value::Integer(number) = other { number } else { rowid };
        let is_at = |at: i64, it: &Finding| it.from <= at && at <= it.to;
        let near = report.findings.iter().any(|it| is_at(rowid, it) || is_at(moved, it));
        prop_assert!(near, "{table}.{column} of row {rowid}: {:?}", told(&report));
        // No more is told than that one row is gone here, and one too many there.
        prop_assert!(report.findings.len() <= 6, "{:?}", told(&report));
        Ok(())
    });
    ran.unwrap();
    assert!(book.verify().holds, "the test left it as it was");
}

fn nth(connection: &Connection, table: &str, column: &str, row: usize) -> (i64, Value) {
    let count: i64 = connection
        .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
        .unwrap();
    let row = row as i64 % count;
    let sql = format!("SELECT rowid, {column} FROM {table} ORDER BY rowid LIMIT 1 OFFSET ?1");
    connection.query_row(&sql, [row], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
}

/// Puts a value there, as who edits the file would: texts keep their type. Whether there is no other row
/// of that number.
fn put(connection: &Connection, table: &str, column: &str, rowid: i64, value: &Value) -> bool {
    let is_text = matches!(column, "kind" | "actor" | "body" | "form" | "content");
    let place = if is_text { "CAST(?1 AS TEXT)" } else { "?1" };
    let sql = format!("UPDATE {table} SET {column} = {place} WHERE rowid = ?2");
    connection.execute(&sql, rusqlite::params![value, rowid]).is_ok()
}

/// The database as it is within the transaction.
fn copy(connection: &Connection) -> Connection {
    let mut copy = Connection::open_in_memory().unwrap();
    copy.execute_batch(SCHEMA).unwrap();
    let transaction = copy.transaction().unwrap();
    for (table, columns) in [("journal", 8), ("journal_personal", 4), ("journal_checkpoints", 6)] {
        let places = vec!["?"; columns].join(", ");
        let mut insert =
            transaction.prepare(&format!("INSERT INTO {table} VALUES ({places})")).unwrap();
        let mut select = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let mut rows = select.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values = (0..columns)
                .map(|index| rusqlite::types::ToSqlOutput::Borrowed(row.get_ref(index).unwrap()));
            insert.execute(rusqlite::params_from_iter(values)).unwrap();
        }
    }
    transaction.commit().unwrap();
    copy
}

#[test]
fn records_that_are_removed_are_named() {
    let book = Book::of("removed", 40);
    book.change("DELETE FROM journal WHERE seq IN (17, 18); DELETE FROM journal_personal WHERE seq IN (17, 18)");
    assert_eq!(told(&book.verify()), ["Removed 17-18"]);
    let book = Book::of("removed-first", 40);
    book.change("DELETE FROM journal WHERE seq <= 3; DELETE FROM journal_personal WHERE seq <= 3");
    assert_eq!(told(&book.verify()), ["Removed 1-3"]);
}

#[test]
fn records_that_are_swapped_are_named_wherever_they_are() {
    for (a, b) in [(5, 30), (11, 12), (1, 2), (39, 40), (1, 40)] {
        let book = Book::of(&format!("swap-{a}-{b}"), 41);
        book.change(&format!(
            "UPDATE journal SET seq = -1 WHERE seq = {a}; UPDATE journal SET seq = {a} WHERE seq = {b};
             UPDATE journal SET seq = {b} WHERE seq = -1"
        ));
        let report = book.verify();
        assert!(finds(&report, Wrong::Swapped, a), "{:?}", told(&report));
        assert!(report.findings.iter().any(|it| (it.from, it.to) == (a, b)), "{:?}", told(&report));
    }
}

#[test]
fn a_record_that_is_inserted_and_one_that_is_removed_show_in_the_numbers_after() {
    let book = Book::of("inserted", 30);
    book.change(
        "UPDATE journal SET seq = -seq - 1 WHERE seq > 14; UPDATE journal SET seq = -seq WHERE seq < 0;
         INSERT INTO journal SELECT 15, unix_ns, kind, actor, '{\"score\":99}', NULL, prev_hash, hash \
         FROM journal WHERE seq = 14",
    );
    let report = book.verify();
    assert!(finds(&report, Wrong::Edited, 15), "{:?}", told(&report));
    assert!(finds(&report, Wrong::Renumbered, 16) && finds(&report, Wrong::Renumbered, 31));
    let book = Book::of("closed-up", 30);
    book.change(
        "DELETE FROM journal WHERE seq = 15; DELETE FROM journal_personal WHERE seq = 15;
         UPDATE journal SET seq = -seq + 1 WHERE seq > 15; UPDATE journal SET seq = -seq WHERE seq < 0",
    );
    let report = book.verify();
    assert!(finds(&report, Wrong::Renumbered, 15) && finds(&report, Wrong::Renumbered, 29));
    assert!(!finds(&report, Wrong::Renumbered, 14), "{:?}", told(&report));
}

#[test]
fn records_in_another_order_are_found() {
    let book = Book::of("reordered", 30);
    // Three in a ring: 5 to 6, 6 to 7, 7 to 5.
    book.change(
        "UPDATE journal SET seq = -seq WHERE seq IN (5, 6, 7);
         UPDATE journal SET seq = 6 WHERE seq = -5; UPDATE journal SET seq = 7 WHERE seq = -6;
         UPDATE journal SET seq = 5 WHERE seq = -7",
    );
    let report = book.verify();
    let places = [5, 6, 7].map(|at| report.findings.iter().any(|it| it.from <= at && at <= it.to));
    assert_eq!(places, [true; 3], "{:?}", told(&report));
    assert!(report.findings.iter().all(|it| it.from >= 4 && it.to <= 8), "{:?}", told(&report));
}

#[test]
fn a_record_that_is_written_anew_with_a_hash_that_fits_is_found() {
    // The chain from record 33 on, made anew by somebody who knows how.
    let mut book = Book::of("anew", 35);
    let head = book.knowledge();
    book.change(
        "DELETE FROM journal WHERE seq > 12; DELETE FROM journal_personal WHERE seq > 12;
                 DELETE FROM journal_checkpoints WHERE seq > 12",
    );
    for number in 0..23 {
        book.decide(100 + number);
    }
    let report = book.verify_with(&head);
    assert!(
        finds(&report, Wrong::Replaced, 30),
        "the head file knows record 30: {:?}",
        told(&report)
    );
    // With the checkpoints left in place it is between the last that fits and the first that does not.
    let book = Book::of("anew-below", 35);
    let after = Book::of("anew-other", 14);
    book.change(&format!("ATTACH '{}' AS other", after.folder.join("weir.db").display()));
    after.change("UPDATE journal SET body = '{}' WHERE seq = 13");
    rehash(&after.connection, 13);
    book.change("DELETE FROM journal WHERE seq = 13; INSERT INTO journal SELECT * FROM other.journal WHERE seq = 13");
    let report = book.verify();
    assert!(finds(&report, Wrong::Replaced, 13), "{:?}", told(&report));
    assert!(report.findings.iter().all(|it| it.from >= 12 && it.to <= 14), "{:?}", told(&report));
}

/// Gives a record the hash of what it says.
fn rehash(connection: &Connection, seq: i64) {
    let select =
        "SELECT unix_ns, kind, actor, body, personal_digest, prev_hash FROM journal WHERE seq = ?1";
    let hash = connection
        .query_row(select, [seq], |row| {
            let bytes = |index| row.get_ref(index).map(|value| value.as_bytes().unwrap());
            Ok(crate::journal::chain::Link {
                unix_ns: row.get(0)?,
                kind: bytes(1)?,
                actor: bytes(2)?,
                body: bytes(3)?,
                personal: Some(bytes(4)?),
                previous: bytes(5)?,
            }
            .hash_at(seq))
        })
        .unwrap();
    connection
        .execute("UPDATE journal SET hash = ?1 WHERE seq = ?2", rusqlite::params![hash, seq])
        .unwrap();
}

#[test]
fn a_tail_that_is_cut_is_found_by_whatever_still_knows_it() {
    let cut = "DELETE FROM journal WHERE seq > 26; DELETE FROM journal_personal WHERE seq > 26";
    let checkpoints = "DELETE FROM journal_checkpoints WHERE seq > 26";
    let book = Book::of("cut", 40);
    book.change(cut);
    assert_eq!(told(&book.verify()), ["Cut 27-40"]);

    // With its checkpoints: the head file knows.
    book.change(checkpoints);
    let report = book.verify();
    assert_eq!(told(&report), ["Cut 27-40"]);
    assert!(report.findings[0].text.contains("ends at record 26"), "{report:?}");

    // Without the head file the checkpoints know.
    let book = Book::of("cut-no-head", 40);
    fs::remove_file(book.folder.join("journal.head")).unwrap();
    book.change(cut);
    assert_eq!(told(&book.verify()), ["Cut 27-40"]);

    // Without both, whoever read the log knows; and the report says that it takes one.
    let tail = "SELECT lower(hex(hash)) FROM journal WHERE seq = 26";
    book.change(checkpoints);
    let report = book.verify();
    assert!(report.holds && report.notes.iter().any(|note| note.contains("--checkpoint")));
    let known = |seq, hash| Known { seq, hash, from: "--checkpoint".into() };
    let mut knowledge = book.knowledge();
    knowledge.known.push(known(40, [7; 32]));
    assert_eq!(told(&book.verify_with(&knowledge)), ["Cut 27-40"]);
    let hash: String = book.connection.query_row(tail, [], |row| row.get(0)).unwrap();
    knowledge.known = vec![known(26, crate::journal::from_hex(&hash).unwrap())];
    assert!(book.verify_with(&knowledge).holds);
    knowledge.known = vec![known(26, [7; 32])];
    assert_eq!(told(&book.verify_with(&knowledge)), ["Replaced 26-26"]);
}

#[test]
fn a_journal_that_is_emptied_is_found() {
    let book = Book::of("emptied", 20);
    book.change(
        "DELETE FROM journal; DELETE FROM journal_personal; DELETE FROM journal_checkpoints",
    );
    assert_eq!(told(&book.verify()), ["Cut 1-20"]);
}

#[test]
fn a_checkpoint_that_is_removed_is_named_by_the_next() {
    let book = Book::of("unsigned", 40);
    book.change("DELETE FROM journal_checkpoints WHERE seq = 20");
    assert_eq!(told(&book.verify()), ["CheckpointRemoved 20-20"]);
}

#[test]
fn a_head_file_that_is_edited_is_found() {
    let book = Book::of("head", 20);
    let head = book.folder.join("journal.head");
    let text = fs::read_to_string(&head).unwrap();
    for other in [text.replacen("20", "10", 1), String::new(), "{}".into()] {
        fs::write(&head, other).unwrap();
        assert_eq!(told(&book.verify()), ["Head 0-0"]);
    }
}

#[test]
fn personal_parts_that_go_or_come_without_a_record_are_found() {
    let book = Book::of("personal", 20);
    book.change("DELETE FROM journal_personal WHERE seq = 4");
    assert_eq!(told(&book.verify()), ["PersonalRemoved 4-4"]);
    book.change("INSERT INTO journal_personal VALUES (77, x'00', 'plain', '{}')");
    assert_eq!(told(&book.verify()), ["PersonalRemoved 4-4", "PersonalInserted 77-77"]);
}

#[test]
fn a_file_that_is_damaged_is_a_finding_and_not_a_failure() {
    let book = Book::of("damaged", 400);
    book.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let file = book.folder.join("weir.db");
    let copy = book.folder.join("copy.db");
    let mut bytes = fs::read(&file).unwrap();
    // The pages after the first, where the schema is, to the half.
    let half = bytes.len() / 2;
    bytes[half..half + 4096].fill(0xa5);
    fs::write(&copy, &bytes).unwrap();
    let reader = Reader::open(&copy).unwrap();
    let report = verify(&reader, &book.knowledge()).unwrap();
    assert!(!report.holds, "{report:?}");
    assert!(
        report.findings.iter().any(|it| matches!(
            it.what,
            Wrong::Damaged | Wrong::Removed | Wrong::PersonalRemoved | Wrong::CheckpointRemoved
        )),
        "{:?}",
        told(&report)
    );
}
