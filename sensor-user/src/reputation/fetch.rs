//! Lists by HTTP: asked for with what is known of the last answer, within limits of time and size.
//!
//! Certificates are checked against the system's. Redirects are not followed: who may answer for a
//! feed is said in the policy, and nowhere else.

use std::{fs, io::Read, net::IpAddr, path::Path, sync::Arc, time::Duration};

use ureq::{
    Agent,
    http::{HeaderMap, Uri, header},
    tls::{Certificate, PemItem, RootCerts, TlsConfig},
};

use super::list::LARGEST_BYTES;
use crate::system::sandbox::Unwalled;

/// How long an answer may take, from the first packet to the last.
const LONGEST: Duration = Duration::from_secs(60);
/// How long a connection may take to come about.
const LONGEST_CONNECT: Duration = Duration::from_secs(10);

/// Where systems keep the certificates of authorities, all in one file.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];

/// What a server said of its last answer, to be said back to it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Validators {
    /// `ETag`.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub last_modified: Option<String>,
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It is as before.
    NotModified,
    /// It is this.
    List {
        /// The list's text.
        text: Vec<u8>,
        /// What to say the next time.
        validators: Validators,
    },
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address is none.
    #[error("{0}")]
    Address(&'static str),
    /// There are no certificates to check the server's against.
    #[error(
        "no file with the certificates of authorities (install ca-certificates, or name one in SSL_CERT_FILE)"
    )]
    NoRoots,
    /// It must not be asked for outside of a sandbox, and there is none.
    #[error(transparent)]
    Unwalled(#[from] Unwalled),
    /// The server could not be reached, or broke off.
    #[error("the server did not answer as it should: {0}")]
    Failed(#[from] ureq::Error),
    /// It broke off within the list.
    #[error("the answer broke off: {0}")]
    CutOff(std::io::Error),
    /// It answered that it has nothing.
    #[error("the server answered with status {0}")]
    Status(u16),
    /// It named another address.
    #[error("the server points to {0}: name that address, if it is the right one")]
    Redirect(String),
    /// It answered with more than any list should have.
    #[error("the answer is larger than {} MiB", LARGEST_BYTES >> 20)]
    TooLarge,
}

/// Whether a list can be fetched from an address: by HTTPS, or from this very host.
///
/// # Errors
/// What would be right.
pub fn check(url: &str) -> Result<(), &'static str> {
    parsed(url).map(|_| ())
}

/// An address as it can be shown: what comes after `?` is often a key.
#[must_use]
pub fn shown(url: &str) -> String {
    match url.split_once('?') {
        Some((before, _)) => format!("{before}?…"),
        None => url.to_owned(),
    }
}

/// The TCP port that is connected to for an address: its own, or that of the proxy which the environment
/// names.
#[must_use]
pub fn port_of(url: &str) -> u16 {
    if let Some(proxy) = ureq::Proxy::try_from_env() {
        return proxy.port();
    }
    let uri = url.parse::<Uri>().unwrap_or_default();
    let usual = if uri.scheme_str() == Some("http") { 80 } else { 443 };
    uri.port_u16().unwrap_or(usual)
}

struct Parsed {
    uri: Uri,
    is_plain: bool,
}

