//! `weir journal`, `weir forget` and the kill switch's record, as their users meet them: no daemon runs.
#![expect(clippy::unwrap_used, reason = "a test fails loudly")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use parquet::{
    file::reader::{FileReader, SerializedFileReader},
    record::RowAccessor,
};
use rusqlite::Connection;
use serde_json::{Value, json};
use weir_sensor::{
    enforce::{cohort, ledger::durable},
    journal::{Actor, AddressForm, Desk, Kind, Places, PrivacySettings, Record, SCHEMA},
    label,
    store::Store,
    system::paths::Paths,
};

/// Records that a journal of these tests has: a start and decisions about 192.0.2.0 to 192.0.2.9.
const RECORDS: i64 = 31;

struct Place(PathBuf);

impl Place {
    fn new(name: &str, addresses: AddressForm) -> Self {
        let root = std::env::temp_dir().join(format!("weir-journal-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("state")).unwrap();
        let place = Self(root);
        let schemas = [SCHEMA, label::SCHEMA, cohort::SCHEMA, durable::SCHEMA];
        let (store, _) = Store::open(&place.database(), &schemas).unwrap();
        let privacy = PrivacySettings { addresses, ..PrivacySettings::default() };
        let mut desk = Desk::open(store.clone(), Places::of(&place.paths()), privacy);
        desk.note(&Record::new(Kind::Start, &Actor::Daemon, json!({"version": "0.1.0"})));
        for number in 0..30_u32 {
            let body = json!({"policy": "login", "action": "drop", "score": 60 + number});
            let about = format!("192.0.2.{}/32", number % 10).parse().unwrap();
            desk.note(&Record::new(Kind::Decision, &Actor::Daemon, body).about([about]));
        }
        desk.finish();
        drop(desk);
        store.close(Duration::from_secs(10));
        place
    }

    fn paths(&self) -> Paths {
        Paths {
            bpffs: self.0.join("bpf"),
            state_dir: self.0.join("state"),
            run_dir: self.0.join("run"),
        }
    }

    fn database(&self) -> PathBuf {
        self.paths().store_file()
    }

    fn change(&self, sql: &str) {
        Connection::open(self.database()).unwrap().execute_batch(sql).unwrap();
    }

    /// Exit code, standard output and error.
    fn weir(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(arguments)
            .env("WEIR_BPFFS", self.0.join("bpf"))
            .env("WEIR_STATE_DIR", self.0.join("state"))
            .env("WEIR_RUN_DIR", self.0.join("run"))
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }

    fn verify(&self, arguments: &[&str]) -> (i32, String) {
        let (code, out, error) = self.weir(&[&["journal", "verify"], arguments].concat());
        (code, out + &error)
    }

    /// The end of the journal, as `verify` names it.
    fn end(&self) -> String {
        let (_, text) = self.verify(&[]);
        text.lines().find_map(|line| line.strip_prefix("it ends at ")).unwrap().to_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_journal_as_it_was_written_holds_and_says_how_far_it_is_signed() {
    let place = Place::new("holds", AddressForm::Pseudonymise);
    let (code, text) = place.verify(&[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("the journal holds: 31 records (1 to 31)"), "{text}");
    assert!(text.contains("signed up to record 31"), "{text}");
    let (code, text) = place.verify(&["--format", "json"]);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &report["holds"], &report["last"]), (0, &json!(true), &json!(RECORDS)));
}

#[test]
fn each_kind_of_damage_is_found_at_its_place_with_exit_code_1() {
    let flip = "UPDATE journal SET body = replace(body, '\"score\":70', '\"score\":71')";
    let remove = "DELETE FROM journal WHERE seq = 17; DELETE FROM journal_personal WHERE seq = 17";
    let swap =
        "UPDATE journal SET seq = -1 WHERE seq = 5; UPDATE journal SET seq = 5 WHERE seq = 20;
                UPDATE journal SET seq = 20 WHERE seq = -1";
    let cut = "DELETE FROM journal WHERE seq > 25; DELETE FROM journal_personal WHERE seq > 25";
    let cut_all = &format!("{cut}; DELETE FROM journal_checkpoints WHERE seq > 25");
    let personal = "UPDATE journal_personal SET content = replace(content, '192.0.2.3', '192.0.2.4') \
                    WHERE seq = 5";
    for (name, sql, said) in [
        ("flip", flip, "record 12: edited"),
        ("remove", remove, "record 17: removed"),
        ("swap", swap, "records 5 to 20: swapped"),
        ("cut", cut, "records 26 to 31: cut: the chain ends at record 25"),
        (
            "cut-all",
            cut_all,
            "records 26 to 31: cut: the chain ends at record 25, and the head file",
        ),
        ("personal", personal, "record 5: personaledited"),
    ] {
        let place = Place::new(name, AddressForm::Plain);
        place.change(sql);
        let (code, text) = place.verify(&[]);
        assert_eq!(code, 1, "{name}: {text}");
        assert!(text.contains(said) && text.contains("DOES NOT HOLD"), "{name}: {text}");
    }
}

#[test]
fn what_stands_elsewhere_is_compared() {
    let place = Place::new("elsewhere", AddressForm::Plain);
    let end = place.end();
    let (_, key, _) = place.weir(&["journal", "key", "--format", "json"]);
    let key: Value = serde_json::from_str(&key).unwrap();
    let key = key["public_key"].as_str().unwrap();
    let (code, text) = place.verify(&["--checkpoint", &end, "--public-key", key]);
    assert_eq!(code, 0, "{text}");
    let (code, text) = place.verify(&["--public-key", &"5".repeat(64)]);
    assert!(
        code == 1 && text.contains("record 31: key: ") && text.contains("not trusted"),
        "{text}"
    );
    let (code, text) = place.verify(&["--checkpoint", &format!("31:{}", "0".repeat(64))]);
    assert!(code == 1 && text.contains("--checkpoint knows another record 31"), "{text}");
    let (code, text) = place.verify(&["--checkpoint", &format!("40:{}", "0".repeat(64))]);
    assert!(code == 1 && text.contains("--checkpoint knows record 40"), "{text}");
    for wrong in ["31", "31:00", "x:00", ""] {
        assert_eq!(place.verify(&["--checkpoint", wrong]).0, 2, "{wrong}");
    }
    assert_eq!(place.verify(&["--public-key", "00"]).0, 2);
}

#[test]
fn a_copy_is_verified_where_nothing_can_be_written_and_is_not_changed() {
    let place = Place::new("copy", AddressForm::Plain);
    let folder = place.0.join("evidence");
    fs::create_dir_all(&folder).unwrap();
    let copy = folder.join("weir copy.db");
    fs::copy(place.database(), &copy).unwrap();
    let before = fs::read(&copy).unwrap();
    let path = copy.display().to_string();
    let (code, text) = place.verify(&["--database", &path]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("no head file") && text.contains("--public-key"), "{text}");
    assert_eq!(fs::read(&copy).unwrap(), before);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing was put beside it");
    fs::copy(Places::of(&place.paths()).head, folder.join("journal.head")).unwrap();
    let (code, text) = place.verify(&["--database", &path]);
    assert!(code == 0 && !text.contains("no head file"), "{text}");
    let (code, text) = place.verify(&["--database", "/nonexistent/weir.db"]);
    assert!(code == 1 && text.contains("no journal at"), "{text}");
}

#[test]
fn records_are_shown_and_an_address_is_found_under_its_pseudonym() {
    let place = Place::new("show", AddressForm::Pseudonymise);
    let (code, text, _) = place.weir(&["journal", "show", "--limit", "3"]);
    assert!(code == 0 && text.lines().count() == 4 && !text.contains("192.0.2."), "{text}");
    let about = ["journal", "show", "--about", "192.0.2.4", "--format", "json"];
    let (_, text, _) = place.weir(&about);
    let records: Value = serde_json::from_str(&text).unwrap();
    let seqs: Vec<i64> =
        records.as_array().unwrap().iter().map(|record| record["seq"].as_i64().unwrap()).collect();
    assert_eq!(seqs, [6, 16, 26]);
    let (_, text, _) = place.weir(&["journal", "show", "--kind", "start"]);
    assert!(text.contains("daemon") && text.lines().count() == 2, "{text}");
    let (code, _, error) = place.weir(&["journal", "show", "--kind", "coffee"]);
    assert!(code == 2 && error.contains("decision"), "{error}");
}

#[test]
fn exports_are_files_of_their_user_alone_and_come_back() {
    let place = Place::new("export", AddressForm::Plain);
    let file = |name: &str| place.0.join(name);
    for format in ["jsonl", "csv", "parquet"] {
        let out = file(format).display().to_string();
        let (code, _, error) = place.weir(&["journal", "export", "--format", format, "-o", &out]);
        assert!(code == 0 && error.contains("31 records"), "{error}");
        assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!Path::new(&format!("{out}.part")).exists());
    }
    let lines = fs::read_to_string(file("jsonl")).unwrap();
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(last["body"]["score"], 89);
    assert_eq!(last["personal"], json!({"about": ["192.0.2.9/32"]}));
    let mut csv = csv::Reader::from_path(file("csv")).unwrap();
    let rows: Vec<csv::StringRecord> = csv.records().map(Result::unwrap).collect();
    assert_eq!((rows.len(), &rows[30][5]), (31, "192.0.2.9/32"));
    let parquet = SerializedFileReader::new(fs::File::open(file("parquet")).unwrap()).unwrap();
    let rows: Vec<_> = parquet.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 31);
    assert_eq!(rows[30].get_string(5).unwrap(), "192.0.2.9/32");
    let (_, some, _) = place.weir(&["journal", "export", "--kind", "start", "--since", "1h"]);
    assert_eq!(some.lines().count(), 1, "{some}");
    let (code, _, error) = place.weir(&["journal", "export", "-o", "/nonexistent/x"]);
    assert!(code == 1 && error.contains("cannot create"), "{error}");
}

#[test]
fn who_is_forgotten_is_in_no_record_and_the_chain_holds() {
    for form in [AddressForm::Plain, AddressForm::Pseudonymise] {
        let place = Place::new("forget", form);
        let (code, text, error) = place.weir(&["forget", "192.0.2.4"]);
        assert_eq!(code, 0, "{error}");
        assert!(text.contains("3 records of the journal name them no more"), "{text}");
        let (code, text) = place.verify(&[]);
        assert_eq!(code, 0, "{text}");
        let (_, text, _) = place.weir(&["journal", "export"]);
        assert!(!text.contains("192.0.2.4"), "{text}");
        let record = text.lines().find(|line| line.contains(r#""kind":"forget""#)).unwrap();
        assert!(record.contains(r#""personal":[[6,6],[16,16],[26,26]]"#), "{record}");
        let (_, text, _) = place.weir(&["journal", "show", "--about", "192.0.2.4"]);
        assert_eq!(text, "no records\n");
        let raw = fs::read(place.database()).unwrap();
        assert!(!raw.windows(12).any(|window| window == b"192.0.2.4/32"), "not even in the file");
    }
    let place = Place::new("forget-wrong", AddressForm::Plain);
    assert_eq!(place.weir(&["forget"]).0, 2);
    let (code, _, error) = place.weir(&["forget", "nobody"]);
    assert!(code == 1 && error.contains("nobody"), "{error}");
}

#[test]
fn keys_are_replaced_without_a_daemon_and_old_records_stay_good() {
    let place = Place::new("rotate", AddressForm::Pseudonymise);
    let key = |place: &Place| {
        let (_, text, _) = place.weir(&["journal", "key", "--format", "json"]);
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let before = key(&place);
    let (code, text, error) = place.weir(&["journal", "rotate-key", "signature"]);
    assert_eq!(code, 0, "{error}");
    let after = key(&place);
    assert!(text.contains(after["public_key"].as_str().unwrap()), "{text}");
    assert_ne!(before["public_key"], after["public_key"]);
    assert_eq!(place.weir(&["journal", "rotate-key"]).0, 0);
    assert_eq!(key(&place)["pseudonym_keys"], json!([1, 2]));
    for trusted in [&before, &after] {
        let (code, text) = place.verify(&["--public-key", trusted["public_key"].as_str().unwrap()]);
        assert_eq!(code, 0, "{text}");
    }
    let (_, text, _) = place.weir(&["journal", "show", "--about", "192.0.2.4"]);
    assert_eq!(text.lines().count(), 4, "still found under the key before: {text}");
}

#[test]
fn the_kill_switch_is_in_the_journal_without_a_daemon_too() {
    let place = Place::new("kill", AddressForm::Plain);
    assert_eq!(place.weir(&["kill", "on"]).0, 0);
    assert_eq!(place.weir(&["kill", "off"]).0, 0);
    let (_, text, _) = place.weir(&["journal", "export", "--kind", "kill"]);
    let turned: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let bodies: Vec<&Value> = turned.iter().map(|record| &record["body"]["on"]).collect();
    assert_eq!(bodies, [&json!(true), &json!(false)]);
    assert!(turned[0]["actor"]["user"].is_u64(), "{text}");
    assert_eq!(place.verify(&[]).0, 0);
    // Where there is no journal yet, the switch works all the same.
    let bare =
        Place(std::env::temp_dir().join(format!("weir-journal-bare-{}", std::process::id())));
    let (code, _, error) = bare.weir(&["kill", "on"]);
    assert_eq!((code, error.as_str()), (0, ""));
}
