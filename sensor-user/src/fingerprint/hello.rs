//! The facts of one ClientHello, in the order in which the client wrote them.

use std::borrow::Cow;

use weir_common::tls::{Malformed, Visitor, is_grease, keys, walk};

/// What a ClientHello says. GREASE (RFC 8701) is left out of every list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClientHello<'a> {
    /// `legacy_version`.
    pub legacy_version: u16,
    /// The highest of supported_versions.
    pub supported_version: Option<u16>,
    /// Cipher suites.
    pub cipher_suites: Vec<u16>,
    /// Extension types.
    pub extensions: Vec<u16>,
    /// supported_groups.
    pub groups: Vec<u16>,
    /// ec_point_formats.
    pub point_formats: Vec<u8>,
    /// signature_algorithms.
    pub signature_algorithms: Vec<u16>,
    /// The first host name, as the client wrote it: possibly not even text.
    pub server_name: Option<&'a [u8]>,
    /// The first protocol of ALPN, unless it is empty.
    pub alpn: Option<&'a [u8]>,
    /// Whether it has GREASE among its cipher suites, extensions or groups.
    pub has_grease: bool,
}

impl<'a> ClientHello<'a> {
    /// Reads a handshake message, header included.
    ///
    /// # Errors
    /// If it is not a ClientHello that holds together.
    pub fn read(message: &'a [u8]) -> Result<Self, Malformed> {
        // What current browsers send fits without growing.
        let hello = Self {
            cipher_suites: Vec::with_capacity(32),
            extensions: Vec::with_capacity(24),
            signature_algorithms: Vec::with_capacity(24),
            groups: Vec::with_capacity(16),
            ..Self::default()
        };
        let mut collector = Collector { message, hello };
        walk(message, &mut collector)?;
        Ok(collector.hello)
    }

    /// The highest version that the client offers.
    #[must_use]
    pub fn version(&self) -> u16 {
        self.supported_version.unwrap_or(self.legacy_version)
    }

    /// That version as people write it.
    #[must_use]
    pub fn version_name(&self) -> Cow<'static, str> {
        match self.version() {
            0x0304 => "TLS 1.3".into(),
            0x0303 => "TLS 1.2".into(),
            0x0302 => "TLS 1.1".into(),
            0x0301 => "TLS 1.0".into(),
            0x0300 => "SSL 3.0".into(),
            0x0002 => "SSL 2.0".into(),
            0xfeff => "DTLS 1.0".into(),
            0xfefd => "DTLS 1.2".into(),
            0xfefc => "DTLS 1.3".into(),
            draft @ 0x7f00..=0x7fff => format!("TLS 1.3 draft-{}", draft & 0xff).into(),
            other => format!("0x{other:04x}").into(),
        }
    }

    /// The server's name as text; what is not UTF-8 is replaced.
    #[must_use]
    pub fn server_name_text(&self) -> Option<Cow<'a, str>> {
        self.server_name.map(String::from_utf8_lossy)
    }

    /// The first ALPN protocol as text; what is not UTF-8 is replaced.
    #[must_use]
    pub fn alpn_text(&self) -> Option<Cow<'a, str>> {
        self.alpn.map(String::from_utf8_lossy)
    }
}

struct Collector<'a> {
    message: &'a [u8],
    hello: ClientHello<'a>,
}

impl<'a> Collector<'a> {
    fn bytes(&self, at: u32, length: u32) -> Option<&'a [u8]> {
        self.message.get(at as usize..)?.get(..length as usize)
    }
}

/// Keeps what is not GREASE; says whether it is.
fn keep(list: &mut Vec<u16>, value: u16) -> bool {
    let is_grease = is_grease(value);
    if !is_grease {
        list.push(value);
    }
    is_grease
}

