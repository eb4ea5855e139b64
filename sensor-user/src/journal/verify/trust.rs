//! Whose signatures count.
//!
//! The keys that somebody names are trusted; a key that took the place of a trusted one, as a record
//! says that a trusted checkpoint covers, is trusted from there on; and the key that it replaced was
//! the right one before. Where nobody names a key, the first one seen is taken, and the report says so.

use serde_json::Value;

use super::finding::{Findings, Wrong};
use crate::journal::{
    chain::{from_hex, hex},
    checkpoint::Checkpoint,
    signature::PublicKey,
};

/// Replacements, and keys of nobody, that are remembered.
const MOST: usize = 1024;

/// A key took another's place.
struct Replacement {
    seq: i64,
    old: PublicKey,
    new: PublicKey,
}

/// A key that nobody vouched for yet.
struct Stranger {
    key: PublicKey,
    first: i64,
    last: i64,
}

/// The keys.
pub(super) struct Trust {
    trusted: Vec<PublicKey>,
    replacements: Vec<Replacement>,
    strangers: Vec<Stranger>,
    /// Whether nobody named a key.
    pub(super) on_first_use: bool,
    /// The last record that a trusted checkpoint covers.
    pub(super) signed_through: i64,
}

impl Trust {
    pub(super) fn new(keys: &[PublicKey]) -> Self {
        Self {
            trusted: keys.to_vec(),
            replacements: Vec::new(),
            strangers: Vec::new(),
            on_first_use: keys.is_empty(),
            signed_through: 0,
        }
    }

    /// A record says that a key was replaced.
    pub(super) fn note(&mut self, seq: i64, body: &[u8]) {
        let Ok(body) = serde_json::from_slice::<Value>(body) else { return };
        let key = |name: &str| from_hex(body.get(name)?.as_str()?);
        if let (Some(old), Some(new)) = (key("old"), key("new"))
            && self.replacements.len() < MOST
        {
            self.replacements.push(Replacement { seq, old, new });
        }
    }

    /// A checkpoint whose signature is good and whose record is the one that it names.
    pub(super) fn judge(&mut self, checkpoint: &Checkpoint) {
        let Some(key) = checkpoint.key() else { return };
        if self.on_first_use && self.trusted.is_empty() {
            self.trusted.push(key);
        }
        if self.trusted.contains(&key) {
            self.signed_through = self.signed_through.max(checkpoint.seq);
            let vouched = self.replacements.iter().filter(|it| it.seq <= checkpoint.seq);
            for replacement in vouched {
                if self.trusted.contains(&replacement.old)
                    && !self.trusted.contains(&replacement.new)
                {
                    self.trusted.push(replacement.new);
                }
            }
        } else if let Some(stranger) = self.strangers.iter_mut().find(|it| it.key == key) {
            stranger.last = checkpoint.seq;
        } else if self.strangers.len() < MOST {
            let seq = checkpoint.seq;
            self.strangers.push(Stranger { key, first: seq, last: seq });
        }
    }

    /// Whether a key can have signed what is the last that is known.
    pub(super) fn is_trusted(&self, checkpoint: &Checkpoint) -> bool {
        checkpoint.key().is_some_and(|key| self.trusted.contains(&key))
            || (self.on_first_use && self.trusted.is_empty())
    }

    /// Keys that nobody vouched for.
    pub(super) fn finish(&self, findings: &mut Findings) {
        for stranger in &self.strangers {
            let was_replaced = self.replacements.iter().any(|it| {
                it.old == stranger.key && it.seq >= stranger.last && it.seq <= self.signed_through
            });
            if !was_replaced {
                findings.add(
                    stranger.first,
                    stranger.last,
                    Wrong::Key,
                    format!("signed by the key {}, which is not trusted", hex(&stranger.key)),
                );
            }
        }
    }
}
