//! Which hellos stand behind a JA4: what was seen so far, so that a fingerprint given only as a hash
//! can be enforced and listed by its lists.
//!
//! Bounded, and a sender alone cannot push out what others use too. Kept over restarts, without
//! anybody's address.

use serde::{Deserialize, Serialize};
use weir_common::abi::SourceKey;

use super::ja4::{Ja4, Ja4Raw};
use crate::profile::{distinct::Senders, probation::Probation};

/// Fingerprints that are remembered.
pub const CAPACITY: usize = 8192;

/// Longest file that is read.
pub const LARGEST_BYTES: usize = 16 << 20;

/// Hellos remembered of one JA4. Its hashes have 48 bits each: with effort, somebody can make
/// another hello of the same JA4, and must not hide his real one behind it.
const MOST_HELLOS: usize = 4;

/// Senders of one fingerprint that are told apart; counts end there.
const MOST_SENDERS: usize = 32;

/// Senders from which on a fingerprint is established.
const ESTABLISHED: u32 = 2;

/// A fingerprint.
#[derive(Debug)]
pub struct Known {
    hellos: Vec<Ja4Raw>,
    stable: Ja4,
    first_unix_s: u64,
    last_unix_s: u64,
    connections: u64,
    // Since the start; `most_senders` knows of earlier runs.
    senders: Senders,
    most_senders: u32,
}

impl Known {
    /// What its hellos say: one, unless somebody made another of the same JA4.
    #[must_use]
    pub fn hellos(&self) -> &[Ja4Raw] {
        &self.hellos
    }

    /// The stable form of the first.
    #[must_use]
    pub const fn stable(&self) -> Ja4 {
        self.stable
    }

    /// When it was first seen, seconds since 1970.
    #[must_use]
    pub const fn first_unix_s(&self) -> u64 {
        self.first_unix_s
    }

    /// When it was last seen, seconds since 1970.
    #[must_use]
    pub const fn last_unix_s(&self) -> u64 {
        self.last_unix_s
    }

    /// Connections with it.
    #[must_use]
    pub const fn connections(&self) -> u64 {
        self.connections
    }

    /// Senders that used it (IPv4 addresses, IPv6 /48s), at most 32.
    #[must_use]
    pub const fn senders(&self) -> u32 {
        self.most_senders
    }
}

/// The fingerprints.
#[derive(Debug)]
pub struct KnownFingerprints {
    known: Probation<Ja4, Known>,
    revision: u64,
}

/// The file of an earlier run cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KnownError {
    /// It is longer than any that is written.
    #[error(
        "it has {found} bytes, more than the {LARGEST_BYTES} that are ever written: remove it, and \
         fingerprints are learned anew"
    )]
    TooLong {
        /// How long it is.
        found: usize,
    },
    /// It is not what is written.
    #[error("it is not a list of fingerprints ({0}): remove it, and fingerprints are learned anew")]
    Syntax(#[from] serde_json::Error),
    /// It was written in another form.
    #[error(
        "it has form {found}, and this version of Weir reads {FORM}: remove it, and fingerprints are \
         learned anew"
    )]
    Form {
        /// What it says.
        found: u32,
    },
    /// An entry is no fingerprint.
    #[error("entry {entry} is no fingerprint: {source}")]
    Entry {
        /// The how manieth, from 1.
        entry: usize,
        /// What is wrong.
        source: super::ja4::ParseError,
    },
}

/// The form of the file.
const FORM: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    form: u32,
    fingerprints: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    ja4_r: Vec<String>,
    first_unix_s: u64,
    last_unix_s: u64,
    connections: u64,
    senders: u32,
}

impl Default for KnownFingerprints {
    fn default() -> Self {
        Self { known: Probation::new(CAPACITY), revision: 0 }
    }
}

