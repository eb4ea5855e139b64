//! What is written down: one record a fact.
//!
//! What a record says has two parts. The public part says what happened and never names a client. The
//! personal part names whom it happened to; it can be kept plain, as a pseudonym or not at all, and
//! taken out later, without breaking the chain.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a record is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The daemon began.
    Start,
    /// The daemon ended.
    Stop,
    /// A decision of a policy.
    Decision,
    /// A verdict ended before its time: lifted, or covered by an allow.
    Lift,
    /// Somebody said of a source or a decision what it was.
    Label,
    /// A policy moved from one stage to another.
    Stage,
    /// Another policy was taken, or refused.
    Policy,
    /// An operator's verdicts.
    Block,
    /// An operator took verdicts back.
    Unblock,
    /// The kill switch.
    Kill,
    /// The circuit breaker, or a cap on new drops.
    Brake,
    /// A mode: normal, attack, recovery.
    Mode,
    /// What is never blocked changed.
    Guard,
    /// Kernel and ledger disagreed, or something is not attached as it should be.
    Audit,
    /// The programs were replaced by another version's.
    Upgrade,
    /// Somebody who may not was turned away, or what an operator asked for was refused.
    Refusal,
    /// Somebody's personal data was taken out on request.
    Forget,
    /// Records were deleted because their time was over.
    Retention,
    /// The key of pseudonyms, or of signatures, was replaced.
    Key,
    /// Records were lost before they could be written.
    Gap,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Start,
        Self::Stop,
        Self::Decision,
        Self::Lift,
        Self::Label,
        Self::Stage,
        Self::Policy,
        Self::Block,
        Self::Unblock,
        Self::Kill,
        Self::Brake,
        Self::Mode,
        Self::Guard,
        Self::Audit,
        Self::Upgrade,
        Self::Refusal,
        Self::Forget,
        Self::Retention,
        Self::Key,
        Self::Gap,
    ];

    /// Its name, as it is written down.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Decision => "decision",
            Self::Lift => "lift",
            Self::Label => "label",
            Self::Stage => "stage",
            Self::Policy => "policy",
            Self::Block => "block",
            Self::Unblock => "unblock",
            Self::Kill => "kill",
            Self::Brake => "brake",
            Self::Mode => "mode",
            Self::Guard => "guard",
            Self::Audit => "audit",
            Self::Upgrade => "upgrade",
            Self::Refusal => "refusal",
            Self::Forget => "forget",
            Self::Retention => "retention",
            Self::Key => "key",
            Self::Gap => "gap",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Who did it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Actor {
    /// The daemon, by itself.
    #[default]
    Daemon,
    /// A process at the control socket, as the kernel says (`SO_PEERCRED`).
    Peer {
        /// Its user.
        uid: u32,
        /// Its group.
        gid: u32,
        /// Its process; 0 = unknown.
        pid: i32,
    },
    /// A command that works without the daemon, run by this user.
    User(u32),
}

/// One fact, not yet written.
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    /// When, nanoseconds since 1970.
    pub unix_ns: u64,
    /// What it is about.
    pub kind: Kind,
    /// Who did it.
    pub actor: Actor,
    /// What happened, as a JSON object; never names a client.
    pub body: Value,
    /// Whom it happened to; empty where it is about nobody in particular.
    pub about: Vec<IpNet>,
    /// More that belongs to the personal part, such as an operator's free text.
    pub personal: Option<Value>,
}

impl Record {
    /// A fact of now.
    #[must_use]
    pub fn new(kind: Kind, actor: &Actor, body: Value) -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let unix_ns = since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX));
        Self { unix_ns, kind, actor: actor.clone(), body, about: Vec::new(), personal: None }
    }

    /// The same, about these clients.
    #[must_use]
    pub fn about(mut self, about: impl IntoIterator<Item = IpNet>) -> Self {
        self.about.extend(about);
        self
    }

    /// The same, with more that belongs to the personal part.
    #[must_use]
    pub fn with_personal(mut self, personal: Value) -> Self {
        self.personal = Some(personal);
        self
    }
}
