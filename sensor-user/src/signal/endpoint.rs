//! The target of a request as servers understand it, so that `/login`, `//login`, `/x/../login` and
//! `/%6Cogin` are one endpoint: decoded, without doubled slashes and dots, without a query.

/// Longest path that is told apart, in bytes.
const LONGEST: usize = 2048;

/// The path of a target.
#[must_use]
pub fn path(target: &str) -> String {
    let (path, _) = split(target);
    let decoded = decode(path.as_bytes());
    let mut kept: Vec<&[u8]> = Vec::new();
    let is_rooted = decoded.first() == Some(&b'/');
    let parts: Vec<&[u8]> = decoded.split(|byte| *byte == b'/').collect();
    for part in &parts {
        match *part {
            b"" | b"." => {}
            b".." => drop(kept.pop()),
            part => kept.push(part),
        }
    }
    let mut path = Vec::with_capacity(decoded.len());
    for part in &kept {
        if is_rooted || !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(part);
    }
    let is_folder = matches!(parts.last(), Some(&b"" | &b"." | &b".."));
    if is_rooted && (is_folder || path.is_empty()) {
        path.push(b'/');
    }
    path.truncate(LONGEST);
    String::from_utf8_lossy(&path).into_owned()
}

/// What tells an endpoint from others: its path, and the parameters that belong to it.
#[must_use]
pub fn name(target: &str, path: &str, parameters: &[String]) -> String {
    let mut name = path.to_owned();
    if parameters.is_empty() {
        return name;
    }
    let (_, query) = split(target);
    for wanted in parameters {
        // The last one counts: what servers do differs, and one is enough to tell endpoints apart.
        let values = query.rsplit('&').filter_map(|pair| pair.split_once('='));
        let found = values.filter(|(key, _)| decode(key.as_bytes()) == wanted.as_bytes());
        if let Some((_, value)) = found.take(1).next() {
            let value = decode(value.as_bytes());
            let value = value.get(..value.len().min(LONGEST)).unwrap_or_default();
            name.push('?');
            name.push_str(wanted);
            name.push('=');
            name.push_str(&String::from_utf8_lossy(value));
        }
    }
    name
}

/// Path and query, without a fragment, scheme and host.
fn split(target: &str) -> (&str, &str) {
    let target = target.split('#').next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    // `GET http://example.com/path` is what clients ask proxies.
    match path.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => {
            (rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"), query)
        }
        _ => (path, query),
    }
}

/// Decodes `%XX`; what is none stays.
fn decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        let value = match behind {
            [high, low, ..] if *first == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match value {
            Some((high, low)) => {
                decoded.push(high << 4 | low);
                rest = behind.get(2..).unwrap_or_default();
            }
            None => {
                decoded.push(*first);
                rest = behind;
            }
        }
    }
    decoded
}

/// The value of a hexadecimal digit.
pub(super) const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_endpoint_has_one_path() {
        for (target, expected) in [
            ("/login", "/login"),
            ("/login?user=x", "/login"),
            ("/login#top", "/login"),
            ("//login", "/login"),
            ("/./login", "/login"),
            ("/a/../login", "/login"),
            ("/../../login", "/login"),
            ("/%6Cogin", "/login"),
            ("/%2e%2e/login", "/login"),
            ("/a%2Fb", "/a/b"),
            ("/login/", "/login/"),
            ("/login//", "/login/"),
            ("/login/.", "/login/"),
            ("/a/..", "/"),
            ("/", "/"),
            ("", ""),
            ("*", "*"),
            ("http://example.com/login?x", "/login"),
            ("http://example.com", "/"),
            ("/go/http://example.com/x", "/go/http:/example.com/x"),
            ("/100%", "/100%"),
            ("/%zz%4", "/%zz%4"),
            ("/%c3%a4", "/ä"),
        ] {
            assert_eq!(path(target), expected, "{target}");
        }
    }

    #[test]
    fn parameters_tell_endpoints_apart_where_that_is_declared() {
        let id = ["id".to_owned()];
        for (target, expected) in [
            ("/order?id=17", "/order?id=17"),
            ("/order?x=1&id=%31%37&y", "/order?id=17"),
            ("/order?i%64=17", "/order?id=17"),
            ("/order?identity=17", "/order"),
            ("/order?id=1&id=2", "/order?id=2"),
            ("/order", "/order"),
        ] {
            assert_eq!(name(target, &path(target), &id), expected, "{target}");
        }
        assert_eq!(name("/order?id=17", "/order", &[]), "/order");
    }

    proptest! {
        #[test]
        fn a_path_is_bounded_and_its_own(target in ".{0,100}") {
            let once = path(&target);
            prop_assert!(once.len() <= 3 * LONGEST);
            // What was decoded once may read like an escape: only those without are their own.
            if !once.contains(['%', '?', '#', ':', '\u{fffd}']) {
                prop_assert_eq!(path(&once), once);
            }
        }
    }
}
