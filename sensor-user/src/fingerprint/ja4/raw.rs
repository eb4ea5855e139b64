//! JA4_r, and everything that follows from it: JA4, the stable form, and the kernel's keys.

use std::fmt;

use weir_common::tls::{
    KeyBuilder, Keys, Visitor, extension, is_fleeting,
    keys::{MAX_COUNT, Seed, Transport, alpn_characters, version_characters},
};

use super::{ClientHello, HEAD_LEN, Ja4, digest};

/// JA4's `00`: no ALPN.
pub(super) const NO_ALPN: [u8; 2] = *b"00";

/// A JA4 whose lists are still lists.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Ja4Raw {
    pub(super) transport: Transport,
    /// JA4's characters of a version.
    pub(super) version: [u8; 2],
    pub(super) has_server_name: bool,
    pub(super) alpn: [u8; 2],
    /// All extensions, also those that are not listed; not capped.
    pub(super) extension_count: u32,
    /// Sorted.
    pub(super) ciphers: Vec<u16>,
    /// Sorted, without server_name and ALPN.
    pub(super) extensions: Vec<u16>,
    /// In the client's order.
    pub(super) signatures: Vec<u16>,
}

impl Ja4Raw {
    /// Of a hello.
    #[must_use]
    pub fn of(hello: &ClientHello<'_>, transport: Transport) -> Self {
        let mut ciphers = hello.cipher_suites.clone();
        ciphers.sort_unstable();
        let mut extensions = hello.extensions.clone();
        extensions.retain(|id| !matches!(*id, extension::SERVER_NAME | extension::ALPN));
        extensions.sort_unstable();
        let ends = hello.alpn.and_then(|name| Some([*name.first()?, *name.last()?]));
        Self {
            transport,
            version: version_characters(hello.version()),
            has_server_name: hello.extensions.contains(&extension::SERVER_NAME),
            alpn: ends.map_or(NO_ALPN, alpn_characters),
            extension_count: hello.extensions.len() as u32,
            ciphers,
            extensions,
            signatures: hello.signature_algorithms.clone(),
        }
    }

    /// The JA4.
    #[must_use]
    pub fn ja4(&self) -> Ja4 {
        let rest = digest::extensions(self.extensions.iter().copied(), &self.signatures);
        Ja4::new(&self.head(self.extension_count), &digest::ciphers(&self.ciphers), &rest)
    }

    /// The stable form.
    #[must_use]
    pub fn stable(&self) -> Ja4 {
        let lasting = self.extensions.iter().copied().filter(|id| !is_fleeting(*id));
        let rest = digest::extensions(lasting, &self.signatures);
        Ja4::new(&self.head(self.stable_count()), &digest::ciphers(&self.ciphers), &rest)
    }

    /// The values by which the kernel knows such a hello.
    #[must_use]
    pub fn keys(&self, seed: Seed) -> Keys {
        let mut builder = KeyBuilder::new(seed);
        builder.version(self.version_number());
        self.ciphers.iter().for_each(|id| builder.cipher_suite(*id));
        self.extensions.iter().for_each(|id| builder.extension(*id, 0));
        self.signatures.iter().for_each(|id| builder.signature_algorithm(*id));
        builder.alpn_characters(self.alpn);
        builder.has_server_name(self.has_server_name);
        builder.counts(self.ciphers.len() as u32, self.extension_count, self.stable_count());
        builder.finish(self.transport)
    }

    fn stable_count(&self) -> u32 {
        let fleeting = self.extensions.iter().filter(|id| is_fleeting(**id)).count();
        self.extension_count.saturating_sub(fleeting as u32)
    }

    /// A version that has these characters.
    fn version_number(&self) -> u16 {
        [0x0304, 0x0303, 0x0302, 0x0301, 0x0300, 0x0002, 0xfeff, 0xfefd, 0xfefc]
            .into_iter()
            .find(|version| version_characters(*version) == self.version)
            .unwrap_or_default()
    }

    fn head(&self, extension_count: u32) -> [u8; HEAD_LEN] {
        let [major, minor] = self.version;
        let [cipher_tens, cipher_ones] = count(self.ciphers.len() as u32);
        let [extension_tens, extension_ones] = count(extension_count);
        let [first, last] = self.alpn;
        [
            self.transport as u8,
            major,
            minor,
            if self.has_server_name { b'd' } else { b'i' },
            cipher_tens,
            cipher_ones,
            extension_tens,
            extension_ones,
            first,
            last,
        ]
    }
}

/// Two decimal digits, at most 99.
fn count(count: u32) -> [u8; 2] {
    let count = count.min(MAX_COUNT) as u8;
    [b'0' + count / 10, b'0' + count % 10]
}

impl fmt::Display for Ja4Raw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.head(self.extension_count) {
            write!(formatter, "{}", char::from(character))?;
        }
        list(formatter, &self.ciphers)?;
        list(formatter, &self.extensions)?;
        if self.signatures.is_empty() { Ok(()) } else { list(formatter, &self.signatures) }
    }
}

fn list(formatter: &mut fmt::Formatter<'_>, values: &[u16]) -> fmt::Result {
    for (position, value) in values.iter().enumerate() {
        write!(formatter, "{}{value:04x}", if position == 0 { '_' } else { ',' })?;
    }
    if values.is_empty() { formatter.write_str("_") } else { Ok(()) }
}
