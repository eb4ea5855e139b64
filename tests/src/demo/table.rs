//! The demo's tables: one line an actor, and under it the evidence against it.

use std::time::Duration;

use super::{
    observation::Observation,
    screen::{Live, Paint, fit},
};
use crate::{
    actors::{Origin, Report},
    weir::Status,
};

/// At most this many factors are shown of a decision.
const FACTORS: usize = 3;

/// Where Weir is, and how long it took to get there.
pub(super) fn attached(status: &Status, took: Duration) -> String {
    let interfaces: Vec<String> = status
        .interfaces
        .iter()
        .map(|interface| {
            format!("{} ({}, egress {})", interface.name, interface.ingress, interface.egress)
        })
        .collect();
    format!(
        "Weir attached to {} in {} ms, mode {}",
        interfaces.join(", "),
        took.as_millis(),
        status.mode.effective
    )
}

/// The part that is redrawn.
pub(super) fn live(seen: &Observation, elapsed: Duration, lasting: Duration, paint: Paint) -> Live {
    let stopped = seen.reports.iter().filter(|report| is_restricted(seen, report)).count();
    let honest = || seen.reports.iter().filter(|report| report.is_honest);
    let served: u64 = honest().map(|report| report.served).sum();
    let failed: u64 = honest().map(|report| report.failed).sum();
    let line = format!(
        "{:>2} s: {} honest requests served, {failed} failed; {stopped} attackers held back",
        elapsed.as_secs(),
        grouped(served),
    );
    let mut lines = vec![String::new(), bar(elapsed, lasting, paint), String::new()];
    lines.push(header(paint));
    lines.extend(seen.reports.iter().map(|report| row(seen, report, None, paint)));
    Live { line, lines }
}

/// The table at the end.
pub(super) fn result(seen: &Observation, status: &Status, paint: Paint) -> Vec<String> {
    let guarded = status.packets("limit_guard");
    let mut lines = vec![header(paint)];
    for report in &seen.reports {
        lines.push(row(seen, report, Some(guarded), paint));
        lines.extend(evidence(seen, report, status, paint));
    }
    lines.push(String::new());
    lines.push(paint.faint(
        "  served/tried: requests; of the hoarder connections; of scanner and flood packets sent",
    ));
    lines.push(paint.faint("  after: from the packet that crossed the threshold to the kernel"));
    lines.push(paint.faint(&format!(
        "  memory: daemon {:.1} MiB resident, kernel maps {:.1} MiB",
        mebibytes(status.memory.resident_bytes),
        mebibytes(status.memory.kernel_bytes),
    )));
    lines
}

fn header(paint: Paint) -> String {
    paint.faint(&format!(
        "  {:<15} {:<22} {:>15}  {:<10} {:>10} {:>15}",
        "ACTOR", "ADDRESS", "SERVED/TRIED", "VERDICT", "AFTER", "HELD BY XDP"
    ))
}

/// One actor. Columns are padded before they are painted: escape codes have no width.
fn row(seen: &Observation, report: &Report, guarded: Option<u64>, paint: Paint) -> String {
    let verdict = report.origin.address().and_then(|address| seen.verdict(address));
    let (action, held) = match (verdict, report.origin) {
        (Some(verdict), _) => (verdict.action.clone(), Some(verdict.hits)),
        (None, Origin::Forged(..)) => (guarded.map_or("–", |_| "SYN guard").to_owned(), guarded),
        (None, Origin::Address(_)) => ("–".to_owned(), None),
    };
    let after = verdict
        .zip(report.origin.address())
        .and_then(|(verdict, address)| seen.decision(address, &verdict.action)?.to_verdict_ms);
    let served = if sends_packets(report) {
        format!("–/{}", grouped(report.attempted))
    } else {
        format!("{}/{}", grouped(report.served), grouped(report.attempted))
    };
    let served = format!("{served:>15}");
    let served = match (report.is_honest, report.failed) {
        (true, 0) => paint.good(&served),
        (true, _) => paint.bad(&served),
        (false, _) => served,
    };
    let restricts = matches!(action.as_str(), "drop" | "reject" | "limit" | "SYN guard");
    let action = format!("{action:<10}");
    let action = match (report.is_honest, restricts) {
        (true, true) => paint.bad(&action),
        (false, true) => paint.warn(&action),
        (_, false) => action,
    };
    let name = format!("{:<15}", report.actor);
    let name = if report.is_honest { name } else { paint.strong(&name) };
    format!(
        "  {name} {:<22} {served}  {action} {:>10} {:>15}",
        report.origin.to_string(),
        after.map_or("–".to_owned(), |ms| format!("{ms:.2} ms")),
        held.filter(|_| restricts).map_or("–".to_owned(), grouped),
    )
}

