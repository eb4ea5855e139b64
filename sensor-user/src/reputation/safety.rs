//! What a list may not do. A feed is written by strangers: one that lists everybody, or this host, or
//! is suddenly another, is refused whole, and the last good one stays.

use ipnet::IpNet;

use super::prefixes::{PrefixSet, Size};

/// Prefixes wider than this are no sources: IPv4.
const WIDEST_V4: u8 = 8;
/// And IPv6: what a registry gives to the largest providers.
const WIDEST_V6: u8 = 19;

/// A change of so little is never too much: of ten /24s, or ten /48s.
const SLIGHT: Size = Size { v4: 10 << 8, v6: 10 << 16 };

/// What must never be listed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Protected {
    /// This host's own addresses and its gateways.
    pub own: Vec<IpNet>,
    /// What declared proxies connect from.
    pub proxies: Vec<IpNet>,
}

/// Why a list is refused.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum Refusal {
    /// It lists everybody.
    #[error("it lists {net}, which is everybody")]
    Everybody {
        /// As what.
        net: IpNet,
    },
    /// It lists what no list of sources would.
    #[error("it lists {net}: nothing wider than /{widest} is taken for sources")]
    Wide {
        /// What.
        net: IpNet,
        /// What is taken.
        widest: u8,
    },
    /// It lists this host, or what it depends on.
    #[error("it lists {net}, and {own} is this host's own or its gateway's")]
    Own {
        /// As what.
        net: IpNet,
        /// What.
        own: IpNet,
    },
    /// It lists a proxy.
    #[error("it lists {net}, and clients come through the declared proxy {proxy}")]
    Proxy {
        /// As what.
        net: IpNet,
        /// Which.
        proxy: IpNet,
    },
    /// Too much of it is new or gone.
    #[error(
        "{share:.0} % of the {family} addresses in it came or went at once, and `max_change` is {most:.0} %"
    )]
    Change {
        /// How much, in percent of what was listed.
        share: f64,
        /// What is allowed, in percent.
        most: f64,
        /// Of which family.
        family: &'static str,
    },
}

/// Whether a list may be used, after `before` if there was one.
///
/// # Errors
/// Why not.
pub fn check(
    nets: &[IpNet],
    set: &PrefixSet,
    before: Option<&PrefixSet>,
    max_change: f64,
    protected: &Protected,
) -> Result<(), Refusal> {
    for net in nets {
        check_width(net)?;
    }
    if let Some((net, own)) = listed(nets, set, &protected.own) {
        return Err(Refusal::Own { net, own });
    }
    if let Some((net, proxy)) = listed(nets, set, &protected.proxies) {
        return Err(Refusal::Proxy { net, proxy });
    }
    match before {
        Some(before) => check_change(set, before, max_change),
        None => Ok(()),
    }
}

fn check_width(net: &IpNet) -> Result<(), Refusal> {
    let widest = match net {
        IpNet::V4(_) => WIDEST_V4,
        IpNet::V6(_) => WIDEST_V6,
    };
    match net.prefix_len() {
        0 => Err(Refusal::Everybody { net: *net }),
        length if length < widest => Err(Refusal::Wide { net: *net, widest }),
        _ => Ok(()),
    }
}

/// The first of some prefixes that is listed whole, and as what. One that is listed in part is no
/// mistake: a neighbour's bad name must not be a way to have a whole feed refused.
fn listed(nets: &[IpNet], set: &PrefixSet, protected: &[IpNet]) -> Option<(IpNet, IpNet)> {
    let found = protected.iter().find(|other| set.covers(other))?;
    // Sources are /64s, and so is what is listed.
    let touches = |net: &&IpNet| PrefixSet::new(&[**net]).touches(found);
    Some((nets.iter().find(touches).copied().unwrap_or(*found), *found))
}

