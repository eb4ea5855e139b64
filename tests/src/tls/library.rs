//! What a client's TLS library shows in its hello: versions, cipher suites and the protocols that it
//! offers. Two libraries have different fingerprints; one has the same wherever it is.

use tokio_rustls::rustls::{
    SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    version::{TLS12, TLS13},
};

/// A TLS library, told by its hello.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Library {
    /// As it comes, with no protocols on offer.
    Plain,
    /// A browser on a desktop.
    Browser,
    /// A browser on a telephone.
    Phone,
    /// What a script brings along.
    Script,
    /// What a proxy speaks to the server behind it.
    Proxy,
    /// One that nobody else has: made up from a number.
    Invented(u64),
}

impl Library {
    /// The cipher suites that it offers.
    pub(super) fn provider(self) -> CryptoProvider {
        let mut provider = ring::default_provider();
        let mut offered = self.offered();
        provider.cipher_suites.retain(|_| {
            let keeps = offered & 1 == 1;
            offered >>= 1;
            keeps
        });
        provider
    }

    /// Whether it sends what browsers send for form's sake.
    pub(super) fn is_browser(self) -> bool {
        matches!(self, Self::Browser | Self::Phone)
    }

    /// The versions that it offers.
    pub(super) fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
        static LATEST: [&SupportedProtocolVersion; 1] = [&TLS13];
        // Where an encrypted name can be, rustls offers nothing older.
        if self == Self::Proxy || self.is_browser() { &LATEST } else { &BOTH }
    }

    /// The application protocols that it offers. The lab's server chooses none of them, and what
    /// follows is HTTP/1.1.
    pub(super) fn protocols(self) -> Vec<Vec<u8>> {
        let names: &[&str] = match self {
            Self::Plain => &[],
            Self::Browser | Self::Phone => &["h2", "http/1.1"],
            Self::Script | Self::Proxy => &["http/1.1"],
            Self::Invented(number) if number % 3 == 0 => &["http/1.1"],
            Self::Invented(number) if number % 3 == 1 => &["h2"],
            Self::Invented(_) => &["h2", "http/1.1"],
        };
        names.iter().map(|name| name.as_bytes().to_vec()).collect()
    }

    /// Which of ring's nine suites it offers, the first in the lowest bit. The first is one of TLS 1.3
    /// and the fourth one of TLS 1.2 that fits the certificate: a server finds one of either.
    fn offered(self) -> u64 {
        const ALWAYS: u64 = 0b1001;
        match self {
            Self::Plain | Self::Browser | Self::Proxy => u64::MAX,
            Self::Phone => ALWAYS | 0b0_0000_0100,
            Self::Script => ALWAYS | 0b1_0110_0010,
            // Neighbouring numbers differ in more than a suite, and 128 in a row in at least one.
            Self::Invented(number) => {
                let mixed = number.wrapping_mul(77);
                ALWAYS | (mixed & 0b11) << 1 | (mixed >> 2 & 0b1_1111) << 4
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn invented_ones_differ_and_always_find_a_suite() {
        let offers: BTreeSet<_> = (0..128).map(|n| Library::Invented(n).offered()).collect();
        assert_eq!(offers.len(), 128);
        for library in [Library::Phone, Library::Script, Library::Invented(0)] {
            let suites = library.provider().cipher_suites;
            for version in library.versions() {
                assert!(suites.iter().any(|suite| suite.version() == *version), "{library:?}");
            }
        }
    }
}
