//! What was seen of every actor while they played: by the actor, by Weir, and by the server's
//! kernel.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::Result;
use ipnet::IpNet;

use crate::{
    actors::Report,
    clock::monotonic_ns,
    net::{Socket, sockets},
    weir::{Decision, Verdict, Weir},
};

/// A connection of a dropped source must be gone this long after the verdict.
pub(super) const ENDED_AFTER_NS: u64 = 1_000_000_000;

/// How many decisions are asked for.
const DECISIONS: usize = 1000;

/// Everything seen so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Observation {
    /// Every actor's latest report, in the order of the cast.
    pub(super) reports: Vec<Report>,
    /// Every rule's or operator's verdict that was ever seen in force, with its latest counters.
    pub(super) verdicts: BTreeMap<(IpNet, String), Verdict>,
    /// The first decision of each kind about each prefix: the one that crossed the threshold.
    pub(super) decisions: BTreeMap<(IpNet, String), Decision>,
    /// Most connections of each dropped address that the server held open later than a second
    /// after its verdict; no entry = never looked so late.
    pub(super) lingering: BTreeMap<IpAddr, usize>,
}

impl Observation {
    /// Looks once more.
    pub(super) fn look(&mut self, weir: &Weir<'_>, reports: Vec<Report>) -> Result<()> {
        self.reports = reports;
        for decision in weir.decisions(DECISIONS)?.decisions {
            let key = (decision.prefix, decision.action.clone());
            let first = self.decisions.entry(key).or_insert_with(|| decision.clone());
            if decision.at_ns < first.at_ns {
                *first = decision;
            }
        }
        for verdict in weir.verdicts()?.verdicts {
            self.verdicts.insert((verdict.prefix, verdict.action.clone()), verdict);
        }
        // The time first: a socket that is seen was open at that time or later.
        let now = monotonic_ns();
        let open = sockets(weir.lab().edge())?;
        self.count_lingering(now, &open);
        Ok(())
    }

    fn count_lingering(&mut self, now_ns: u64, sockets: &[Socket]) {
        let addresses: Vec<IpAddr> =
            self.reports.iter().filter_map(|report| report.origin.address()).collect();
        for address in addresses {
            let dropped_ns = self.decision(address, "drop").and_then(Decision::in_kernel_ns);
            if dropped_ns.is_some_and(|at| now_ns >= at + ENDED_AFTER_NS) {
                let open = sockets
                    .iter()
                    .filter(|socket| socket.is_open() && socket.remote.ip() == address)
                    .count();
                let most = self.lingering.entry(address).or_default();
                *most = open.max(*most);
            }
        }
    }

    /// The first decision of a kind about an address.
    pub(super) fn decision(&self, address: IpAddr, action: &str) -> Option<&Decision> {
        self.decisions
            .values()
            .find(|decision| decision.action == action && decision.prefix.contains(&address))
    }

    /// The strongest verdict that was in force for an address.
    pub(super) fn verdict(&self, address: IpAddr) -> Option<&Verdict> {
        const STRENGTH: [&str; 5] = ["allow", "drop", "reject", "limit", "mark"];
        STRENGTH.into_iter().find_map(|action| {
            self.verdicts
                .values()
                .find(|verdict| verdict.action == action && verdict.prefix.contains(&address))
        })
    }

    /// The report of the actor of this name.
    pub(super) fn report(&self, actor: &str) -> Option<&Report> {
        self.reports.iter().find(|report| report.actor == actor)
    }
}
