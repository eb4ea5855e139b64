//! Whether what one client shows in several places can come from one program on one system.
//!
//! Weak evidence throughout: several programs and systems may stand behind an address, and a client
//! may be built of more than one library. What disagrees is therefore only compared within one
//! source, and against everything that the source has shown.

use weir_common::abi::{
    SynSignature,
    syn::{MAX_SYN_OPTIONS, QUIRK_DF},
};

/// TLS 1.3 cipher suites that are remembered in order: as many as are registered (RFC 8446, appendix
/// B.4).
pub(crate) const SUITES: usize = 5;

/// The TLS 1.3 cipher suites of a hello in the client's order. A library writes them alike over TCP
/// and QUIC; older suites only make sense over TCP.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct SuiteOrder([u16; SUITES]);

impl SuiteOrder {
    /// Of a hello's cipher suites.
    #[must_use]
    pub fn of(cipher_suites: &[u16]) -> Self {
        let mut order = [0; SUITES];
        let modern = cipher_suites.iter().filter(|id| **id >> 8 == 0x13);
        for (to, from) in order.iter_mut().zip(modern) {
            *to = *from;
        }
        Self(order)
    }

    /// Their numbers; the rest is zero.
    pub(crate) const fn ids(&self) -> &[u16; SUITES] {
        &self.0
    }

    /// Whether there is any.
    #[must_use]
    pub fn is_known(&self) -> bool {
        *self != Self::default()
    }
}

/// What of a SYN depends on the system that sent it and not on the way, the load or the
/// connection: the order of options, the window scale, the TTL that it began with, and whether it
/// may be fragmented.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SystemLook {
    layout: [u8; MAX_SYN_OPTIONS],
    options: u8,
    scale: u8,
    initial_ttl: u8,
    is_v6: bool,
    may_not_fragment: bool,
}

impl SystemLook {
    /// Of a SYN; `None` if it was not seen.
    #[must_use]
    pub fn of(syn: &SynSignature) -> Option<Self> {
        syn.is_known().then(|| Self {
            layout: syn.layout,
            options: syn.options,
            scale: syn.scale,
            initial_ttl: initial_ttl(syn.ttl),
            is_v6: syn.version == 6,
            may_not_fragment: syn.quirks & QUIRK_DF != 0,
        })
    }
}

/// The TTL that a packet was probably sent with: the next of those that systems use.
const fn initial_ttl(ttl: u8) -> u8 {
    match ttl {
        0..=32 => 32,
        33..=64 => 64,
        65..=128 => 128,
        129..=255 => 255,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_suites_do_not_matter_and_order_does() {
        let tcp = SuiteOrder::of(&[0x1301, 0x1302, 0x1303, 0xc02b, 0x009c]);
        assert_eq!(tcp, SuiteOrder::of(&[0x1301, 0x1302, 0x1303]));
        assert_ne!(tcp, SuiteOrder::of(&[0x1301, 0x1303, 0x1302]));
        assert!(tcp.is_known() && !SuiteOrder::of(&[0xc02b]).is_known());
        assert!(SuiteOrder::of(&[0x1301; 100]).is_known(), "as many as are kept");
    }

    #[test]
    fn a_system_looks_the_same_near_and_far_and_under_load() {
        let mut syn = SynSignature {
            version: 4,
            ttl: 63,
            window: 64240,
            mss: 1460,
            options: 5,
            ..SynSignature::UNKNOWN
        };
        let near = SystemLook::of(&syn).unwrap();
        (syn.ttl, syn.window, syn.mss) = (44, 29200, 1380);
        assert_eq!(SystemLook::of(&syn), Some(near));
        syn.ttl = 120;
        assert_ne!(SystemLook::of(&syn), Some(near));
        assert_eq!(SystemLook::of(&SynSignature::UNKNOWN), None);
    }
}
