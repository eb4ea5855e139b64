//! Real sockets.

use std::{
    io::Write,
    os::unix::net::{UnixDatagram, UnixStream},
    sync::Mutex,
    time::Duration,
};

use super::*;

/// Runs `test` beside sockets in a directory of its own; returns what was heard when `test` has ended
/// and `count` lines are there.
fn heard(
    name: &str,
    count: usize,
    test: impl FnOnce(&Path, &Path) + Send + 'static,
) -> Vec<String> {
    let place = std::env::temp_dir().join(format!("weir-listen-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).unwrap();
    let (datagrams, streams) = (place.join("signals.sock"), place.join("signals.stream"));
    let lines = Arc::new(Mutex::new(Vec::new()));
    let theirs = Arc::clone(&lines);
    let on_line: OnLine = Arc::new(move |line: Result<&[u8], Refusal>| {
        theirs.lock().unwrap().push(match line {
            Ok(line) => String::from_utf8_lossy(line).into_owned(),
            Err(refusal) => format!("{refusal:?}"),
        });
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // Left behind by an earlier run.
        drop(UnixDatagram::bind(&datagrams).unwrap());
        let sockets = Sockets::bind(&datagrams, &streams).unwrap();
        for path in [&datagrams, &streams] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, MODE);
        }
        let (to, at) = (datagrams.clone(), streams.clone());
        let testing = tokio::task::spawn_blocking(move || test(&to, &at));
        let enough = async {
            testing.await.unwrap();
            while lines.lock().unwrap().len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // Nothing more comes.
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        tokio::select! {
            ended = sockets.serve(on_line) => panic!("{ended:?}"),
            () = enough => {}
            () = tokio::time::sleep(Duration::from_secs(20)) => {}
        }
        drop(sockets);
        assert!(!datagrams.exists() && !streams.exists(), "the files go with the sockets");
    });
    fs::remove_dir_all(&place).unwrap();
    let lines = lines.lock().unwrap();
    lines.clone()
}

#[test]
fn datagrams_are_lines_or_several() {
    let found = heard("datagrams", 5, |to, _| {
        let socket = UnixDatagram::unbound().unwrap();
        socket.send_to(b"one", to).unwrap();
        socket.send_to(b"two\n\nthree\n", to).unwrap();
        socket.send_to(b"", to).unwrap();
        socket.send_to(&vec![b'x'; LONGEST_LINE + 100], to).unwrap();
        socket.send_to(&vec![b'y'; LONGEST_LINE], to).unwrap();
    });
    assert_eq!(found.len(), 5);
    assert_eq!(found[..4], ["one", "two", "three", "TooLong"]);
    assert_eq!(found[4].len(), LONGEST_LINE);
}

#[test]
fn streams_are_lines_however_they_are_cut() {
    let found = heard("streams", 4, |_, at| {
        let mut stream = UnixStream::connect(at).unwrap();
        for piece in ["on", "e\ntwo", "\n", "\n \n"] {
            stream.write_all(piece.as_bytes()).unwrap();
            std::thread::park_timeout(Duration::from_millis(5));
        }
        stream.write_all(&vec![b'x'; 10 * LONGEST_LINE]).unwrap();
        stream.write_all(b"\nlast, without an end").unwrap();
    });
    assert_eq!(found, ["one", "two", "TooLong", "last, without an end"]);
}

#[test]
fn streams_are_bounded_and_a_slot_is_free_again() {
    let found = heard("crowd", 2, |_, at| {
        let open: Vec<UnixStream> =
            (0..MOST_STREAMS).map(|_| UnixStream::connect(at).unwrap()).collect();
        std::thread::park_timeout(Duration::from_millis(100));
        let _turned_away = UnixStream::connect(at).unwrap();
        std::thread::park_timeout(Duration::from_millis(100));
        drop(open);
        std::thread::park_timeout(Duration::from_millis(100));
        UnixStream::connect(at).unwrap().write_all(b"again\n").unwrap();
    });
    assert_eq!(found, ["TooManyConnections", "again"]);
}

#[test]
fn a_directory_that_is_not_there_is_explained() {
    let nowhere = Path::new("/nonexistent/signals.sock");
    let error = Sockets::bind(nowhere, nowhere).unwrap_err().to_string();
    assert!(error.contains("cannot listen on /nonexistent/signals.sock"), "{error}");
}
