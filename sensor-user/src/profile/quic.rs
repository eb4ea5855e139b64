//! QUIC handshakes, until both halves are known: what the client offered, which proves nothing, and
//! that it was proven. They come by two ways and in either order.

use weir_common::abi::FlowKey;

use super::lru::Lru;

#[derive(Clone, Copy, Debug)]
enum Half {
    Offered { resumption: bool },
    Proven,
}

/// QUIC handshakes of which one half is known. Bounded: of those that had to go nothing is said.
#[derive(Debug)]
pub(crate) struct QuicHandshakes {
    halves: Lru<FlowKey, Half>,
}

impl QuicHandshakes {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { halves: Lru::new(capacity) }
    }

    /// A hello came; says so again if its flow was proven already.
    pub(crate) fn offered(&mut self, key: &FlowKey, resumption: bool) -> Option<bool> {
        if let Some(Half::Proven) = self.halves.get(key) {
            self.halves.remove(key);
            return Some(resumption);
        }
        *self.halves.get_or_insert(key, || Half::Proven).0 = Half::Offered { resumption };
        None
    }

    /// A flow was proven; what its hello offered, if that came already.
    pub(crate) fn proven(&mut self, key: &FlowKey) -> Option<bool> {
        if let Some(Half::Offered { resumption }) = self.halves.get(key).copied() {
            self.halves.remove(key);
            return Some(resumption);
        }
        *self.halves.get_or_insert(key, || Half::Proven).0 = Half::Proven;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_halves_make_one_handshake_in_either_order_and_once() {
        let mut handshakes = QuicHandshakes::new(4);
        let key = |port| FlowKey { remote_port: port, ..FlowKey::default() };
        assert_eq!(handshakes.offered(&key(1), true), None);
        assert_eq!(handshakes.proven(&key(1)), Some(true));
        assert_eq!(handshakes.proven(&key(2)), None);
        assert_eq!(handshakes.offered(&key(2), false), Some(false));
        assert_eq!(handshakes.offered(&key(2), false), None, "another connection on its ports");
        for port in 3..100 {
            assert_eq!(handshakes.offered(&key(port), true), None);
        }
        assert_eq!(handshakes.proven(&key(3)), None, "it had to go");
    }
}
