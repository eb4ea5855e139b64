//! Many sources that do the same: one TLS library (or one kind of system), one service, one shape of
//! connection. Two hundred addresses with three tries each are nothing one by one.
//!
//! Forgeable evidence: whoever imitates the users of an app makes them look like a campaign. Only
//! sources that are younger than the campaign count, so that who was here before is no part of it.
//! Bounded: clusters of fewer than three sources are on probation.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};

use weir_common::abi::{Flow, SourceKey};

use super::{closed, probation::Probation, recent::seconds, windows::Windows};
use crate::fingerprint::{agreement::SystemLook, ja4::Ja4};

/// Sources of one campaign that are told apart; counts end there.
pub(crate) const MOST_SOURCES: usize = 256;
/// Sources from which on a campaign is established.
const ESTABLISHED: usize = 3;
/// Fewest sources of which a share says something.
const FEWEST: usize = 3;
/// Sizes that differ by less than this factor are the same.
const GRAIN: f64 = 1.12;

const HOUR: u32 = 3600;

/// Two grids of sizes, half a grain apart: what one of them splits lies together in the other.
pub(crate) const GRIDS: usize = 2;

/// What a source's latest connection is like, on both grids.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cluster {
    pub(crate) service: u8,
    keys: [u64; GRIDS],
    /// The other shape that the source has, if it has one: a page and its form are two.
    other: Option<[u64; GRIDS]>,
    /// Whether the source had connections of more than two shapes.
    is_mixed: bool,
}

