//! Weir's ingress program, with tables as a busy host has them.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use ipnet::{IpNet, Ipv4Net};
use weir_common::{
    abi::{Action, Control, Mode, Protocol, Reason, ServiceSet, Verdict, VerdictClass},
    packet::{Heading, Link},
    pipeline::Decision,
};
use weir_sensor::enforce::dataplane::{self, Dataplane, ServicePort};

use super::{
    case::{BLOCKED, BLOCKED_BY_PREFIX, PORT, handshake},
    hello,
};
use crate::bpf::{Engine, Hook, KernelEngine};

/// The class of all verdicts.
const CLASS: u16 = 1;

/// The class of verdicts on fingerprints.
const OBSERVED: u16 = 2;

/// Fingerprints with a verdict.
const FINGERPRINTS: u64 = 10_000;

/// The visitor's port that sends data.
const FLOW_PORT: u16 = 40_000;

/// The visitor's port that sends its hello.
const HELLO_PORT: u16 = 40_001;

/// Blocked prefixes.
const PREFIXES: u32 = 10_000;

/// The loaded program.
pub(super) struct Subject {
    engine: KernelEngine,
}

impl Subject {
    /// Loads it, blocks an address and ten thousand prefixes, and establishes a flow.
    pub(super) fn new() -> Result<Self> {
        let mut engine = KernelEngine::reading_again(Hook::Xdp, Link::Ethernet)?;
        engine.set_control(&Control {
            policy_mode: Mode::Enforce as u8,
            breaker_mode: Mode::Enforce as u8,
            seed: 1,
            stall_ns: 5_000_000_000,
            ..Control::default()
        })?;
        engine.set_services(&[ServicePort {
            protocol: Protocol::Tcp,
            port: PORT,
            service: 1,
            flags: 0,
        }])?;
        engine.set_class(
            CLASS,
            &VerdictClass {
                action: Action::Drop as u8,
                mode: Mode::Enforce as u8,
                reason: Reason::DropOperator as u8,
                services: ServiceSet::ALL,
                ..VerdictClass::default()
            },
        )?;
        engine.tables().write_verdicts(&blocked()?)?;
        engine.set_class(
            OBSERVED,
            &VerdictClass {
                action: Action::Drop as u8,
                mode: Mode::Observe as u8,
                reason: Reason::DropFingerprint as u8,
                services: ServiceSet::ALL,
                ..VerdictClass::default()
            },
        )?;
        let keys = hello::keys(engine.key_seed())?;
        let fingerprints: Vec<_> = (1..FINGERPRINTS)
            .map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .chain([keys.matching])
            .map(|key| {
                (
                    dataplane::Subject::Fingerprint(key),
                    Verdict { class: OBSERVED, ..Verdict::default() },
                )
            })
            .collect();
        engine.tables().write_subjects(&fingerprints)?;
        for port in [FLOW_PORT, HELLO_PORT] {
            let headings = [Heading::Ingress, Heading::Egress, Heading::Ingress];
            for (heading, packet) in headings.into_iter().zip(handshake(port)) {
                let fate = engine.run(heading, &packet)?;
                ensure!(fate.decision == Decision::Pass, "the handshake was held back");
            }
        }
        ensure!(engine.records()?.flows.len() == 2, "the handshakes did not establish flows");
        Ok(Self { engine })
    }

    /// What the program returns, and how long it takes, ns.
    pub(super) fn time(&mut self, packet: &[u8], repeat: u32) -> Result<(u32, u32)> {
        // What earlier runs reported must not fill the ring buffers.
        self.engine.take_hellos()?;
        self.engine.take_events()?;
        self.engine.time(packet, repeat)
    }
}

/// The blocked address, and prefixes scattered over 10.0.0.0/8, the blocked one among them.
fn blocked() -> Result<Vec<(IpNet, Verdict)>> {
    let mut nets = vec![IpNet::from(Ipv4Net::new(BLOCKED, 32)?)];
    nets.push(Ipv4Net::new(BLOCKED_BY_PREFIX, 24)?.trunc().into());
    let base = Ipv4Addr::new(10, 0, 0, 0).to_bits();
    for number in 0..PREFIXES {
        // An odd multiplier reaches each of the 65,536 networks at most once.
        let network = number.wrapping_mul(40_503) & 0xffff;
        nets.push(Ipv4Net::new(Ipv4Addr::from_bits(base | network << 8), 24)?.into());
    }
    Ok(nets
        .into_iter()
        .map(|net| {
            let verdict =
                Verdict { class: CLASS, prefix_len: net.prefix_len(), ..Verdict::default() };
            (net, verdict)
        })
        .collect())
}
