//! The verdict stage: exact entry, then the longest live prefix; the stronger counts.
//!
//! An entry that has expired, or is for other services, is as if it were not there. Observe
//! counts what it would have done and shields nothing. The ledger has already subtracted what
//! allows cover, so an allow needs no second look-up.

use super::{Decision, Step, Tables, ingress::Ingress, syn};
use crate::{
    abi::{
        self, Action, EventHeader, EventKind, Mode, Reason, VerdictClass, VerdictKind,
        control::{CONTROL_FLOWS, CONTROL_SYNS, SERVICE_NAMED, SERVICE_PROXIED},
        flow::FLOW_RESET_SENT,
        key::{Address, V4_MAPPED},
        tally::{self, Outcome},
        time::{self, SECOND_NS},
        verdict::UNPROTECTED,
    },
    packet::{Family, Link, Packet, PacketMut, Syn, Transport, reset, tcp},
    tls::Keys,
};

/// Shorter prefixes tried where the longest has expired or is for other services. The daemon
/// sweeps what has expired within seconds, so longer ladders are not met.
const PREFIX_STEPS: u32 = 4;

/// A UDP exchange that this host began is its own for this long after its last datagram
/// (the time that Linux conntrack grants, `nf_conntrack_udp_timeout_stream`).
const OUTBOUND_UDP_NS: u64 = 120 * SECOND_NS;

/// The server may not have obeyed a reset, because it had acknowledged more than was seen; it then
/// says so, and the next one fits. More often than this, they would only be load.
const RESET_EVERY_NS: u64 = SECOND_NS;

