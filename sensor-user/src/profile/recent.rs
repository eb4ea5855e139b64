//! Distinct things and when each was seen last: exact up to a bound, and bounded from there on.

use weir_common::abi::time::SECOND_NS;

use super::latest::grow_exactly;

/// Distinct things. When it is full, the one that was seen longest ago goes.
#[derive(Debug)]
pub(crate) struct Recent<K> {
    // Ascending by key; the time is in seconds.
    seen: Vec<(K, u32)>,
}

impl<K> Default for Recent<K> {
    fn default() -> Self {
        Self { seen: Vec::new() }
    }
}

impl<K: Ord + Copy> Recent<K> {
    /// Notes one; whether it was not there.
    pub(crate) fn note(&mut self, key: K, at_ns: u64, most: usize) -> bool {
        let at_s = seconds(at_ns);
        let at = match self.seen.binary_search_by_key(&key, |(known, _)| *known) {
            Ok(at) => {
                if let Some((_, last)) = self.seen.get_mut(at) {
                    *last = at_s.max(*last);
                }
                return false;
            }
            Err(at) => at,
        };
        if self.seen.len() < most {
            grow_exactly(&mut self.seen);
            self.seen.insert(at, (key, at_s));
            return true;
        }
        let oldest = self.seen.iter().enumerate().min_by_key(|(_, (key, last))| (*last, *key));
        if let Some(oldest) = oldest.map(|(index, _)| index) {
            self.seen.remove(oldest);
            self.seen.insert(at - usize::from(oldest < at), (key, at_s));
        }
        true
    }

    pub(crate) fn len(&self) -> usize {
        self.seen.len()
    }

    /// How many were seen in the last `seconds`.
    pub(crate) fn within(&self, now_ns: u64, seconds: u32) -> usize {
        let now_s = self::seconds(now_ns);
        self.seen.iter().filter(|(_, last)| now_s.saturating_sub(*last) < seconds).count()
    }
}

/// A time in seconds.
pub(crate) fn seconds(at_ns: u64) -> u32 {
    u32::try_from(at_ns / SECOND_NS).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_equals_a_map_of_times_as_long_as_there_is_room(
            steps in prop::collection::vec((0u8..12, 0u64..100), 0..200),
            most in 1usize..16,
            window in 1u32..200,
        ) {
            let mut recent = Recent::default();
            let mut map: BTreeMap<u8, u64> = BTreeMap::new();
            let mut now = 0;
            for (key, after) in steps {
                now += after;
                recent.note(key, now * SECOND_NS, most);
                if !map.contains_key(&key) && map.len() == most {
                    let oldest = map.iter().min_by_key(|(key, at)| (**at, **key)).map(|(key, _)| *key);
                    map.remove(&oldest.unwrap());
                }
                map.insert(key, now);
            }
            let expected = map.values().filter(|at| now - **at < u64::from(window)).count();
            prop_assert_eq!(recent.within(now * SECOND_NS, window), expected);
            prop_assert!(recent.seen.len() <= most);
        }
    }
}
