//! nginx's and Apache's `combined` and `common` formats:
//!
//! ```text
//! 203.0.113.7 - ada [30/Jun/2027:12:00:00 +0000] "POST /login HTTP/1.1" 401 17 "-" "curl/8.5" "198.51.100.1"
//! ```
//!
//! What clients choose stands in quotes, in which both servers escape quotes (`\x22`, `\"`). The user,
//! which a client chooses too, has no quotes but may have spaces and brackets: the time is what stands
//! in the last brackets before the request. Quoted fields behind the user agent may follow; the first
//! of them is taken for `X-Forwarded-For`, as in nginx's example of a `log_format main`.

use super::{
    client,
    endpoint::hex,
    entry::{Entry, said},
    stamp,
};

/// Reads a line; `None` if it is none of this format.
pub(super) fn read(line: &str) -> Option<Entry> {
    let (head, rest) = line.split_at_checked(unescaped_quote(line)?)?;
    let (head, time) = head.trim_end().strip_suffix(']')?.rsplit_once(" [")?;
    // Address, the identity that nobody asks for any more, user.
    let mut words = head.splitn(3, ' ');
    let (address, _, user) = (words.next()?, words.next()?, words.next()?);
    let (request, rest) = quoted(rest)?;
    let mut numbers = rest.trim_start().splitn(3, ' ');
    let status = numbers.next()?;
    let mut entry = Entry {
        address: client::address(address),
        status: if status == "-" { 0 } else { status.parse().ok()? },
        account: said(&unescape(user)).map(ToOwned::to_owned),
        stamp: Some(stamp::common(time)?),
        ..Entry::default()
    };
    entry.request(&request);
    let _bytes = numbers.next()?;
    let mut rest = numbers.next().unwrap_or_default();
    let mut fields = std::iter::from_fn(|| {
        let (field, behind) = quoted(rest.trim_start())?;
        rest = behind;
        Some(field)
    });
    entry.forwarded = fields.nth(2).and_then(|field| said(&field).map(ToOwned::to_owned));
    Some(entry)
}

/// The first quote that begins or ends something.
fn unescaped_quote(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let found = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        found
    })
}

/// A field in quotes, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let inside = text.strip_prefix('"')?;
    let end = unescaped_quote(inside)?;
    Some((unescape(inside.get(..end)?), inside.get(end + 1..)?))
}

