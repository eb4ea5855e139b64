//! Counts harm over a sliding window: one meter for each policy, and one for the host.
//!
//! What goes in is authentic: proven connections, and decisions on evidence that nobody else can have
//! caused. Memory is bounded; a network takes only so much of it.

use std::collections::{HashMap, VecDeque};

use weir_common::abi::SourceKey;

use super::{
    harm::{Affected, Harm},
    network::{Census, Network, UNIT},
};

/// Pieces that a window is made of: its end is known to a twelfth.
const PIECES: u64 = 12;

/// Most sources that are told apart in one window.
const SOURCES: usize = 32_768;

/// Most of one network that are told apart; those named by somebody do not count here.
const PER_NETWORK: u64 = 64;

/// What became of somebody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Nothing.
    Served,
    /// Would have been refused, had the verdict been enforced.
    Would,
    /// Was refused.
    Dropped,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    // Pieces of time, in which it was last seen, and last came to harm.
    last: u64,
    would: Option<u64>,
    dropped: Option<u64>,
    named: bool,
}

#[derive(Debug)]
struct Piece {
    number: u64,
    // Everybody who was seen in it, once.
    sources: Vec<SourceKey>,
    connections: Affected,
}

/// A sliding window of harm.
#[derive(Debug)]
pub(super) struct Meter {
    piece_ns: u64,
    pieces: VecDeque<Piece>,
    marks: HashMap<SourceKey, Mark>,
    networks: HashMap<Network, Census>,
    sources: Affected,
    named: Affected,
    in_networks: Affected,
    // In millionths, without those who are named.
    weights: Affected,
    connections: Affected,
    overlooked: u64,
}

impl Meter {
    pub(super) fn new(window_ns: u64) -> Self {
        Self {
            piece_ns: (window_ns / PIECES).max(1),
            pieces: VecDeque::new(),
            marks: HashMap::new(),
            networks: HashMap::new(),
            sources: Affected::default(),
            named: Affected::default(),
            in_networks: Affected::default(),
            weights: Affected::default(),
            connections: Affected::default(),
            overlooked: 0,
        }
    }

    /// A trusted source made a connection, or one of its connections was ended.
    pub(super) fn connection(&mut self, outcome: Outcome, at_ns: u64) {
        self.pass(at_ns);
        let Some(piece) = self.pieces.back_mut() else { return };
        for count in [&mut piece.connections, &mut self.connections] {
            match outcome {
                Outcome::Served => count.seen += 1,
                Outcome::Would => count.would += 1,
                Outcome::Dropped => count.dropped += 1,
            }
        }
    }

    /// Something became of a trusted source. `named`: somebody labelled it human or allow-listed it.
    pub(super) fn source(&mut self, source: &SourceKey, named: bool, outcome: Outcome, at_ns: u64) {
        self.pass(at_ns);
        let Some(piece) = self.pieces.back_mut() else { return };
        let now = piece.number;
        let known = self.marks.get(source).copied();
        if known.is_none() {
            let census = self.networks.get(&Network::of(source));
            let crowded = !named && census.is_some_and(|census| census.seen >= PER_NETWORK);
            if crowded || self.marks.len() >= SOURCES {
                self.overlooked += 1;
                return;
            }
        }
        let fresh = Mark { last: now, would: None, dropped: None, named };
        let mut mark = known.unwrap_or(fresh);
        if known.is_none_or(|known| known.last != now) {
            piece.sources.push(*source);
        }
        mark.last = now;
        mark.named |= named;
        match outcome {
            Outcome::Served => {}
            Outcome::Would => mark.would = Some(now),
            Outcome::Dropped => mark.dropped = Some(now),
        }
        self.replace(source, known, Some(mark));
    }

    /// It is not trusted any more.
    pub(super) fn remove(&mut self, source: &SourceKey) {
        let known = self.marks.get(source).copied();
        self.replace(source, known, None);
    }

    /// What was done to it was found to be right, or is over: it counts as seen and no more.
    pub(super) fn acquit(&mut self, source: &SourceKey) {
        let known = self.marks.get(source).copied();
        let acquitted = known.map(|mark| Mark { would: None, dropped: None, ..mark });
        self.replace(source, known, acquitted);
    }

    /// Those who were refused, in the order of their addresses.
    pub(super) fn dropped(&self) -> Vec<SourceKey> {
        self.those(|mark| mark.dropped.is_some())
    }

