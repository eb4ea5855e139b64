//! Names that services go by: the keys of `SNI_SERVICES`.
//!
//! A name is hashed from its end, so that every suffix is hashed on the way: the kernel looks each
//! one up as it passes a dot. Names compare without case (RFC 6066, section 3).

use super::keys::Seed;

/// The longest name (RFC 1035, section 2.3.4), a final dot not counted.
pub const MAX_NAME_LEN: u32 = 253;

/// A name's hash so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NameHash(u64);

impl NameHash {
    /// Of the empty name, at the port of `service`: its key stands for a name that is absent or
    /// encrypted.
    #[inline(always)]
    #[must_use]
    pub const fn new(seed: &Seed, service: u8) -> Self {
        Self(seed.mix(service as u64))
    }

    /// The hash whose key this is.
    #[inline(always)]
    #[must_use]
    pub const fn from_key(key: u64) -> Self {
        Self(key)
    }

    /// Goes on with the byte before.
    #[inline(always)]
    #[must_use]
    pub const fn before(self, byte: u8) -> Self {
        let byte = byte.to_ascii_lowercase() as u64;
        let hash = (self.0 ^ byte).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(hash ^ hash >> 29)
    }

    /// The key in `SNI_SERVICES`.
    #[inline(always)]
    #[must_use]
    pub const fn key(self) -> u64 {
        self.0
    }

    /// The hash of a whole name, or of a suffix that begins with a dot.
    #[must_use]
    pub fn of(seed: &Seed, service: u8, name: &str) -> Self {
        let name = name.strip_suffix('.').unwrap_or(name);
        name.bytes().rev().fold(Self::new(seed, service), Self::before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_a_final_dot_do_not_count_and_the_service_does() {
        let seed = Seed { add: 3, multiply: 5 };
        let key = |service, name| NameHash::of(&seed, service, name).key();
        assert_eq!(key(1, "Login.Example.COM."), key(1, "login.example.com"));
        assert_ne!(key(1, "login.example.com"), key(2, "login.example.com"));
        assert_ne!(key(1, ".example.com"), key(1, "example.com"));
        assert_eq!(key(1, ""), NameHash::new(&seed, 1).key());
    }
}
