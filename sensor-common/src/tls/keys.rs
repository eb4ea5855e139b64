//! The match key and the stable key: 64-bit values by which the kernel knows a fingerprint.
//!
//! The match key is equal where JA4 is equal (FoxIO, "JA4: TLS Client Fingerprinting"): it is
//! folded from exactly what JA4 is made of. JA4 sorts its lists, so they are summed here, and a sum
//! is blind to order; signature algorithms keep their order. The stable key is that of the same
//! hello without the extensions that come and go ([`is_fleeting`]).
//!
//! The keys depend on a secret [`Seed`]. With a known function anybody could look for a hello whose
//! key is that of somebody else's fingerprint, have his own blocked, and the other with it.

use super::{Visitor, extension, is_fleeting, is_grease};

/// The secret that keys depend on: made when the maps are, and as old as what they hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Seed {
    /// Added to every value.
    pub add: u64,
    /// Multiplied with; used as an odd number.
    pub multiply: u64,
}

impl Seed {
    /// A value as nobody can foretell who does not know the seed.
    #[inline(always)]
    #[must_use]
    pub const fn mix(&self, value: u64) -> u64 {
        let mut hash = (value ^ self.add).wrapping_mul(self.multiply | 1);
        hash ^= hash >> 32;
        hash = hash.wrapping_mul(0xd6e8_feb8_6659_fd93);
        hash ^ hash >> 29
    }
}

/// A fingerprint's two keys. 0 is none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(C)]
pub struct Keys {
    /// Equal where JA4 is equal.
    pub matching: u64,
    /// Equal where JA4 without the fleeting extensions is equal.
    pub stable: u64,
}

/// What a hello came over: JA4's first letter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u8)]
pub enum Transport {
    /// TLS over TCP.
    #[default]
    Tcp = b't',
    /// QUIC.
    Quic = b'q',
    /// DTLS.
    Dtls = b'd',
}

/// JA4's counts end here.
pub const MAX_COUNT: u32 = 99;

/// Marks what a value is, so that a cipher suite and an extension of one number differ.
const CIPHER: u64 = 1 << 32;
const EXTENSION: u64 = 2 << 32;
const SIGNATURE: u64 = 3 << 32;

/// Marks a stable key.
const STABLE: u64 = 1 << 63;

/// `server_name` was there.
const HAS_NAME: u32 = 1 << 0;
/// `encrypted_client_hello` was there, possibly as GREASE.
const HAS_ENCRYPTED: u32 = 1 << 1;
/// A supported version was seen.
const HAS_VERSIONS: u32 = 1 << 2;

/// Folds a hello into its keys as the walk shows it. Lies in a map's value in the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct KeyBuilder {
    seed: Seed,
    ciphers: u64,
    extensions: u64,
    stable_extensions: u64,
    signatures: u64,
    cipher_count: u32,
    extension_count: u32,
    stable_count: u32,
    version: u32,
    // The two characters of JA4's ALPN.
    alpn: u32,
    flags: u32,
    /// Where the server's name is in the message.
    pub name_at: u32,
    /// Its length; 0 = none.
    pub name_len: u32,
}

impl KeyBuilder {
    /// An empty one.
    #[inline(always)]
    #[must_use]
    pub const fn new(seed: Seed) -> Self {
        Self {
            seed,
            ciphers: 0,
            extensions: 0,
            stable_extensions: 0,
            signatures: 0,
            cipher_count: 0,
            extension_count: 0,
            stable_count: 0,
            version: 0,
            alpn: NO_ALPN,
            flags: 0,
            name_at: 0,
            name_len: 0,
        }
    }

    /// ALPN as JA4 writes it, where the hello's own bytes are not at hand.
    pub const fn alpn_characters(&mut self, characters: [u8; 2]) {
        let [first, last] = characters;
        self.alpn = (first as u32) << 8 | last as u32;
    }

    /// The counts of a hello that is known as JA4 writes it, where server name and ALPN are counted
    /// and not listed. `stable` is the count without the fleeting extensions.
    pub const fn counts(&mut self, ciphers: u32, extensions: u32, stable: u32) {
        self.cipher_count = ciphers;
        self.extension_count = extensions;
        self.stable_count = stable;
    }

    /// Whether JA4 says `d`.
    pub const fn has_server_name(&mut self, has: bool) {
        if has {
            self.flags |= HAS_NAME;
        } else {
            self.flags &= !HAS_NAME;
        }
    }

    /// Whether the hello offers to encrypt its name, or pretends to (GREASE).
    #[inline(always)]
    #[must_use]
    pub const fn may_hide_its_name(&self) -> bool {
        self.flags & HAS_ENCRYPTED != 0
    }

