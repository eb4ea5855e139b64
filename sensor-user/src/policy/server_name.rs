//! Names that services go by, as clients ask for them in a ClientHello (SNI, RFC 6066, section 3).
//!
//! A name is kept as it goes over the wire: ASCII, lower case, A-labels (RFC 5890), no final dot.
//! `*.example.com` stands for every name below `example.com`, at any depth, and not for itself.

use std::{fmt, net::IpAddr};

use serde::Serialize;
use weir_common::tls::name::MAX_NAME_LEN;

/// The longest label (RFC 1035, section 2.3.4).
const MAX_LABEL_LEN: usize = 63;

/// A name, or all names below one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ServerName {
    is_wildcard: bool,
    name: String,
}

/// Why a text is no name, and where in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct BadName {
    /// Characters before the mistake.
    pub(super) offset: usize,
    pub(super) message: String,
    pub(super) help: String,
}

impl ServerName {
    /// How the kernel's table has it: `www.example.com`, or `.example.com` for what is below.
    #[must_use]
    pub fn key(&self) -> String {
        if self.is_wildcard { format!(".{}", self.name) } else { self.name.clone() }
    }

    /// Reads a name as people type it.
    pub(super) fn parse(text: &str) -> Result<Self, BadName> {
        let bad = |offset: usize, message: &str, help: String| {
            Err(BadName { offset, message: format!("`{text}` {message}"), help })
        };
        let example = || "a name like `login.example.com`, or `*.example.com`".to_owned();
        if let Some(host) = host_of_url(text) {
            return bad(0, "is a URL", format!("only the host: `{host}`"));
        }
        if text.parse::<IpAddr>().is_ok() {
            let help = "clients send no addresses as names (RFC 6066, section 3); a service \
                        without `sni` gets what asks for no name";
            return bad(0, "is an address", help.to_owned());
        }
        if let Some((host, port)) = text.rsplit_once(':')
            && port.bytes().all(|byte| byte.is_ascii_digit())
        {
            let offset = host.chars().count();
            return bad(
                offset,
                "has a port",
                format!("only the name: `{host}`; ports go to `tcp`"),
            );
        }
        if let Some(offset) = text.chars().position(|c| !c.is_ascii()) {
            let help =
                "names go over the wire as A-labels: write `xn--…`, as `idn2 NAME` prints it";
            return bad(offset, "is not in ASCII", help.to_owned());
        }
        let lower = text.to_ascii_lowercase();
        let (is_wildcard, name) = match lower.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, lower.as_str()),
        };
        let start = text.len() - name.len();
        if let Some(at) = name.find('*') {
            let help = "`*.` can only stand at the beginning, for whole labels; for everything \
                        else, use a service without `sni`";
            return bad(start + at, "has a `*` where none can be", help.to_owned());
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.is_empty() {
            let what = if text.is_empty() { "is empty" } else { "names nothing" };
            return bad(0, what, example());
        }
        if !is_wildcard && let Some(below) = name.strip_prefix('.') {
            return bad(0, "begins with a dot", format!("did you mean `*.{below}`?"));
        }
        if name.len() > MAX_NAME_LEN as usize {
            return bad(0, "is longer than 253 characters", example());
        }
        let mut at = start;
        for label in name.split('.') {
            if let Some((offset, message)) = complaint(label) {
                return bad(at + offset, message, example());
            }
            at += label.len() + 1;
        }
        Ok(Self { is_wildcard, name: name.to_owned() })
    }
}

/// What is wrong with a label, and where in it. Underscores are no host name's (RFC 1123, section
/// 2.1), but names that clients ask for have them.
fn complaint(label: &str) -> Option<(usize, &'static str)> {
    let is_taken = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if let Some(offset) = label.find(|c| !is_taken(c)) {
        Some((offset, "has a character that no name has"))
    } else if label.is_empty() {
        Some((0, "has two dots in a row"))
    } else if label.len() > MAX_LABEL_LEN {
        Some((0, "has a part longer than 63 characters"))
    } else if label.starts_with('-') {
        Some((0, "has a part that begins with `-`"))
    } else if label.ends_with('-') {
        Some((label.len() - 1, "has a part that ends with `-`"))
    } else {
        None
    }
}

/// The host of something that looks like a URL.
fn host_of_url(text: &str) -> Option<&str> {
    let rest = match text.split_once("://") {
        Some((_, rest)) => rest,
        None => text.contains('/').then_some(text)?,
    };
    let host = rest.split('/').next().unwrap_or_default();
    Some(host.split_once(':').map_or(host, |(host, _)| host))
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_wildcard { "*." } else { "" }, self.name)
    }
}

impl Serialize for ServerName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_as_they_go_over_the_wire() {
        for (typed, shown, key) in [
            ("login.example.com", "login.example.com", "login.example.com"),
            ("Login.Example.COM.", "login.example.com", "login.example.com"),
            ("*.example.com", "*.example.com", ".example.com"),
            (
                "_dmarc.xn--bcher-kva.example",
                "_dmarc.xn--bcher-kva.example",
                "_dmarc.xn--bcher-kva.example",
            ),
            ("localhost", "localhost", "localhost"),
        ] {
            let name = ServerName::parse(typed).unwrap();
            assert_eq!((name.to_string().as_str(), name.key().as_str()), (shown, key), "{typed}");
        }
    }

    #[test]
    fn what_is_no_name_is_told_where_and_what_would_be_right() {
        let long = format!("{}.com", "a".repeat(64));
        for (typed, offset, message, help) in [
            ("https://login.example.com/x", 0, "is a URL", "only the host: `login.example.com`"),
            ("login.example.com/x", 0, "is a URL", "only the host: `login.example.com`"),
            ("login.example.com:443", 17, "has a port", "only the name: `login.example.com`"),
            ("192.0.2.7", 0, "is an address", "RFC 6066"),
            ("2001:db8::7", 0, "is an address", "RFC 6066"),
            ("bücher.example", 1, "is not in ASCII", "xn--"),
            ("", 0, "is empty", "login.example.com"),
            ("*.", 0, "names nothing", "*.example.com"),
            ("*", 0, "has a `*` where none can be", "without `sni`"),
            ("a.*.com", 2, "has a `*` where none can be", "at the beginning"),
            ("*.*.com", 2, "has a `*` where none can be", "at the beginning"),
            ("www*.example.com", 3, "has a `*` where none can be", "at the beginning"),
            (".example.com", 0, "begins with a dot", "did you mean `*.example.com`?"),
            ("a..com", 2, "has two dots in a row", ""),
            ("a b.com", 1, "has a character that no name has", ""),
            ("-a.com", 0, "begins with `-`", ""),
            ("*.a-.com", 3, "ends with `-`", ""),
            (&long, 0, "longer than 63", ""),
        ] {
            let bad = ServerName::parse(typed).unwrap_err();
            assert_eq!(bad.offset, offset, "{typed}: {bad:?}");
            assert!(bad.message.contains(message) && bad.help.contains(help), "{typed}: {bad:?}");
        }
    }
}
