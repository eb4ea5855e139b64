//! How proxies ask about clients.

use std::net::SocketAddr;

use serde::Serialize;

/// The Site's section `lookup`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct LookupSettings {
    /// Where to answer beside the Unix sockets: a loopback address and a port.
    pub listen: Option<SocketAddr>,
    /// The request header that names the client where the query does not, in lower case.
    pub header: Option<String>,
}

/// Reads an address and port that only this host can reach.
///
/// # Errors
/// What would be right.
pub(super) fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| "an address and a port: 127.0.0.1:8765, or \"[::1]:8765\"".to_owned())?;
    if !address.ip().to_canonical().is_loopback() {
        return Err(format!(
            "who is held back is told to this host only: 127.0.0.1:{port}, or \"[::1]:{port}\"",
            port = address.port()
        ));
    }
    if address.port() == 0 {
        return Err("name a port: 127.0.0.1:8765".to_owned());
    }
    Ok(address)
}

/// Reads the name of a header (a token of RFC 9110, section 5.6.2), into lower case.
///
/// # Errors
/// What would be right.
pub(super) fn header(text: &str) -> Result<String, String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.is_empty() || text.len() > 64 || !text.bytes().all(is_token) {
        return Err("the name of a header that the proxy sets: X-Real-IP".to_owned());
    }
    Ok(text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_host_may_ask() {
        for right in ["127.0.0.1:8765", "127.9.9.9:1", "[::1]:8765", "[::ffff:127.0.0.1]:80"] {
            assert!(loopback(right).is_ok(), "{right}");
        }
        for (wrong, help) in [
            ("0.0.0.0:8765", "127.0.0.1:8765"),
            ("[::]:9", "[::1]:9"),
            ("192.0.2.7:80", "this host only"),
            ("[::ffff:192.0.2.7]:80", "this host only"),
            ("127.0.0.1:0", "name a port"),
            ("127.0.0.1", "a port"),
            ("localhost:80", "an address"),
            ("8765", "an address"),
        ] {
            let said = loopback(wrong).unwrap_err();
            assert!(said.contains(help), "{wrong}: {said}");
        }
    }

    #[test]
    fn headers_are_tokens_in_any_case() {
        assert_eq!(header("X-Real-IP").unwrap(), "x-real-ip");
        for wrong in ["", "X Real IP", "x:", "ä", "a\r\nb"] {
            assert!(header(wrong).is_err(), "{wrong:?}");
        }
    }
}