/// What the verdicts say of a packet. Plain words in working memory: the verifier does not follow
/// their values, and so need not follow every combination of entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C, align(8))]
pub struct Ruling {
    /// An allow ([`ALLOWED`] and the reason) or a refusal (action in the second byte, reason in the
    /// first); 0 for neither. Both are final.
    decision: u32,
    /// A limit's class, 0 for none; with [`OBSERVED`] it only counts. And [`WOULD`].
    limit: u32,
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
/// In [`Ruling::limit`]: what would have been done was counted.
const WOULD: u32 = 1 << 17;

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
        self.consider(VerdictKind::Address, 0);
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
        self.limit & WOULD != 0
    }

    /// As far as is known, all that is said is whether the peer is allowed.
    #[inline(always)]
    pub(super) const fn begin_allowed(&mut self, allowed: bool) {
        self.begin();
        if allowed {
            self.decision = ALLOWED | Reason::PassAllowed as u32;
        }
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

/// Looks the source up: the exact entry, then prefixes, longest first. A source that nobody judged
/// costs two look-ups and no call.
#[inline(always)]
pub(super) fn judge<T: Tables>(ingress: &Ingress<'_, T>, ruling: &mut Ruling) {
    ruling.begin();
    if ingress.headers.family == Family::V6 {
        return judge_v6(ingress, ruling);
    }
    let [_, _, _, address] = *ingress.client;
    ingress.tables.with_v4_exact(&address, |entry| consider(ingress, entry, ruling));
    if ruling.is_final() {
        return;
    }
    let longest = ingress.tables.with_v4_prefix(address, 32, |entry| step(ingress, entry, ruling));
    if let Some(shorter @ 1..) = longest {
        ruling.max_len = shorter - 1;
        prefixes_v4(ingress, ruling, PREFIX_STEPS - 1);
    }
}

/// As [`judge`], for a client that need not be the peer, or a service that the hello has refined.
#[inline(never)]
pub(super) fn judge_client<T: Tables>(ingress: &Ingress<'_, T>, ruling: &mut Ruling) {
    ruling.begin();
    let [a, b, c, address] = *ingress.client;
    if a | b != 0 || c != V4_MAPPED {
        return judge_v6(ingress, ruling);
    }
    ingress.tables.with_v4_exact(&address, |entry| step(ingress, entry, ruling));
    if !ruling.is_final() {
        ruling.max_len = 32;
        prefixes_v4(ingress, ruling, PREFIX_STEPS);
    }
}

/// What is said of the flow, and of a first SYN's signature. It adds to what is said of the
/// address: a decision that was made stands, because a signature can be forged.
#[inline(never)]
pub(super) fn judge_further<P: Packet, T: Tables>(
    packet: &P,
    ingress: &Ingress<'_, T>,
    ruling: &mut Ruling,
    syn: &mut Syn,
) {
    let flags = ingress.control.flags;
    // What the daemon found out about a flow stands beside an allow for its peer, which may be a proxy.
    if flags & CONTROL_FLOWS != 0 && ingress.service != UNPROTECTED && !ruling.refuses() {
        judge_flow(ingress, ruling);
    }
    if flags & CONTROL_SYNS != 0
        && ingress.headers.transport == Transport::Tcp
        && ingress.headers.segment.is_first_syn()
        && !ruling.is_final()
        && !is_proxy(ingress)
    {
        judge_syn(packet, ingress, ruling, syn);
    }
}

/// Whether the peer is a declared proxy: its SYN says nothing of the client.
#[inline(never)]
fn is_proxy<T: Tables>(ingress: &Ingress<'_, T>) -> bool {
    ingress.service_flags & SERVICE_PROXIED != 0 && ingress.tables.is_proxy(ingress.client)
}

#[inline(never)]
fn judge_flow<T: Tables>(ingress: &Ingress<'_, T>, ruling: &mut Ruling) {
    ruling.consider(VerdictKind::Flow, 0);
    ingress.tables.with_flow_verdict(ingress.key(), |entry| step(ingress, entry, ruling));
}

/// The signature's exact key, then its generic one.
#[inline(never)]
fn judge_syn<P: Packet, T: Tables>(
    packet: &P,
    ingress: &Ingress<'_, T>,
    ruling: &mut Ruling,
    syn: &mut Syn,
) {
    syn::read(packet, ingress.tables, ingress.headers, syn);
    if !syn.signature.is_known() {
        return;
    }
    syn.keys = syn.signature.keys(&ingress.tables.key_seed());
    ruling.keys = syn.keys;
    by_keys(ingress, ruling, VerdictKind::Syn);
}

/// Considers what is said of a fingerprint: its match key, then its stable key.
#[inline(always)]
pub(super) fn judge_hello<T: Tables>(ingress: &Ingress<'_, T>, keys: &Keys, ruling: &mut Ruling) {
    ruling.keys = [keys.matching, keys.stable];
    by_keys(ingress, ruling, VerdictKind::Fingerprint);
}

/// Considers the entries of both keys.
#[inline(never)]
fn by_keys<T: Tables>(ingress: &Ingress<'_, T>, ruling: &mut Ruling, by: VerdictKind) {
    ruling.by = by as u32;
    ingress.tables.repeat(2, &mut ByKeys { ingress, ruling });
}

/// One key.
struct ByKeys<'a, 'b, T> {
    ingress: &'a Ingress<'b, T>,
    ruling: &'a mut Ruling,
}

impl<T: Tables> Step for ByKeys<'_, '_, T> {
    #[inline(always)]
    fn step(&mut self) -> bool {
        let (ingress, ruling) = (self.ingress, &mut *self.ruling);
        let [key, next] = ruling.keys;
        if ruling.is_final() || key == 0 {
            return false;
        }
        ruling.keys = [next, 0];
        if ruling.by == VerdictKind::Syn as u32 {
            ruling.consider(VerdictKind::Syn, key);
            ingress.tables.with_syn_verdict(key, |entry| step(ingress, entry, ruling));
        } else {
            ruling.consider(VerdictKind::Fingerprint, key);
            ingress.tables.with_fingerprint(key, |entry| step(ingress, entry, ruling));
        }
        true
    }
}

/// IPv4 prefixes of up to `ruling.max_len` bits, longest first, until one says something.
#[inline(never)]
fn prefixes_v4<T: Tables>(ingress: &Ingress<'_, T>, ruling: &mut Ruling, steps: u32) {
    ingress.tables.repeat(steps, &mut PrefixesV4 { ingress, ruling });
}

/// One prefix. What is carried from one to the next lies in working memory: the verifier goes
/// through the loop once.
struct PrefixesV4<'a, 'b, T> {
    ingress: &'a Ingress<'b, T>,
    ruling: &'a mut Ruling,
}

impl<T: Tables> Step for PrefixesV4<'_, '_, T> {
    #[inline(always)]
    fn step(&mut self) -> bool {
        let (ingress, ruling) = (self.ingress, &mut *self.ruling);
        let [_, _, _, address] = *ingress.client;
        let max_len = ruling.max_len;
        let found =
            ingress.tables.with_v4_prefix(address, max_len, |entry| step(ingress, entry, ruling));
        goes_on(ruling, found)
    }
}

/// Whether to look for a shorter prefix than the one that was found.
#[inline(always)]
const fn goes_on(ruling: &mut Ruling, found: Option<u32>) -> bool {
    match found {
        Some(length @ 1..) => {
            ruling.max_len = length - 1;
            true
        }
        _ => false,
    }
}

/// IPv6: the address, its /64, then prefixes. The address whose lower half is zero shares its key
/// with the /64: a verdict on it alone is none that the ledger takes.
#[inline(never)]
fn judge_v6<T: Tables>(ingress: &Ingress<'_, T>, ruling: &mut Ruling) {
    ruling.address = *ingress.client;
    ingress.tables.repeat(2, &mut ExactV6 { ingress, ruling });
    if !ruling.is_final() {
        ruling.max_len = 128;
        ingress.tables.repeat(PREFIX_STEPS, &mut PrefixesV6 { ingress, ruling });
    }
}

/// The address itself, then its /64.
struct ExactV6<'a, 'b, T> {
    ingress: &'a Ingress<'b, T>,
    ruling: &'a mut Ruling,
}

impl<T: Tables> Step for ExactV6<'_, '_, T> {
    #[inline(always)]
    fn step(&mut self) -> bool {
        let (ingress, ruling) = (self.ingress, &mut *self.ruling);
        let address = ruling.address;
        ingress.tables.with_v6_exact(&address, |entry| step(ingress, entry, ruling));
        let [a, b, c, d] = address;
        ruling.address = [a, b, 0, 0];
        c | d != 0 && !ruling.is_final()
    }
}

/// One prefix.
struct PrefixesV6<'a, 'b, T> {
    ingress: &'a Ingress<'b, T>,
    ruling: &'a mut Ruling,
}

impl<T: Tables> Step for PrefixesV6<'_, '_, T> {
    #[inline(always)]
    fn step(&mut self) -> bool {
        let (ingress, ruling) = (self.ingress, &mut *self.ruling);
        let max_len = ruling.max_len;
        let found = ingress
            .tables
            .with_v6_prefix(ingress.client, max_len, |entry| step(ingress, entry, ruling));
        goes_on(ruling, found)
    }
}

/// Considers an entry: 0 if it counts, otherwise the length of its prefix, to look for a shorter one.
#[inline(never)]
fn step<T: Tables>(ingress: &Ingress<'_, T>, entry: &mut abi::Verdict, ruling: &mut Ruling) -> u32 {
    if consider(ingress, entry, ruling) { 0 } else { u32::from(entry.prefix_len) }
}

/// Adds what one entry says of this packet. `false`: it says nothing, as if it were not there.
#[inline(always)]
fn consider<T: Tables>(
    ingress: &Ingress<'_, T>,
    entry: &mut abi::Verdict,
    ruling: &mut Ruling,
) -> bool {
    let now_tick = time::tick(ingress.coarse_ns());
    if !entry.is_live(now_tick) {
        return false;
    }
    let Some(terms) =
        ingress.tables.with_class(entry.class, |class| Terms::of(class, ingress.service))
    else {
        ingress.tables.note(Reason::BadClass);
        return false;
    };
    if !terms.applies && !applies_by_name(ingress, entry.class) {
        return false;
    }
    match Action::from_u8(terms.action) {
        Action::Mark => return false,
        Action::Allow => ruling.decision = ALLOWED | Reason::PassAllowed as u32,
        Action::Limit => {
            if ruling.limit & CLASS == 0 || ruling.limit & OBSERVED != 0 {
                let observed = !terms.enforces() || !ingress.enforces();
                ruling.limit = ruling.limit & WOULD
                    | u32::from(entry.class)
                    | if observed { OBSERVED } else { 0 };
                ruling.limited = ruling.considered;
            }
        }
        Action::Reject | Action::Drop => return hit(ingress, entry, terms, ruling, now_tick),
    }
    true
}

/// Whether a class is for the service that the flow's hello named.
#[inline(always)]
fn applies_by_name<T: Tables>(ingress: &Ingress<'_, T>, class: u16) -> bool {
    ingress.service_flags & SERVICE_NAMED != 0 && names_service_of(ingress, class)
}

#[inline(never)]
fn names_service_of<T: Tables>(ingress: &Ingress<'_, T>, class: u16) -> bool {
    let named = ingress.tables.with_flow(ingress.key(), |flow| flow.service);
    named.is_some_and(|named| {
        ingress.tables.with_class(class, |class| class.services.contains(named)) == Some(true)
    })
}

/// What a class says of a service's packets: copied, so that the closure that reads it is small
/// enough to be inlined.
#[derive(Clone, Copy)]
struct Terms {
    applies: bool,
    action: u8,
    mode: u8,
    reason: u8,
}

impl Terms {
    #[inline(always)]
    const fn of(class: &VerdictClass, service: u8) -> Self {
        Self {
            applies: class.services.contains(service),
            action: class.action,
            mode: class.mode,
            reason: class.reason,
        }
    }

    #[inline(always)]
    fn enforces(self) -> bool {
        Mode::from_u8(self.mode) == Mode::Enforce
    }
}

/// A refusing entry was hit: counts it, reports the 1st, 2nd, 4th … hit.
#[inline(always)]
fn hit<T: Tables>(
    ingress: &Ingress<'_, T>,
    entry: &mut abi::Verdict,
    terms: Terms,
    ruling: &mut Ruling,
    now_tick: u32,
) -> bool {
    if is_own_flow(ingress) {
        ruling.decision = ALLOWED | Reason::PassOwnFlow as u32;
        return true;
    }
    let enforced = terms.enforces() && ingress.enforces();
    count_hit(ingress, entry, &ruling.considered, terms.action, enforced, now_tick);
    if enforced {
        ruling.decision = u32::from(terms.action) << 8 | u32::from(terms.reason);
    } else if ruling.limit & WOULD == 0 {
        ruling.limit |= WOULD;
        ingress.reason(Reason::Would);
        ingress.outcome(Outcome::Would);
    }
    enforced
}

/// Counts a packet that an entry decided; reports the 1st, 2nd, 4th …
#[inline(always)]
fn count_hit<T: Tables>(
    ingress: &Ingress<'_, T>,
    entry: &mut abi::Verdict,
    subject: &Subject,
    action: u8,
    enforced: bool,
    now_tick: u32,
) {
    entry.hits = entry.hits.wrapping_add(ingress.packets);
    entry.last_hit_tick = now_tick;
    if entry.hits & entry.hits.wrapping_sub(1) == 0 {
        report(ingress, entry, subject, action, enforced);
    }
    ingress.count(tally::class_index(entry.class));
}

/// Counts a packet that a limit held back, under the entry that says so: rare enough for a second
/// look-up. Limits on prefixes count under their class alone.
#[inline(never)]
pub(super) fn count_limited<T: Tables>(ingress: &Ingress<'_, T>, ruling: &Ruling) {
    let tables = ingress.tables;
    let Subject { by, fingerprint } = ruling.limited;
    let [a, b, _, address] = ingress.key().remote;
    let count = |entry: &mut abi::Verdict| {
        let same = entry.class == ruling.limit_class();
        if same {
            let (action, enforced) = (Action::Limit as u8, !ruling.limit_observes());
            let now_tick = time::tick(ingress.coarse_ns());
            count_hit(ingress, entry, &ruling.limited, action, enforced, now_tick);
        }
        same
    };
    let counted = match (VerdictKind::from_u8(by as u8), ingress.headers.family) {
        (VerdictKind::Address, Family::V4) => tables.with_v4_exact(&address, count),
        (VerdictKind::Address, Family::V6) => tables.with_v6_exact(&[a, b, 0, 0], count),
        (VerdictKind::Syn, _) => tables.with_syn_verdict(fingerprint, count),
        (VerdictKind::Flow, _) => tables.with_flow_verdict(ingress.key(), count),
        (VerdictKind::Fingerprint, _) => tables.with_fingerprint(fingerprint, count),
    };
    if counted != Some(true) {
        ingress.count(tally::class_index(ruling.limit_class()));
    }
}

#[inline(never)]
fn report<T: Tables>(
    ingress: &Ingress<'_, T>,
    entry: &abi::Verdict,
    subject: &Subject,
    action: u8,
    enforced: bool,
) {
    let emitted = ingress.tables.emit_hit(|hit| {
        hit.header = EventHeader {
            at_ns: ingress.coarse_ns(),
            kind: EventKind::Hit as u8,
            detail: action,
            service: ingress.service,
            mode: if enforced { Mode::Enforce } else { Mode::Observe } as u8,
            ifindex: ingress.tables.ifindex(),
        };
        hit.source = ingress.source();
        hit.class = entry.class;
        hit.prefix_len = entry.prefix_len;
        hit.by = subject.by as u8;
        hit.hits = entry.hits;
        hit.fingerprint = subject.fingerprint;
    });
    if !emitted {
        ingress.tables.note(Reason::LostHit);
    }
}

/// Part of a flow that this host opened: never held back. A protected port and a first SYN
/// cannot be, so the common drop pays no look-up.
#[inline(always)]
pub(super) fn is_own_flow<T: Tables>(ingress: &Ingress<'_, T>) -> bool {
    if ingress.service != UNPROTECTED {
        return false;
    }
    let is_udp = match ingress.headers.transport {
        Transport::Tcp if !ingress.headers.segment.is_first_syn() => false,
        Transport::Udp => true,
        _ => return false,
    };
    let last_ns = ingress.tables.with_outbound(ingress.key(), |flow| flow.last_ns);
    last_ns.is_some_and(|last_ns| {
        !is_udp || ingress.coarse_ns().saturating_sub(last_ns) < OUTBOUND_UDP_NS
    })
}

/// Drops or rejects. An established connection is ended at the server, because a connection that
/// only falls silent stays open there and a slow attack would be completed, not ended.
#[inline(always)]
pub(super) fn refuse<P: PacketMut, T: Tables>(
    packet: &mut P,
    ingress: &Ingress<'_, T>,
    action: Action,
    reason: Reason,
    link: Link,
) -> Decision {
    ingress.outcome(Outcome::Drop);
    if ingress.headers.transport == Transport::Tcp {
        let segment = &ingress.headers.segment;
        if ingress.service != UNPROTECTED
            && !segment.is_first_syn()
            && let Some(decision) = end_at_server(packet, ingress)
        {
            return decision;
        }
        if action == Action::Reject && !segment.has(tcp::RST) {
            return answer_client(packet, ingress, link);
        }
    }
    ingress.reason(reason);
    Decision::Drop
}

/// [`refuse`], for the rarer ways to it.
#[inline(never)]
pub(super) fn refuse_late<P: PacketMut, T: Tables>(
    packet: &mut P,
    ingress: &Ingress<'_, T>,
    action: Action,
    reason: Reason,
    link: Link,
) -> Decision {
    refuse(packet, ingress, action, reason, link)
}

/// Turns the segment of a proven flow into a reset for the server.
#[inline(always)]
fn end_at_server<P: PacketMut, T: Tables>(
    packet: &mut P,
    ingress: &Ingress<'_, T>,
) -> Option<Decision> {
    let now_ns = ingress.coarse_ns();
    let seq = ingress.tables.with_flow(ingress.key(), |flow| {
        let sent = flow.flags & FLOW_RESET_SENT != 0;
        if sent && now_ns.saturating_sub(flow.ingress.last_ns) < RESET_EVERY_NS {
            return None;
        }
        flow.flags |= FLOW_RESET_SENT;
        flow.ingress.last_ns = now_ns;
        Some(flow.client_next)
    })??;
    if !reset::to_server(packet, ingress.headers, seq) {
        ingress.reason(Reason::ResetFailed);
        return Some(Decision::Drop);
    }
    ingress.reason(Reason::ResetToServer);
    Some(Decision::Pass)
}

/// Turns the segment around into a reset for the client.
#[inline(always)]
fn answer_client<P: PacketMut, T: Tables>(
    packet: &mut P,
    ingress: &Ingress<'_, T>,
    link: Link,
) -> Decision {
    if !reset::to_client(packet, ingress.headers, link == Link::Ethernet) {
        ingress.reason(Reason::ResetFailed);
        return Decision::Drop;
    }
    ingress.reason(Reason::RejectReset);
    Decision::Reply
}
