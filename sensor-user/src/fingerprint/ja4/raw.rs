//! JA4_r, and everything that follows from it: JA4, the stable form, and the kernel's keys.

use std::fmt;

use weir_common::tls::{
    KeyBuilder, Keys, Malformed, Visitor, extension, is_fleeting, is_grease,
    keys::{MAX_COUNT, Seed, Transport, alpn_characters, is_newer, version_characters},
    walk,
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
    /// Of a handshake message, header included.
    ///
    /// # Errors
    /// If it is not a ClientHello that holds together.
    pub fn read(message: &[u8], transport: Transport) -> Result<Self, Malformed> {
        let mut builder = Builder::new(transport);
        walk(message, &mut builder)?;
        Ok(builder.finish())
    }

    /// Of a hello that was read.
    #[must_use]
    pub fn of(hello: &ClientHello<'_>, transport: Transport) -> Self {
        let mut builder = Builder::new(transport);
        builder.version(hello.version());
        hello.cipher_suites.iter().for_each(|id| builder.cipher_suite(*id));
        hello.extensions.iter().for_each(|id| builder.extension(*id, 0));
        hello.signature_algorithms.iter().for_each(|id| builder.signature_algorithm(*id));
        if let Some((first, last)) = hello.alpn.and_then(|name| name.first().zip(name.last())) {
            builder.alpn(0, 1, [*first, *last]);
        }
        builder.finish()
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

/// Gathers what JA4 is made of.
struct Builder {
    raw: Ja4Raw,
    version: u16,
    has_supported_version: bool,
}

impl Builder {
    fn new(transport: Transport) -> Self {
        let raw = Ja4Raw {
            transport,
            version: *b"00",
            has_server_name: false,
            alpn: NO_ALPN,
            extension_count: 0,
            // What current browsers send fits without growing.
            ciphers: Vec::with_capacity(32),
            extensions: Vec::with_capacity(24),
            signatures: Vec::with_capacity(24),
        };
        Self { raw, version: 0, has_supported_version: false }
    }

    fn finish(self) -> Ja4Raw {
        let mut raw = self.raw;
        raw.version = version_characters(self.version);
        raw.ciphers.sort_unstable();
        raw.extensions.sort_unstable();
        raw
    }
}

impl Visitor for Builder {
    const CURVES: bool = false;

    fn version(&mut self, legacy: u16) {
        self.version = legacy;
    }

    fn cipher_suite(&mut self, id: u16) {
        if !is_grease(id) {
            self.raw.ciphers.push(id);
        }
    }

    fn extension(&mut self, id: u16, _length: u16) {
        if is_grease(id) {
            return;
        }
        self.raw.extension_count += 1;
        match id {
            extension::SERVER_NAME => self.raw.has_server_name = true,
            extension::ALPN => {}
            _ => self.raw.extensions.push(id),
        }
    }

    fn server_name(&mut self, _at: u32, _length: u32) {}

    fn alpn(&mut self, _at: u32, length: u32, ends: [u8; 2]) {
        if length > 0 {
            self.raw.alpn = alpn_characters(ends);
        }
    }

    fn supported_version(&mut self, version: u16) {
        let is_higher = !self.has_supported_version || is_newer(version, self.version);
        if !is_grease(version) && is_higher {
            self.version = version;
            self.has_supported_version = true;
        }
    }

    fn signature_algorithm(&mut self, id: u16) {
        if !is_grease(id) {
            self.raw.signatures.push(id);
        }
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
