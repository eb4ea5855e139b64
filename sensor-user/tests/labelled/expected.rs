//! What each labelled source deserves.

use weir_common::abi::Action;
use weir_sensor::enforce::names;

use super::{
    labels::{Label, Labelled},
    observed::Seen,
};

/// From how many connections on a bot must be found.
const ENOUGH: u64 = 10;

/// OWASP ids that fit what a source does, by the words that its kind has.
const FITTING: [(&str, &[&str]); 13] = [
    ("flood", &["OAT-015"]),
    ("slowloris", &["OAT-015"]),
    ("load tool", &["OAT-015"]),
    ("port scan", &["OAT-018", "OAT-014", "OAT-004"]),
    ("Xmas/FIN/NULL scan", &["OAT-018", "OAT-014", "OAT-004"]),
    ("OS detection", &["OAT-018", "OAT-014", "OAT-004"]),
    ("TLS scanner", &["OAT-018", "OAT-014", "OAT-004"]),
    ("login brute force", &["OAT-007", "OAT-008"]),
    ("credential stuffing", &["OAT-008", "OAT-007"]),
    ("directory brute force", &["OAT-018", "OAT-014", "OAT-011"]),
    ("web attack tool", &["OAT-014", "OAT-018"]),
    ("scraper", &["OAT-011"]),
    ("browser impersonation", &["OAT-011", "OAT-008", "OAT-007", "OAT-004"]),
];

/// Above [`line`]s.
pub(crate) const HEADING: &str = "label  action score conns  found after            OWASP                    \
                           source          capture, kind, tool, factors";

/// What is wrong with what was made of a source.
pub(crate) fn faults(row: &Labelled, seen: &Seen) -> Vec<String> {
    let mut faults = Vec::new();
    let action = seen.action;
    match row.label {
        Label::Human | Label::Client => {
            if action >= Some(Action::Limit) {
                let what = name(action);
                faults.push(format!("{what}, and is honest: {}", seen.factors.join(", ")));
            }
        }
        Label::Attack | Label::Bot => {
            // As labelled: whoever holds half of its connections back is no less a bot.
            let must = row.label == Label::Attack || row.connections >= ENOUGH;
            let least = match (must, row.kind.starts_with("headless browser")) {
                (true, _) if seen.proven >= ENOUGH && !is_scan(row) => Some(Action::Drop),
                (true, _) => Some(Action::Limit),
                // Of its three connections one scrapes: it must not be among those that were removed.
                (false, true) if seen.proven >= row.connections => Some(Action::Mark),
                (false, _) => None,
            };
            if let Some(least) = least.filter(|least| action < Some(*least)) {
                faults.push(format!("{}, and deserves {}", name(action), name(Some(least))));
            }
            if action >= Some(Action::Reject) && seen.proven == 0 {
                faults.push(format!("{}, and never proved itself", name(action)));
            }
            if least.is_some() && action.is_some() && !fits(row, seen) {
                faults.push("no OWASP id that fits".to_owned());
            }
        }
    }
    faults
}

/// A row of the table.
pub(crate) fn line(row: &Labelled, seen: &Seen, faults: &[String]) -> String {
    let label = format!("{:?}", row.label).to_lowercase();
    let after = seen.after.map_or_else(
        || "-".to_owned(),
        |(connections, seconds)| format!("{connections} conns, {seconds:.3} s"),
    );
    let owasp: Vec<&str> = seen.owasp.iter().map(String::as_str).collect();
    let file = row.file.rsplit('/').next().unwrap_or_default();
    let factors = seen.factors.join(", ");
    let faults: String = faults.iter().map(|fault| format!("   <== WRONG: {fault}")).collect();
    format!(
        "{label:6} {:6} {:>5} {:>5}  {after:22} {:24} {:15} {file}, {}, {}: {factors}{faults}",
        name(seen.action),
        seen.score,
        seen.connections,
        owasp.join(" "),
        row.source,
        row.kind,
        row.tool,
    )
}

fn name(action: Option<Action>) -> &'static str {
    action.map_or("none", names::action_name)
}

/// A scan proves nothing that matters, even where some of its connections are.
fn is_scan(row: &Labelled) -> bool {
    row.kind.contains("scan") && row.label == Label::Attack
}

fn fits(row: &Labelled, seen: &Seen) -> bool {
    let fitting = FITTING.iter().find(|(word, _)| row.kind.contains(word));
    let (_, ids) = fitting.unwrap_or_else(|| panic!("no ids are known for {}", row.kind));
    ids.iter().any(|id| seen.owasp.contains(*id))
}
