//! Fingerprints as operators name them, where they could name an address: `ja4:…`, `ja4_r:…`,
//! `stable:…` for TLS, `tcp:…` for SYN signatures.
//!
//! The kernel knows a fingerprint by keys that are made from what a JA4_r shows. A JA4 alone is a
//! hash of that: what it stands for has to be seen first.

mod text;

use std::fmt;

use weir_common::tls::Seed;

pub use self::text::FingerprintError;
pub(crate) use self::text::is_meant;
use super::dataplane::Subject;
use crate::fingerprint::{
    ja4::{Ja4, Ja4Raw, Transport},
    syn::SynPattern,
};

/// Whose verdict it is: what is listed, kept and taken back. One name for every way to write the
/// same fingerprint.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum FingerprintName {
    /// A JA4.
    Ja4(Ja4),
    /// The JA4 of the stable form.
    Stable(Ja4),
    /// A SYN signature.
    Syn(SynPattern),
    /// A TLS fingerprint of which only the key was found in the kernel.
    FoundTls(u64),
    /// A SYN signature of which only the key was found in the kernel.
    FoundSyn(u64),
}

/// A fingerprint, as far as the operator's words tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fingerprint {
    name: FingerprintName,
    form: Form,
}

/// What keys are made from.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Form {
    /// Only a hash is known.
    Hash,
    /// All that a JA4 is made of.
    Raw(Ja4Raw),
    /// The name says it all.
    Named,
}

impl FingerprintName {
    /// Whether only the daemon can act on it: QUIC hellos are encrypted.
    #[must_use]
    pub fn is_quic(&self) -> bool {
        self.ja4().is_some_and(|ja4| ja4.as_str().starts_with(char::from(Transport::Quic as u8)))
    }

    /// Whether it is about TLS or QUIC.
    #[must_use]
    pub const fn is_hello(&self) -> bool {
        matches!(self, Self::Ja4(_) | Self::Stable(_) | Self::FoundTls(_))
    }

    /// The JA4, of the hello or of its stable form.
    #[must_use]
    pub const fn ja4(&self) -> Option<&Ja4> {
        match self {
            Self::Ja4(ja4) | Self::Stable(ja4) => Some(ja4),
            Self::Syn(_) | Self::FoundTls(_) | Self::FoundSyn(_) => None,
        }
    }

    /// The key of a hello of this form.
    #[must_use]
    pub fn subject_of(&self, raw: &Ja4Raw, seed: Seed) -> Subject {
        let keys = raw.keys(seed);
        let is_stable = matches!(self, Self::Stable(_));
        Subject::Fingerprint(if is_stable { keys.stable } else { keys.matching })
    }
}

impl fmt::Display for FingerprintName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ja4(ja4) => write!(f, "ja4:{ja4}"),
            Self::Stable(ja4) => write!(f, "stable:{ja4}"),
            Self::Syn(pattern) => write!(f, "tcp:{pattern}"),
            Self::FoundTls(key) => write!(f, "ja4-key:{key:016x}"),
            Self::FoundSyn(key) => write!(f, "tcp-key:{key:016x}"),
        }
    }
}

impl Fingerprint {
    /// A fingerprint of which only the key was found in the kernel.
    #[must_use]
    pub(super) const fn found(name: FingerprintName) -> Self {
        Self { name, form: Form::Named }
    }

    /// What a fingerprint is called.
    #[must_use]
    pub const fn name(&self) -> &FingerprintName {
        &self.name
    }

    /// Everything that a JA4 is made of, where it is known.
    #[must_use]
    pub const fn raw(&self) -> Option<&Ja4Raw> {
        if let Form::Raw(raw) = &self.form { Some(raw) } else { None }
    }

    /// The same, now that this is known to be what its hash stands for.
    #[must_use]
    pub fn resolved(mut self, raw: &Ja4Raw) -> Self {
        let is_it = match &self.name {
            FingerprintName::Ja4(ja4) => raw.ja4() == *ja4,
            FingerprintName::Stable(stable) => raw.stable() == *stable,
            _ => false,
        };
        if is_it && self.form == Form::Hash {
            self.form = Form::Raw(raw.clone());
        }
        self
    }

    /// The stable form of it, where all that it is made of is known; itself if it is no JA4.
    #[must_use]
    pub fn stable(&self) -> Option<Self> {
        match (&self.name, &self.form) {
            (FingerprintName::Ja4(_), Form::Raw(raw)) => Some(Self {
                name: FingerprintName::Stable(raw.stable()),
                form: Form::Raw(raw.clone()),
            }),
            (FingerprintName::Ja4(_), _) => None,
            _ => Some(self.clone()),
        }
    }

    /// The kernel's key; `None` as long as only a hash is known, and for QUIC.
    #[must_use]
    pub fn subject(&self, seed: Seed) -> Option<Subject> {
        match (&self.name, &self.form) {
            (FingerprintName::FoundTls(key), _) => Some(Subject::Fingerprint(*key)),
            (FingerprintName::FoundSyn(key), _) => Some(Subject::Syn(*key)),
            (FingerprintName::Syn(pattern), _) => Some(Subject::Syn(pattern.key(&seed))),
            (name, Form::Raw(raw)) if !name.is_quic() => Some(name.subject_of(raw, seed)),
            _ => None,
        }
    }
}
