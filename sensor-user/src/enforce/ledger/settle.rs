//! What the kernel is told for one prefix, from everything that is wanted for it and for what
//! covers it.
//!
//! An allow covers: what it allows is taken out of every other entry at or below it, however
//! specific. Of the rest, per service, the strongest counts; where two are equal, the one that
//! lasts longer.
//!
//! A prefix has one entry in the kernel, and an entry one action. So an entry holds only what its
//! own prefix adds: a service that a covering prefix decides is left out, and the kernel's look-up
//! goes on to that prefix. Should several actions of one prefix each add something for different
//! services, the strongest is written and the rest is reported as unmet: never more is done than
//! was wanted.

use std::{cmp::Reverse, sync::Arc};

use weir_common::abi::{Action, ServiceSet};

use super::entry::{Entry, Meaning, Origin};

/// What is to be written for a prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Settlement {
    /// The verdict, if the prefix needs one.
    pub(super) verdict: Option<(Arc<Meaning>, Option<u64>)>,
    /// Whether something that was wanted cannot be expressed.
    pub(super) has_unmet: bool,
}

/// A wish that is still in the running.
struct Candidate<'a> {
    entry: &'a Entry,
    is_own: bool,
}

/// Settles a prefix. `own` are its live entries, `covers` those of everything that covers it;
/// `is_exact` says that it has a look-up of its own before that of prefixes.
pub(super) fn settle<'a>(own: &[&'a Entry], covers: &[&'a Entry], is_exact: bool) -> Settlement {
    if let [only] = own
        && is_exact
        && !covers.iter().any(|c| c.meaning.action == Action::Allow || is_rival_of_exact(c, own))
        && only.meaning.action != Action::Allow
    {
        // By far the most: an address that no allow and nothing stronger concerns.
        let verdict = Some((Arc::clone(&only.meaning), only.expires_ns));
        return Settlement { verdict, has_unmet: false };
    }
    let allows = |entries: &[&'a Entry]| {
        let allows = entries.iter().filter(|entry| entry.meaning.action == Action::Allow);
        allows.fold(ServiceSet::NONE, |all, entry| all.union(entry.meaning.services))
    };
    let own_allows = allows(own);
    let allowed = own_allows.union(allows(covers));
    let refused = covers
        .iter()
        .filter(|entry| entry.meaning.action != Action::Allow)
        .fold(ServiceSet::NONE, |all, entry| all.union(entry.meaning.services));
    let is_allow_needed = !common(own_allows, refused).is_empty();

    let mut candidates: Vec<Candidate<'a>> = Vec::with_capacity(own.len() + covers.len());
    for entry in own.iter().filter(|entry| entry.meaning.action != Action::Allow) {
        candidates.push(Candidate { entry, is_own: true });
    }
    let rivals = covers.iter().filter(|cover| {
        cover.meaning.action != Action::Allow && (!is_exact || is_rival_of_exact(cover, own))
    });
    candidates.extend(rivals.map(|entry| Candidate { entry, is_own: false }));
    let mut layers = layers(candidates, ServiceSet::ALL.minus(allowed));

    if is_allow_needed || (layers.is_empty() && !own_allows.is_empty()) {
        let own_allows = own.iter().filter(|entry| entry.meaning.action == Action::Allow);
        let allows = own_allows.map(|entry| Candidate { entry, is_own: true }).collect();
        let allow = self::layers(allows, ServiceSet::ALL).pop();
        // This host's own addresses are announced anew at every start: no need to write them
        // where nothing is refused.
        let verdict = allow
            .filter(|allow| is_allow_needed || allow.lead.meaning.origin != Origin::Guard)
            .map(Layer::verdict);
        return Settlement { verdict, has_unmet: !layers.is_empty() };
    }
    let has_unmet = layers.len() > 1;
    layers.truncate(1);
    Settlement { verdict: layers.pop().map(Layer::verdict), has_unmet }
}

