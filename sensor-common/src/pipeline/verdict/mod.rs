//! The verdict stage: exact entry, then the longest live prefix; the stronger counts.
//!
//! An entry that has expired, or is for other services, is as if it were not there. Observe
//! counts what it would have done and shields nothing. The ledger has already subtracted what
//! allows cover, so an allow needs no second look-up.
//!
//! `look_up` finds entries, `consider` says what one means for this packet, `refuse` acts.

mod consider;
mod look_up;
mod refuse;

pub(super) use self::{
    consider::{count_limited, is_own_flow},
    look_up::{judge, judge_client, judge_further, judge_hello},
    refuse::{refuse, refuse_late},
};
use crate::abi::{Action, Reason, VerdictKind, key::Address};

/// What the verdicts say of a packet. Plain words in working memory: the verifier does not follow
/// their values, and so need not follow every combination of entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C, align(8))]
pub struct Ruling {
    /// An allow ([`ALLOWED`] and the reason) or a refusal (action in the second byte, reason in the
    /// first); 0 for neither. Both are final.
    decision: u32,
    /// A limit's class, 0 for none; with [`OBSERVED`] it only counts. And [`MARKED`].
    limit: u32,
    /// The class of the first entry that would have refused it, had that been enforced; 0 for none. With
    /// [`COUNTED`] the packet was counted so before.
    would: u32,
    /// Zero.
    reserved: u32,
    /// What the limit's entry goes by.
    limited: Subject,
    /// What the entry goes by that is considered.
    considered: Subject,
    /// What a loop over entries carries on: the keys to come, the address, the longest prefix, and
    /// what they go by.
    keys: [u64; 2],
    address: Address,
    max_len: u32,
    by: u32,
}

/// What an entry goes by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
struct Subject {
    /// A [`VerdictKind`], widened so that there is no padding.
    by: u64,
    /// The key, where that is neither an address nor a flow.
    fingerprint: u64,
}

/// In [`Ruling::decision`]: it passes, whatever else is said.
const ALLOWED: u32 = 1 << 16;
/// In [`Ruling::limit`]: the limit only counts.
const OBSERVED: u32 = 1 << 16;
/// In [`Ruling::limit`]: the class.
const CLASS: u32 = OBSERVED - 1;
/// In [`Ruling::would`]: it was counted.
const COUNTED: u32 = 1 << 16;
/// In [`Ruling::limit`]: the packet is to be marked.
const MARKED: u32 = 1 << 18;

/// How a packet goes on.
pub(super) enum Verdict {
    /// Nothing holds it back.
    None,
    /// It passes, and that is counted.
    Allow { reason: Reason },
    /// New connections are limited, as [`Ruling::limit_class`] says.
    Limit,
    /// Drop or reject.
    Refuse { action: Action, reason: Reason },
}

impl Ruling {
    /// Nothing is said yet.
    #[inline(always)]
    const fn begin(&mut self) {
        self.decision = 0;
        self.limit = 0;
        self.would = 0;
        self.consider(VerdictKind::Address, 0);
    }

    /// As if no packet had been judged.
    #[inline(always)]
    pub(in crate::pipeline) const fn forget(&mut self) {
        self.begin();
    }

    /// What it comes to: the stronger of exact entry and prefix.
    #[inline(always)]
    pub(super) const fn verdict(&self) -> Verdict {
        let reason = Reason::from_u8(self.decision as u8);
        if self.decision & ALLOWED != 0 {
            Verdict::Allow { reason }
        } else if self.decision != 0 {
            Verdict::Refuse { action: Action::from_u8((self.decision >> 8) as u8), reason }
        } else if self.limit & CLASS != 0 {
            Verdict::Limit
        } else {
            Verdict::None
        }
    }

    /// The class of the limit.
    #[inline(always)]
    pub(super) const fn limit_class(&self) -> u16 {
        self.limit as u16
    }

    /// Whether the limit only counts.
    #[inline(always)]
    pub(super) const fn limit_observes(&self) -> bool {
        self.limit & OBSERVED != 0
    }

    /// Whether the packet was counted as one on which would have been acted.
    #[inline(always)]
    pub(super) const fn is_counted(&self) -> bool {
        self.would != 0
    }

    /// The class of the first entry that would have refused it; 0 = none.
    #[inline(always)]
    pub(super) const fn would(&self) -> u32 {
        self.would & CLASS
    }

    /// An entry of this class would have refused it.
    #[inline(always)]
    const fn would_refuse(&mut self, class: u16) {
        if self.would & CLASS == 0 {
            self.would |= class as u32;
        }
    }

    /// The limit is exceeded, and only counts.
    #[inline(always)]
    pub(super) const fn would_limit(&mut self) {
        self.would_refuse(self.limit_class());
    }

    /// Judges once more, behind the hello: what was said of the peer before. A packet is counted once as
    /// one on which would have been acted.
    #[inline(always)]
    pub(super) const fn begin_again(&mut self, would: u32) {
        self.begin();
        if would != 0 {
            self.would = COUNTED;
        }
    }

    /// The peer is allowed, and nothing else is known.
    #[inline(always)]
    pub(super) const fn allow(&mut self) {
        self.decision = ALLOWED | Reason::PassAllowed as u32;
    }

    /// Whether the packet is marked on its way on.
    #[inline(always)]
    pub(super) const fn marks(&self) -> bool {
        self.limit & MARKED != 0 && self.decision & ALLOWED == 0
    }

    /// Whether an allow stands.
    #[inline(always)]
    pub(super) const fn allows(&self) -> bool {
        self.decision & ALLOWED != 0
    }

    #[inline(always)]
    const fn is_final(&self) -> bool {
        self.decision != 0
    }

    #[inline(always)]
    const fn refuses(&self) -> bool {
        self.is_final() && self.decision & ALLOWED == 0
    }

    /// The next entry goes by something else than an address.
    #[inline(always)]
    const fn consider(&mut self, by: VerdictKind, fingerprint: u64) {
        self.considered = Subject { by: by as u64, fingerprint };
    }
}