/// Undoes `\xHH`, `\"`, `\\` and `\n`.
fn unescape(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let (byte, used) = match (first, behind) {
            (b'\\', [b'x', high, low, ..]) => match hex(*high).zip(hex(*low)) {
                Some((high, low)) => (high << 4 | low, 3),
                None => (b'\\', 0),
            },
            (b'\\', [b'n', ..]) => (b'\n', 1),
            (b'\\', [b't', ..]) => (b'\t', 1),
            (b'\\', [b'r', ..]) => (b'\r', 1),
            (b'\\', [other @ (b'"' | b'\\'), ..]) => (*other, 1),
            _ => (*first, 0),
        };
        plain.push(byte);
        rest = behind.get(used..).unwrap_or_default();
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: &str = r#"203.0.113.7 - - [30/Jun/2027:12:00:00 +0000] "POST /login?next=%2F HTTP/1.1" 401 17 "https://example.com/" "Mozilla/5.0 (X11; Linux x86_64)""#;

    fn entry(line: &str) -> Entry {
        read(line).unwrap_or_else(|| panic!("not understood: {line}"))
    }

    #[test]
    fn a_line_of_nginx() {
        let found = entry(PLAIN);
        assert_eq!(found.address, Some("203.0.113.7".parse().unwrap()));
        assert_eq!(found.method.as_deref(), Some("POST"));
        assert_eq!(found.target.as_deref(), Some("/login?next=%2F"));
        assert_eq!((found.status, found.port), (401, 0));
        assert_eq!((found.account, found.forwarded), (None, None));
        assert_eq!(found.stamp.unwrap().unix_ns, 1_814_356_800_000_000_000);
    }

    #[test]
    fn users_and_headers_that_try_to_be_something_else() {
        for (line, account, target, status, forwarded) in [
            // Basic authentication with a user of this name: spaces and brackets are not escaped.
            (
                r#"192.0.2.1 - a [1/x] GET /ok 200 [30/Jun/2027:12:00:00 +0000] "GET /in HTTP/1.1" 401 5 "-" "-""#,
                "a [1/x] GET /ok 200",
                "/in",
                401,
                "",
            ),
            (
                r#"192.0.2.1 - a\x22b [30/Jun/2027:12:00:00 +0000] "GET /in HTTP/1.1" 401 5 "-" "-""#,
                "a\"b",
                "/in",
                401,
                "",
            ),
            // Apache escapes in another way.
            (
                r#"192.0.2.1 - a\"b\\ [30/Jun/2027:12:00:00 +0000] "GET /x\" 200 HTTP/1.1" 403 -"#,
                "a\"b\\",
                "/x\" 200",
                403,
                "",
            ),
            // A referer and a user agent that look like more fields.
            (
                r#"192.0.2.1 - - [30/Jun/2027:12:00:00 +0000] "GET /in HTTP/2.0" 401 5 "\x22 \x22198.51.100.1" "\" \"198.51.100.2" "203.0.113.7, 10.0.0.1""#,
                "",
                "/in",
                401,
                "203.0.113.7, 10.0.0.1",
            ),
            (
                r#"192.0.2.1 - - [30/Jun/2027:12:00:00 +0000] "GET /in HTTP/1.1" 401 5 "-" "curl/8.5" "-" "0.003""#,
                "",
                "/in",
                401,
                "",
            ),
            // IPv6, a space in the target, and no version.
            (
                r#"2001:db8::7 - - [30/Jun/2027:12:00:00 +0000] "GET /a b HTTP/1.1" 404 5"#,
                "",
                "/a b",
                404,
                "",
            ),
            (r#"192.0.2.1 - - [30/Jun/2027:12:00:00 +0000] "GET /" 200 5"#, "", "/", 200, ""),
        ] {
            let found = entry(line);
            assert_eq!(found.account.as_deref().unwrap_or_default(), account, "{line}");
            assert_eq!(found.target.as_deref(), Some(target), "{line}");
            assert_eq!(found.status, status, "{line}");
            assert_eq!(found.forwarded.as_deref().unwrap_or_default(), forwarded, "{line}");
        }
    }

    #[test]
    fn requests_that_are_none_have_a_status_and_nothing_more() {
        for request in [r"\x16\x03\x01\x02\x00\x01", "", "-", r"\x00 /login HTTP/1.1"] {
            let line = format!(
                r#"192.0.2.1 - - [30/Jun/2027:12:00:00 +0000] "{request}" 400 150 "-" "-""#
            );
            let found = entry(&line);
            assert_eq!((found.method, found.target, found.status), (None, None, 400), "{line}");
        }
    }

    #[test]
    fn what_is_no_line_of_this_format_is_not_understood() {
        for line in [
            "",
            " ",
            "\"",
            "{\"status\": 401}",
            "192.0.2.1",
            "192.0.2.1 - -",
            r#"192.0.2.1 - - [30/Jun/2027:12:00:00 +0000] "GET / HTTP/1.1"#,
            r#"192.0.2.1 - - [30/Jun/2027:12:00:00 +0000] "GET / HTTP/1.1" 401"#,
            r#"192.0.2.1 - - [30/Jun/2027:12:00:00 +0000] "GET / HTTP/1.1" x 17"#,
            r#"192.0.2.1 - - [yesterday] "GET / HTTP/1.1" 401 17"#,
            r#"192.0.2.1 [30/Jun/2027:12:00:00 +0000] "GET / HTTP/1.1" 401 17"#,
        ] {
            assert_eq!(read(line), None, "{line}");
        }
        let named = PLAIN.replace("203.0.113.7", "host.example.com");
        assert_eq!(entry(&named).address, None);
    }

    proptest! {
        #[test]
        fn nothing_written_breaks_it(line in ".{0,200}", at in 0usize..150) {
            let _ = read(&line);
            // And none of a line that was changed somewhere.
            let mut changed = PLAIN.to_owned();
            changed.insert_str(at.min(PLAIN.len()), &line);
            let _ = read(&changed);
        }

        /// A client that chooses user, target, referer and agent, as nginx escapes them.
        #[test]
        fn clients_choose_nothing_but_their_own(
            user in "[ -!#-\\[\\]-~]{1,20}", target in "/[ -!#-\\[\\]-~]{0,20}", agent in "[ -!#-\\[\\]-~]{0,20}",
        ) {
            let line = format!(
                r#"203.0.113.7 - {user} [30/Jun/2027:12:00:00 +0000] "GET {target} HTTP/1.1" 401 17 "{agent}" "{agent}" "198.51.100.1""#
            );
            let found = read(&line).unwrap();
            prop_assert_eq!(found.address, Some("203.0.113.7".parse().unwrap()));
            prop_assert_eq!(found.target.as_deref(), Some(target.as_str()));
            prop_assert_eq!(found.status, 401);
            prop_assert_eq!(found.forwarded.as_deref(), Some("198.51.100.1"));
        }
    }
}
