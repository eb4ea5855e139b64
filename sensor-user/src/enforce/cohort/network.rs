//! Networks, as the cohort counts them: whoever owns one owns all of its addresses.

use weir_common::abi::SourceKey;

/// Most sources of one network that count.
pub(super) const COUNTED: u64 = 4;

/// An IPv4 /24, or an IPv6 /48.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Network([u32; 2]);

/// An IPv4 /16, or an IPv6 /32: what a provider hands out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Region([u32; 2]);

impl Network {
    /// The network of a source.
    pub(super) const fn of(source: &SourceKey) -> Self {
        let [first, second] = source.words;
        // Keys are in wire order: masks are, too.
        match source.v4() {
            Some(word) => Self([first, word & 0xffff_ff00_u32.to_be()]),
            None => Self([first, second & 0xffff_0000_u32.to_be()]),
        }
    }
}

impl Region {
    /// The region of a source.
    pub(super) const fn of(source: &SourceKey) -> Self {
        let [first, _] = source.words;
        match source.v4() {
            Some(word) => Self([first, word & 0xffff_0000_u32.to_be()]),
            None => Self([first, 0]),
        }
    }
}

/// Millionths of a source: shares of networks are added up without rounding away.
pub(super) const UNIT: u64 = 1_000_000;

/// The sources of a network that were seen, and those of them that came to harm.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Census {
    pub(super) seen: u64,
    pub(super) would: u64,
    pub(super) dropped: u64,
}

impl Census {
    /// What it weighs: its sources, but never more than [`COUNTED`] of them.
    pub(super) fn weight(&self) -> u64 {
        self.seen.min(COUNTED) * UNIT
    }

    /// What those that came to harm weigh: their share of what the network weighs.
    pub(super) fn weight_of(&self, harmed: u64) -> u64 {
        (self.weight() * harmed).checked_div(self.seen).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enforce::cohort::tests::source;

    #[test]
    fn networks_are_24_and_48_and_regions_16_and_32() {
        for (one, other, network, region) in [
            ("192.0.2.1", "192.0.2.254", true, true),
            ("192.0.2.1", "192.0.3.1", false, true),
            ("192.0.2.1", "192.1.2.1", false, false),
            ("2001:db8:7:1::", "2001:db8:7:ffff::", true, true),
            ("2001:db8:7::", "2001:db8:8::", false, true),
            ("2001:db8:7::", "2001:db9:7::", false, false),
        ] {
            let (one, other) = (source(one), source(other));
            assert_eq!(Network::of(&one) == Network::of(&other), network);
            assert_eq!(Region::of(&one) == Region::of(&other), region);
        }
    }

    #[test]
    fn a_network_weighs_a_few_sources_and_its_harm_a_share_of_that() {
        let one_of_hundred = Census { seen: 100, would: 0, dropped: 1 };
        assert_eq!(one_of_hundred.weight(), 4 * UNIT);
        assert_eq!(one_of_hundred.weight_of(1), 4 * UNIT / 100);
        let both = Census { seen: 2, would: 0, dropped: 2 };
        assert_eq!((both.weight(), both.weight_of(2)), (2 * UNIT, 2 * UNIT));
        assert_eq!(Census::default().weight_of(0), 0);
    }
}
