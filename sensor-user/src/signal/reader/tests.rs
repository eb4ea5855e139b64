//! The thread as a whole: sockets, logs, and another policy.

use std::{
    fs,
    io::Write,
    os::unix::net::UnixDatagram,
    path::PathBuf,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    policy::{self, ServiceIds},
    signal::{entity::Pseudonyms, refusal::Refusal},
};

const SITE: &str = "
kind: Site
services: {web: {tcp: [443]}}
logs: {access: {file: access.log, format: combined}}
signals: {login_failed: {per: source, windows: [10m], match: {status: 401}}}
ladders: {default: [{at: 50, action: mark, for: 10m}]}
";

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let place = std::env::temp_dir().join(format!("weir-reader-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&place);
        fs::create_dir_all(&place).unwrap();
        Self(place)
    }

    fn hearing(&self, site: &str) -> Hearing {
        let policy = policy::parse("test", site, &self.0, &ServiceIds::default()).unwrap();
        Hearing::new(Arc::new(policy), Arc::new(Pseudonyms::test()))
    }

    fn reader(&self) -> Reader {
        let (datagrams, streams) = (self.0.join("signals.sock"), self.0.join("signals.stream"));
        Reader::start(self.hearing(SITE), &datagrams, &streams).unwrap()
    }

    fn append(&self, file: &str, lines: &str) {
        let mut file =
            fs::OpenOptions::new().append(true).create(true).open(self.0.join(file)).unwrap();
        file.write_all(lines.as_bytes()).unwrap();
    }

    fn send(&self, text: &str) {
        let socket = UnixDatagram::unbound().unwrap();
        socket.send_to(text.as_bytes(), self.0.join("signals.sock")).unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn line(address: &str, status: u16) -> String {
    let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    let (year, rest) = now.split_once('-').unwrap();
    let (month, rest) = rest.split_once('-').unwrap();
    let (day, clock) = rest.split_once('T').unwrap();
    let names =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = names[month.parse::<usize>().unwrap() - 1];
    let clock = clock.trim_end_matches('Z');
    format!("{address} - - [{day}/{month}/{year}:{clock} +0000] \"GET / HTTP/1.1\" {status} 1\n")
}

/// The clients of the next signals.
fn clients(reader: &mut Reader, count: usize) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut heard = Vec::new();
    runtime.block_on(async {
        while heard.len() < count {
            tokio::time::timeout(Duration::from_secs(10), reader.next(&mut heard, 100))
                .await
                .expect("a signal within ten seconds");
        }
    });
    heard.iter().map(|heard| heard.client.to_string()).collect()
}

fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(10), "waited in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

#[test]
fn sockets_and_logs_are_heard_and_what_is_refused_is_counted() {
    let place = Place::new("hears");
    place.append("access.log", &line("192.0.2.99", 401));
    let mut reader = place.reader();
    wait("the log is open", || reader.logs().iter().any(|log| log.problem.is_none()));
    place.append("access.log", &line("192.0.2.1", 401));
    assert_eq!(clients(&mut reader, 1), ["192.0.2.1"], "what was there before is old");
    place.send(r#"{"signal":"login_failed","address":"192.0.2.2"}"#);
    assert_eq!(clients(&mut reader, 1), ["192.0.2.2"]);
    place.append("access.log", &format!("rubbish\n{}", line("192.0.2.3", 200)));
    place.send("rubbish");
    wait("all is counted", || reader.counters().lines() == 3 && reader.counters().messages() == 2);
    assert_eq!(reader.counters().refused(Refusal::NotUnderstood), 2);
    wait("the log's own count", || {
        let logs = reader.logs();
        (logs[0].lines, logs[0].refused, logs[0].signals) == (3, 1, 1)
    });
}

#[test]
fn another_policy_reads_other_logs_and_goes_on_with_the_same() {
    let place = Place::new("replace");
    place.append("access.log", "");
    let mut reader = place.reader();
    wait("the log is open", || reader.logs().iter().any(|log| log.problem.is_none()));
    place.append("access.log", &line("192.0.2.1", 401));
    clients(&mut reader, 1);
    let other = SITE
        .replace("logs: {", "logs: {more: {file: more.log, format: combined}, ")
        .replace("status: 401", "status: 403");
    reader.replace(place.hearing(&other));
    wait("there are two", || reader.logs().len() == 2);
    place.append("access.log", &format!("{}{}", line("192.0.2.2", 401), line("192.0.2.3", 403)));
    assert_eq!(clients(&mut reader, 1), ["192.0.2.3"], "401 is no signal any more");
    let lines = reader.logs().iter().map(|log| log.lines).max();
    assert!(lines >= Some(1));
    place.append("more.log", &line("192.0.2.4", 403));
    assert_eq!(clients(&mut reader, 1), ["192.0.2.4"], "it appeared later");
}

#[test]
fn a_loop_that_does_not_keep_up_costs_messages_and_no_lines() {
    let place = Place::new("crowd");
    place.append("access.log", "");
    let mut reader = place.reader();
    wait("the log is open", || reader.logs().iter().any(|log| log.problem.is_none()));
    let count = QUEUE + 2000;
    place.append("access.log", &line("192.0.2.1", 401).repeat(count));
    wait("the queue is full", || reader.heard.len() == QUEUE);
    place.send(r#"{"signal":"login_failed","address":"192.0.2.2"}"#);
    wait("it is turned away", || reader.counters().refused(Refusal::Crowded) == 1);
    assert_eq!(clients(&mut reader, count).len(), count);
}

#[test]
fn it_ends_with_the_loop() {
    let place = Place::new("ends");
    let begun = Instant::now();
    drop(place.reader());
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(!place.0.join("signals.sock").exists());
}