impl KnownFingerprints {
    /// A hello of this source was read. Says whether its lists were not known before.
    pub fn learn(&mut self, ja4: &Ja4, hello: &Ja4Raw, source: &SourceKey, unix_s: u64) -> bool {
        self.revision += 1;
        let (known, _) = self.known.get_or_insert(ja4, || Known::new(hello, unix_s));
        let is_new = known.add(hello) || known.connections == 0;
        known.last_unix_s = known.last_unix_s.max(unix_s);
        known.connections = known.connections.saturating_add(1);
        known.senders.add(source, MOST_SENDERS);
        let senders = u32::try_from(known.senders.len()).unwrap_or(u32::MAX);
        known.most_senders = known.most_senders.max(senders);
        if known.most_senders >= ESTABLISHED {
            self.known.establish(ja4);
        }
        is_new
    }

    /// What is known of a JA4.
    #[must_use]
    pub fn get(&self, ja4: &Ja4) -> Option<&Known> {
        self.known.get(ja4)
    }

    /// Every fingerprint that is known.
    pub fn iter(&self) -> impl Iterator<Item = (&Ja4, &Known)> {
        self.known.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Changes with every hello.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The file's contents.
    ///
    /// # Errors
    /// Never in practice: lists of text and numbers can always be written as JSON.
    pub fn write(&self) -> Result<Vec<u8>, serde_json::Error> {
        let line = |(_, known): (_, &Known)| Line {
            ja4_r: known.hellos.iter().map(ToString::to_string).collect(),
            first_unix_s: known.first_unix_s,
            last_unix_s: known.last_unix_s,
            connections: known.connections,
            senders: known.most_senders,
        };
        serde_json::to_vec(&File {
            form: FORM,
            fingerprints: self.known.iter().map(line).collect(),
        })
    }

    /// Reads what [`KnownFingerprints::write`] wrote. Fingerprints are computed from the lists, so
    /// that a file cannot say that a hello has another one.
    ///
    /// # Errors
    /// If it is anything else. Of more entries than fit, the first ones go.
    pub fn read(contents: &[u8]) -> Result<Self, KnownError> {
        if contents.len() > LARGEST_BYTES {
            return Err(KnownError::TooLong { found: contents.len() });
        }
        let file: File = serde_json::from_slice(contents)?;
        if file.form != FORM {
            return Err(KnownError::Form { found: file.form });
        }
        let mut all = Self::default();
        for (index, line) in file.fingerprints.iter().enumerate() {
            for text in line.ja4_r.iter().take(MOST_HELLOS) {
                let hello: Ja4Raw = text
                    .parse()
                    .map_err(|source| KnownError::Entry { entry: index + 1, source })?;
                all.take_up(&hello, line);
            }
        }
        Ok(all)
    }

    fn take_up(&mut self, hello: &Ja4Raw, line: &Line) {
        let ja4 = hello.ja4();
        let (known, _) = self.known.get_or_insert(&ja4, || Known::new(hello, line.first_unix_s));
        known.add(hello);
        known.last_unix_s = known.last_unix_s.max(line.last_unix_s);
        known.connections = known.connections.max(line.connections.max(1));
        known.most_senders = known.most_senders.max(line.senders.min(MOST_SENDERS as u32));
        if known.most_senders >= ESTABLISHED {
            self.known.establish(&ja4);
        }
    }
}

impl Known {
    fn new(hello: &Ja4Raw, unix_s: u64) -> Self {
        Self {
            hellos: vec![hello.clone()],
            stable: hello.stable(),
            first_unix_s: unix_s,
            last_unix_s: unix_s,
            connections: 0,
            senders: Senders::default(),
            most_senders: 0,
        }
    }

    /// Adds another hello of the same JA4; whether it is one, and there was room.
    fn add(&mut self, hello: &Ja4Raw) -> bool {
        let is_new = self.hellos.len() < MOST_HELLOS && !self.hellos.contains(hello);
        if is_new {
            self.hellos.push(hello.clone());
        }
        is_new
    }
}

#[cfg(test)]
#[path = "known/tests.rs"]
mod tests;
