//! Answers as proxies get them, over real sockets.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use tokio::sync::oneshot;
use weir_common::abi::{Action, Mode, ServiceSet, time::SECOND_NS};

use super::{Lookup, door, door::Limits};
use crate::{
    enforce::{
        guard::Guards,
        ladder::RateLimit,
        ledger::{Decided, Ledger, Meaning, Origin},
    },
    system::clock,
};

/// A ledger and what is told of it.
struct Site {
    ledger: Ledger,
    lookup: Arc<Lookup>,
}

impl Site {
    fn new() -> Self {
        let lookup = Arc::new(Lookup::default());
        lookup.board().set_services(vec![("shop".into(), 1), ("api".into(), 2)]);
        lookup.board().set_ceiling(Mode::Enforce);
        Self { ledger: Ledger::new(Guards::default()), lookup }
    }

    /// A rule's verdict, for a minute, on the service `shop`.
    fn decide(&mut self, whom: &str, action: Action, mode: Mode) {
        let net: IpNet = whom.parse().unwrap();
        let origin = Origin::Policy { name: "shop".into(), forgeable: false };
        let meaning = Arc::new(Meaning {
            origin: origin.clone(),
            mode,
            limit: (action == Action::Limit).then(|| RateLimit::new(SECOND_NS, 2)),
            ..Meaning::operator(action, ServiceSet::one(1), "hammering")
        });
        let now_ns = clock::monotonic_ns();
        self.ledger.block(net, &meaning, Some(now_ns + 60 * SECOND_NS), now_ns).unwrap();
        self.ledger.publish(self.lookup.board());
        let decided = Arc::new(Decided { id: "d-7".into(), score: 60 });
        self.lookup.board().explain(net, &origin, &decided);
    }

    /// A door on a thread of its own.
    fn open(&self, limits: Limits) -> Door {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let lookup = Arc::clone(&self.lookup);
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = door::serve(listener, limits, lookup) => {}
                    _ = stopped => {}
                }
            });
        });
        Door { address, stop: Some(stop), thread: Some(thread) }
    }
}

struct Door {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.stop.take();
        self.thread.take().unwrap().join().unwrap();
    }
}

/// A proxy with one connection.
struct Proxy(BufReader<TcpStream>);

/// What it was told: the status line, the header fields in lower case, and the body.
#[derive(Debug)]
struct Told {
    status: u16,
    head: String,
    body: String,
}

impl Told {
    fn header(&self, name: &str) -> Option<&str> {
        let field = |line: &'_ str| -> Option<(usize, usize)> {
            let (known, _) = line.split_once(": ")?;
            (known == name).then_some((known.len() + 2, line.len()))
        };
        self.head.lines().find_map(|line| field(line).map(|(from, to)| &line[from..to]))
    }
}

impl Proxy {
    fn connect(door: &Door) -> Self {
        let stream = TcpStream::connect(door.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self(BufReader::new(stream))
    }

    fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn ask(&mut self, path: &str) -> Told {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: weir\r\n\r\n"));
        self.read()
    }

    fn read(&mut self) -> Told {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.0.read_line(&mut head).unwrap() > 0, "cut off after {head:?}");
        }
        let head = head.to_ascii_lowercase();
        let mut told = Told { status: head[9..12].parse().unwrap(), head, body: String::new() };
        let length = told.header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        told.body = String::from_utf8(body).unwrap();
        told
    }

    /// Whether the other side ends the connection without another word.
    fn is_cut_off(&mut self) -> bool {
        matches!(self.0.read(&mut [0; 64]), Ok(0) | Err(_))
    }
}

#[test]
fn each_verdict_has_a_status_and_headers() {
    let mut site = Site::new();
    site.decide("192.0.2.1/32", Action::Mark, Mode::Enforce);
    site.decide("192.0.2.2/32", Action::Limit, Mode::Enforce);
    site.decide("192.0.2.3/32", Action::Reject, Mode::Enforce);
    site.decide("2001:db8:4::/64", Action::Drop, Mode::Enforce);
    let door = site.open(Limits::default());
    let mut proxy = Proxy::connect(&door);
    let mut ask = |rest: &str| proxy.ask(&format!("/v1/verdict?service=shop&address={rest}"));

    let marked = ask("192.0.2.1");
    assert_eq!(marked.status, 401);
    let header = |name: &str| marked.header(name).unwrap_or_default();
    assert_eq!((header("x-weir-action"), header("x-weir-mode")), ("mark", "enforce"));
    assert_eq!((header("x-weir-score"), header("x-weir-decision")), ("60", "d-7"));
    assert_eq!((header("x-weir-policy"), header("cache-control")), ("shop", "no-store"));
    assert_eq!(marked.header("x-weir-would"), None);
    let body: serde_json::Value = serde_json::from_str(&marked.body).unwrap();
    assert_eq!((&body["action"], &body["reason"]), (&"mark".into(), &"hammering".into()));
    assert!(body["until"].as_str().is_some_and(|until| until.ends_with('Z')), "{body}");

    // Two at once, then one a second; nginx knows no 429.
    assert_eq!([(); 3].map(|()| ask("192.0.2.2").status), [200, 200, 429]);
    let limited = ask("192.0.2.2");
    assert_eq!(limited.header("retry-after"), Some("1"));
    assert_eq!(ask("192.0.2.2&for=nginx").status, 403);
    assert_eq!(limited.header("x-weir-action"), Some("limit"));
    assert_eq!((ask("192.0.2.3").status, ask("2001:db8:4::99").status), (403, 403));

    let free = ask("192.0.2.9");
    assert_eq!((free.status, free.header("x-weir-action")), (200, Some("allow")));
    assert_eq!(free.header("x-weir-score"), None, "nothing was decided");
    assert_eq!(proxy.ask("/v1/verdict?address=192.0.2.3&service=api").status, 200);
    assert_eq!(proxy.ask("/v1/verdict?address=192.0.2.3").status, 403, "at any service");
    let status = site.lookup.status();
    assert_eq!((status.answered, status.challenged, status.limited, status.refused), (11, 1, 3, 3));
}

