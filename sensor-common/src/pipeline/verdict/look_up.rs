//! Looking entries up: by address, by flow, by the keys of fingerprints and SYN signatures.

use super::{
    Ruling,
    consider::{consider, step},
};
use crate::{
    abi::{
        VerdictKind,
        control::{CONTROL_FLOWS, CONTROL_SYNS, SERVICE_PROXIED},
        key::V4_MAPPED,
        verdict::UNPROTECTED,
    },
    packet::{Family, Packet, Syn, Transport},
    pipeline::{Step, Tables, ingress::Ingress, syn},
    tls::Keys,
};

/// Shorter prefixes tried where the longest has expired or is for other services. The daemon
/// sweeps what has expired within seconds, so longer ladders are not met.
const PREFIX_STEPS: u32 = 4;

/// Looks the source up: the exact entry, then prefixes, longest first. A source that nobody judged
/// costs two look-ups and no call.
#[inline(always)]
pub(in crate::pipeline) fn judge<T: Tables>(ingress: &Ingress<'_, T>, ruling: &mut Ruling) {
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

/// As [`judge`], for a client that need not be the peer, or a service that the hello has refined. The
/// ruling has begun.
#[inline(never)]
pub(in crate::pipeline) fn judge_client<T: Tables>(ingress: &Ingress<'_, T>, ruling: &mut Ruling) {
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
pub(in crate::pipeline) fn judge_further<P: Packet, T: Tables>(
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
pub(in crate::pipeline) fn judge_hello<T: Tables>(
    ingress: &Ingress<'_, T>,
    keys: &Keys,
    ruling: &mut Ruling,
) {
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
