//! A policy's own tests: a case's traffic is replayed, and what followed is compared with what was to
//! follow.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::PathBuf,
    sync::Arc,
};

use ipnet::IpNet;
use weir_common::abi::{Action, SourceKey};

use super::{
    files::Files,
    input::{Input, InputError, Meter},
    made::{self, BEGINS_NS, Made, PatternError, SERVERS, Said},
    player::Player,
    record::{DecisionRecord, told},
    server::{Servers, ends},
    session::Witness,
};
use crate::{
    capture::{CaptureError, Frame},
    enforce::names,
    event::{Event, Signal},
    policy::{
        CompiledPolicy,
        cases::{Case, Expectation, action_name},
    },
    score::{Clock, Decision, Engine, Factor},
    system::address,
};

/// Why a case could not be tried.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// Its captures cannot be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A recording of events has no packets.
    #[error("{0} is a recording; a case needs a capture")]
    Recording(String),
    /// Its traffic cannot be made.
    #[error("{place}: {source}")]
    Pattern {
        /// Where the pattern stands: `file:line`.
        place: String,
        /// Why.
        source: PatternError,
    },
}

/// Tries a case: what did not follow as expected, a sentence each.
///
/// # Errors
/// If there is nothing to try it with.
pub fn run(case: &Case, policy: &Arc<CompiledPolicy>) -> Result<Vec<String>, TrialError> {
    let observed = observe(case, policy, false)?;
    let failed = |expected: &&Expectation| !observed.faults(expected).is_empty();
    if !case.expect.iter().any(|expected| failed(&expected)) {
        return Ok(Vec::new());
    }
    // Once more, with an eye on what counted.
    let observed = observe(case, policy, true)?;
    Ok(case.expect.iter().flat_map(|expected| observed.faults(expected)).collect())
}

fn observe(
    case: &Case,
    policy: &Arc<CompiledPolicy>,
    is_curious: bool,
) -> Result<Observed, TrialError> {
    if case.captures.is_empty() {
        made_up(case, policy, is_curious)
    } else {
        captured(case, policy, is_curious)
    }
}

fn captured(
    case: &Case,
    policy: &Arc<CompiledPolicy>,
    is_curious: bool,
) -> Result<Observed, TrialError> {
    let mut captures = Vec::new();
    for path in &case.captures {
        match Input::open(path, &Meter::default())? {
            Input::Capture(capture) => captures.push(capture),
            Input::Recording(_) => {
                return Err(TrialError::Recording(path.display().to_string()));
            }
        }
    }
    let paths: &[PathBuf] = &case.captures;
    let servers = if case.servers.is_empty() {
        Files::servers(paths, policy)
    } else {
        Servers::Named(case.servers.clone())
    };
    let mut damage: Option<CaptureError> = None;
    let mut trouble = |error| damage = Some(error);
    let mut files = Files::new(captures, &mut trouble);
    let first_ns = files.first_ns().unwrap_or_default();
    let mut player = Player::new(Arc::clone(policy), servers.clone(), first_ns);
    let mut observed = Observed::new(policy, player.clock(), servers, is_curious);
    while let Some(frame) = files.next_frame(&mut trouble) {
        observed.frame(&frame);
        player.frame(&frame, &mut observed);
    }
    player.finish(&mut observed);
    damage.map_or(Ok(observed), |error| Err(InputError::from(error).into()))
}

fn made_up(
    case: &Case,
    policy: &Arc<CompiledPolicy>,
    is_curious: bool,
) -> Result<Observed, TrialError> {
    let (mut packets, mut said): (Vec<Made>, Vec<Said>) = (Vec::new(), Vec::new());
    for pattern in &case.traffic {
        let (more, says) = made::make(pattern, policy).map_err(|source| {
            let file = case.place.rsplit_once(':').map_or("", |(file, _)| file);
            TrialError::Pattern { place: format!("{file}:{}", pattern.line), source }
        })?;
        packets.extend(more);
        said.extend(says);
    }
    packets.sort_by_key(|packet| packet.at_ns);
    said.sort_by_key(|said| said.at_ns);
    let servers = Servers::Named(SERVERS.map(IpNet::from).to_vec());
    let mut player = Player::new(Arc::clone(policy), servers.clone(), BEGINS_NS);
    let mut observed = Observed::new(policy, player.clock(), servers, is_curious);
    let mut said = said.into_iter().peekable();
    for packet in &packets {
        while let Some(said) = said.next_if(|said| said.at_ns <= packet.at_ns) {
            say(&said, &mut player, &mut observed);
        }
        observed.frame(&packet.frame());
        player.frame(&packet.frame(), &mut observed);
    }
    for said in said {
        say(&said, &mut player, &mut observed);
    }
    player.finish(&mut observed);
    Ok(observed)
}