/// Whether a covering prefix is stronger than an exact entry that the kernel would go by. Otherwise
/// the kernel combines the two as it should.
fn is_rival_of_exact(cover: &Entry, own: &[&Entry]) -> bool {
    let cover = cover.meaning.strength();
    own.iter().any(|own| {
        let own = own.meaning.strength();
        cover > own && !own.yields_to(&cover)
    })
}

/// Services for which the prefix's own entries decide, all with the same strength.
struct Layer<'a> {
    lead: &'a Entry,
    services: ServiceSet,
    end: u64,
}

impl Layer<'_> {
    fn verdict(self) -> (Arc<Meaning>, Option<u64>) {
        let expires_ns = (self.end != u64::MAX).then_some(self.end);
        (self.lead.meaning.for_services(self.services), expires_ns)
    }
}

/// Deals the open services out to the candidates, the strongest first; what own entries got, by
/// strength.
fn layers(mut candidates: Vec<Candidate<'_>>, mut open: ServiceSet) -> Vec<Layer<'_>> {
    candidates.sort_by_cached_key(|candidate| {
        let Candidate { entry, is_own } = candidate;
        Reverse((
            entry.meaning.strength(),
            entry.end(),
            // A covering prefix that says the same and lasts as long makes this one superfluous.
            !is_own,
            entry.meaning.origin == Origin::Operator,
        ))
    });
    let mut layers: Vec<Layer<'_>> = Vec::new();
    for Candidate { entry, is_own } in candidates {
        let decided = common(entry.meaning.services, open);
        if decided.is_empty() {
            continue;
        }
        open = open.minus(decided);
        if !is_own {
            continue;
        }
        match layers.last_mut() {
            Some(layer) if layer.lead.meaning.strength() == entry.meaning.strength() => {
                layer.services = layer.services.union(decided);
                // Without the daemon, rather refuse too short or allow too long than otherwise.
                layer.end = if entry.meaning.action == Action::Allow {
                    layer.end.max(entry.end())
                } else {
                    layer.end.min(entry.end())
                };
            }
            _ => layers.push(Layer { lead: entry, services: decided, end: entry.end() }),
        }
    }
    layers
}

/// What is in both.
fn common(left: ServiceSet, right: ServiceSet) -> ServiceSet {
    left.minus(left.minus(right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enforce::ladder::RateLimit;

    fn entry(action: Action, services: ServiceSet, end: Option<u64>) -> Entry {
        let limit = (action == Action::Limit).then(|| RateLimit::new(100, 1));
        let meaning = Meaning { limit, ..Meaning::operator(action, services, "test") };
        Entry { meaning: meaning.into(), created_ns: 0, expires_ns: end }
    }

    fn written(
        own: &[&Entry],
        covers: &[&Entry],
        is_exact: bool,
    ) -> Option<(Action, ServiceSet, Option<u64>)> {
        let settlement = settle(own, covers, is_exact);
        settlement.verdict.map(|(meaning, end)| (meaning.action, meaning.services, end))
    }

    const ALL: ServiceSet = ServiceSet::ALL;

    #[test]
    fn alone_it_is_written_as_it_is() {
        let drop = entry(Action::Drop, ALL, Some(10));
        assert_eq!(written(&[&drop], &[], true), Some((Action::Drop, ALL, Some(10))));
        assert_eq!(written(&[], &[], true), None);
    }

    #[test]
    fn what_an_allow_covers_is_taken_out() {
        let drop = entry(Action::Drop, ALL, None);
        let allow_one = entry(Action::Allow, ServiceSet::one(1), None);
        let allow_all = entry(Action::Allow, ALL, None);
        let rest = ALL.minus(ServiceSet::one(1));
        assert_eq!(written(&[&drop], &[&allow_one], true), Some((Action::Drop, rest, None)));
        assert_eq!(written(&[&drop, &allow_one], &[], true), Some((Action::Drop, rest, None)));
        assert_eq!(written(&[&drop], &[&allow_all], true), None);
    }

    #[test]
    fn an_allow_inside_what_is_refused_is_written_for_it() {
        let drop = entry(Action::Drop, ALL, None);
        let allow = entry(Action::Allow, ServiceSet::one(1), Some(5));
        let expected = Some((Action::Allow, ServiceSet::one(1), Some(5)));
        assert_eq!(written(&[&allow], &[&drop], true), expected);
        assert_eq!(written(&[&allow], &[], false), expected, "so that a restart finds it");
        let limit = entry(Action::Limit, ServiceSet::one(2), None);
        let settlement = settle(&[&allow, &limit], &[&drop], false);
        assert_eq!(settlement.verdict.unwrap().0.action, Action::Allow);
    }

    #[test]
    fn a_prefix_holds_only_what_it_adds() {
        let drop_one = entry(Action::Drop, ServiceSet::one(1), None);
        let drop_all = entry(Action::Drop, ALL, None);
        let limit = entry(Action::Limit, ALL, None);
        assert_eq!(written(&[&limit], &[&drop_all], false), None);
        let rest = ALL.minus(ServiceSet::one(1));
        assert_eq!(written(&[&limit], &[&drop_one], false), Some((Action::Limit, rest, None)));
        assert_eq!(written(&[&drop_all], &[&limit], false), Some((Action::Drop, ALL, None)));
        // The kernel combines an exact entry with the prefix itself.
        assert_eq!(written(&[&limit], &[&drop_all], true), Some((Action::Limit, ALL, None)));
    }

    #[test]
    fn of_equals_the_longer_one_counts() {
        let short = entry(Action::Drop, ALL, Some(10));
        let long = entry(Action::Drop, ALL, Some(20));
        assert_eq!(written(&[&short], &[&long], false), None);
        assert_eq!(written(&[&long], &[&short], false), Some((Action::Drop, ALL, Some(20))));
        assert_eq!(written(&[&short, &long], &[], true), Some((Action::Drop, ALL, Some(20))));
    }

    #[test]
    fn of_two_limits_the_tighter_one_counts_though_the_kernel_would_take_the_exact_one() {
        let mut tight = entry(Action::Limit, ALL, None);
        let mut meaning = Meaning::clone(&tight.meaning);
        meaning.limit = Some(RateLimit::new(1000, 1));
        tight.meaning = meaning.into();
        let loose = entry(Action::Limit, ALL, None);
        assert_eq!(written(&[&loose], &[&tight], true), None);
        assert_eq!(written(&[&tight], &[&loose], true), Some((Action::Limit, ALL, None)));
    }

    #[test]
    fn observing_never_takes_the_place_of_acting() {
        let limit = entry(Action::Limit, ALL, None);
        let mut watched = entry(Action::Drop, ALL, None);
        let mut meaning = Meaning::clone(&watched.meaning);
        meaning.mode = weir_common::abi::Mode::Observe;
        watched.meaning = meaning.into();
        assert_eq!(written(&[&watched, &limit], &[], true).unwrap().0, Action::Limit);
        assert_eq!(written(&[&watched], &[&limit], false), None);
    }

    #[test]
    fn services_of_equal_strength_are_joined_and_others_unmet() {
        let one = entry(Action::Drop, ServiceSet::one(1), Some(10));
        let two = entry(Action::Drop, ServiceSet::one(2), Some(20));
        let both = ServiceSet::one(1).union(ServiceSet::one(2));
        assert_eq!(written(&[&one, &two], &[], true), Some((Action::Drop, both, Some(10))));
        let limit = entry(Action::Limit, ServiceSet::one(3), None);
        let settlement = settle(&[&one, &limit], &[], true);
        assert!(settlement.has_unmet);
        let (meaning, _) = settlement.verdict.unwrap();
        assert_eq!((meaning.action, meaning.services), (Action::Drop, ServiceSet::one(1)));
    }
}