    /// Those who were refused or would have been, in the order of their addresses.
    pub(super) fn harmed(&self) -> Vec<SourceKey> {
        self.those(|mark| mark.dropped.is_some() || mark.would.is_some())
    }

    fn those(&self, are: impl Fn(&Mark) -> bool) -> Vec<SourceKey> {
        let those = self.marks.iter().filter(|(_, mark)| are(mark));
        let mut those: Vec<SourceKey> = those.map(|(source, _)| *source).collect();
        those.sort_unstable_by_key(|source| source.words);
        those
    }

    /// Time passed.
    pub(super) fn pass(&mut self, now_ns: u64) {
        let number = now_ns / self.piece_ns;
        let is_new = self.pieces.back().is_none_or(|piece| piece.number < number);
        if !is_new {
            return;
        }
        while self.pieces.front().is_some_and(|piece| piece.number + PIECES <= number) {
            if let Some(piece) = self.pieces.pop_front() {
                self.expire(piece);
            }
        }
        let (sources, connections) = (Vec::new(), Affected::default());
        self.pieces.push_back(Piece { number, sources, connections });
    }

    fn expire(&mut self, piece: Piece) {
        subtract(&mut self.connections, &piece.connections);
        for source in &piece.sources {
            let Some(known) = self.marks.get(source).copied() else { continue };
            let live = |at: Option<u64>| at.filter(|at| *at > piece.number);
            let left = (known.last > piece.number).then(|| Mark {
                would: live(known.would),
                dropped: live(known.dropped),
                ..known
            });
            self.replace(source, Some(known), left);
        }
    }

    pub(super) fn harm(&self) -> Harm {
        let weight = |weights: u64, named: u64| (weights + named * UNIT) as f64;
        let seen = weight(self.weights.seen, self.named.seen).max(1.0);
        let mut networks = self.in_networks;
        add(&mut networks, &self.named);
        Harm {
            sources: self.sources,
            networks,
            connections: self.connections,
            named: self.named,
            would_share: weight(self.weights.would, self.named.would) / seen,
            dropped_share: weight(self.weights.dropped, self.named.dropped) / seen,
            overlooked: self.overlooked,
            window_ns: self.piece_ns.saturating_mul(PIECES),
        }
    }

    /// The one place where counts of sources change.
    fn replace(&mut self, source: &SourceKey, before: Option<Mark>, after: Option<Mark>) {
        if let Some(mark) = before {
            self.count(source, &mark, subtract);
        }
        match after {
            Some(mark) => {
                self.marks.insert(*source, mark);
                self.count(source, &mark, add);
            }
            None => drop(self.marks.remove(source)),
        }
    }

    fn count(&mut self, source: &SourceKey, mark: &Mark, change: fn(&mut Affected, &Affected)) {
        let one = |is: bool| u64::from(is);
        let counted = Affected {
            seen: 1,
            would: one(mark.would.is_some()),
            dropped: one(mark.dropped.is_some()),
        };
        change(&mut self.sources, &counted);
        if mark.named {
            change(&mut self.named, &counted);
            return;
        }
        let network = Network::of(source);
        let before = self.networks.get(&network).copied().unwrap_or_default();
        let mut sum = Affected { seen: before.seen, would: before.would, dropped: before.dropped };
        change(&mut sum, &counted);
        let after = Census { seen: sum.seen, would: sum.would, dropped: sum.dropped };
        for (total, weigh) in [
            (&mut self.weights, weights as fn(&Census) -> Affected),
            (&mut self.in_networks, presence),
        ] {
            subtract(total, &weigh(&before));
            add(total, &weigh(&after));
        }
        if after.seen == 0 {
            self.networks.remove(&network);
        } else {
            self.networks.insert(network, after);
        }
    }
}

fn weights(census: &Census) -> Affected {
    Affected {
        seen: census.weight(),
        would: census.weight_of(census.would),
        dropped: census.weight_of(census.dropped),
    }
}

fn presence(census: &Census) -> Affected {
    let any = |count: u64| u64::from(count > 0);
    Affected { seen: any(census.seen), would: any(census.would), dropped: any(census.dropped) }
}

fn add(to: &mut Affected, what: &Affected) {
    to.seen += what.seen;
    to.would += what.would;
    to.dropped += what.dropped;
}

fn subtract(from: &mut Affected, what: &Affected) {
    from.seen = from.seen.saturating_sub(what.seen);
    from.would = from.would.saturating_sub(what.would);
    from.dropped = from.dropped.saturating_sub(what.dropped);
}

#[cfg(test)]
mod tests;
