//! Which sources a canary acts on: drawn by a keyed hash, so that a source always falls the same way on
//! this host, nobody outside can tell which way, and a greater share keeps whom a smaller one had.

use ring::{
    hmac::{self, HMAC_SHA256},
    rand::{SecureRandom as _, SystemRandom},
};
use weir_common::abi::SourceKey;

/// A share of everybody, in parts per million.
pub const EVERYBODY_PPM: u32 = 1_000_000;

/// The kernel gives no random bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the kernel gives no random bytes")]
pub struct NoRandomness;

/// Draws lots with a secret of this host.
#[derive(Clone, Debug)]
pub struct Lot {
    key: hmac::Key,
}

impl Lot {
    /// With this secret.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self { key: hmac::Key::new(HMAC_SHA256, secret) }
    }

    /// A secret that nobody knows.
    ///
    /// # Errors
    /// If the kernel gives no random bytes.
    pub fn fresh_secret() -> Result<[u8; 32], NoRandomness> {
        let mut secret = [0; 32];
        SystemRandom::new().fill(&mut secret).map_err(|_| NoRandomness)?;
        Ok(secret)
    }

    /// Whether a source is among this share of all, in parts per million. An IPv6 source is a /64.
    #[must_use]
    pub fn draws(&self, source: &SourceKey, share_ppm: u32) -> bool {
        self.place(source) < u64::from(share_ppm)
    }

    /// Where a source stands among all, from 0 up to, not including, a million.
    fn place(&self, source: &SourceKey) -> u64 {
        let bytes = source.words.map(u32::to_le_bytes).concat();
        let tag = hmac::sign(&self.key, &bytes);
        let first = tag.as_ref().iter().take(8);
        let number = first.fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        number % u64::from(EVERYBODY_PPM)
    }
}

impl Default for Lot {
    /// Without a secret, as in replays: the same everywhere.
    fn default() -> Self {
        Self::new(&[0; 32])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources() -> impl Iterator<Item = SourceKey> {
        (0..20_000_u32).map(|n| SourceKey { words: [0xc0a8_0000, n] })
    }

    #[test]
    fn a_share_is_about_that_share_of_sources() {
        let lot = Lot::new(&[7; 32]);
        let drawn = sources().filter(|source| lot.draws(source, 50_000)).count();
        assert!((900..1100).contains(&drawn), "{drawn} of 20,000 is not 5 %");
        assert_eq!(sources().filter(|source| lot.draws(source, 0)).count(), 0);
        assert_eq!(sources().filter(|source| lot.draws(source, EVERYBODY_PPM)).count(), 20_000);
    }

    #[test]
    fn who_is_in_a_smaller_share_is_in_a_greater_one() {
        let lot = Lot::new(&[7; 32]);
        for source in sources().filter(|source| lot.draws(source, 50_000)) {
            assert!(lot.draws(&source, 50_000) && lot.draws(&source, 200_000));
        }
    }

    #[test]
    fn another_host_draws_others() {
        let (one, other) = (Lot::new(&[7; 32]), Lot::new(&[8; 32]));
        let both = sources().filter(|it| one.draws(it, 50_000) && other.draws(it, 50_000)).count();
        assert!(both < 150, "{both} of 1,000 are in both");
    }
}
