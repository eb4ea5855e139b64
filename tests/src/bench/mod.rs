//! What a packet costs: nanoseconds by test run, next to peers measured in the same run.
//!
//! Ours and the peer take turns, round by round, on one packet that is the same for both, and the
//! best round of each counts: whatever else the machine does only ever adds.

mod case;
mod engine;
mod fingerprint;
mod hello;
mod peer;
mod report;
mod subject;

use anyhow::{Result, bail};

pub use self::report::Format;
use self::{
    case::{Case, Load},
    peer::Peers,
    report::Row,
    subject::Subject,
};

/// Rounds, of which the best counts.
const ROUNDS: usize = 9;

/// Runs over one packet in a round.
const REPEAT: u32 = 1_000_000;

/// Runs in a round that all report something.
const REPEAT_REPORTED: u32 = 2_000;

/// Packets of a round where every one of them is another.
const FRESH: u32 = 10_000;

/// Measures the benchmarks named, all if none is, and prints them.
pub fn run(ids: &[String], format: Format) -> Result<()> {
    let is_engine = |id: &String| id == engine::ID;
    if ids.iter().any(is_engine) {
        engine::run(format)?;
        if ids.iter().all(is_engine) {
            return Ok(());
        }
    }
    let cases = chosen(ids)?;
    let with_daemon = ids.is_empty() || ids.iter().any(|id| id == fingerprint::ID);
    if cases.is_empty() {
        return report::print(&[fingerprint::row()?], format);
    }
    let mut subject = Subject::new()?;
    let peers = Peers::new()?;
    let mut best = vec![(f64::INFINITY, f64::INFINITY); cases.len()];
    for round in 0..ROUNDS {
        for (case, (ours, peer)) in cases.iter().zip(&mut best) {
            let packets = packets(case, round);
            *ours = ours.min(measure(case, &packets, case.ours_returns, |packet, repeat| {
                subject.time(packet, repeat)
            })?);
            *peer = peer.min(measure(case, &packets, case.peer_returns, |packet, repeat| {
                peers.time(case.peer, packet, repeat)
            })?);
        }
    }
    let mut rows: Vec<Row> =
        cases.iter().zip(best).map(|(case, (ours, peer))| Row::new(case, ours, peer)).collect();
    if with_daemon {
        rows.push(fingerprint::row()?);
    }
    report::print(&rows, format)
}

/// The cases of these ids, in the order of the list.
fn chosen(ids: &[String]) -> Result<Vec<Case>> {
    let all = case::all();
    let is_daemons = |id: &str| [fingerprint::ID, engine::ID].contains(&id);
    let is_known = |id: &str| is_daemons(id) || all.iter().any(|case| case.id == id);
    if let Some(unknown) = ids.iter().find(|id| !is_known(id)) {
        let known: Vec<&str> =
            all.iter().map(|case| case.id).chain([fingerprint::ID, engine::ID]).collect();
        bail!("there is no benchmark {unknown}; there are {}", known.join(", "));
    }
    Ok(all
        .into_iter()
        .filter(|case| ids.is_empty() || ids.iter().any(|id| id == case.id))
        .collect())
}

/// What a round sends.
fn packets(case: &Case, round: usize) -> Vec<Vec<u8>> {
    match case.load {
        Load::Repeated(packet) | Load::Reported(packet) => vec![packet()],
        Load::Fresh(packet) => {
            let first = round as u32 * FRESH;
            (first..first + FRESH).map(packet).collect()
        }
    }
}

/// Nanoseconds a packet of one round: the mean over one packet's runs, or the median of single
/// runs over many packets. Fails if a packet's fate is not the one that is to be measured.
fn measure(
    case: &Case,
    packets: &[Vec<u8>],
    returns: u32,
    mut time: impl FnMut(&[u8], u32) -> Result<(u32, u32)>,
) -> Result<f64> {
    let repeat = match case.load {
        Load::Repeated(_) => REPEAT,
        Load::Reported(_) => REPEAT_REPORTED,
        Load::Fresh(_) => 1,
    };
    let mut durations = Vec::with_capacity(packets.len());
    for packet in packets {
        let (returned, ns) = time(packet, repeat)?;
        if returned != returns {
            bail!("{}: a program returned {returned} instead of {returns}", case.id);
        }
        durations.push(ns);
    }
    durations.sort_unstable();
    Ok(durations.get(durations.len() / 2).copied().map_or(f64::INFINITY, f64::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_benchmark_is_an_error_that_names_the_known() {
        let error = chosen(&["drop-exat".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("drop-exat") && error.contains("pass-established"), "{error}");
        assert_eq!(chosen(&["drop-exact".to_owned()]).unwrap().len(), 1);
    }

    #[test]
    fn a_packet_with_another_fate_is_not_measured() {
        let cases = chosen(&["drop-exact".to_owned()]).unwrap();
        let case = cases.first().unwrap();
        assert!(measure(case, &packets(case, 0), 1, |_, _| Ok((2, 40))).is_err());
        assert!(measure(case, &packets(case, 0), 1, |_, _| Ok((1, 40))).is_ok());
    }
}
