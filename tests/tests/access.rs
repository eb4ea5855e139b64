//! Who may do what to a running Weir: operators what the control socket offers and no more, applications
//! what their sockets offer and no more, everybody else nothing at all. And what Weir itself may do, were
//! it to turn against its host.

#![expect(clippy::unwrap_used, reason = "a test's setup fails loudly")]

use std::{
    fs,
    io::{self, Read, Write},
    net::Ipv4Addr,
    os::unix::{fs::PermissionsExt, net::UnixDatagram, net::UnixStream},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use weir_lab::{
    actors::visit,
    clock::wait_until,
    net::Lab,
    require_root,
    server::Server,
    someone::{APPLICATIONS, OPERATORS, act_as, wrapped},
    weir::{Daemon, Weir, demo_policy},
};

const BOT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);

/// Three users whom nobody knows by name.
const OPERATOR: u32 = 64_001;
const APPLICATION: u32 = 64_002;
const OUTSIDER: u32 = 64_003;

const PATIENCE: Duration = Duration::from_secs(5);
const IN_VAIN: Duration = Duration::from_millis(500);

/// A lab with Weir on its edge, on a host with groups for operators and applications. A macro, because
/// the daemon borrows the lab.
macro_rules! scene {
    ($before:expr, $launcher:expr; $lab:ident, $server:ident, $weir:ident, $daemon:ident) => {
        let $lab = Lab::new().unwrap();
        open(&$lab);
        let $server = Server::start(&$lab).unwrap();
        let script = wrapped(&$lab, $before, $launcher).unwrap();
        let $weir = Weir::by(&$lab, script);
        let $daemon: Daemon<'_> = $weir.run(&["edge0"], &demo_policy()).unwrap();
    };
}

/// Lets everybody up to the lab's directory: what stops them must be Weir's own doing.
fn open(lab: &Lab) {
    let mode = fs::Permissions::from_mode(0o755);
    for directory in lab.directory().ancestors().take(2) {
        fs::set_permissions(directory, mode.clone()).unwrap();
    }
}

fn as_operator<T: Send>(deed: impl FnOnce() -> T + Send) -> T {
    act_as(OPERATOR, &[OPERATORS], deed).unwrap()
}

/// Sends a request as it is; what comes back until the other side ends it.
fn say(socket: &Path, request: &[u8]) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    // Cut off in the middle is an answer, too.
    let _ = stream.read_to_end(&mut answer);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn get(socket: &Path, path: &str) -> io::Result<String> {
    say(
        socket,
        format!("GET {path} HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n").as_bytes(),
    )
}

/// Every file below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// That somebody can neither read nor write any of these, nor look into their directories.
fn assert_closed(who: &str, uid: u32, groups: &[u32], paths: &[PathBuf]) {
    let opened: Vec<String> = act_as(uid, groups, || {
        let reads = paths.iter().filter(|path| fs::File::open(path).is_ok());
        let reads = reads.map(|path| format!("{who} reads {}", path.display()));
        let writes = paths.iter().filter(|path| {
            fs::OpenOptions::new().append(true).open(path).is_ok() || fs::remove_file(path).is_ok()
        });
        let writes = writes.map(|path| format!("{who} writes {}", path.display()));
        // A pin cannot be opened as a file by anybody: what counts is whether it can be reached.
        let pins = paths.iter().filter(|path| path.ends_with("KILL") && path.exists());
        let pins = pins.map(|path| format!("{who} reaches {}", path.display()));
        reads.chain(writes).chain(pins).collect()
    })
    .unwrap();
    assert!(opened.is_empty(), "{opened:?}");
}