/// Who speaks: a TLS library, or where there is no TLS, a kind of system.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Speaker<'a> {
    Library(&'a Ja4),
    System(Option<&'a SystemLook>),
}

impl Cluster {
    /// Of a connection that ended.
    pub(crate) fn of(speaker: Speaker<'_>, service: u8, flow: &Flow) -> Self {
        // The standard hasher with its fixed keys: the same on every run.
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let exchanges = closed::exchanges(flow).min(64);
        let keys = [0.0, 0.5].map(|offset| {
            let shape = [flow.ingress.bytes, flow.egress.bytes].map(|bytes| grain(bytes, offset));
            hasher.hash_one((offset > 0.0, speaker, service, exchanges, shape))
        });
        Self { service, keys, other: None, is_mixed: false }
    }

    /// What stands for the shape.
    pub(crate) const fn shape(&self) -> u64 {
        let [first, _] = self.keys;
        first
    }

    /// This one, after another of the same source.
    fn after(self, before: &Self) -> Self {
        if are_alike(&self.keys, &before.keys) {
            Self { other: before.other, is_mixed: before.is_mixed, ..self }
        } else {
            let is_third = before.other.is_some_and(|other| !are_alike(&self.keys, &other));
            Self { other: Some(before.keys), is_mixed: before.is_mixed || is_third, ..self }
        }
    }

    /// Whether the source did something else too, so that it is no part of a campaign.
    pub(crate) const fn is_mixed(&self) -> bool {
        self.is_mixed
    }
}

fn are_alike(one: &[u64; GRIDS], other: &[u64; GRIDS]) -> bool {
    one.iter().zip(other).any(|(one, other)| one == other)
}

fn grain(bytes: u64, offset: f64) -> u32 {
    ((bytes as f64 + 1.0).ln() / GRAIN.ln() + offset) as u32
}

#[derive(Clone, Copy, Debug)]
struct Member {
    source: SourceKey,
    last_s: u32,
    is_exclusive: bool,
}

/// One campaign.
#[derive(Debug)]
pub(crate) struct Campaign {
    first_ns: u64,
    connections: Windows,
    // Ascending by source.
    members: Vec<Member>,
}

impl Campaign {
    /// When its first source was first seen.
    pub(crate) const fn first_ns(&self) -> u64 {
        self.first_ns
    }

    /// Sources in the last hour, at most [`MOST_SOURCES`].
    pub(crate) fn sources(&self, now_ns: u64) -> usize {
        self.recent(now_ns).count()
    }

    /// Their connections of this shape in the last hour.
    pub(crate) fn connections(&self, now_ns: u64) -> u64 {
        self.connections.within(now_ns, HOUR)
    }

    /// Of its sources in the last hour, the share that did nothing else; unknown below [`FEWEST`].
    pub(crate) fn exclusive_share(&self, now_ns: u64) -> Option<f64> {
        let sources = self.sources(now_ns);
        let exclusive = self.recent(now_ns).filter(|member| member.is_exclusive).count();
        (sources >= FEWEST).then(|| exclusive as f64 / sources as f64)
    }

    fn recent(&self, now_ns: u64) -> impl Iterator<Item = &Member> {
        let now_s = seconds(now_ns);
        self.members.iter().filter(move |member| now_s.saturating_sub(member.last_s) < HOUR)
    }

    fn add(&mut self, member: Member) {
        match self.find(&member.source) {
            Ok(at) => {
                if let Some(known) = self.members.get_mut(at) {
                    *known = member;
                }
            }
            Err(at) if self.members.len() < MOST_SOURCES => self.members.insert(at, member),
            Err(_) => {
                let oldest = self.members.iter().enumerate().min_by_key(|(_, it)| it.last_s);
                if let Some(oldest) = oldest.map(|(index, _)| index) {
                    self.members.remove(oldest);
                    let at = self.find(&member.source).unwrap_or_else(|at| at);
                    self.members.insert(at, member);
                }
            }
        }
    }

    fn find(&self, source: &SourceKey) -> Result<usize, usize> {
        self.members.binary_search_by_key(&source.words, |member| member.source.words)
    }
}

/// All campaigns.
#[derive(Debug)]
pub(crate) struct Campaigns {
    known: Probation<u64, Campaign>,
}

impl Campaigns {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { known: Probation::new(capacity) }
    }

    /// A connection of this shape ended. `before` is the source's cluster so far, which becomes the
    /// new one. Says how many others had to go for it.
    pub(crate) fn closed(
        &mut self,
        source: &SourceKey,
        source_first_ns: u64,
        before: &mut Option<Cluster>,
        cluster: Cluster,
        at_ns: u64,
    ) -> u64 {
        let cluster = before.as_ref().map_or(cluster, |before| cluster.after(before));
        if let Some(before) = before.replace(cluster)
            && cluster.is_mixed
            && !before.is_mixed
        {
            self.mix(source, &before);
        }
        let mut evicted = 0;
        for key in cluster.keys {
            let begin = || Campaign {
                first_ns: source_first_ns,
                connections: Windows::default(),
                members: Vec::new(),
            };
            let (campaign, pushed_out) = self.known.get_or_insert(&key, begin);
            evicted += u64::from(pushed_out);
            if source_first_ns < campaign.first_ns {
                continue;
            }
            campaign.connections.record(at_ns, 1);
            let is_exclusive = !cluster.is_mixed;
            campaign.add(Member { source: *source, last_s: seconds(at_ns), is_exclusive });
            let is_established = campaign.members.len() >= ESTABLISHED;
            evicted += u64::from(is_established && self.known.establish(&key));
        }
        evicted
    }

    /// The larger of the two campaigns that a cluster belongs to.
    pub(crate) fn of(&self, cluster: &Cluster) -> Option<&Campaign> {
        let [first, second] = cluster.keys.map(|key| self.known.get(&key));
        let larger = |it: &Option<&Campaign>| it.map_or(0, |it| it.members.len());
        if larger(&second) > larger(&first) { second } else { first }
    }

    /// Takes another capacity; returns how many had to go.
    pub(crate) fn resize(&mut self, capacity: usize) -> u64 {
        self.known.resize(capacity)
    }

    /// A source of these campaigns did something else.
    fn mix(&mut self, source: &SourceKey, cluster: &Cluster) {
        for key in cluster.keys.into_iter().chain(cluster.other.into_iter().flatten()) {
            if let Some(campaign) = self.known.get_mut(&key)
                && let Ok(at) = campaign.find(source)
                && let Some(member) = campaign.members.get_mut(at)
            {
                member.is_exclusive = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_common::abi::time::SECOND_NS;

    use super::*;

    fn flow(request: u64, response: u64) -> Flow {
        let mut flow = Flow { exchanges: 1, ..Flow::default() };
        (flow.ingress.bytes, flow.egress.bytes) = (request, response);
        flow
    }

    fn source(n: u32) -> SourceKey {
        SourceKey { words: [u32::MAX, n] }
    }

    fn cluster(request: u64, response: u64) -> Cluster {
        Cluster::of(Speaker::System(None), 1, &flow(request, response))
    }

    #[test]
    fn many_sources_with_one_shape_are_one_campaign() {
        let mut campaigns = Campaigns::new(64);
        let mut last = None;
        for n in 0..200 {
            let (mut own, first_ns) = (None, u64::from(n) * SECOND_NS);
            for tries in 0..3 {
                let shape = cluster(980 + u64::from(n * 7 + tries) % 14, 2900);
                campaigns.closed(&source(n), first_ns, &mut own, shape, first_ns);
            }
            last = own;
        }
        let now = 200 * SECOND_NS;
        let campaign = campaigns.of(&last.unwrap()).unwrap();
        assert_eq!((campaign.sources(now), campaign.connections(now)), (200, 600));
        assert_eq!(campaign.exclusive_share(now), Some(1.0));
        assert_eq!(campaign.sources(now + 3601 * SECOND_NS), 0);
    }

    #[test]
    fn who_does_two_other_things_too_is_not_exclusive() {
        let mut campaigns = Campaigns::new(64);
        let mut own = vec![None; 4];
        for (n, own) in (0..).zip(&mut own) {
            campaigns.closed(&source(n), 1, own, cluster(500, 500), SECOND_NS);
        }
        campaigns.closed(&source(3), 1, &mut own[3], cluster(9000, 500), SECOND_NS);
        let campaign = campaigns.of(&own[0].unwrap()).unwrap();
        assert_eq!(campaign.exclusive_share(SECOND_NS), Some(1.0), "a page and its form");
        campaigns.closed(&source(3), 1, &mut own[3], cluster(90, 50_000), SECOND_NS);
        let campaign = campaigns.of(&own[0].unwrap()).unwrap();
        assert_eq!(campaign.exclusive_share(SECOND_NS), Some(0.75));
        assert!(own[3].unwrap().is_mixed());
        campaigns.closed(&source(3), 1, &mut own[3], cluster(500, 500), SECOND_NS);
        let campaign = campaigns.of(&own[0].unwrap()).unwrap();
        assert_eq!(campaign.exclusive_share(SECOND_NS), Some(0.75), "it stays so");
    }

    #[test]
    fn who_was_here_before_is_no_part_of_it() {
        let mut campaigns = Campaigns::new(64);
        let mut own = vec![None; 5];
        for (n, own) in (0..).zip(&mut own).take(4) {
            campaigns.closed(&source(n), 50 * SECOND_NS, own, cluster(500, 500), 51 * SECOND_NS);
        }
        campaigns.closed(&source(9), SECOND_NS, &mut own[4], cluster(500, 500), 60 * SECOND_NS);
        let campaign = campaigns.of(&own[0].unwrap()).unwrap();
        assert_eq!(campaign.sources(60 * SECOND_NS), 4);
    }

    #[test]
    fn bounded_and_one_sender_pushes_no_campaign_out() {
        let mut campaigns = Campaigns::new(16);
        let mut own = vec![None; 3];
        for (n, own) in (0..).zip(&mut own) {
            campaigns.closed(&source(n), 1, own, cluster(500, 500), SECOND_NS);
        }
        let mut flood = None;
        for n in 0..1000 {
            campaigns.closed(&source(99), 1, &mut flood, cluster(n * n * 50, n), SECOND_NS);
        }
        assert_eq!(campaigns.of(&own[0].unwrap()).unwrap().sources(SECOND_NS), 3);
        assert!(campaigns.known.len() <= 16);
        let mut many = Campaigns::new(16);
        for n in 0..1000 {
            many.closed(&source(n), 1, &mut None, cluster(500, 500), u64::from(n) * SECOND_NS);
        }
        let campaign = many.of(&cluster(500, 500)).unwrap();
        assert_eq!(campaign.members.len(), MOST_SOURCES);
    }
}
