//! What the tables remember, and how two engines' memories differ.

use std::{collections::HashMap, fmt::Debug, hash::Hash};

use weir_common::abi::{
    Flow, FlowKey, Handshake, Outbound, Source, SourceKey, flow::FLOW_APPROXIMATE,
};

/// Conversations and sources. Equal records are equal byte for byte: none of these types has
/// padding, and all of their fields are compared.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// Proven flows.
    pub flows: Vec<(FlowKey, Flow)>,
    /// Proven sources.
    pub sources: Vec<(SourceKey, Source)>,
    /// Half-open connections.
    pub handshakes: Vec<(FlowKey, Handshake)>,
    /// Flows that this host opened.
    pub outbound: Vec<(FlowKey, Outbound)>,
}

impl Records {
    /// Clears the bit that only a hook which may see super-packets sets.
    pub fn forget_approximation(&mut self) {
        for (_, flow) in &mut self.flows {
            flow.flags &= !FLOW_APPROXIMATE;
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flows.len() + self.sources.len() + self.handshakes.len() + self.outbound.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What one memory holds otherwise than the other, a line each.
#[must_use]
pub fn difference(one: &Records, other: &Records) -> Vec<String> {
    let mut lines = Vec::new();
    compare(&mut lines, "flow", &one.flows, &other.flows);
    compare(&mut lines, "source", &one.sources, &other.sources);
    compare(&mut lines, "handshake", &one.handshakes, &other.handshakes);
    compare(&mut lines, "outbound", &one.outbound, &other.outbound);
    lines
}

fn compare<K, V>(lines: &mut Vec<String>, kind: &str, one: &[(K, V)], other: &[(K, V)])
where
    K: Copy + Eq + Hash + Debug,
    V: Copy + PartialEq + Debug,
{
    let others: HashMap<K, V> = other.iter().copied().collect();
    let ones: HashMap<K, V> = one.iter().copied().collect();
    for (key, value) in one {
        match others.get(key) {
            None => lines.push(format!("{kind} {key:?} is in one only: {value:?}")),
            Some(found) if found != value => {
                lines.push(format!("{kind} {key:?} differs:\n    {value:?}\n    {found:?}"));
            }
            Some(_) => {}
        }
    }
    for (key, value) in other {
        if !ones.contains_key(key) {
            lines.push(format!("{kind} {key:?} is in the other only: {value:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_is_missing_or_other_is_a_difference() {
        let with = |connections| Records {
            sources: vec![(SourceKey::default(), Source { connections, ..Source::default() })],
            ..Records::default()
        };
        assert!(difference(&with(1), &with(1)).is_empty());
        assert_eq!(difference(&with(1), &with(2)).len(), 1);
        assert_eq!(difference(&with(1), &Records::default()).len(), 1);
        assert_eq!(difference(&Records::default(), &with(1)).len(), 1);
    }
}
