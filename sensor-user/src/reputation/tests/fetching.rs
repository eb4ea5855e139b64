//! Servers as they are.

use std::{
    io::Write,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    super::fetch::{Answer, FetchError, Fetcher, Validators},
    server::{Server, with},
};

const LARGEST: u64 = 100_000;

fn fetcher() -> Fetcher {
    Fetcher::with(Duration::from_secs(2), LARGEST, Vec::new())
}

fn fetch(server: &Server) -> Result<Answer, FetchError> {
    fetcher().fetch(&server.url(), &Validators::default())
}

#[test]
fn a_list_is_fetched_once_and_then_only_asked_for() {
    let headers = "ETag: \"v1\"\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n";
    let server = Server::start(move |head, to| {
        let is_known = head.to_lowercase().contains("if-none-match: \"v1\"");
        let (status, body) =
            if is_known { ("304 Not Modified", "") } else { ("200 OK", "192.0.2.1\n") };
        with(status, headers, body)(head, to);
    });
    let Answer::List { text, validators } = fetch(&server).unwrap() else { panic!("no list") };
    assert_eq!(text, b"192.0.2.1\n");
    assert_eq!(validators.etag.as_deref(), Some("\"v1\""));
    assert_eq!(fetcher().fetch(&server.url(), &validators).unwrap(), Answer::NotModified);
    let requests = server.requests();
    assert!(requests[0].starts_with("get /list http/1.1\r\n"), "{}", requests[0]);
    assert!(requests[0].contains("\r\nuser-agent: weir/"), "{}", requests[0]);
    assert!(requests[1].contains("\r\nif-modified-since: mon, 01 jan 2024 00:00:00 gmt\r\n"));
}

#[test]
fn errors_are_no_lists() {
    for status in ["500 Internal Server Error", "404 Not Found", "403 Forbidden", "204 No Content"]
    {
        let server = Server::start(with(status, "", ""));
        let error = fetch(&server).unwrap_err();
        assert!(matches!(error, FetchError::Status(_)), "{error}");
    }
}

#[test]
fn nobody_is_sent_elsewhere() {
    let elsewhere = Server::start(with("200 OK", "", "203.0.113.0/24\n"));
    for status in
        ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"]
    {
        let location = format!("Location: {}?key=secret\r\n", elsewhere.url());
        let server = Server::start(with(status, &location, ""));
        let error = fetch(&server).unwrap_err();
        assert!(matches!(error, FetchError::Redirect(_)), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn half_an_answer_is_none() {
    let cut: [fn(&str, &mut dyn Write); 3] = [
        |_, to| drop(to.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n192.0.2.1\n")),
        |_, to| {
            let text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n192.0.2.1\n\r\n";
            drop(to.write_all(text));
        },
        |_, to| drop(to.write_all(b"HTTP/1.1 200 OK\r\nContent-Le")),
    ];
    for cut in cut {
        let server = Server::start(cut);
        let error = fetch(&server).unwrap_err();
        assert!(matches!(error, FetchError::CutOff(_) | FetchError::Failed(_)), "{error}");
    }
}

#[test]
fn a_slow_server_is_not_waited_for() {
    let server = Server::start(|_, to| {
        let _ = to.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(8) && to.write_all(b"\n").is_ok() {
            let _ = to.flush();
            thread::park_timeout(Duration::from_millis(50));
        }
    });
    let begin = Instant::now();
    let error = fetch(&server).unwrap_err();
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}: {error}", begin.elapsed());
}

#[test]
fn more_than_a_list_is_not_read() {
    let body = "192.0.2.1\n".repeat(LARGEST as usize / 10 + 1);
    let said = Server::start(with("200 OK", "", &body));
    assert!(matches!(fetch(&said).unwrap_err(), FetchError::TooLarge));
    let endless = Server::start(|_, to| {
        let _ = to.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        while to.write_all(b"192.0.2.1\n192.0.2.1\n192.0.2.1\n192.0.2.1\n").is_ok() {}
    });
    assert!(matches!(fetch(&endless).unwrap_err(), FetchError::TooLarge));
    let exact = "192.0.2.1\n".repeat(LARGEST as usize / 10);
    let exact = Server::start(with("200 OK", "", &exact));
    assert!(
        matches!(fetch(&exact).unwrap(), Answer::List { text, .. } if text.len() as u64 == LARGEST)
    );
}

#[test]
fn nobody_there_is_an_error() {
    let port = Server::start(|_, _| {}).port();
    let url = format!("http://127.0.0.1:{port}/list");
    let error = fetcher().fetch(&url, &Validators::default()).unwrap_err();
    assert!(matches!(error, FetchError::Failed(_)), "{error}");
}

#[test]
fn https_is_spoken_with_servers_that_an_authority_vouches_for() {
    let names = vec!["127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let certificate = made.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let server = Server::start_over(with("200 OK", "", "192.0.2.1\n"), move |stream| {
        let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        Box::new(rustls::StreamOwned::new(connection, stream))
    });
    let url = format!("https://127.0.0.1:{}/list", server.port());
    let fetch = |roots| {
        let fetcher = Fetcher::with(Duration::from_secs(5), LARGEST, roots);
        fetcher.fetch(&url, &Validators::default())
    };
    let known = ureq::tls::Certificate::from_der(certificate.as_ref()).to_owned();
    let answer = fetch(vec![known]).unwrap();
    assert!(matches!(answer, Answer::List { text, .. } if text == b"192.0.2.1\n"));
    let other = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let other = ureq::tls::Certificate::from_der(other.cert.der().as_ref()).to_owned();
    let error = fetch(vec![other]).unwrap_err();
    assert!(matches!(error, FetchError::Failed(_)), "{error}");
}