    /// The keys of what was shown.
    #[inline(always)]
    #[must_use]
    pub const fn finish(&self, transport: Transport) -> Keys {
        let [major, minor] = version_characters(self.version as u16);
        let head = (transport as u64) << 48
            | (major as u64) << 40
            | (minor as u64) << 32
            | (self.flags as u64 & HAS_NAME as u64) << 31
            | self.alpn as u64 & 0xffff;
        let lists = self.seed.mix(self.ciphers ^ self.signatures.rotate_left(17));
        Keys {
            matching: self.fold(head, lists, self.extensions, self.extension_count),
            // Both kinds of key share a table: a hello that has none of the fleeting extensions must
            // not have its stable key for its match key.
            stable: self.fold(head | STABLE, lists, self.stable_extensions, self.stable_count),
        }
    }

    #[inline(always)]
    const fn fold(&self, head: u64, lists: u64, extensions: u64, count: u32) -> u64 {
        let counts = (cap(self.cipher_count) as u64) << 24 | (cap(count) as u64) << 16;
        let key = self.seed.mix(self.seed.mix(head | counts) ^ lists.rotate_left(31) ^ extensions);
        // 0 is none.
        if key == 0 { 1 } else { key }
    }
}

/// JA4's two characters for a version; `00` for one that it has no name for.
#[inline(always)]
#[must_use]
pub const fn version_characters(version: u16) -> [u8; 2] {
    match version {
        0x0304 => *b"13",
        0x0303 => *b"12",
        0x0302 => *b"11",
        0x0301 => *b"10",
        0x0300 => *b"s3",
        0x0002 => *b"s2",
        0xfeff => *b"d1",
        0xfefd => *b"d2",
        0xfefc => *b"d3",
        _ => *b"00",
    }
}

/// JA4's `00`: no ALPN, or an empty one.
const NO_ALPN: u32 = 0x3030;

#[inline(always)]
const fn cap(count: u32) -> u32 {
    if count > MAX_COUNT { MAX_COUNT } else { count }
}

/// JA4's two characters for a protocol name's first and last byte: themselves where both are
/// alphanumeric, otherwise the first and the last hexadecimal digit of the two bytes.
#[inline(always)]
#[must_use]
pub const fn alpn_characters(ends: [u8; 2]) -> [u8; 2] {
    let [first, last] = ends;
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        ends
    } else {
        [digit(first >> 4), digit(last & 0xf)]
    }
}

#[inline(always)]
const fn digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble }
}

/// Whether `new` takes the place of `old` as the highest supported version. DTLS counts
/// downwards (RFC 6347, section 4.1).
#[inline(always)]
#[must_use]
pub const fn is_newer(new: u16, old: u16) -> bool {
    let is_dtls = new >> 8 == 0xfe && old >> 8 == 0xfe;
    if is_dtls { new < old } else { new > old }
}

impl Visitor for KeyBuilder {
    const CURVES: bool = false;

    #[inline(always)]
    fn version(&mut self, legacy: u16) {
        self.version = legacy as u32;
    }

    #[inline(always)]
    fn cipher_suite(&mut self, id: u16) {
        if !is_grease(id) {
            self.ciphers = self.ciphers.wrapping_add(self.seed.mix(CIPHER | u64::from(id)));
            self.cipher_count = self.cipher_count.wrapping_add(1);
        }
    }

    #[inline(always)]
    fn extension(&mut self, id: u16, _length: u16) {
        if is_grease(id) {
            return;
        }
        self.extension_count = self.extension_count.wrapping_add(1);
        let fleeting = is_fleeting(id);
        if !fleeting {
            self.stable_count = self.stable_count.wrapping_add(1);
        }
        match id {
            extension::SERVER_NAME => self.flags |= HAS_NAME,
            extension::ALPN => {}
            _ => {
                if id == extension::ENCRYPTED_CLIENT_HELLO {
                    self.flags |= HAS_ENCRYPTED;
                }
                let hash = self.seed.mix(EXTENSION | u64::from(id));
                self.extensions = self.extensions.wrapping_add(hash);
                if !fleeting {
                    self.stable_extensions = self.stable_extensions.wrapping_add(hash);
                }
            }
        }
    }

    #[inline(always)]
    fn server_name(&mut self, at: u32, length: u32) {
        if self.name_len == 0 {
            self.name_at = at;
            self.name_len = length;
        }
    }

    #[inline(always)]
    fn alpn(&mut self, _at: u32, length: u32, ends: [u8; 2]) {
        if length > 0 {
            self.alpn_characters(alpn_characters(ends));
        }
    }

    #[inline(always)]
    fn supported_version(&mut self, version: u16) {
        if is_grease(version) {
            return;
        }
        if self.flags & HAS_VERSIONS == 0 || is_newer(version, self.version as u16) {
            self.version = u32::from(version);
            self.flags |= HAS_VERSIONS;
        }
    }

    #[inline(always)]
    fn signature_algorithm(&mut self, id: u16) {
        if !is_grease(id) {
            let next = self.signatures.rotate_left(5).wrapping_add(SIGNATURE | u64::from(id));
            self.signatures = self.seed.mix(next);
        }
    }
}

#[cfg(test)]
mod tests;
