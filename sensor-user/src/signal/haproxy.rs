//! HAProxy's `option httplog`, with or without what syslog puts before it:
//!
//! ```text
//! haproxy[14389]: 203.0.113.7:33317 [30/Jun/2027:12:00:00.655] web~ shop/srv1 10/0/30/69/109 401 275 - - ---- 1/1/1/1/0 0/0 {198.51.100.1} {} "POST /login HTTP/1.1"
//! ```
//!
//! What clients choose comes last, and HAProxy writes quotes, braces, `|` and `#` in it as `#22` and so
//! on: it cannot look like anything else. The first captured header is taken for `X-Forwarded-For`. The
//! time has no zone, so a line counts as of when it is read.

use super::{
    client,
    endpoint::hex,
    entry::{Entry, said},
};

/// Reads a line; `None` if it is none of this format.
pub(super) fn read(line: &str) -> Option<Entry> {
    let (before, rest) = split_at_time(line)?;
    let (address, port) = before.rsplit(' ').next()?.rsplit_once(':')?;
    // Frontend, backend and server, timers, status, bytes, two cookies, how it ended, two more groups.
    let mut words = rest.splitn(11, ' ');
    let (_frontend, server, timers) = (words.next()?, words.next()?, words.next()?);
    let status = words.next()?;
    if !server.contains('/') || timers.split('/').count() != 5 {
        return None;
    }
    let captures = words.nth(6)?;
    let mut entry = Entry {
        address: client::address(address),
        port: port.parse().unwrap_or_default(),
        // -1: the connection ended before an answer.
        status: if status == "-1" { 0 } else { status.parse().ok()? },
        ..Entry::default()
    };
    let (headers, request) = captures.split_once('"').unwrap_or((captures, ""));
    // A line that was cut off has no quote at its end.
    entry.request(&decode(request.strip_suffix('"').unwrap_or(request)));
    let captured =
        headers.trim_start().strip_prefix('{').and_then(|it| it.split(['|', '}']).next());
    entry.forwarded = captured.map(decode).and_then(|it| said(it.trim()).map(ToOwned::to_owned));
    Some(entry)
}

/// What stands before the time, and what stands behind it.
fn split_at_time(line: &str) -> Option<(&str, &str)> {
    line.match_indices(" [").find_map(|(at, _)| {
        let (time, rest) = line.get(at + 2..)?.split_once("] ")?;
        is_time(time).then_some((line.get(..at)?, rest))
    })
}

/// `30/Jun/2027:12:00:00.655`
fn is_time(text: &str) -> bool {
    const SHAPE: &[u8] = b"00/AAA/0000:00:00:00.000";
    text.len() == SHAPE.len()
        && text.bytes().zip(SHAPE).all(|(byte, shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            b'A' => byte.is_ascii_alphabetic(),
            other => byte == *other,
        })
}

