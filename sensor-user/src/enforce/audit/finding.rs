//! What was found, and what became of it.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Drift;

/// A kind of finding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Verdicts that were written are not there.
    VerdictMissing,
    /// Verdicts have another class or another end.
    VerdictChanged,
    /// Verdicts that nobody of ours wrote.
    VerdictForeign,
    /// A class means something else.
    ClassOverwritten,
    /// A table of settings (modes, services, guards, names, proxies) is not as it was set.
    SettingOverwritten,
    /// Verdicts that are wanted are not in the kernel: a map is full, or it refuses.
    Unwritten,
    /// Weir's program is off an interface.
    Detached,
    /// Another program runs where Weir's should.
    ForeignProgram,
    /// An interface is gone.
    InterfaceGone,
    /// A pin is gone from the BPF file system, or is something else.
    Pin,
    /// The live program did not decide as the ledger wants.
    VerdictNotEnforced,
    /// An interface receives packets that the program does not see.
    PacketsUnseen,
    /// The kernel could not be asked.
    Unreadable,
}

impl Fault {
    /// Every kind, in the order of listings.
    pub const ALL: [Self; 13] = [
        Self::VerdictMissing,
        Self::VerdictChanged,
        Self::VerdictForeign,
        Self::ClassOverwritten,
        Self::SettingOverwritten,
        Self::Unwritten,
        Self::Detached,
        Self::ForeignProgram,
        Self::InterfaceGone,
        Self::Pin,
        Self::VerdictNotEnforced,
        Self::PacketsUnseen,
        Self::Unreadable,
    ];

    /// Its name, in listings, metrics and the journal.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::VerdictMissing => "verdict-missing",
            Self::VerdictChanged => "verdict-changed",
            Self::VerdictForeign => "verdict-foreign",
            Self::ClassOverwritten => "class-overwritten",
            Self::SettingOverwritten => "setting-overwritten",
            Self::Unwritten => "unwritten",
            Self::Detached => "detached",
            Self::ForeignProgram => "foreign-program",
            Self::InterfaceGone => "interface-gone",
            Self::Pin => "pin",
            Self::VerdictNotEnforced => "verdict-not-enforced",
            Self::PacketsUnseen => "packets-unseen",
            Self::Unreadable => "unreadable",
        }
    }
}

impl From<Drift> for Fault {
    fn from(drift: Drift) -> Self {
        match drift {
            Drift::Missing => Self::VerdictMissing,
            Drift::Changed => Self::VerdictChanged,
            Drift::Foreign => Self::VerdictForeign,
        }
    }
}

/// What became of a finding.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is as it should be again.
    Repaired,
    /// Somebody has to look.
    Alarm,
}

/// Something that is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What.
    pub fault: Fault,
    /// Where: an interface, a map, a pin; empty where the kind says it all.
    pub object: String,
    /// How many entries are concerned.
    pub count: usize,
    /// Some of whom it concerns.
    pub about: Vec<IpNet>,
    /// More, in a sentence without a client in it; may be empty.
    pub text: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// Clients that one finding names at most.
const MOST_ABOUT: usize = 16;

impl Finding {
    /// A finding of one.
    #[must_use]
    pub fn new(fault: Fault, object: impl Into<String>, outcome: Outcome) -> Self {
        Self {
            fault,
            object: object.into(),
            count: 1,
            about: Vec::new(),
            text: String::new(),
            outcome,
        }
    }

    /// The same, with more to say.
    #[must_use]
    pub fn saying(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }

    /// One more entry of the same.
    pub fn add(&mut self, about: Option<IpNet>) {
        self.count += 1;
        self.name(about);
    }

    /// Names a client, while there are few.
    pub fn name(&mut self, about: Option<IpNet>) {
        if self.about.len() < MOST_ABOUT {
            self.about.extend(about);
        }
    }
}
