//! What a replay made of every source.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use ipnet::IpNet;
use weir_common::abi::{Action, SourceKey};
use weir_sensor::{
    capture::Frame,
    enforce::names,
    event::Event,
    policy::CompiledPolicy,
    replay::{DecisionRecord, Witness},
    score::{Clock, Decision, Engine},
    system::address,
};

use super::{
    labels::{self, Labelled},
    traffic::{Connection, ends},
};

/// What was seen and decided.
pub(crate) struct Observed {
    policy: Arc<CompiledPolicy>,
    clock: Clock,
    /// When each client was seen first, and with which connections.
    clients: BTreeMap<IpAddr, Client>,
    /// By source as it is told.
    decisions: Vec<Decided>,
    /// The strongest that any policy held against a source, decided or not.
    scores: BTreeMap<String, (u8, Vec<String>)>,
    now_ns: u64,
}

#[derive(Default)]
struct Client {
    first_ns: u64,
    begun: BTreeSet<Connection>,
    proven: u64,
}

struct Decided {
    at_ns: u64,
    action: Action,
    record: DecisionRecord,
    /// Connections that each client had begun by then.
    begun: BTreeMap<IpAddr, usize>,
}

/// What was made of one source.
pub(crate) struct Seen {
    /// Connections that it began, and how many of them were proven.
    pub(crate) connections: u64,
    pub(crate) proven: u64,
    /// The strongest action; [`Action::Pass`]-like `None`: nothing.
    pub(crate) action: Option<Action>,
    pub(crate) owasp: BTreeSet<String>,
    pub(crate) score: u8,
    /// Connections and seconds until it was first limited or dropped; else until it was first marked.
    pub(crate) after: Option<(usize, f64)>,
    /// What counted.
    pub(crate) factors: Vec<String>,
}

impl Observed {
    pub(crate) fn new(policy: Arc<CompiledPolicy>, clock: Clock) -> Self {
        Self {
            policy,
            clock,
            clients: BTreeMap::new(),
            decisions: Vec::new(),
            scores: BTreeMap::new(),
            now_ns: 0,
        }
    }

    /// A frame is about to be played.
    pub(crate) fn frame(&mut self, frame: &Frame<'_>) {
        self.now_ns = frame.time_ns;
        let Some((source, destination, protocol)) = ends(frame) else { return };
        // The lab's servers have well-known ports; so have those that a scan tries, where it asks.
        let is_client = !super::SERVERS.iter().any(|it| it.parse() == Ok(source.0));
        if is_client {
            let client = self
                .clients
                .entry(source.0)
                .or_insert_with(|| Client { first_ns: frame.time_ns, ..Client::default() });
            let connection = (source.0, source.1, destination.0, destination.1, protocol);
            client.begun.insert(connection);
        }
    }

    /// What was made of a labelled source.
    pub(crate) fn of(&self, row: &Labelled) -> Seen {
        let clients: Vec<(&IpAddr, &Client)> =
            self.clients.iter().filter(|(address, _)| row.is(**address)).collect();
        let first_ns = clients.iter().map(|(_, client)| client.first_ns).min().unwrap_or(0);
        let is_about = |it: &&Decided| self.is_about(&it.record.source, row);
        let decisions: Vec<&Decided> = self.decisions.iter().filter(is_about).collect();
        let action = decisions.iter().map(|it| it.action).max();
        let first = |least: Action| decisions.iter().find(|it| it.action >= least);
        let after = first(Action::Limit).or_else(|| first(Action::Mark)).map(|it| {
            let begun = it.begun.iter().filter(|(address, _)| row.is(**address));
            let seconds = it.at_ns.saturating_sub(first_ns) as f64 / 1e9;
            (begun.map(|(_, count)| count).sum(), seconds)
        });
        let strongest = decisions.iter().filter(|it| Some(it.action) == action);
        let held = self.scores.iter().filter(|(source, _)| self.is_about(source, row));
        let held = held.max_by_key(|(_, (score, _))| *score);
        let (score, factors) = held.map(|(_, held)| held.clone()).unwrap_or_default();
        Seen {
            connections: clients.iter().map(|(_, client)| client.begun.len() as u64).sum(),
            proven: clients.iter().map(|(_, client)| client.proven).sum(),
            action,
            owasp: strongest.clone().flat_map(|it| it.record.owasp.iter().cloned()).collect(),
            score: strongest.map(|it| it.record.score).max().unwrap_or(0).max(score),
            after,
            factors,
        }
    }

    /// Sources that are named in decisions and that nobody in the lab has.
    pub(crate) fn strangers<'a>(
        &'a self,
        labelled: &'a [Labelled],
    ) -> impl Iterator<Item = &'a str> {
        let is_known = |source: &str| {
            source == "*"
                || source.parse().is_ok_and(|it: IpAddr| labels::is_of_the_lab(it))
                || labelled.iter().any(|row| !row.is_spoofed() && self.is_about(source, row))
        };
        let sources = self.decisions.iter().map(|it| it.record.source.as_str());
        sources.filter(move |source| !is_known(source))
    }

    /// Whether a decision's source is that of a row: an address, or a prefix that the row's client
    /// was seen in.
    fn is_about(&self, source: &str, row: &Labelled) -> bool {
        if source == "*" {
            return row.is_spoofed();
        }
        let net = source.parse::<IpNet>().or_else(|_| source.parse::<IpAddr>().map(IpNet::from));
        let net = net.unwrap();
        self.clients.keys().any(|client| row.is(*client) && net.contains(client))
    }
}

impl Witness for Observed {
    fn event(&mut self, event: &Event) {
        if let Event::Established(event) = event {
            let client = address::ip(&event.key.remote);
            self.clients.entry(client).or_default().proven += 1;
        }
    }

    fn judged(&mut self, event: &Event, decisions: Vec<Decision>, engine: &mut Engine) {
        for decision in decisions {
            let record = DecisionRecord::of(&decision, &self.policy, self.clock);
            let begun = self.clients.iter().map(|(ip, client)| (*ip, client.begun.len())).collect();
            let action = names::action_from_name(&record.action).unwrap();
            self.decisions.push(Decided { at_ns: self.now_ns, action, record, begun });
        }
        let client = match event {
            Event::Established(event) => event.key.remote,
            Event::Closed(event) | Event::Progress(event) => event.key.remote,
            Event::Milestone(event) => event.key.remote,
            Event::Hello(event) => event.client,
            Event::Hit(_) | Event::Signal(_) | Event::Tick { .. } => return,
        };
        let policy = Arc::clone(engine.policy());
        for judge in &policy.policies {
            let source = SourceKey::from_address(&client);
            let Some(score) = engine.score(&source, &judge.name) else { continue };
            let held = self.scores.entry(address::ip(&client).to_string()).or_default();
            if score.total >= held.0 && !score.factors.is_empty() {
                let factor =
                    |it: &weir_sensor::score::Factor| format!("{:+} {}", it.points, it.rule);
                *held = (score.total, score.factors.iter().map(factor).collect());
            }
        }
    }
}
