//! The keeper: rotation, refusals, restarts, and readers that see whole lists only.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use weir_common::abi::SourceKey;

use super::{
    super::{
        Board, FeedSpec, FeedStatus, KnownFeed, ReputationSpec, Snapshot, fetch::Fetcher,
        keeper::Keeper, list::Format, prefixes::PrefixSet, safety::Protected,
    },
    mmdb::{Value, database},
    server::{Server, with},
};
use crate::{score::reputation::Reputation, system::address};

fn source(text: &str) -> SourceKey {
    SourceKey::from_address(&address::words(text.parse().unwrap()))
}

/// A folder of its own, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("weir-keeper-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Replaces a file as careful people do; its time is long past, so that it counts as still.
    fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let (path, new) = (self.0.join(name), self.0.join("new"));
        fs::write(&new, contents).unwrap();
        let file = fs::File::options().write(true).open(&new).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(60)).unwrap();
        fs::rename(&new, &path).unwrap();
        path
    }

    fn state(&self) -> PathBuf {
        self.0.join("feeds")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn feed(name: &str, file: Option<&Path>, url: Option<String>) -> FeedSpec {
    FeedSpec {
        name: name.into(),
        file: file.map(Path::to_owned),
        url,
        format: Format::Auto,
        refresh_s: 1,
        max_change: 0.2,
    }
}

fn spec(feeds: Vec<FeedSpec>) -> ReputationSpec {
    ReputationSpec { feeds, ..ReputationSpec::default() }
}

fn protected() -> Protected {
    Protected { own: vec!["192.0.2.10/32".parse().unwrap()], proxies: Vec::new() }
}

fn start(folder: &Folder, spec: ReputationSpec) -> Keeper {
    let fetcher = Fetcher::with(Duration::from_secs(2), 1 << 20, Vec::new());
    Keeper::start(spec, folder.state(), protected(), fetcher).unwrap()
}

fn wait_for(what: &str, keeper: &Keeper, condition: impl Fn(&FeedStatus, &Snapshot) -> bool) {
    let begin = Instant::now();
    loop {
        let (status, snapshot) = (keeper.status(), keeper.board().newest());
        if status.feeds.first().is_some_and(|feed| condition(feed, &snapshot)) {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}: {status:?}");
        thread::park_timeout(Duration::from_millis(20));
    }
}

fn lists(snapshot: &Snapshot, address: &str) -> Option<bool> {
    snapshot.listed(0, &source(address))
}

#[test]
fn a_file_is_there_at_once_and_read_again_when_it_is_replaced() {
    let folder = Folder::new();
    let file = folder.write("bad", "203.0.113.1\n203.0.113.2\n");
    let keeper = start(&folder, spec(vec![feed("bad", Some(&file), None)]));
    let first = keeper.board().newest();
    assert_eq!(
        (lists(&first, "203.0.113.1"), lists(&first, "203.0.113.3")),
        (Some(true), Some(false))
    );
    assert_eq!(first.listed(1, &source("203.0.113.1")), None, "there is no such feed");
    folder.write("bad", "203.0.113.2\n203.0.113.3\n");
    wait_for("rotation", &keeper, |_, newest| lists(newest, "203.0.113.3") == Some(true));
    assert_eq!(lists(&first, "203.0.113.3"), Some(false), "what was taken stays as it was");
    fs::remove_file(&file).unwrap();
    wait_for("removal", &keeper, |status, _| status.error.is_some());
    assert_eq!(
        lists(&keeper.board().newest(), "203.0.113.3"),
        Some(true),
        "the last good one stays"
    );
    folder.write("bad", "203.0.113.2\n203.0.113.3\n");
    wait_for("return", &keeper, |status, _| status.error.is_none());
}

#[test]
fn what_is_refused_is_told_and_the_last_good_one_stays() {
    let folder = Folder::new();
    let good: String = (0..100).map(|n| format!("203.0.{n}.0/24\n")).collect();
    let file = folder.write("bad", &good);
    let keeper = start(&folder, spec(vec![feed("bad", Some(&file), None)]));
    let half: String = good.lines().take(50).map(|line| format!("{line}\n")).collect();
    for (count, (text, reason)) in (1..).zip([
        (format!("{good}0.0.0.0/0\n"), "everybody"),
        (format!("{good}128.0.0.0/2\n"), "nothing wider than /8"),
        (format!("{good}192.0.2.0/24\n"), "192.0.2.10/32 is this host's own"),
        (half.clone(), "50 % of the IPv4 addresses"),
        (String::new(), "it is empty"),
        (format!("{good}<html>\n"), "line 101"),
    ]) {
        folder.write("bad", text);
        wait_for(reason, &keeper, |status, _| {
            status.refusals == count && status.refused.as_ref().unwrap().contains(reason)
        });
        let warnings = keeper.status().warnings();
        assert!(warnings[0].contains("the feed bad is refused"), "{warnings:?}");
        assert_eq!(lists(&keeper.board().newest(), "203.0.99.1"), Some(true), "{reason}");
        assert_eq!(lists(&keeper.board().newest(), "192.0.2.10"), Some(false), "{reason}");
    }
    // Whoever restarts the daemon to get the list through does not.
    drop(keeper);
    folder.write("bad", &half);
    let keeper = start(&folder, spec(vec![feed("bad", Some(&file), None)]));
    assert_eq!(lists(&keeper.board().newest(), "203.0.99.1"), Some(true));
    assert!(keeper.status().feeds[0].refused.is_some());
    // Whoever says in the policy that it may change, does.
    keeper.replace(spec(vec![FeedSpec { max_change: 0.6, ..feed("bad", Some(&file), None) }]));
    wait_for("more may change", &keeper, |status, newest| {
        status.refused.is_none() && lists(newest, "203.0.99.1") == Some(false)
    });
}

#[test]
fn a_list_that_names_a_new_address_of_this_host_goes_out_of_use() {
    let folder = Folder::new();
    let file = folder.write("bad", "203.0.113.0/24\n");
    let keeper = start(&folder, spec(vec![feed("bad", Some(&file), None)]));
    assert_eq!(lists(&keeper.board().newest(), "203.0.113.1"), Some(true));
    let own = vec!["203.0.113.9/32".parse().unwrap()];
    keeper.protect(Protected { own, proxies: Vec::new() });
    wait_for("out of use", &keeper, |status, newest| {
        status.refused.is_some() && lists(newest, "203.0.113.1").is_none()
    });
    keeper.protect(protected());
    wait_for("in use again", &keeper, |status, newest| {
        status.refused.is_none() && lists(newest, "203.0.113.1") == Some(true)
    });
}

#[test]
fn an_address_is_asked_in_time_and_its_list_survives_a_restart() {
    let folder = Folder::new();
    let server = Server::start(with("200 OK", "ETag: \"1\"\r\n", "203.0.113.1\n"));
    let seed = folder.write("seed", "203.0.113.77\n");
    let feeds = || spec(vec![feed("bad", Some(&seed), Some(server.url()))]);
    let keeper = start(&folder, feeds());
    assert_eq!(lists(&keeper.board().newest(), "203.0.113.77"), Some(true), "until it answers");
    wait_for("answer", &keeper, |_, newest| lists(newest, "203.0.113.1") == Some(true));
    server.now_answers(with("304 Not Modified", "", ""));
    let asked = server.requests().len();
    let begin = Instant::now();
    while server.requests().len() < asked + 2 && begin.elapsed() < Duration::from_secs(20) {
        thread::park_timeout(Duration::from_millis(20));
    }
    let requests = server.requests();
    assert!(requests[asked + 1].contains("if-none-match: \"1\""), "{requests:?}");
    assert!(keeper.status().feeds[0].error.is_none());
    drop(keeper);
    // The server is in trouble when the daemon starts again.
    server.now_answers(with("500 Internal Server Error", "", ""));
    let keeper = start(&folder, feeds());
    assert_eq!(lists(&keeper.board().newest(), "203.0.113.1"), Some(true));
    wait_for("trouble", &keeper, |status, _| {
        status.error.as_ref().is_some_and(|it| it.contains("500"))
    });
    assert_eq!(
        lists(&keeper.board().newest(), "203.0.113.77"),
        Some(false),
        "the file is of the past"
    );
    let warnings = keeper.status().warnings();
    assert!(warnings[0].contains("could not be read, the one before stays in use"), "{warnings:?}");
}

#[test]
fn feeds_that_are_gone_leave_nothing() {
    let folder = Folder::new();
    let file = folder.write("bad", "203.0.113.1\n");
    let feeds = ["one", "two"].map(|name| feed(name, Some(&file), None));
    let keeper = start(&folder, spec(feeds.to_vec()));
    assert_eq!(fs::read_dir(folder.state()).unwrap().count(), 2);
    keeper.replace(spec(feeds[1..].to_vec()));
    wait_for("one less", &keeper, |status, newest| status.name == "two" && newest.feeds.len() == 1);
    assert_eq!(fs::read_dir(folder.state()).unwrap().count(), 1);
}

#[test]
fn databases_are_read_again_too_and_a_broken_one_does_no_harm() {
    let folder = Folder::new();
    let of = |number| {
        let value = Value::Map(vec![("autonomous_system_number", Value::Number(number))]);
        database("ASN", &[("203.0.113.0/24", value)])
    };
    let file = folder.write("asn.mmdb", of(1));
    let spec = ReputationSpec { asn: Some(file), ..ReputationSpec::default() };
    let keeper = start(&folder, spec);
    let asn = || keeper.board().newest().asn(&source("203.0.113.1"));
    assert_eq!(asn(), Some(1));
    let wait = |condition: &dyn Fn() -> bool| {
        let begin = Instant::now();
        while !condition() {
            assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", keeper.status());
            thread::park_timeout(Duration::from_millis(20));
        }
    };
    folder.write("asn.mmdb", "torn");
    wait(&|| keeper.status().geo[0].error.is_some());
    assert_eq!(asn(), Some(1));
    folder.write("asn.mmdb", of(2));
    wait(&|| asn() == Some(2));
    assert_eq!(keeper.status().geo[0].error, None);
}

#[test]
fn another_order_of_feeds_is_not_another_feed() {
    let folder = Folder::new();
    let (one, two) = (folder.write("one", "203.0.113.1\n"), folder.write("two", "203.0.113.2\n"));
    let feeds = vec![feed("one", Some(&one), None), feed("two", Some(&two), None)];
    let (snapshot, errors) = Snapshot::of_files(&spec(feeds.clone()));
    assert!(errors.is_empty(), "{errors:?}");
    let moved = FeedSpec { file: Some(one), ..feed("two", None, None) };
    let wanted = spec(vec![moved, feeds[1].clone(), feeds[0].clone(), feed("new", None, None)]);
    let snapshot = snapshot.numbered_as(&wanted);
    let lists = |address| [0, 1, 2, 3].map(|feed| snapshot.listed(feed, &source(address)));
    assert_eq!(lists("203.0.113.1"), [None, Some(false), Some(true), None]);
    assert_eq!(lists("203.0.113.2"), [None, Some(true), Some(false), None]);
    let broken = folder.write("broken", "milk\n");
    let (snapshot, errors) = Snapshot::of_files(&spec(vec![feed("bad", Some(&broken), None)]));
    assert!(errors[0].contains("line 1: `milk`"), "{errors:?}");
    assert_eq!(snapshot.listed(0, &source("203.0.113.1")), None);
}

#[test]
fn readers_see_one_list_or_the_other_and_never_a_mixture() {
    let board = Arc::new(Board::default());
    let sets = ["203.0.113.0/24", "198.51.100.0/24"]
        .map(|net| Arc::new(PrefixSet::new(&[net.parse().unwrap()])));
    let post = |which: usize| {
        // Two feeds that always say the same.
        let known = KnownFeed::new(&feed("bad", None, None), Some(Arc::clone(&sets[which])));
        let feeds = vec![known; 2];
        board.post(Snapshot { feeds, ..Snapshot::default() });
    };
    post(0);
    let is_over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (board, is_over) = (Arc::clone(&board), Arc::clone(&is_over));
            thread::spawn(move || {
                let (one, other) = (source("203.0.113.1"), source("198.51.100.1"));
                let mut seen = [0u64; 2];
                while !is_over.load(Ordering::Relaxed) {
                    let newest = board.newest();
                    let lists = |feed, source| newest.listed(feed, source).unwrap();
                    assert_eq!(lists(0, &one), lists(1, &one));
                    assert_ne!(lists(0, &one), lists(1, &other));
                    seen[usize::from(lists(0, &other))] += 1;
                }
                seen
            })
        })
        .collect();
    let begin = Instant::now();
    let mut which = 0;
    while begin.elapsed() < Duration::from_millis(300) {
        which = 1 - which;
        post(which);
    }
    is_over.store(true, Ordering::Relaxed);
    for reader in readers {
        let seen = reader.join().unwrap();
        assert!(seen.iter().sum::<u64>() > 100, "{seen:?}");
    }
}
