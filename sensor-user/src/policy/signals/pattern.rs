//! Paths that a signal is about: a text in which `*` stands for anything, slashes included.
//!
//! Matching takes at most (length of the path) × (length of the pattern) steps, whatever a client
//! asks for.

use std::fmt;

/// Longest pattern, in bytes.
const LONGEST: usize = 256;

/// A pattern.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathPattern(String);

impl PathPattern {
    /// Reads a pattern; the error says what would be right.
    ///
    /// # Errors
    /// If no path could ever fit.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.starts_with(['/', '*']) {
            return Err("a path begins with `/`, and `*` stands for anything: `/login*`".into());
        }
        if text.contains(['?', '#']) {
            return Err("a path is compared without its query; parameters that tell endpoints \
                        apart are named in `query: [id]`"
                .into());
        }
        if text.contains("//") || text.contains('%') || text.split('/').any(|it| it == "..") {
            return Err(
                "paths are compared as servers understand them: decoded, without `//` and \
                        `..`"
                    .into(),
            );
        }
        if text.len() > LONGEST {
            return Err(format!("a path has at most {LONGEST} bytes"));
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether a path is one of those that are meant.
    #[must_use]
    pub fn fits(&self, path: &str) -> bool {
        let (pattern, path) = (self.0.as_bytes(), path.as_bytes());
        let (mut at, mut seen) = (0, 0);
        // Behind the last `*`, and what that one stands for so far.
        let mut again: Option<(usize, usize)> = None;
        while let Some(byte) = path.get(seen) {
            match pattern.get(at) {
                Some(b'*') => {
                    at += 1;
                    again = Some((at, seen));
                }
                Some(wanted) if wanted == byte => {
                    at += 1;
                    seen += 1;
                }
                _ => {
                    let Some((star, from)) = again else { return false };
                    again = Some((star, from + 1));
                    (at, seen) = (star, from + 1);
                }
            }
        }
        pattern.get(at..).unwrap_or_default().iter().all(|byte| *byte == b'*')
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, path, expected) in [
            ("/login", "/login", true),
            ("/login", "/login/", false),
            ("/login*", "/login", true),
            ("/login*", "/login/step/2", true),
            ("*/session", "/api/v1/session", true),
            ("/api/*/orders/*", "/api/v2/orders/17", true),
            ("/api/*/orders/*", "/api/orders/17", false),
            ("/a*b*c", "/axxbyybzzc", true),
            ("/a*b*c", "/axxbyybzz", false),
            ("*", "", true),
            ("/**", "/", true),
        ] {
            let found = PathPattern::parse(pattern).unwrap().fits(path);
            assert_eq!(found, expected, "{pattern} {path}");
        }
    }

    #[test]
    fn what_nothing_could_fit_is_refused() {
        for wrong in ["login", "", "/a?b=1", "/a//b", "/%6cogin", "/a/../b", "/#x"] {
            assert!(PathPattern::parse(wrong).is_err(), "{wrong}");
        }
        assert!(PathPattern::parse(&format!("/{}", "a".repeat(LONGEST))).is_err());
    }

    /// By recursion, as the definition says.
    fn naive(pattern: &[u8], path: &[u8]) -> bool {
        match (pattern.split_first(), path.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                naive(rest, path) || path.split_first().is_some_and(|(_, p)| naive(pattern, p))
            }
            (Some((a, rest)), Some((b, path))) => a == b && naive(rest, path),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn as_defined(pattern in "/[ab*]{0,7}", path in "/[ab]{0,12}") {
            let found = PathPattern::parse(&pattern).unwrap().fits(&path);
            prop_assert_eq!(found, naive(pattern.as_bytes(), path.as_bytes()));
        }
    }
}