/// Undoes `#XX`.
fn decode(text: &str) -> String {
    if !text.contains('#') {
        return text.to_owned();
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let value = match behind {
            [high, low, ..] if *first == b'#' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        plain.push(value.map_or(*first, |(high, low)| high << 4 | low));
        rest = behind.get(value.map_or(0, |_| 2)..).unwrap_or_default();
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: &str = r#"Jun 30 12:00:00 edge haproxy[14389]: 203.0.113.7:33317 [30/Jun/2027:12:00:00.655] web~ shop/srv1 10/0/30/69/109 401 2750 - - ---- 1/1/1/1/0 0/0 {198.51.100.1|Mozilla/5.0 (X11)} {} "POST /login?x=1 HTTP/1.1""#;

    #[test]
    fn a_line_with_all_there_is() {
        let found = read(PLAIN).unwrap();
        assert_eq!(found.address, Some("203.0.113.7".parse().unwrap()));
        assert_eq!((found.port, found.status), (33_317, 401));
        assert_eq!(found.method.as_deref(), Some("POST"));
        assert_eq!(found.target.as_deref(), Some("/login?x=1"));
        assert_eq!(found.forwarded.as_deref(), Some("198.51.100.1"));
        assert_eq!(found.stamp, None);
    }

    #[test]
    fn other_lines_of_haproxy() {
        for (line, address, target, status, forwarded) in [
            (
                r#"<134>1 2024-06-20T11:47:56.817934+02:00 - haproxy 266980 - - 127.0.0.1:50516 [20/Jun/2024:11:47:56.766] be be/s1 0/0/24/27/51 404 379 - - ---- 1/1/0/0/0 0/0 "GET /index.html HTTP/1.1""#,
                "127.0.0.1",
                Some("/index.html"),
                404,
                None,
            ),
            (
                r#"2001:db8::7:33317 [20/Jun/2024:11:47:56.766] be be/s1 0/0/24/27/+51 200 +379 SESSION=a - --VN 1/1/0/0/+1 0/0 {} "GET / HTTP/1.1""#,
                "2001:db8::7",
                Some("/"),
                200,
                None,
            ),
            (
                r#"192.0.2.1:1 [20/Jun/2024:11:47:56.766] be be/<NOSRV> -1/-1/-1/-1/5 -1 0 - - CR-- 1/1/0/0/0 0/0 "<BADREQ>""#,
                "192.0.2.1",
                None,
                0,
                None,
            ),
            (
                // Quotes, braces and `#` that a client sent.
                r#"192.0.2.1:1 [20/Jun/2024:11:47:56.766] be be/s 0/0/0/0/0 403 0 - - ---- 1/1/0/0/0 0/0 {#7d #22GET /ok#22} "GET /#22x#23 HTTP/1.1""#,
                "192.0.2.1",
                Some("/\"x#"),
                403,
                Some("} \"GET /ok\""),
            ),
            (
                // Cut off at 1024 bytes.
                r#"192.0.2.1:1 [20/Jun/2024:11:47:56.766] be be/s 0/0/0/0/0 403 0 - - ---- 1/1/0/0/0 0/0 "GET /aaaaaaaa"#,
                "192.0.2.1",
                Some("/aaaaaaaa"),
                403,
                None,
            ),
        ] {
            let found = read(line).unwrap_or_else(|| panic!("not understood: {line}"));
            assert_eq!(found.address, Some(address.parse().unwrap()), "{line}");
            assert_eq!(found.target.as_deref(), target, "{line}");
            assert_eq!(found.status, status, "{line}");
            assert_eq!(found.forwarded.as_deref(), forwarded, "{line}");
        }
    }

    #[test]
    fn what_is_no_request_is_not_understood() {
        for line in [
            "",
            "haproxy[1]: Proxy web started.",
            // A line of `option tcplog`.
            "203.0.113.7:33317 [30/Jun/2027:12:00:00.655] fe be/s1 0/0/5007 212 -- 0/0/0/0/3 0/0",
            r#"203.0.113.7 - - [30/Jun/2027:12:00:00 +0000] "GET / HTTP/1.1" 401 17 "-" "-""#,
            "203.0.113.7:33317 [30/Jun/2027:12:00:00.655] web/1: SSL handshake failure",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
        let local = PLAIN.replace("203.0.113.7:33317", "unix:1");
        assert_eq!(read(&local).unwrap().address, None);
    }

    proptest! {
        #[test]
        fn nothing_written_breaks_it(line in ".{0,200}", at in 0usize..220) {
            let _ = read(&line);
            let mut changed = PLAIN.to_owned();
            changed.insert_str(at.min(PLAIN.len()), &line);
            let _ = read(&changed);
        }

        /// What a client sends, as HAProxy writes it, changes neither address nor status.
        #[test]
        fn clients_choose_nothing_but_their_own(text in "[ -!$-z~]{0,40}") {
            let line = PLAIN.replace("198.51.100.1|Mozilla/5.0 (X11)", &text).replace("?x=1", &text);
            let found = read(&line).unwrap();
            prop_assert_eq!(found.address, Some("203.0.113.7".parse().unwrap()));
            prop_assert_eq!(found.status, 401);
        }
    }
}