/// Why an actor was held back.
fn evidence(seen: &Observation, report: &Report, status: &Status, paint: Paint) -> Vec<String> {
    const INDENT: &str = "      ";
    let Some(address) = report.origin.address() else {
        let retried = status.packets("pass_guard_retry");
        let text = format!(
            "forged sources: first SYNs held back, {} retransmissions passed",
            grouped(retried)
        );
        return vec![format!("{INDENT}{}", paint.faint(&text))];
    };
    let Some(verdict) = seen.verdict(address) else {
        return Vec::new();
    };
    let Some(decision) = seen.decision(address, &verdict.action) else {
        let text = fit(&format!("{}: {}", verdict.origin, verdict.reason), INDENT.len());
        return vec![format!("{INDENT}{}", paint.faint(&text))];
    };
    let mut factors: Vec<_> = decision.factors.iter().collect();
    factors.sort_by(|a, b| b.points.total_cmp(&a.points));
    let mut lines: Vec<String> = factors
        .iter()
        .take(FACTORS)
        .map(|factor| {
            format!("{:+.0} {} ({}): {}", factor.points, factor.name, factor.kind, factor.text)
        })
        .collect();
    if let Some(first) = lines.first_mut()
        && !decision.owasp.is_empty()
    {
        *first = format!("{} {first}", decision.owasp.join(" "));
    }
    lines.iter().map(|line| format!("{INDENT}{}", paint.faint(&fit(line, INDENT.len())))).collect()
}

fn bar(elapsed: Duration, lasting: Duration, paint: Paint) -> String {
    const CELLS: usize = 40;
    let share = (elapsed.as_secs_f64() / lasting.as_secs_f64().max(0.001)).min(1.0);
    let full = (share * CELLS as f64) as usize;
    format!(
        "  {}{} {:>4.1} s",
        paint.good(&"━".repeat(full)),
        paint.faint(&"━".repeat(CELLS - full)),
        elapsed.as_secs_f64()
    )
}

fn is_restricted(seen: &Observation, report: &Report) -> bool {
    report
        .origin
        .address()
        .and_then(|address| seen.verdict(address))
        .is_some_and(|verdict| verdict.restricts())
}

fn sends_packets(report: &Report) -> bool {
    report.served == 0 && report.failed == 0 && !report.is_honest
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// A number with separators: 12,345.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            [0, 999, 1000, 12_345, 1_234_567].map(grouped),
            ["0", "999", "1,000", "12,345", "1,234,567"]
        );
    }

    #[test]
    fn a_row_fits_the_terminal() {
        let report = Report {
            actor: "health checker",
            origin: Origin::Address("2001:db8:113:11::1".parse().unwrap()),
            is_honest: true,
            attempted: 100_000,
            served: 100_000,
            failed: 0,
            held: 0,
            began_ns: None,
            first_failed_ns: None,
            last_served_ns: None,
        };
        let row = row(&Observation::default(), &report, None, Paint::none());
        assert!(row.chars().count() <= 100, "{row}");
        assert_eq!(row.chars().count(), header(Paint::none()).chars().count());
    }
}
