//! Groups: named sets of addresses that policies can spare.

use std::{cmp::Ordering, net::IpAddr};

use ipnet::IpNet;

/// A named set of addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Why it exists.
    pub why: Option<String>,
    /// Until when it counts, in seconds since 1970; `None` = without end.
    pub expires_unix_s: Option<u64>,
    // Disjoint and ascending, so that a look-up is a binary search.
    members: Vec<IpNet>,
}

impl Group {
    /// A group of these members.
    #[must_use]
    pub fn new(
        name: String,
        why: Option<String>,
        expires_unix_s: Option<u64>,
        members: &Vec<IpNet>,
    ) -> Self {
        Self { name, why, expires_unix_s, members: IpNet::aggregate(members) }
    }

    /// Whether any address of `net` belongs to the group at this time. An IPv6 source is a /64; a
    /// single member inside is enough to spare it.
    #[must_use]
    pub fn touches(&self, net: &IpNet, now_unix_s: u64) -> bool {
        if self.expires_unix_s.is_some_and(|end| now_unix_s >= end) {
            return false;
        }
        touching(&self.members, net).is_some()
    }

    /// How many prefixes it has, merged where they touch.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

/// The first-found of some prefixes, disjoint and ascending, that has an address in common with
/// another one.
pub(super) fn touching<'a>(prefixes: &'a [IpNet], net: &IpNet) -> Option<&'a IpNet> {
    let (first, last) = (net.network(), net.broadcast());
    let found = prefixes.binary_search_by(|member| {
        if is_before(member.broadcast(), first) {
            Ordering::Less
        } else if is_before(last, member.network()) {
            Ordering::Greater
        } else {
            Ordering::Equal
        }
    });
    prefixes.get(found.ok()?)
}

/// Order of addresses; all of IPv4 comes before IPv6.
fn is_before(left: IpAddr, right: IpAddr) -> bool {
    match (left, right) {
        (IpAddr::V4(left), IpAddr::V4(right)) => left < right,
        (IpAddr::V6(left), IpAddr::V6(right)) => left < right,
        (IpAddr::V4(_), IpAddr::V6(_)) => true,
        (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(expires: Option<u64>) -> Group {
        let members =
            ["10.1.0.0/16", "192.0.2.7/32", "10.0.0.0/16", "2001:db8::7/128", "10.0.3.0/24"]
                .map(|net| net.parse().unwrap());
        Group::new("partners".into(), None, expires, &members.into())
    }

    #[test]
    fn finds_members_of_both_families() {
        let group = group(None);
        assert_eq!(group.len(), 3, "10.0.0.0/15 is one prefix");
        for (net, expected) in [
            ("10.0.255.1/32", true),
            ("10.2.0.0/32", false),
            ("192.0.2.7/32", true),
            ("192.0.2.8/32", false),
            ("2001:db8::/64", true),
            ("2001:db8:0:1::/64", false),
            ("::a00:1/128", false),
        ] {
            assert_eq!(group.touches(&net.parse().unwrap(), 0), expected, "{net}");
        }
    }

    #[test]
    fn counts_no_longer_than_it_should() {
        let net = "10.0.0.1/32".parse().unwrap();
        assert!(group(Some(100)).touches(&net, 99));
        assert!(!group(Some(100)).touches(&net, 100));
    }
}