#[test]
fn observing_and_the_kill_switch_let_everybody_go_on() {
    let mut site = Site::new();
    site.decide("192.0.2.1/32", Action::Drop, Mode::Observe);
    site.decide("192.0.2.2/32", Action::Mark, Mode::Enforce);
    let door = site.open(Limits::default());
    let mut proxy = Proxy::connect(&door);
    let mut ask = |address: &str| {
        let told = proxy.ask(&format!("/v1/verdict?service=shop&address={address}"));
        let header = |name: &str| told.header(name).map(str::to_owned);
        (told.status, header("x-weir-would"), header("x-weir-mode").unwrap())
    };
    let told =
        |status, would: Option<&str>, mode: &str| (status, would.map(Into::into), mode.into());
    assert_eq!(ask("192.0.2.1"), told(200, Some("drop"), "observe"));
    assert_eq!(ask("192.0.2.2"), told(401, None, "enforce"));
    assert_eq!(site.lookup.status().would, 1);

    site.lookup.board().set_ceiling(Mode::Observe);
    assert_eq!(ask("192.0.2.2"), told(200, Some("mark"), "observe"));
    site.lookup.board().set_ceiling(Mode::Off);
    assert_eq!(ask("192.0.2.2"), told(200, None, "off"));
}

#[test]
fn only_questions_are_answered() {
    let site = Site::new();
    let door = site.open(Limits::default());
    let mut proxy = Proxy::connect(&door);
    for path in ["/v1/status", "/v1/decisions", "/v1/verdicts", "/", "/v1/verdict/x"] {
        assert_eq!(proxy.ask(path).status, 400, "{path}");
    }
    proxy.send("POST /v1/block?reason=x HTTP/1.1\r\nhost: weir\r\ncontent-length: 10\r\n\r\n");
    proxy.send("192.0.2.1\n");
    assert_eq!(proxy.read().status, 400);
    let mut proxy = Proxy::connect(&door);
    let wrong = proxy.ask("/v1/verdict?address=192.0.2.7&service=shpo");
    assert_eq!(wrong.status, 400);
    assert!(wrong.body.contains("no service `shpo`; it has: shop, api"), "{}", wrong.body);
    assert_eq!(site.lookup.status().misunderstood, 7);
}

#[test]
fn a_proxy_that_appends_the_clients_path_is_asked_by_header() {
    let mut site = Site::new();
    site.decide("192.0.2.1/32", Action::Mark, Mode::Enforce);
    site.lookup.set_header(Some("x-real-ip".into()));
    let door = site.open(Limits::default());
    let mut proxy = Proxy::connect(&door);
    let path = format!("/{}", "a".repeat(60_000));
    proxy.send(&format!(
        "PUT /v1/check/shop{path}?address=192.0.2.9 HTTP/1.1\r\nhost: weir\r\n\
         x-real-ip: 192.0.2.1\r\n\r\n"
    ));
    assert_eq!(proxy.read().status, 401);
    // As many fields as a client may make nginx pass on.
    let fields: String = (0..300).map(|n| format!("x-{n}: {}\r\n", "v".repeat(90))).collect();
    proxy.send(&format!(
        "GET /v1/verdict?service=shop HTTP/1.1\r\nhost: weir\r\n{fields}x-real-ip: 192.0.2.1\r\n\r\n"
    ));
    assert_eq!(proxy.read().status, 401);
}