fn parsed(url: &str) -> Result<Parsed, &'static str> {
    let uri: Uri =
        url.parse().map_err(|_| "an address is written like `https://example.com/list`")?;
    let Some(authority) = uri.authority() else {
        return Err("an address is written like `https://example.com/list`");
    };
    if authority.as_str().contains('@') {
        return Err(
            "an address with a user's name and password is not fetched: policies are read by many",
        );
    }
    if authority.host().is_empty() {
        return Err("the address names no host");
    }
    match uri.scheme_str() {
        Some("https") => Ok(Parsed { uri, is_plain: false }),
        Some("http") if is_loopback(authority.host()) => Ok(Parsed { uri, is_plain: true }),
        Some("http") => Err("use https: on the way of http, anybody can write the list"),
        _ => Err("lists are fetched by https"),
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Fetches lists.
#[derive(Clone, Debug)]
pub struct Fetcher {
    longest: Duration,
    largest: u64,
    roots: Option<Arc<Vec<Certificate<'static>>>>,
}

impl Default for Fetcher {
    fn default() -> Self {
        Self { longest: LONGEST, largest: LARGEST_BYTES, roots: None }
    }
}

impl Fetcher {
    /// The same with other limits, and with these authorities instead of the system's.
    #[must_use]
    pub fn with(longest: Duration, largest: u64, roots: Vec<Certificate<'static>>) -> Self {
        let roots = (!roots.is_empty()).then(|| Arc::new(roots));
        Self { longest, largest, roots }
    }

    /// Asks for a list. Blocks for at most a minute.
    ///
    /// # Errors
    /// Why there is none.
    pub fn fetch(&self, url: &str, validators: &Validators) -> Result<Answer, FetchError> {
        let Parsed { uri, is_plain } = parsed(url).map_err(FetchError::Address)?;
        let mut request = self.agent(is_plain)?.get(uri);
        if let Some(etag) = &validators.etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        if let Some(date) = &validators.last_modified {
            request = request.header(header::IF_MODIFIED_SINCE, date);
        }
        let mut response = request.call()?;
        match response.status().as_u16() {
            200 => {}
            304 => return Ok(Answer::NotModified),
            300..=399 => {
                let to = text_of(response.headers(), &header::LOCATION);
                return Err(FetchError::Redirect(shown(&to.unwrap_or_else(|| "nowhere".into()))));
            }
            status => return Err(FetchError::Status(status)),
        }
        let validators = Validators {
            etag: text_of(response.headers(), &header::ETAG),
            last_modified: text_of(response.headers(), &header::LAST_MODIFIED),
        };
        if response.body().content_length().is_some_and(|length| length > self.largest) {
            return Err(FetchError::TooLarge);
        }
        let mut text = Vec::new();
        let body = response.body_mut().with_config().limit(self.largest + 2).reader();
        body.take(self.largest + 1).read_to_end(&mut text).map_err(FetchError::CutOff)?;
        if text.len() as u64 > self.largest {
            return Err(FetchError::TooLarge);
        }
        Ok(Answer::List { text, validators })
    }

    fn agent(&self, is_plain: bool) -> Result<Agent, FetchError> {
        let config = Agent::config_builder()
            .timeout_global(Some(self.longest))
            .timeout_connect(Some(LONGEST_CONNECT))
            .max_redirects(0)
            .http_status_as_error(false)
            .https_only(!is_plain)
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")));
        if is_plain {
            // No proxy stands between this host and itself.
            return Ok(config.proxy(None).build().new_agent());
        }
        let roots = match &self.roots {
            Some(roots) => Arc::clone(roots),
            None => Arc::new(system_roots()?),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(roots))
            .unversioned_rustls_crypto_provider(provider)
            .build();
        Ok(config.tls_config(tls).build().new_agent())
    }
}

/// A header's value, if it is one that can be said back.
fn text_of(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    (value.len() <= 512).then(|| value.to_owned())
}

fn system_roots() -> Result<Vec<Certificate<'static>>, FetchError> {
    let named = std::env::var_os("SSL_CERT_FILE");
    let named = named.as_deref().map(Path::new);
    let usual = SYSTEM_ROOTS.iter().map(Path::new);
    for file in named.into_iter().chain(usual) {
        let Ok(pem) = fs::read(file) else { continue };
        let found: Vec<Certificate<'static>> = ureq::tls::parse_pem(&pem)
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect();
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Err(FetchError::NoRoots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_this_host_are_asked() {
        for right in [
            "https://www.example.com/drop/drop_v4.json",
            "https://example.com:8443/a?key=1",
            "http://127.0.0.1:8080/list",
            "http://[::1]/list",
        ] {
            assert_eq!(check(right), Ok(()), "{right}");
        }
        for wrong in [
            "http://example.com/list",
            // A name can be anybody's.
            "http://localhost/list",
            "http://127.0.0.1.example.com/list",
            "ftp://example.com/list",
            "file:///etc/passwd",
            "https://user:secret@example.com/list",
            "/list",
            "example.com/list",
            "https:///list",
            "",
            "https://exa mple.com/",
        ] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_are_not_shown() {
        assert_eq!(shown("https://example.com/a?key=secret"), "https://example.com/a?…");
        assert_eq!(shown("https://example.com/a"), "https://example.com/a");
    }
}