fn say(said: &Said, player: &mut Player, observed: &mut Observed) {
    let signal = Signal {
        client: address::words(said.client),
        client_port: said.port.to_be(),
        service: said.service,
        kind: said.kind,
        entity: said.entity,
        ..Signal::default()
    };
    let time_ns = BEGINS_NS.saturating_add(said.at_ns);
    observed.now_ns = time_ns;
    player.signal(time_ns, signal, observed);
}

/// What was seen of sources, and decided.
struct Observed {
    policy: Arc<CompiledPolicy>,
    clock: Clock,
    servers: Servers,
    now_ns: u64,
    sources: BTreeMap<String, Seen>,
    decisions: Vec<Decided>,
    /// The most that was held against a source, and why; only if somebody wants to know.
    held: Option<BTreeMap<String, (u8, String)>>,
}

#[derive(Default)]
struct Seen {
    first_ns: u64,
    begun: BTreeSet<(IpNet, u16, u16)>,
}

struct Decided {
    at_ns: u64,
    action: Action,
    record: DecisionRecord,
    /// Connections that the source had begun.
    begun: u64,
}

impl Observed {
    fn new(policy: &Arc<CompiledPolicy>, clock: Clock, servers: Servers, is_curious: bool) -> Self {
        Self {
            policy: Arc::clone(policy),
            clock,
            servers,
            now_ns: 0,
            sources: BTreeMap::new(),
            decisions: Vec::new(),
            held: is_curious.then(BTreeMap::new),
        }
    }

    /// A frame is about to be played.
    fn frame(&mut self, frame: &Frame<'_>) {
        self.now_ns = frame.time_ns;
        let Some((ends, _)) = ends(frame) else { return };
        let client = address::ip(&ends.remote);
        if self.servers.contains(client) {
            return;
        }
        let source = told(&SourceKey::from_address(&ends.remote));
        let seen = self
            .sources
            .entry(source)
            .or_insert_with(|| Seen { first_ns: frame.time_ns, begun: BTreeSet::new() });
        seen.begun.insert((client.into(), ends.remote_port, ends.local_port));
    }

    /// What is not as expected.
    fn faults(&self, expected: &Expectation) -> Vec<String> {
        let Some(net) = &expected.sources else { return self.fault("*", expected) };
        let is_meant = |source: &&String| touches(net, source);
        let sources: Vec<&String> = self.sources.keys().filter(is_meant).collect();
        if sources.is_empty() {
            return vec![format!("{}: no packet came from {net}", expected.place)];
        }
        sources.into_iter().flat_map(|source| self.fault(source, expected)).collect()
    }

    fn fault(&self, source: &str, expected: &Expectation) -> Vec<String> {
        let place = &expected.place;
        let decisions: Vec<&Decided> =
            self.decisions.iter().filter(|it| it.record.source == source).collect();
        let strongest = decisions.iter().map(|it| it.action).max();
        if !expected.actions.contains(&strongest) {
            let wanted: Vec<&str> = expected.actions.iter().map(|it| action_name(*it)).collect();
            let got = self.got(source, &decisions);
            return vec![format!("{place}: {source}: expected {}, got {got}", wanted.join(" or "))];
        }
        let mut faults = Vec::new();
        for id in &expected.owasp {
            let is_named = |it: &&Decided| it.record.owasp.contains(id);
            if strongest.is_some() && !decisions.iter().any(is_named) {
                let got = self.got(source, &decisions);
                faults.push(format!("{place}: {source}: {id} is not named by {got}"));
            }
        }
        let least = expected.actions.iter().copied().flatten().min();
        if let Some(first) = decisions.iter().find(|it| Some(it.action) >= least) {
            faults.extend(self.lateness(source, first, expected));
        }
        faults
    }