fn check_change(set: &PrefixSet, before: &PrefixSet, max_change: f64) -> Result<(), Refusal> {
    let (changed, was) = (set.difference(before), before.size());
    let families =
        [("IPv4", changed.v4, was.v4, SLIGHT.v4), ("IPv6", changed.v6, was.v6, SLIGHT.v6)];
    for (family, changed, was, slight) in families {
        if changed > slight && changed as f64 > was as f64 * max_change {
            let share = 100.0 * changed as f64 / (was as f64).max(1.0);
            return Err(Refusal::Change { share, most: 100.0 * max_change, family });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn checked(list: &[&str], before: Option<&[&str]>) -> Result<(), Refusal> {
        let protected = Protected {
            own: nets(&["192.0.2.10/32", "127.0.0.1/32", "2001:db8:5::10/128"]),
            proxies: nets(&["198.51.100.0/25"]),
        };
        let list = nets(list);
        let before = before.map(|before| PrefixSet::new(&nets(before)));
        check(&list, &PrefixSet::new(&list), before.as_ref(), 0.2, &protected)
    }

    #[test]
    fn nobody_lists_everybody_or_half_of_everybody() {
        for (wrong, expected) in [
            ("0.0.0.0/0", "it lists 0.0.0.0/0, which is everybody"),
            ("::/0", "it lists ::/0, which is everybody"),
            ("128.0.0.0/1", "it lists 128.0.0.0/1: nothing wider than /8 is taken for sources"),
            ("2000::/3", "it lists 2000::/3: nothing wider than /19 is taken for sources"),
        ] {
            let error = checked(&["203.0.113.0/24", wrong], None).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        assert_eq!(checked(&["13.0.0.0/8", "2a00::/19"], None), Ok(()));
    }

    #[test]
    fn nobody_lists_this_host_or_its_proxies() {
        for (wrong, own) in [
            ("192.0.2.0/24", "192.0.2.10/32"),
            ("192.0.2.10/32", "192.0.2.10/32"),
            ("127.0.0.0/8", "127.0.0.1/32"),
            ("2001:db8:5::/48", "2001:db8:5::10/128"),
            ("2001:db8:5::77/128", "2001:db8:5::10/128"),
        ] {
            let error = checked(&["203.0.113.0/24", wrong], None).unwrap_err();
            assert!(
                matches!(&error, Refusal::Own { own: found, .. }
                if *found == own.parse().unwrap()),
                "{wrong}: {error}"
            );
        }
        for wrong in ["198.51.100.0/24", "198.51.100.0/25"] {
            let error = checked(&[wrong], None).unwrap_err();
            assert!(matches!(error, Refusal::Proxy { .. }), "{wrong}: {error}");
        }
        let neighbours = ["192.0.2.11/32", "198.51.100.7/32", "2001:db8:5:1::/64"];
        assert_eq!(checked(&neighbours, None), Ok(()), "a neighbour is not this host");
    }

    #[test]
    fn a_list_that_is_suddenly_another_is_refused() {
        let before: Vec<String> = (0..100).map(|n| format!("203.{n}.0.0/20")).collect();
        let before: Vec<&str> = before.iter().map(String::as_str).collect();
        let check = |list: &[&str]| checked(list, Some(&before));
        assert_eq!(check(&before), Ok(()));
        assert_eq!(check(&before[..81]), Ok(()));
        let error = check(&before[..79]).unwrap_err().to_string();
        assert_eq!(
            error,
            "21 % of the IPv4 addresses in it came or went at once, and `max_change` is 20 %"
        );
        let more: Vec<&str> = before.iter().copied().chain(["100.0.0.0/10"]).collect();
        assert!(matches!(check(&more), Err(Refusal::Change { .. })));
        let family: Vec<&str> = before.iter().copied().chain(["2a00::/32"]).collect();
        assert!(matches!(check(&family), Err(Refusal::Change { family: "IPv6", .. })));
    }

    #[test]
    fn a_short_list_can_be_edited() {
        let before = ["203.0.113.7/32", "203.0.113.9/32"];
        assert_eq!(checked(&["203.0.113.7/32", "100.1.1.0/24"], Some(&before)), Ok(()));
        assert_eq!(checked(&["100.1.1.0/24", "2a00:1::/48"], Some(&before)), Ok(()));
        assert!(checked(&["100.0.0.0/16"], Some(&before)).is_err());
    }
}
