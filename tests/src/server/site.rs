//! What stands behind each path. Bodies are filler; lengths are what a sensor can see.

use std::time::Duration;

/// The password that every account has.
pub const PASSWORD: &str = "letmein12345";

/// Longest answer.
const LONGEST: usize = 200 << 10;

/// What bodies are made of.
pub(super) static FILLER: [u8; LONGEST] = [b'w'; LONGEST];

/// An answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    /// Status code and phrase.
    pub(super) status: &'static str,
    /// Media type.
    pub(super) kind: &'static str,
    /// Length of the body, at most [`LONGEST`].
    pub(super) length: usize,
    /// How long the server thinks about it.
    pub(super) after: Duration,
}

impl Answer {
    /// The answer to somebody who is not served.
    pub(super) const fn refusal(status: &'static str) -> Self {
        Self { status, kind: "text/plain", length: 0, after: Duration::ZERO }
    }
}

/// The answer to a request, which for a form depends on what is in it.
pub(super) fn answer(method: &str, path: &str, form: &[u8]) -> Answer {
    let quick = Duration::from_millis(1);
    let (status, kind, length, after) = match (method, path) {
        // Constant, and slow for a page: a password hash was checked.
        ("POST", "/login") if form.ends_with(PASSWORD.as_bytes()) => {
            ("200 OK", "application/json", 64, Duration::from_millis(5))
        }
        ("POST", "/login") => {
            ("401 Unauthorized", "application/json", 64, Duration::from_millis(5))
        }
        ("GET", "/health") => ("200 OK", "text/plain", 2, Duration::ZERO),
        ("GET", "/api/price") => ("200 OK", "application/json", 256, quick),
        ("GET", page) if page == "/" || page.starts_with("/page/") => {
            ("200 OK", "text/html", spread(page, 8 << 10, 48 << 10), Duration::from_millis(3))
        }
        ("GET", asset) if asset.starts_with("/asset/") => {
            ("200 OK", "application/octet-stream", skewed(asset), quick)
        }
        _ => ("404 Not Found", "text/plain", 9, Duration::ZERO),
    };
    Answer { status, kind, length, after }
}

/// An asset's length: many small ones and a few large ones, 1 kB to 200 kB.
fn skewed(path: &str) -> usize {
    match hash(path) % 10 {
        0 => spread(path, 100 << 10, LONGEST),
        1..=3 => spread(path, 20 << 10, 80 << 10),
        _ => spread(path, 1 << 10, 16 << 10),
    }
}

/// A length between two bounds that is always the same for a path.
fn spread(path: &str, from: usize, to: usize) -> usize {
    from + (hash(path) >> 8) as usize % (to - from)
}

/// FNV-1a: the same in every run.
fn hash(path: &str) -> u64 {
    path.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assets_vary_and_stay_the_same() {
        let lengths: Vec<usize> =
            (0..100).map(|n| answer("GET", &format!("/asset/{n}"), b"").length).collect();
        assert_eq!(
            lengths,
            (0..100).map(|n| answer("GET", &format!("/asset/{n}"), b"").length).collect::<Vec<_>>()
        );
        assert!(lengths.iter().all(|length| (1 << 10..LONGEST).contains(length)));
        assert!(lengths.iter().any(|length| *length < 4 << 10));
        assert!(lengths.iter().any(|length| *length > 100 << 10));
    }

    #[test]
    fn a_failed_login_looks_the_same_every_time() {
        assert_eq!(answer("POST", "/login", b"password=guess").status, "401 Unauthorized");
        let right = format!("password={PASSWORD}");
        assert_eq!(answer("POST", "/login", right.as_bytes()).status, "200 OK");
        assert_eq!(answer("GET", "/login", b"").status, "404 Not Found");
    }
}