    /// That the first decision came too late.
    fn lateness(&self, source: &str, first: &Decided, expected: &Expectation) -> Option<String> {
        let after_ns = first.at_ns.saturating_sub(self.begun_ns(source));
        let is_late = expected.connections.is_some_and(|most| first.begun > most)
            || expected.within_ns.is_some_and(|most| after_ns > most);
        is_late.then(|| {
            let place = &expected.place;
            format!("{place}: {source}: too late: {}", self.describe(source, first))
        })
    }

    /// What was decided, or why nothing was.
    fn got(&self, source: &str, decisions: &[&Decided]) -> String {
        let strongest = decisions.iter().map(|it| it.action).max();
        if let Some(first) = decisions.iter().find(|it| Some(it.action) == strongest) {
            return self.describe(source, first);
        }
        match self.held.as_ref().and_then(|held| held.get(source)) {
            Some((score, factors)) => format!("none: at most {score} points: {factors}"),
            None => "none: no rule was met".to_owned(),
        }
    }

    fn describe(&self, source: &str, decided: &Decided) -> String {
        let after = decided.at_ns.saturating_sub(self.begun_ns(source)) as f64 / 1e9;
        let record = &decided.record;
        let mut text = format!(
            "{} after {} connections and {after:.3} s, {} points by {}:",
            record.action, decided.begun, record.score, record.policy
        );
        for factor in &record.factors {
            // Text takes everything.
            let _ = write!(text, " {:+} {} ({})", factor.points, factor.name, factor.text);
        }
        text
    }

    fn begun_ns(&self, source: &str) -> u64 {
        match self.sources.get(source) {
            Some(seen) => seen.first_ns,
            // Of everybody, the first.
            None => self.sources.values().map(|seen| seen.first_ns).min().unwrap_or_default(),
        }
    }
}

impl Witness for Observed {
    fn event(&mut self, _event: &Event) {}

    fn judged(&mut self, event: &Event, decisions: Vec<Decision>, engine: &mut Engine) {
        for decision in decisions {
            let record = DecisionRecord::of(&decision, &self.policy, self.clock);
            let Some(action) = names::action_from_name(&record.action) else { continue };
            let begun = match self.sources.get(&record.source) {
                Some(seen) => seen.begun.len() as u64,
                None => self.sources.values().map(|seen| seen.begun.len() as u64).sum(),
            };
            self.decisions.push(Decided { at_ns: self.now_ns, action, record, begun });
        }
        let Some(held) = &mut self.held else { return };
        let client = match event {
            Event::Established(event) => event.key.remote,
            Event::Closed(event) | Event::Progress(event) => event.key.remote,
            Event::Milestone(event) => event.key.remote,
            Event::Hello(event) => event.client,
            Event::Signal(event) => event.client,
            Event::Hit(_) | Event::Tick { .. } => return,
        };
        let source = SourceKey::from_address(&client);
        for judge in &self.policy.policies {
            let Some(score) = engine.score(&source, &judge.name) else { continue };
            if score.factors.is_empty() {
                continue;
            }
            let known = held.entry(told(&source)).or_default();
            if score.total >= known.0 {
                let factor = |it: &Factor| format!("{:+} {} ({})", it.points, it.rule, it.sentence);
                let factors: Vec<String> = score.factors.iter().map(factor).collect();
                *known = (score.total, factors.join(" "));
            }
        }
    }
}

/// Whether a source as it is told lies in a prefix, or the prefix in it.
fn touches(net: &IpNet, source: &str) -> bool {
    let own = source.parse::<IpNet>();
    let own = own.or_else(|_| source.parse::<std::net::IpAddr>().map(IpNet::from));
    own.is_ok_and(|own| net.contains(&own) || own.contains(net))
}
