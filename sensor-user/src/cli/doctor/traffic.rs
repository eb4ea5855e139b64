//! Does Weir see both directions? Read from the counters of a sensor that is attached.

use weir_common::abi::{Reason, map, tally};

use super::finding::{Finding, Findings};
use crate::system::{bpf, paths::Paths};

/// Fewer SYNs than this say nothing.
const ENOUGH_SYNS: u64 = 100;
/// From this share of unanswered SYNs on, something is wrong with the place or with the traffic.
const SUSPICIOUS_SHARE: f64 = 0.5;

/// Looks at the counters.
pub(super) fn examine(paths: &Paths) -> Vec<Finding> {
    const CHECK: &str = "both directions";
    let mut findings = Findings::about("host");
    match counts(paths) {
        Ok((syns, answers)) => judge(&mut findings, CHECK, syns, answers),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            findings.ok(CHECK, "not measured: Weir is not attached");
        }
        Err(error) => {
            findings.warn(CHECK, format!("counters cannot be read: {error}"), "run this as root");
        }
    }
    findings.into_list()
}

fn judge(findings: &mut Findings, check: &'static str, syns: u64, answers: u64) {
    if syns < ENOUGH_SYNS {
        findings.ok(check, format!("{syns} SYNs to services so far, too few to tell"));
        return;
    }
    let unanswered = syns.saturating_sub(answers) as f64 / syns as f64;
    let found = format!("{:.1} % of {syns} SYNs to services saw no SYN-ACK", unanswered * 100.0);
    if unanswered < SUSPICIOUS_SHARE {
        findings.ok(check, found);
    } else {
        findings.warn(
            check,
            found,
            "answers leave by another interface (attach Weir there too), or the service does not \
             answer, or this is a flood (`weir status` shows limit_guard)",
        );
    }
}

/// SYNs to services that came in, and SYN-ACKs from them that went out.
fn counts(paths: &Paths) -> std::io::Result<(u64, u64)> {
    let map = bpf::open_pinned(&paths.map(map::TALLY.name))?;
    let words = map::TALLY.value_size as usize / size_of::<u64>();
    let packets = |reason| -> std::io::Result<u64> {
        let values = bpf::lookup_per_cpu(&map, tally::reason_index(reason), words)?;
        Ok(values.chunks(words).filter_map(|tally| tally.first()).sum())
    };
    Ok((packets(Reason::SynSeen)?, packets(Reason::SynAckSeen)?))
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Level, *};

    fn level(syns: u64, answers: u64) -> Level {
        let mut findings = Findings::about("host");
        judge(&mut findings, "both directions", syns, answers);
        findings.into_list()[0].level
    }

    #[test]
    fn a_share_is_judged_only_where_it_means_something() {
        assert_eq!(level(99, 0), Level::Ok);
        assert_eq!(level(1000, 900), Level::Ok);
        assert_eq!(level(1000, 100), Level::Warn);
        assert_eq!(level(1000, 2000), Level::Ok, "retransmitted SYN-ACKs do not wrap around");
    }
}
