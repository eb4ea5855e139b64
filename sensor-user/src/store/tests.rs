//! The store under kills, full and read-only disks, and databases that cannot be used.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode};

use super::*;

const SCHEMA: &str =
    "CREATE TABLE IF NOT EXISTS fact (number INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT";

const PATIENCE: Duration = Duration::from_secs(20);

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("weir-store-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("state/weir.db")
    }

    fn open(&self) -> (Store, Connection) {
        Store::open(&self.file(), &[SCHEMA]).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.join("state")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn fact(number: i64) -> Work {
    Box::new(move |transaction| {
        transaction.execute("INSERT INTO fact VALUES (?1, 'x')", [number]).map(drop)
    })
}

fn facts(connection: &Connection) -> Vec<i64> {
    let mut statement = connection.prepare("SELECT number FROM fact ORDER BY number").unwrap();
    let numbers = statement.query_map([], |row| row.get(0)).unwrap();
    numbers.map(Result::unwrap).collect()
}

/// Hands a work over; what becomes of it comes out of the other end.
fn submit(store: &Store, work: Work) -> Receiver<Result<(), StoreError>> {
    let (tell, told) = channel();
    store.submit(work, Some(Box::new(move |became| drop(tell.send(became)))));
    told
}

fn wait(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it did not come to pass");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

#[test]
fn what_is_acknowledged_is_read_by_others_and_after_a_reopening() {
    let folder = Folder::new("kept");
    let (store, empty) = folder.open();
    assert!(facts(&empty).is_empty());
    let told = submit(&store, fact(1));
    told.recv_timeout(PATIENCE).unwrap().unwrap();
    assert_eq!(facts(&store.reader().unwrap()), [1]);
    for number in 2..=1000 {
        assert!(store.submit(fact(number), None));
    }
    submit(&store, fact(1001)).recv_timeout(PATIENCE).unwrap().unwrap();
    let health = store.health();
    assert_eq!((health.written, health.lost, health.queued), (1001, 0, 0));
    assert!(health.is_writable() && health.bytes > 0 && health.commits < 1001, "{health:?}");
    let mode = fs::metadata(folder.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(store);
    let (_store, kept) = folder.open();
    assert_eq!(facts(&kept).len(), 1001);
}

#[test]
fn a_work_that_fails_by_its_own_fault_spoils_no_other() {
    let folder = Folder::new("fault");
    let (store, _) = folder.open();
    let half: Work = Box::new(|transaction| {
        transaction.execute("INSERT INTO fact VALUES (7, 'x')", [])?;
        transaction.execute("INSERT INTO nowhere VALUES (1)", []).map(drop)
    });
    let panics: Work = Box::new(|transaction| {
        transaction.execute("INSERT INTO fact VALUES (8, 'x')", [])?;
        panic!("on purpose")
    });
    // Held back, so that all of them are in one group.
    let held: Work = Box::new(|_| {
        std::thread::park_timeout(Duration::from_millis(100));
        Ok(())
    });
    store.submit(held, None);
    let told = [fact(1), half, panics, fact(1), fact(2)].map(|work| submit(&store, work));
    let became = told.map(|told| told.recv_timeout(PATIENCE).unwrap());
    assert!(matches!(
        became,
        [
            Ok(()),
            Err(StoreError::Refused(_)),
            Err(StoreError::Refused(_)),
            Err(StoreError::Refused(_)),
            Ok(())
        ]
    ));
    assert_eq!(facts(&store.reader().unwrap()), [1, 2]);
    assert_eq!(store.health().refused, 3);
}

#[test]
fn while_the_disk_is_full_works_wait_in_order_and_are_written_when_there_is_room() {
    let folder = Folder::new("full");
    let (store, _) = folder.open();
    submit(&store, fact(1)).recv_timeout(PATIENCE).unwrap().unwrap();
    // As SQLite says it of a full disk, for this long.
    let is_full = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let full = Arc::clone(&is_full);
    let fails: Work = Box::new(move |transaction| {
        if full.load(std::sync::atomic::Ordering::Relaxed) {
            let failure = rusqlite::ffi::Error { code: ErrorCode::DiskFull, extended_code: 13 };
            return Err(rusqlite::Error::SqliteFailure(failure, None));
        }
        transaction.execute("INSERT INTO fact VALUES (2, 'x')", []).map(drop)
    });
    let told = submit(&store, fails).recv_timeout(PATIENCE).unwrap();
    let Err(StoreError::Waiting(why)) = told else { panic!("{told:?}") };
    assert!(why.contains("the disk is full"), "{why}");
    // What comes now waits behind it, and whoever asks is told so.
    let later = submit(&store, fact(3));
    let told = later.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(told, Err(StoreError::Waiting(_))), "{told:?}");
    let health = store.health();
    assert_eq!((health.queued, health.lost), (2, 0));
    assert!(health.trouble.is_some() && health.trouble_since_s.is_some());
    assert_eq!(facts(&store.reader().unwrap()), [1]);

    is_full.store(false, std::sync::atomic::Ordering::Relaxed);
    wait(|| store.health().is_writable());
    assert_eq!(facts(&store.reader().unwrap()), [1, 2, 3]);
    assert_eq!(store.health().queued, 0);
}

#[test]
fn what_waits_is_bounded_and_what_finds_no_room_is_counted() {
    let folder = Folder::new("bounded");
    // A directory stands where the database should.
    fs::create_dir_all(folder.file()).unwrap();
    let (store, nothing) = folder.open();
    assert!(facts(&nothing).is_empty());
    let trouble = store.health().trouble.unwrap();
    assert!(trouble.contains("weir.db"), "{trouble}");
    let taken = (0..queue::MOST_ITEMS as i64 + 10).filter(|n| store.submit(fact(*n), None)).count();
    assert_eq!(taken, queue::MOST_ITEMS);
    let told = submit(&store, fact(-1)).recv_timeout(PATIENCE).unwrap();
    assert!(matches!(told, Err(StoreError::Full(_))), "{told:?}");
    assert_eq!(store.health().lost, 11);
    assert!(!store.has_room());

    fs::remove_dir(folder.file()).unwrap();
    wait(|| store.health().is_writable() && store.health().queued == 0);
    assert_eq!(facts(&store.reader().unwrap()).len(), queue::MOST_ITEMS);
}

#[test]
fn a_large_work_is_bounded_by_bytes_but_never_alone() {
    let folder = Folder::new("bytes");
    fs::create_dir_all(folder.file()).unwrap();
    let (store, _) = folder.open();
    assert!(store.submit_sized(2 * queue::MOST_BYTES, fact(1), None));
    assert!(!store.submit_sized(1, fact(2), None));
}

#[test]
fn a_corrupt_database_is_moved_aside_and_a_new_one_begun() {
    let folder = Folder::new("corrupt");
    let (store, _) = folder.open();
    submit(&store, fact(1)).recv_timeout(PATIENCE).unwrap().unwrap();
    drop(store);
    let mut bytes = fs::read(folder.file()).unwrap();
    bytes[..4096].fill(0x5a);
    fs::write(folder.file(), &bytes).unwrap();

    let (store, kept) = folder.open();
    assert!(facts(&kept).is_empty());
    let health = store.health();
    assert_eq!(health.begun, 1);
    assert!(health.set_aside.unwrap().contains("weir.db.corrupt-2"));
    submit(&store, fact(2)).recv_timeout(PATIENCE).unwrap().unwrap();
    assert!(folder.names().iter().any(|name| name.starts_with("weir.db.corrupt-")));
}

#[test]
fn a_database_that_becomes_corrupt_while_it_is_open_is_replaced() {
    let folder = Folder::new("becomes");
    let (store, _) = folder.open();
    submit(&store, fact(1)).recv_timeout(PATIENCE).unwrap().unwrap();
    let corrupt: Work = Box::new({
        let is_first = std::sync::atomic::AtomicBool::new(true);
        move |transaction| {
            if is_first.swap(false, std::sync::atomic::Ordering::Relaxed) {
                let failure =
                    rusqlite::ffi::Error { code: ErrorCode::DatabaseCorrupt, extended_code: 11 };
                return Err(rusqlite::Error::SqliteFailure(failure, None));
            }
            transaction.execute("INSERT INTO fact VALUES (2, 'x')", []).map(drop)
        }
    });
    store.submit(corrupt, None);
    wait(|| store.health().begun == 1 && store.health().is_writable());
    assert_eq!(facts(&store.reader().unwrap()), [2], "owners are told to write it all again");
    assert!(store.health().set_aside.is_some());
}

#[test]
fn a_database_of_a_later_form_is_kept_for_the_version_that_reads_it() {
    let folder = Folder::new("newer");
    let (store, _) = folder.open();
    let newer: Work = Box::new(|transaction| {
        transaction.execute("UPDATE meta SET value = '99' WHERE name = 'form'", []).map(drop)
    });
    submit(&store, newer).recv_timeout(PATIENCE).unwrap().unwrap();
    drop(store);
    let (store, _) = folder.open();
    let set_aside = store.health().set_aside.unwrap();
    assert!(
        set_aside.contains("weir.db.newer-") && set_aside.contains("form is 99"),
        "{set_aside}"
    );
    submit(&store, fact(1)).recv_timeout(PATIENCE).unwrap().unwrap();
}

#[test]
fn a_database_that_is_removed_under_the_daemon_is_begun_anew() {
    let folder = Folder::new("removed");
    let (store, _) = folder.open();
    submit(&store, fact(1)).recv_timeout(PATIENCE).unwrap().unwrap();
    fs::remove_dir_all(folder.0.join("state")).unwrap();
    submit(&store, fact(2)).recv_timeout(PATIENCE).unwrap().unwrap();
    assert_eq!(facts(&store.reader().unwrap()), [2]);
    assert_eq!(store.health().begun, 1);
}

#[test]
fn a_store_that_ends_writes_what_waits_and_says_what_it_could_not() {
    let folder = Folder::new("ends");
    let (store, _) = folder.open();
    for number in 0..5000 {
        store.submit(fact(number), None);
    }
    store.close(PATIENCE);
    assert_eq!(facts(&store.reader().unwrap()).len(), 5000);
    assert!(!store.submit(fact(-1), None), "it has ended");

    let broken = Folder::new("ends-broken");
    fs::create_dir_all(broken.file()).unwrap();
    let (store, _) = broken.open();
    let told = submit(&store, fact(1));
    store.close(Duration::ZERO);
    let said: Vec<_> = told.try_iter().collect();
    assert!(matches!(said[..], [Err(_)]), "{said:?}");
    assert_eq!(store.health().lost, 1);
}