impl Visitor for Collector<'_> {
    fn version(&mut self, legacy: u16) {
        self.hello.legacy_version = legacy;
    }

    fn cipher_suite(&mut self, id: u16) {
        self.hello.has_grease |= keep(&mut self.hello.cipher_suites, id);
    }

    fn extension(&mut self, id: u16, _length: u16) {
        self.hello.has_grease |= keep(&mut self.hello.extensions, id);
    }

    fn server_name(&mut self, at: u32, length: u32) {
        let name = self.bytes(at, length);
        self.hello.server_name = self.hello.server_name.or(name);
    }

    fn alpn(&mut self, at: u32, length: u32, _ends: [u8; 2]) {
        if length > 0 {
            self.hello.alpn = self.bytes(at, length);
        }
    }

    fn supported_version(&mut self, version: u16) {
        let highest = &mut self.hello.supported_version;
        if !is_grease(version) && highest.is_none_or(|highest| keys::is_newer(version, highest)) {
            *highest = Some(version);
        }
    }

    fn signature_algorithm(&mut self, id: u16) {
        keep(&mut self.hello.signature_algorithms, id);
    }

    fn group(&mut self, id: u16) {
        self.hello.has_grease |= keep(&mut self.hello.groups, id);
    }

    fn point_format(&mut self, id: u8) {
        self.hello.point_formats.push(id);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A ClientHello's message with these cipher suites and extensions.
    pub(crate) fn message(version: u16, ciphers: &[u16], extensions: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = version.to_be_bytes().to_vec();
        body.extend([7; 32]);
        body.push(0);
        body.extend((2 * ciphers.len() as u16).to_be_bytes());
        body.extend(ciphers.iter().flat_map(|id| id.to_be_bytes()));
        body.extend([1, 0]);
        let list: Vec<u8> = extensions
            .iter()
            .flat_map(|(id, value)| {
                [&id.to_be_bytes()[..], &(value.len() as u16).to_be_bytes(), value].concat()
            })
            .collect();
        if !extensions.is_empty() {
            body.extend((list.len() as u16).to_be_bytes());
            body.extend(list);
        }
        let mut message = (1 << 24 | body.len() as u32).to_be_bytes().to_vec();
        message.extend(body);
        message
    }

    #[test]
    fn facts_are_in_the_clients_order_and_without_grease() {
        let message = message(
            0x0303,
            &[0x0a0a, 0x1302, 0x1301],
            &[
                (0x1a1a, &[]),
                (0x0000, b"\x00\x0a\x00\x00\x07a.test\xff"),
                (0x0010, b"\x00\x0c\x02h2\x08http/1.1"),
                (0x000a, &[0, 4, 0x2a, 0x2a, 0, 29]),
                (0x000b, &[2, 0, 1]),
                (0x000d, &[0, 4, 8, 4, 0x3a, 0x3a]),
                (0x002b, &[6, 0x4a, 0x4a, 3, 4, 3, 3]),
            ],
        );
        let hello = ClientHello::read(&message).unwrap();
        assert_eq!(hello.cipher_suites, [0x1302, 0x1301]);
        assert_eq!(hello.extensions, [0, 0x10, 0x0a, 0x0b, 0x0d, 0x2b]);
        assert_eq!((hello.groups, hello.point_formats), (vec![29], vec![0, 1]));
        assert_eq!(hello.signature_algorithms, [0x0804]);
        assert_eq!((hello.legacy_version, hello.supported_version), (0x0303, Some(0x0304)));
        assert_eq!(hello.server_name, Some(&b"a.test\xff"[..]));
        assert_eq!((hello.alpn, hello.has_grease), (Some(&b"h2"[..]), true));
    }

    #[test]
    fn names_are_safe_text_and_versions_have_names() {
        let message = message(0x7f12, &[], &[(0, b"\x00\x06\x00\x00\x03a\xffb")]);
        let hello = ClientHello::read(&message).unwrap();
        assert_eq!(hello.server_name_text().unwrap(), "a\u{fffd}b");
        assert_eq!(hello.version_name(), "TLS 1.3 draft-18");
        assert_eq!(hello.alpn_text(), None);
    }

    #[test]
    fn what_does_not_hold_together_is_no_hello() {
        let message = message(0x0303, &[0x1301], &[(0x0010, &[0; 4])]);
        assert!(ClientHello::read(&message).is_ok());
        for length in 0..message.len() {
            assert_eq!(ClientHello::read(&message[..length]), Err(Malformed));
        }
    }
}
