//! What goes out comes back.

use std::{
    fs::File,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use ::parquet::{
    file::reader::{FileReader as _, SerializedFileReader},
    record::RowAccessor as _,
};
use rusqlite::Connection;
use serde_json::{Value, json};

use super::*;
use crate::journal::{Actor, AddressForm, Entry, Kind, Record, SCHEMA, Sign, append, conceal};

struct Kept(PathBuf);

impl Kept {
    /// So many records; every third is about somebody, and one is about a formula.
    fn new(name: &str, count: u32) -> Self {
        let folder =
            std::env::temp_dir().join(format!("weir-export-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let connection = Connection::open(folder.join("weir.db")).unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        let entries: Vec<Entry> = (0..count)
            .map(|number| {
                let kind = if number % 2 == 0 { Kind::Decision } else { Kind::Block };
                let mut record = Record::new(
                    kind,
                    &Actor::User(number),
                    json!({"n": number, "t": "a,\"b\"\nü"}),
                );
                record.unix_ns = 1_800_000_000_000_000_000 + u64::from(number);
                if number % 3 == 0 {
                    record = record
                        .about(["192.0.2.7/32".parse().unwrap(), "2001:db8::/64".parse().unwrap()]);
                }
                conceal(&record, AddressForm::Plain, None).unwrap()
            })
            .collect();
        connection.execute_batch("BEGIN").unwrap();
        append(&connection, &entries, None, Sign::WhenDue, 0).unwrap();
        connection.execute_batch("COMMIT").unwrap();
        Self(folder)
    }

    fn export(&self, filter: &Filter, form: Form) -> Vec<u8> {
        let out = Out::default();
        let reader = Reader::open(&self.0.join("weir.db")).unwrap();
        export(&reader, filter, form, out.clone()).unwrap();
        let bytes = out.0.lock().unwrap();
        bytes.clone()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[derive(Clone, Default)]
struct Out(Arc<Mutex<Vec<u8>>>);

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn json_lines_are_what_was_written() {
    let kept = Kept::new("json", 10);
    let text = String::from_utf8(kept.export(&Filter::default(), Form::JsonLines)).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 10);
    assert_eq!(lines[3]["body"], json!({"n": 3, "t": "a,\"b\"\nü"}));
    assert_eq!(lines[3]["actor"], json!({"user": 3}));
    assert_eq!(lines[3]["personal"], json!({"about": ["192.0.2.7/32", "2001:db8::/64"]}));
    assert_eq!(lines[4]["personal"], Value::Null);
    assert_eq!(lines[4]["time"], "2027-01-15T08:00:00.000Z");
}

#[test]
fn filters_choose_by_time_kind_name_and_number() {
    let kept = Kept::new("filter", 12);
    let seqs = |filter: &Filter| -> Vec<i64> {
        let text = String::from_utf8(kept.export(filter, Form::JsonLines)).unwrap();
        text.lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_i64().unwrap())
            .collect()
    };
    let begin = 1_800_000_000_000_000_000;
    let times =
        Filter { since_ns: Some(begin + 2), until_ns: Some(begin + 5), ..Filter::default() };
    assert_eq!(seqs(&times), [3, 4, 5]);
    assert_eq!(
        seqs(&Filter { kinds: vec![Kind::Block], ..Filter::default() }),
        [2, 4, 6, 8, 10, 12]
    );
    let about = vec!["192.0.2.7/32".to_owned()];
    assert_eq!(seqs(&Filter { about: about.clone(), ..Filter::default() }), [1, 4, 7, 10]);
    assert_eq!(seqs(&Filter { about, latest: Some(2), ..Filter::default() }), [7, 10]);
    assert_eq!(seqs(&Filter { latest: Some(0), ..Filter::default() }), [0_i64; 0]);
}

#[test]
fn csv_comes_back_and_holds_no_formula() {
    let kept = Kept::new("csv", 5);
    let bytes = kept.export(&Filter::default(), Form::Csv);
    let mut reader = ::csv::Reader::from_reader(bytes.as_slice());
    let rows: Vec<::csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 5);
    assert_eq!(
        serde_json::from_str::<Value>(&rows[3][6]).unwrap(),
        json!({"n": 3, "t": "a,\"b\"\nü"})
    );
    assert_eq!(&rows[0][5], "192.0.2.7/32 2001:db8::/64");
    for formula in
        ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\u{a0}=1", "＝1", "|calc", "\n=1"]
    {
        assert_eq!(csv::tame(formula), format!("'{formula}"));
    }
    for harmless in ["", "{\"a\": \"=1\"}", "192.0.2.7/32", "::1/128", "\"daemon\""] {
        assert_eq!(csv::tame(harmless), harmless);
    }
}

#[test]
fn parquet_comes_back_over_several_groups_of_rows() {
    let kept = Kept::new("parquet", 20_000);
    let bytes = kept.export(&Filter::default(), Form::Parquet);
    let file = kept.0.join("journal.parquet");
    std::fs::write(&file, bytes).unwrap();
    let reader = SerializedFileReader::new(File::open(&file).unwrap()).unwrap();
    assert_eq!(reader.metadata().num_row_groups(), 3);
    let mut count = 0;
    for (index, row) in reader.get_row_iter(None).unwrap().enumerate() {
        let row = row.unwrap();
        let number = i64::try_from(index).unwrap();
        assert_eq!(row.get_long(0).unwrap(), number + 1);
        assert_eq!(row.get_string(2).unwrap(), if index % 2 == 0 { "decision" } else { "block" });
        let body: Value = serde_json::from_str(row.get_string(4).unwrap()).unwrap();
        assert_eq!(body["n"], number);
        match row.get_string(5) {
            Ok(about) => assert_eq!((index % 3, about.as_str()), (0, "192.0.2.7/32 2001:db8::/64")),
            Err(_) => assert_ne!(index % 3, 0),
        }
        assert_eq!(row.get_string(8).unwrap().len(), 64);
        count += 1;
    }
    assert_eq!(count, 20_000);
    let empty = Kept::new("parquet-empty", 0);
    assert!(empty.export(&Filter::default(), Form::Parquet).starts_with(b"PAR1"));
}