#[test]
fn an_operator_can_do_what_the_socket_offers_and_no_more() {
    require_root!("an_operator_can_do_what_the_socket_offers_and_no_more");
    scene!("", ""; lab, server, weir, daemon);
    let control = lab.run_dir().join("control.sock");
    let mode = fs::metadata(&control).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);

    // What it offers.
    let answer = as_operator(|| get(&control, "/v1/status")).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let block = "POST /v1/block?for_s=600&reason=a+test HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\
                 content-length: 13\r\n\r\n203.0.113.66\n";
    let answer = as_operator(|| say(&control, block.as_bytes())).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(visit(&lab, &server, BOT.into(), IN_VAIN).is_err(), "the verdict acts");

    // No more: not the files, not the pins, not the process.
    let mut closed = files(&lab.state_dir());
    closed.extend(files(&lab.bpffs()));
    closed.extend([lab.state_dir(), lab.bpffs().join("weir"), lab.run_dir().join("daemon.lock")]);
    assert!(closed.len() > 20, "{closed:?}");
    assert_closed("an operator", OPERATOR, &[OPERATORS], &closed);
    let pid = i32::try_from(daemon.pid()).unwrap();
    let errno = as_operator(|| {
        // SAFETY: kill(2) reads no memory.
        let result = unsafe { libc::kill(pid, libc::SIGKILL) };
        (result < 0).then(|| io::Error::last_os_error().raw_os_error())
    });
    assert_eq!(errno, Some(Some(libc::EPERM)));
    // Nor can it put a socket of its own in the place of Weir's.
    let made = as_operator(|| UnixDatagram::bind(lab.run_dir().join("other.sock")).map(drop));
    assert_eq!(made.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    let removed = as_operator(|| fs::remove_file(&control));
    assert_eq!(removed.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
}

#[test]
fn outsiders_reach_nothing_and_applications_only_their_own_sockets() {
    require_root!("outsiders_reach_nothing_and_applications_only_their_own_sockets");
    scene!("", ""; lab, _server, weir, daemon);
    let run = lab.run_dir();
    let sockets = ["control.sock", "lookup.sock", "signals.sock", "signals.stream"];
    let reached = |uid, groups: &[u32]| -> Vec<&str> {
        act_as(uid, groups, || {
            let reaches = |name: &&str| {
                let path = run.join(name);
                UnixStream::connect(&path).is_ok()
                    || UnixDatagram::unbound().and_then(|socket| socket.connect(&path)).is_ok()
            };
            sockets.into_iter().filter(reaches).collect()
        })
        .unwrap()
    };
    assert_eq!(reached(OUTSIDER, &[]), Vec::<&str>::new());
    assert_eq!(
        reached(APPLICATION, &[APPLICATIONS]),
        ["lookup.sock", "signals.sock", "signals.stream"]
    );
    assert_eq!(reached(OPERATOR, &[OPERATORS]), ["control.sock"]);

    let mut closed = files(&lab.state_dir());
    closed.extend(files(&lab.bpffs()));
    closed.extend([
        lab.state_dir(),
        lab.bpffs().join("weir"),
        run.clone(),
        run.join("daemon.lock"),
    ]);
    assert_closed("an outsider", OUTSIDER, &[], &closed);
    assert_closed("an application", APPLICATION, &[APPLICATIONS], &closed);

    // At the door for questions, nothing else can be asked.
    let lookup = run.join("lookup.sock");
    let ask =
        |path: &str| act_as(APPLICATION, &[APPLICATIONS], || get(&lookup, path)).unwrap().unwrap();
    assert!(ask("/v1/verdict?address=203.0.113.66").starts_with("HTTP/1.1 200"));
    for path in ["/v1/status", "/v1/block", "/metrics", "/v1/check/../status"] {
        let answer = ask(path);
        assert!(!answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }

    // Were the socket's permissions lost, the kernel still says who knocks.
    fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(run.join("control.sock"), fs::Permissions::from_mode(0o666)).unwrap();
    for (uid, groups) in [(OUTSIDER, &[][..]), (APPLICATION, &[APPLICATIONS])] {
        let control = run.join("control.sock");
        let answer = act_as(uid, groups, || get(&control, "/v1/status")).unwrap();
        assert!(answer.is_err() || answer.is_ok_and(|answer| answer.is_empty()));
    }
    wait_until("the log tells of it", PATIENCE, || {
        Ok(daemon.log().contains("turned away at the control socket"))
    })
    .unwrap();
    assert!(weir.status().is_ok(), "root is answered");
}

#[test]
fn hostile_requests_are_answered_or_cut_off_and_root_is_served_meanwhile() {
    require_root!("hostile_requests_are_answered_or_cut_off_and_root_is_served_meanwhile");
    scene!("", ""; lab, _server, weir, daemon);
    let control = lab.run_dir().join("control.sock");
    let said = |request: &[u8]| as_operator(|| say(&control, request)).unwrap();

    // Paths lead nowhere but to operations.
    for path in
        ["/v1/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/v1/check/../status"]
    {
        let answer = as_operator(|| get(&control, path)).unwrap();
        assert!(
            !answer.starts_with("HTTP/1.1 200") && !answer.contains("root:"),
            "{path}: {answer}"
        );
    }
    // Not HTTP; header fields without end; a body without end; one that is smaller than it says.
    let endless = [b"GET /v1/status HTTP/1.1\r\nx: ".as_slice(), &[b'x'; 200 << 10]].concat();
    let fields = "x: y\r\n".repeat(2_000);
    let many = format!("GET /v1/status HTTP/1.1\r\n{fields}\r\n");
    let large = "POST /v1/block?reason=x HTTP/1.1\r\nhost: w\r\ncontent-length: 99999999999\r\n\r\n"
        .to_owned() + &"192.0.2.1\n".repeat(10_000);
    for request in [&b"\x16\x03\x01\x02\x00\x01"[..], &endless, many.as_bytes(), b"\r\n\r\n\0\0"] {
        let answer = said(request);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    let begun = Instant::now();
    let _ = as_operator(|| {
        let mut stream = UnixStream::connect(&control)?;
        // The server may end it in the middle.
        let _ = stream.write_all(large.as_bytes());
        Ok::<_, io::Error>(())
    });
    assert_eq!(weir.verdicts().unwrap().of(Ipv4Addr::new(192, 0, 2, 1).into()).count(), 0);
    eprintln!("a list that never ends was given up after {:?}", begun.elapsed());

    // Someone takes all places they can and says nothing, or half of something.
    let (held, alive) = as_operator(|| {
        let connections: Vec<UnixStream> = (0..300)
            .filter_map(|number| {
                let mut stream = UnixStream::connect(&control).ok()?;
                if number % 2 == 0 {
                    let _ = stream.write_all(b"GET /v1/status HTTP/1.1\r\nhost: ");
                }
                Some(stream)
            })
            .collect();
        let alive = || {
            let cut_off = connections.iter().filter(|stream| {
                let mut reader: &UnixStream = stream;
                let _ = reader.set_nonblocking(true);
                matches!(reader.read(&mut [0]), Ok(0))
                    || reader.take_error().is_ok_and(|error| error.is_some())
            });
            connections.len() - cut_off.count()
        };
        let begun = Instant::now();
        while alive() > 16 && begun.elapsed() < PATIENCE {
            std::thread::park_timeout(Duration::from_millis(20));
        }
        (connections.len(), alive())
    });
    assert!(held > 16 && alive <= 16, "{alive} of {held} connections of one user are held");
    let begun = Instant::now();
    weir.status().unwrap();
    eprintln!("root was answered after {:?}", begun.elapsed());
    assert!(begun.elapsed() < PATIENCE);
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}

/// `CapEff` of CAP_NET_ADMIN, CAP_PERFMON and CAP_BPF.
const THREE: &str = "000000c000001000";
const NONE: &str = "0000000000000000";

/// A line of a thread's status, and the thread's name.
fn threads(pid: u32, field: &str) -> Vec<(String, String)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let told = tasks.filter_map(|task| {
        let path = task.ok()?.path();
        let name = fs::read_to_string(path.join("comm")).ok()?.trim().to_owned();
        let status = fs::read_to_string(path.join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{field}:")))?;
        Some((name, line.trim().to_owned()))
    });
    told.collect()
}

/// That the daemon has the rights that it needs and not one more, thread by thread.
fn assert_confined(daemon: &Daemon<'_>) {
    for field in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
        for (name, value) in threads(daemon.pid(), field) {
            let parses = ["weir-api", "weir-signals", "weir-feeds"].contains(&name.as_str());
            let wanted =
                if parses || field == "CapInh" || field == "CapAmb" { NONE } else { THREE };
            assert_eq!(value, wanted, "{field} of {name}");
        }
    }
    for (field, wanted) in [("NoNewPrivs", "1"), ("Seccomp", "2")] {
        for (name, value) in threads(daemon.pid(), field) {
            assert_eq!(value, wanted, "{field} of {name}");
        }
    }
    // Each thread tried; release builds do not.
    for (part, wanted) in [
        (
            "process",
            "execve=EPERM ptrace=EPERM unshare=EPERM init_module=EPERM perf=EPERM packet-socket=EPERM ip-socket=done connect=111 read-root=EACCES read-state=done write-tmp=EACCES",
        ),
        (
            "api",
            "bpf=EPERM execve=EPERM ptrace=EPERM unshare=EPERM init_module=EPERM perf=EPERM packet-socket=EPERM ip-socket=EPERM connect=EPERM read-root=EACCES read-state=EACCES write-tmp=EACCES",
        ),
        (
            "signals",
            "bpf=EPERM execve=EPERM ptrace=EPERM unshare=EPERM init_module=EPERM perf=EPERM packet-socket=EPERM ip-socket=EPERM connect=EPERM read-root=EACCES read-state=EACCES write-tmp=EACCES",
        ),
        (
            "feeds",
            "bpf=EPERM execve=EPERM ptrace=EPERM unshare=EPERM init_module=EPERM perf=EPERM packet-socket=EPERM ip-socket=done connect=111 read-root=EACCES read-state=EACCES write-tmp=EACCES",
        ),
    ] {
        let line = format!("sandbox probe {part}:");
        wait_until(&format!("{part} tried"), PATIENCE, || Ok(daemon.log().contains(&line)))
            .unwrap();
        let log = daemon.log();
        let found = log.lines().find(|said| said.contains(&line)).unwrap_or_default();
        assert!(found.contains(wanted), "{found}");
    }
    let log = daemon.log();
    assert!(!log.contains("the sandbox is not whole"), "{log}");
}

#[test]
fn weir_itself_has_three_capabilities_its_parsers_none_and_none_leaves_its_walls() {
    require_root!("weir_itself_has_three_capabilities_its_parsers_none_and_none_leaves_its_walls");
    scene!("export WEIR_SANDBOX_PROBE=1", ""; lab, server, weir, daemon);
    assert_confined(&daemon);
    // And does its work: verdicts, a reload, files.
    weir.ask(&["block", &BOT.to_string(), "--for", "10m", "--reason", "a test"]).unwrap();
    assert!(visit(&lab, &server, BOT.into(), IN_VAIN).is_err());
    let log = daemon.log();
    assert!(!log.contains("cannot") && !log.contains("denied"), "{log}");
    let status = daemon.terminate().unwrap();
    assert!(status.success(), "{status}");
}

#[test]
fn weir_works_as_a_user_who_is_not_root_with_three_capabilities() {
    require_root!("weir_works_as_a_user_who_is_not_root_with_three_capabilities");
    // What the unit does.
    let before = format!(
        "if [ \"$1\" != run ]; then exec {} \"$@\"; fi\n\
         mkdir -p $WEIR_BPFFS/weir\n\
         chown -R {OPERATOR}:{OPERATORS} $WEIR_BPFFS/weir $WEIR_STATE_DIR $WEIR_RUN_DIR\n\
         export WEIR_SANDBOX_PROBE=1",
        weir_lab::weir::binary().unwrap().display()
    );
    let capabilities = "+bpf,+net_admin,+perfmon";
    let launcher = format!(
        "setpriv --reuid {OPERATOR} --regid {OPERATORS} --groups {OPERATORS},{APPLICATIONS} \
         --inh-caps {capabilities} --ambient-caps {capabilities} --bounding-set -all,{capabilities}"
    );
    scene!(&before, &launcher; lab, server, weir, daemon);
    assert_confined(&daemon);
    let user = threads(daemon.pid(), "Uid");
    assert!(user.iter().all(|(_, uids)| uids.starts_with("64001")), "{user:?}");
    weir.ask(&["block", &BOT.to_string(), "--for", "10m", "--reason", "a test"]).unwrap();
    assert!(visit(&lab, &server, BOT.into(), IN_VAIN).is_err());
    // The next one takes over.
    daemon.terminate().unwrap();
    let daemon = weir.run(&["edge0"], &demo_policy()).unwrap();
    assert!(visit(&lab, &server, BOT.into(), IN_VAIN).is_err());
    assert!(daemon.log().contains("took over"), "{}", daemon.log());
    let sockets: Vec<u32> = ["control.sock", "lookup.sock"]
        .iter()
        .map(|name| {
            std::os::unix::fs::MetadataExt::gid(&fs::metadata(lab.run_dir().join(name)).unwrap())
        })
        .collect();
    assert_eq!(sockets, [OPERATORS, APPLICATIONS]);
}

/// Every `.rs` file below a directory, as one text.
fn sources(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn the_threat_model_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(root.join("docs/threat-model.md")).unwrap();
    let mut text = String::new();
    for folder in ["tests", "sensor-common", "sensor-user"] {
        sources(&root.join(folder), &mut text);
    }
    // Tests are sentences; nothing else on the page has so many words in one.
    let is_test = |name: &&str| {
        name.split('_').count() >= 3
            && name.chars().all(|letter| matches!(letter, 'a'..='z' | '0'..='9' | '_'))
    };
    let named: Vec<&str> = page.split('`').skip(1).step_by(2).filter(is_test).collect();
    assert!(named.len() > 60, "{}", named.len());
    let missing: Vec<&&str> =
        named.iter().filter(|name| !text.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
