//! Verdicts: what to do with a source, and what that means.
//!
//! A map entry is small and names a class; the class says what it means, once for all entries
//! that share it. Allow is the class of highest precedence: the ledger subtracts what an allow
//! covers before it writes, so that the kernel needs no second look-up.

use super::{Mode, Reason};

/// What is done, in order of strength.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
#[repr(u8)]
pub enum Action {
    /// Pass, whatever other verdicts say of this source.
    #[default]
    Allow = 0,
    /// Pass; the lookup tells applications to challenge.
    Mark = 1,
    /// Limit new connections; packets of established flows pass.
    Limit = 2,
    /// Refuse: drop, and tell the client (TCP reset).
    Reject = 3,
    /// Drop silently.
    Drop = 4,
}

impl Action {
    /// The action of an ABI byte; unknown bytes are `Allow`, because the kernel path fails open.
    #[inline(always)]
    #[must_use]
    pub const fn from_u8(byte: u8) -> Self {
        match byte {
            1 => Self::Mark,
            2 => Self::Limit,
            3 => Self::Reject,
            4 => Self::Drop,
            _ => Self::Allow,
        }
    }
}

/// Protected services are numbered 1..=255 on a host; 0 is everything else.
pub const SERVICE_COUNT: usize = 256;

/// The service id of traffic to ports that no service declares.
pub const UNPROTECTED: u8 = 0;

/// A set of service ids.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(C)]
pub struct ServiceSet {
    /// Bit `id % 64` of word `id / 64`.
    pub words: [u64; 4],
}

impl ServiceSet {
    /// Every service, and unprotected ports too.
    pub const ALL: Self = Self { words: [u64::MAX; 4] };
    /// No service.
    pub const NONE: Self = Self { words: [0; 4] };

    /// The set of one service.
    #[must_use]
    pub const fn one(id: u8) -> Self {
        let mut set = Self::NONE;
        set.insert(id);
        set
    }

    /// Adds a service.
    pub const fn insert(&mut self, id: u8) {
        let bit = 1u64 << (id & 63);
        let [a, b, c, d] = &mut self.words;
        match id >> 6 {
            0 => *a |= bit,
            1 => *b |= bit,
            2 => *c |= bit,
            _ => *d |= bit,
        }
    }

    /// Whether the set holds a service.
    #[inline(always)]
    #[must_use]
    pub const fn contains(&self, id: u8) -> bool {
        let [a, b, c, d] = self.words;
        let word = match id >> 6 {
            0 => a,
            1 => b,
            2 => c,
            _ => d,
        };
        word >> (id & 63) & 1 == 1
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        let [a, b, c, d] = self.words;
        a | b | c | d == 0
    }

    /// What is in `self` and not in `other`.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        let [a, b, c, d] = self.words;
        let [e, f, g, h] = other.words;
        Self { words: [a & !e, b & !f, c & !g, d & !h] }
    }

    /// What is in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        let [a, b, c, d] = self.words;
        let [e, f, g, h] = other.words;
        Self { words: [a | e, b | f, c | g, d | h] }
    }
}

/// One entry of a verdict map: a class, until when, and how often it was hit.
///
/// `hits` is counted without a lock: under contention of several CPUs on one entry it is a lower
/// bound. The exact counts are per class, in `TALLY`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Verdict {
    /// Index into `VERDICT_CLASSES`; 0 means no verdict.
    pub class: u16,
    /// Length of the prefix that this entry is stored under, in bits. When the entry has expired,
    /// the look-up goes on with the next shorter prefix.
    pub prefix_len: u8,
    /// Zero.
    pub reserved: u8,
    /// First tick at which the entry no longer counts; 0 = never ends.
    pub expires_tick: u32,
    /// Packets that this entry decided.
    pub hits: u32,
    /// Tick of the last such packet.
    pub last_hit_tick: u32,
}
const _: () = assert!(size_of::<Verdict>() == 16);

impl Verdict {
    /// Whether the entry still counts.
    #[inline(always)]
    #[must_use]
    pub const fn is_live(&self, now_tick: u32) -> bool {
        self.class != 0 && (self.expires_tick == 0 || now_tick < self.expires_tick)
    }
}

/// Number of verdict classes, class 0 (none) included.
pub const CLASS_COUNT: usize = 4096;

/// The class applies only to sources that never proved that they exist: the consequence of
/// forgeable evidence, which must not reach a source that was proven.
pub const CLASS_UNPROVEN_ONLY: u32 = 1;

/// What a verdict means.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(C)]
pub struct VerdictClass {
    /// [`Action`].
    pub action: u8,
    /// [`Mode`]: observe counts what it would have done and goes on.
    pub mode: u8,
    /// [`Reason`] counted for packets that this class decides.
    pub reason: u8,
    /// Zero.
    pub reserved: u8,
    /// `CLASS_*` bits.
    pub flags: u32,
    /// The rule that decided, as numbered by the daemon; 0 = an operator.
    pub rule: u32,
    /// If not 0: once the daemon's pulse is older than this many ticks, what the class would enforce
    /// is only counted. 0: it outlives the daemon, until its entries expire.
    pub heartbeat_ticks: u32,
    /// The services that it applies to.
    pub services: ServiceSet,
    /// For `Limit`: nanoseconds between new connections at the sustained rate.
    pub limit_interval_ns: u64,
    /// For `Limit`: how far ahead of the rate a burst may run, in nanoseconds.
    pub limit_burst_ns: u64,
}
const _: () = assert!(size_of::<VerdictClass>() == 64);

impl VerdictClass {
    /// The action, typed.
    #[inline(always)]
    #[must_use]
    pub const fn action(&self) -> Action {
        Action::from_u8(self.action)
    }

    /// The mode, typed.
    #[inline(always)]
    #[must_use]
    pub const fn mode(&self) -> Mode {
        Mode::from_u8(self.mode)
    }

    /// The reason, typed.
    #[inline(always)]
    #[must_use]
    pub const fn reason(&self) -> Reason {
        Reason::from_u8(self.reason)
    }
}
