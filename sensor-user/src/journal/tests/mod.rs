//! The journal on a database of its own: what the tests share.

mod damage;
mod deletion;
mod keys;

use std::{fs, path::PathBuf};

use ipnet::IpNet;
use rusqlite::Connection;
use serde_json::json;

use super::{
    AddressForm, Appended, Entry, Kind, PrivacySettings, PseudonymKeys, Reader, Record, SCHEMA,
    Sign, SigningKey, append, conceal,
    record::Actor,
    verify::{Finding, Head, Knowledge, Report, Wrong, verify},
};

/// A second, and when the tests' journals begin.
const SECOND: i64 = 1_000_000_000;
const BEGIN: i64 = 1_800_000_000 * SECOND;

/// A journal in a folder of its own; removed when it goes.
struct Book {
    folder: PathBuf,
    connection: Connection,
    key: SigningKey,
    pseudonyms: PseudonymKeys,
    form: AddressForm,
    now: i64,
}

impl Book {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("weir-book-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let connection = Connection::open(folder.join("weir.db")).unwrap();
        let pragmas =
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA secure_delete = ON";
        connection.execute_batch(pragmas).unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        Self {
            connection,
            key: SigningKey::open(&folder.join("signature.key")).unwrap(),
            pseudonyms: PseudonymKeys::open(&folder.join("pseudonyms.key"), 1).unwrap(),
            form: AddressForm::Plain,
            now: BEGIN,
            folder,
        }
    }

    /// A journal of so many decisions about so many clients, with a checkpoint after every tenth.
    fn of(name: &str, records: u32) -> Self {
        let mut book = Self::new(name);
        for number in 0..records {
            book.decide(number);
            if (number + 1) % 10 == 0 {
                book.sign();
            }
        }
        book
    }

    fn decide(&mut self, number: u32) {
        let client = format!("192.0.2.{}/32", number % 250);
        let body = json!({"policy": "login", "score": number, "text": "8 failed logins"});
        self.write(Record::new(Kind::Decision, &Actor::Daemon, body).about([net(&client)]));
    }

    fn write(&mut self, mut record: Record) -> Appended {
        self.now += SECOND;
        record.unix_ns = u64::try_from(self.now).unwrap();
        let entry = conceal(&record, self.form, Some(&self.pseudonyms)).unwrap();
        self.append(&[entry], Sign::WhenDue)
    }

    fn sign(&mut self) -> Appended {
        self.append(&[], Sign::Now)
    }

    /// Signs only what is said to be signed: the clock of checkpoints stands still.
    fn append(&mut self, entries: &[Entry], sign: Sign) -> Appended {
        let key = (sign == Sign::Now).then_some(&self.key);
        let transaction = self.connection.transaction().unwrap();
        let appended = append(&transaction, entries, key, sign, self.now).unwrap();
        transaction.commit().unwrap();
        if let Some(checkpoint) = &appended.checkpoint {
            fs::write(self.folder.join("journal.head"), checkpoint.to_head()).unwrap();
        }
        appended
    }

    fn knowledge(&self) -> Knowledge {
        let head = Head::read(&self.folder.join("journal.head"));
        Knowledge { keys: vec![self.key.public()], known: Vec::new(), head: Some(head) }
    }

    fn verify(&self) -> Report {
        self.verify_with(&self.knowledge())
    }

    fn verify_with(&self, knowledge: &Knowledge) -> Report {
        let reader = Reader::open(&self.folder.join("weir.db")).unwrap();
        verify(&reader, knowledge).unwrap()
    }

    fn change(&self, sql: &str) {
        self.connection.execute_batch(sql).unwrap();
    }
}

impl Drop for Book {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// The findings as `what from-to`.
fn told(report: &Report) -> Vec<String> {
    let told = |it: &Finding| format!("{:?} {}-{}", it.what, it.from, it.to);
    report.findings.iter().map(told).collect()
}

fn finds(report: &Report, what: Wrong, at: i64) -> bool {
    report.findings.iter().any(|it| it.what == what && it.from <= at && at <= it.to)
}
