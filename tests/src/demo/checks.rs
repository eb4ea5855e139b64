//! What must be true at the end.

use std::net::IpAddr;

use super::{
    cast::{MUST_BE_DROPPED, SCANNER},
    observation::Observation,
    screen::Paint,
};
use crate::{actors::Report, net::FLOOD_SOURCES, weir::Status};

/// Half of all verdicts must be in the kernel faster than this.
const MEDIAN_MS: f64 = 5.0;

/// One thing that must be true.
#[derive(Clone, Debug)]
pub(super) struct Check {
    /// Whether it is.
    pub(super) holds: bool,
    /// What it is.
    claim: &'static str,
    /// What was seen.
    seen: String,
}

impl Check {
    /// The check as a line.
    pub(super) fn line(&self, paint: Paint) -> String {
        let mark = if self.holds { paint.good("✓") } else { paint.bad("✗") };
        format!("  {mark} {}  {}", self.claim, paint.faint(&self.seen))
    }
}

/// Every check.
pub(super) fn all(seen: &Observation, status: &Status) -> Vec<Check> {
    vec![
        honest_served(seen),
        honest_untouched(seen),
        attackers_dropped(seen),
        connections_ended(seen),
        scanner_limited(seen),
        flood_limited(status),
        nobody_framed(seen),
        fast_enough(status),
    ]
}

/// The last line.
pub(super) fn verdict(passed: bool, paint: Paint) -> String {
    if passed {
        paint.good("  The attackers were stopped, and nobody honest was.")
    } else {
        paint.bad("  This is not what must happen: see the ✗ above.")
    }
}

fn honest_served(seen: &Observation) -> Check {
    let honest: Vec<&Report> = seen.reports.iter().filter(|report| report.is_honest).collect();
    let attempted: u64 = honest.iter().map(|report| report.attempted).sum();
    let served: u64 = honest.iter().map(|report| report.served).sum();
    Check {
        holds: !honest.is_empty() && honest.iter().all(|report| report.is_fully_served()),
        claim: "everyone honest was served, every time",
        seen: format!("{served} of {attempted} requests"),
    }
}

fn honest_untouched(seen: &Observation) -> Check {
    let touched = offenders(seen, |report, action| report.is_honest && action != "mark");
    Check {
        holds: touched.is_empty(),
        claim: "no verdict held anyone honest back",
        seen: list(&touched, "none did"),
    }
}

fn attackers_dropped(seen: &Observation) -> Check {
    let missing: Vec<&str> = MUST_BE_DROPPED
        .into_iter()
        .filter(|name| {
            let address = seen.report(name).and_then(|report| report.origin.address());
            !address.is_some_and(|address| blocks(seen, address))
        })
        .collect();
    Check {
        holds: missing.is_empty(),
        claim: "the stuffing bot and the hoarder were dropped",
        seen: if missing.is_empty() {
            "both".to_owned()
        } else {
            format!("not dropped: {}", missing.join(", "))
        },
    }
}

fn connections_ended(seen: &Observation) -> Check {
    let left: Vec<Option<usize>> = MUST_BE_DROPPED
        .into_iter()
        .map(|name| {
            let address = seen.report(name)?.origin.address()?;
            seen.lingering.get(&address).copied()
        })
        .collect();
    Check {
        holds: left.iter().all(|open| *open == Some(0)),
        claim: "1 s after the verdict the server held no connection of theirs",
        seen: left
            .iter()
            .map(|open| open.map_or("no verdict".to_owned(), |open| format!("{open} open")))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn scanner_limited(seen: &Observation) -> Check {
    let address = seen.report(SCANNER).and_then(|report| report.origin.address());
    let verdict = address.and_then(|address| seen.verdict(address));
    Check {
        holds: verdict.is_some_and(|verdict| {
            verdict.mode == "enforce" && verdict.action == "limit" && verdict.hits > 0
        }),
        claim: "the scanner's unproven SYNs were limited",
        seen: verdict.map_or("no verdict".to_owned(), |verdict| {
            format!("{}, {} packets", verdict.action, verdict.hits)
        }),
    }
}

fn flood_limited(status: &Status) -> Check {
    let held = status.packets("limit_guard");
    Check {
        holds: held > 0,
        claim: "the flood's SYNs were held back by the SYN guard",
        seen: format!("{held} packets"),
    }
}

/// Drops only on those who proved that they are who they are, and did it.
fn nobody_framed(seen: &Observation) -> Check {
    let (base, length) = FLOOD_SOURCES;
    let forged = |address: IpAddr| match address {
        IpAddr::V4(address) => (address.to_bits() ^ base.to_bits()) >> (32 - length) == 0,
        IpAddr::V6(_) => false,
    };
    let mut framed = offenders(seen, |report, action| {
        !MUST_BE_DROPPED.contains(&report.actor) && matches!(action, "drop" | "reject")
    });
    framed.extend(
        seen.verdicts
            .values()
            .filter(|verdict| verdict.blocks() && forged(verdict.prefix.addr()))
            .map(|verdict| verdict.prefix.to_string()),
    );
    let dropped: Vec<String> = seen
        .verdicts
        .values()
        .filter(|verdict| verdict.blocks())
        .map(|verdict| verdict.prefix.addr().to_string())
        .collect();
    Check {
        holds: framed.is_empty() && dropped.len() == MUST_BE_DROPPED.len(),
        claim: "no forged address was dropped, none that proved nothing",
        seen: list(&framed, &format!("dropped: {}", list(&dropped, "nobody"))),
    }
}

fn fast_enough(status: &Status) -> Check {
    let latency = status.latency;
    Check {
        holds: latency.samples > 0 && latency.median_ms < MEDIAN_MS,
        claim: "median time from packet to verdict under 5 ms",
        seen: format!(
            "{:.2} ms, p99 {:.2} ms, {} verdicts",
            latency.median_ms, latency.p99_ms, latency.samples
        ),
    }
}

/// Whether a drop was enforced on an address.
fn blocks(seen: &Observation, address: IpAddr) -> bool {
    seen.verdicts.values().any(|verdict| verdict.blocks() && verdict.prefix.contains(&address))
}

/// Actors under an enforced verdict, other than an allow, that is of the kind in question.
fn offenders(seen: &Observation, counts: impl Fn(&Report, &str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for report in &seen.reports {
        let Some(address) = report.origin.address() else {
            continue;
        };
        for verdict in seen.verdicts.values() {
            if verdict.mode == "enforce"
                && verdict.action != "allow"
                && verdict.prefix.contains(&address)
                && counts(report, &verdict.action)
            {
                found.push(format!("{} {address}: {}", report.actor, verdict.action));
            }
        }
    }
    found
}

fn list(found: &[String], otherwise: &str) -> String {
    if found.is_empty() { otherwise.to_owned() } else { found.join(", ") }
}