#[test]
fn what_is_no_request_is_refused_and_counted() {
    let site = Site::new();
    let door = site.open(Limits::default());
    let long = format!("GET /v1/verdict HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(400 << 10));
    let hostile = ["\x16\x03\x01\x02 not http\r\n\r\n", "GET\r\n\r\n", long.as_str()];
    for text in hostile {
        let mut proxy = Proxy::connect(&door);
        // The other side may have hung up before it had all.
        let _ = proxy.0.get_mut().write_all(text.as_bytes());
        let mut said = Vec::new();
        let _ = proxy.0.read_to_end(&mut said);
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 4"), "{said:?}");
    }
    let begun = Instant::now();
    while site.lookup.status().malformed < 3 {
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", site.lookup.status());
        thread::yield_now();
    }
    assert_eq!(Proxy::connect(&door).ask("/v1/verdict?address=192.0.2.1").status, 200);
}

#[test]
fn the_slow_are_cut_off_and_the_silent_make_room() {
    let site = Site::new();
    let limits = Limits {
        seats: 3,
        request: Duration::from_millis(300),
        idle: Duration::from_secs(60),
        look: Duration::from_millis(20),
    };
    let door = site.open(limits);
    let mut silent: Vec<Proxy> = (0..3).map(|_| Proxy::connect(&door)).collect();
    for proxy in &mut silent {
        proxy.ask("/v1/verdict?address=192.0.2.1");
    }
    silent[0].ask("/v1/verdict?address=192.0.2.1");
    // A fourth takes the place of the one that was silent for longest.
    assert_eq!(Proxy::connect(&door).ask("/v1/verdict?address=192.0.2.1").status, 200);
    assert!(silent[1].is_cut_off());
    assert_eq!(silent[0].ask("/v1/verdict?address=192.0.2.1").status, 200);
    assert_eq!(site.lookup.status().turned_away, 1);

    silent[0].send("GET /v1/verdict?address=192.0.2.1 HTTP/1.1\r\nhost:");
    assert!(silent[0].is_cut_off(), "a request that does not come to its end");
    // It is counted once the connection is gone.
    let begun = Instant::now();
    while site.lookup.status().slow < 1 {
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", site.lookup.status());
        thread::yield_now();
    }
    assert_eq!(site.lookup.status().slow, 1);
}

/// Prints how long a kept connection waits for its answer, 10,000 times, while a long list is being
/// set and single verdicts come. The figures are for people: a busy machine makes any of them.
#[test]
fn ten_thousand_lookups_over_a_kept_connection() {
    let mut site = Site::new();
    site.decide("192.0.2.1/32", Action::Mark, Mode::Enforce);
    let door = site.open(Limits::default());
    let lookup = Arc::clone(&site.lookup);
    let is_done = Arc::new(AtomicBool::new(false));
    let until = Arc::clone(&is_done);
    let writer = thread::spawn(move || {
        let meaning = Arc::new(Meaning::operator(Action::Drop, ServiceSet::ALL, "a list"));
        let mut lists = 0u32;
        while !until.load(Ordering::Relaxed) && lists < 20 {
            for n in 0..50_000u32 {
                let address = IpAddr::from((0x0a00_0000 + (lists * 50_000 + n)).to_be_bytes());
                site.ledger.block(IpNet::from(address), &meaning, None, 0).unwrap();
            }
            site.ledger.publish(lookup.board());
            lists += 1;
        }
        lookup.board().len()
    });
    let mut proxy = Proxy::connect(&door);
    let mut took: Vec<Duration> = (0..10_000)
        .map(|_| {
            let begun = Instant::now();
            let told = proxy.ask("/v1/verdict?address=192.0.2.1&service=shop&for=nginx");
            assert_eq!(told.status, 401);
            begun.elapsed()
        })
        .collect();
    is_done.store(true, Ordering::Relaxed);
    let prefixes = writer.join().unwrap();
    took.sort_unstable();
    eprintln!(
        "10,000 lookups over a kept connection, while {prefixes} prefixes were posted: p50 {:?}, \
         p99 {:?}, most {:?}",
        took[5_000], took[9_900], took[9_999]
    );
}

proptest::proptest! {
    /// Whatever stands in a question: it is answered shortly, or the asker told what would be right.
    #[test]
    fn nothing_asked_breaks_it(
        path in "/[ -~]{0,60}",
        query in "[!-~]{0,80}",
        header in proptest::collection::vec(0x20u8..=0xff, 0..200),
        prefix in "(/v1/verdict|/v1/check/shop|/v1/check/)?",
    ) {
        let site = Site::new();
        site.lookup.set_header(Some("x-forwarded-for".into()));
        let uri = format!("{prefix}{path}?{query}");
        let request = hyper::Request::builder()
            .uri(uri)
            .header("x-forwarded-for", header.as_slice())
            .body(());
        // What is no request never comes so far.
        let Ok(request) = request else { return Ok(()) };
        let response = site.lookup.answer(&request);
        proptest::prop_assert!([200, 400, 401, 403, 404, 429].contains(&response.status().as_u16()));
        let size = hyper::body::Body::size_hint(response.body()).exact();
        proptest::prop_assert!(size.is_some_and(|size| size < 8 << 10), "{size:?}");
        for value in response.headers().values() {
            proptest::prop_assert!(value.len() < 1 << 10);
        }
    }
}
