//! Ingress: the way of a packet from the device, stage by stage.

use super::{
    Decision, Tables, Work, limit, measure, quic,
    verdict::{self, Verdict},
};
use crate::{
    abi::{
        Action, Control, FlowKey, Mode, Reason, Service, SourceKey,
        control::{self, CONTROL_FLOWS, CONTROL_SYNS},
        key::Address,
        tally::{self, Outcome},
        time,
        verdict::UNPROTECTED,
    },
    packet::{self, Headers, Heading, Link, Packet, PacketMut, Transport},
};

/// One packet as the stages see it.
pub(super) struct Ingress<'a, T> {
    pub(super) tables: &'a T,
    pub(super) control: &'a Control,
    pub(super) headers: &'a Headers,
    /// Packets that it counts as.
    pub(super) packets: u32,
    /// Bytes that it counts as.
    pub(super) bytes: u32,
    /// The protected service; 0 = none.
    pub(super) service: u8,
    /// `SERVICE_*` bits.
    pub(super) service_flags: u8,
    /// The protected service of the port, where the hello has named another: see `renamed`.
    pub(super) port_service: u8,
    /// The peer is judged once more, because its hello named another service.
    pub(super) renamed: bool,
    /// Who is judged: the peer, or whom a declared proxy named.
    pub(super) client: &'a Address,
}

impl<T: Tables> Ingress<'_, T> {
    /// Coarse time: verdicts and limiters need no better. Asked for only where it is needed.
    #[inline(always)]
    pub(super) fn coarse_ns(&self) -> u64 {
        self.tables.coarse_ns()
    }

    /// Whether verdicts act: the least of breaker, policy, and the daemon's pulse. `limit` is for how many
    /// ticks without one they act; 0 = for good, as long as the host's own limit says so too.
    #[inline(always)]
    pub(super) fn enforces(&self, limit: u32) -> bool {
        if least_mode(self.control) != Mode::Enforce {
            return false;
        }
        // One less, so that none is the longest.
        let (host, own) =
            (self.control.heartbeat_limit_ticks.wrapping_sub(1), limit.wrapping_sub(1));
        let limit = if host < own { host } else { own };
        if limit == u32::MAX {
            return true;
        }
        let silent = time::tick(self.coarse_ns()).saturating_sub(self.tables.pulse_tick());
        if silent > limit + 1 {
            self.tables.note(Reason::HeartbeatLost);
            return false;
        }
        true
    }

    #[inline(always)]
    pub(super) fn key(&self) -> &FlowKey {
        &self.headers.key
    }

    /// What the client is judged as.
    #[inline(always)]
    pub(super) fn source(&self) -> SourceKey {
        SourceKey::from_address(self.client)
    }

    /// Counts the packet under its service.
    #[inline(always)]
    pub(super) fn outcome(&self, outcome: Outcome) {
        self.count(tally::service_index(self.service, outcome));
    }

    /// Counts the packet under a reason.
    #[inline(always)]
    pub(super) fn reason(&self, reason: Reason) {
        self.count(tally::reason_index(reason));
    }

    #[inline(always)]
    pub(super) fn count(&self, index: u32) {
        self.tables.tally(index, self.packets, self.bytes);
    }
}

#[inline(always)]
const fn least_mode(control: &Control) -> Mode {
    let (policy, breaker) =
        (Mode::from_u8(control.policy_mode), Mode::from_u8(control.breaker_mode));
    if (policy as u8) < breaker as u8 { policy } else { breaker }
}

/// Runs the stages over one packet from the device. `work` is memory to work in.
#[inline(always)]
pub fn ingress<P: PacketMut, T: Tables>(
    packet: &mut P,
    tables: &T,
    link: Link,
    work: &mut Work,
) -> Decision {
    let Work { headers, ruling, syn, quic, attended } = work;
    let Some(control) = tables.control().filter(|it| least_mode(it) != Mode::Off) else {
        return pass_by(packet, tables, Reason::PassKilled);
    };
    if tables.is_killed() {
        return pass_by(packet, tables, Reason::PassKilled);
    }
    if let Err(reason) = packet::parse(packet, link, Heading::Ingress, headers) {
        return pass_by(packet, tables, reason);
    }
    let headers = &*core::hint::black_box(headers);
    let transport = headers.transport;
    let service = match transport {
        Transport::Tcp | Transport::Udp => {
            let port = u16::from_be(headers.key.local_port);
            tables.service(control::service_index(transport == Transport::Udp, port))
        }
        Transport::Opaque | Transport::Essential => Service::default(),
    };
    let ingress = Ingress {
        tables,
        control,
        headers,
        packets: packet.segments(),
        bytes: if P::APPROXIMATE { packet.wire_len() } else { headers.end },
        service: service.id,
        service_flags: service.flags,
        port_service: service.id,
        renamed: false,
        client: &headers.key.remote,
    };
    if transport == Transport::Essential {
        return passed(&ingress, Reason::PassEssential);
    }
    if headers.remote_is_martian() {
        return passed(&ingress, Reason::PassMartian);
    }
    verdict::judge(&ingress, ruling);
    syn.forget();
    if !T::ENDS_AT_VERDICT && control.flags & (CONTROL_FLOWS | CONTROL_SYNS) != 0 {
        verdict::judge_further(packet, &ingress, ruling, syn);
    }
    if ruling.marks() && control.mark != 0 {
        packet.mark(control.mark);
    }
    match ruling.verdict() {
        Verdict::None => {}
        Verdict::Allow { reason } => ingress.reason(reason),
        Verdict::Limit => {
            if !T::ENDS_AT_VERDICT && limit::exceeded(packet, &ingress, ruling) {
                return Decision::Drop;
            }
        }
        Verdict::Refuse { action, reason } => {
            if T::ENDS_AT_VERDICT {
                let answers = action == Action::Reject && transport == Transport::Tcp;
                return if answers { Decision::Reply } else { Decision::Drop };
            }
            ingress.outcome(Outcome::Drop);
            return verdict::refuse(packet, &ingress, action, reason, link);
        }
    }
    if T::ENDS_AT_VERDICT {
        return Decision::Pass;
    }
    if transport == Transport::Opaque {
        return passed(&ingress, headers.reason);
    }
    if transport == Transport::Udp && service.id != UNPROTECTED {
        quic::ingress(packet, &ingress, quic, ruling.would());
    }
    attended.is_allowed = u32::from(ruling.allows());
    attended.would = ruling.would();
    measure::ingress(packet, &ingress, syn, attended, link)
}

/// A packet that no stage looks into.
#[inline(always)]
fn pass_by<P: Packet, T: Tables>(packet: &P, tables: &T, reason: Reason) -> Decision {
    tables.tally(tally::reason_index(reason), packet.segments(), packet.wire_len());
    Decision::Pass
}

#[inline(always)]
fn passed<T: Tables>(ingress: &Ingress<'_, T>, reason: Reason) -> Decision {
    ingress.reason(reason);
    Decision::Pass
}
