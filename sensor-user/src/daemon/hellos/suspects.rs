//! QUIC connections whose hello was read, until the client is proven.
//!
//! Anybody can send a hello over QUIC in somebody's name. Were a refused fingerprint acted on at
//! once, a stranger could have an address refused, port by port. So it waits until the kernel says
//! that the client of this flow is there; and where hellos of several fingerprints came in the
//! flow's name before that, nobody can tell which was the client's, and nothing is done.

use weir_common::abi::{FlowKey, time::SECOND_NS};

use crate::{event::Hello, fingerprint::ja4::Ja4, profile::lru::Lru};

/// Flows that wait.
const FLOWS: usize = 4096;
/// A client is proven within a round trip or two, or not at all.
const PATIENCE_NS: u64 = 10 * SECOND_NS;

/// The flows.
#[derive(Debug)]
pub(crate) struct Suspects<T> {
    flows: Lru<FlowKey, Suspect<T>>,
}

#[derive(Debug)]
struct Suspect<T> {
    at_ns: u64,
    ja4: Ja4,
    /// `None`: there was another one.
    proof: Option<Proof<T>>,
}

/// What a flow's proof means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Proof<T> {
    /// What the flow is refused by.
    pub(crate) refusal: Option<T>,
    /// The service that the name in the hello led to.
    pub(crate) service: u8,
}

impl<T> Default for Suspects<T> {
    fn default() -> Self {
        Self { flows: Lru::new(FLOWS) }
    }
}

impl<T> Suspects<T> {
    /// A hello came in a flow's name.
    pub(crate) fn hello(&mut self, hello: &Hello, refusal: Option<T>) {
        let Hello { at_ns, ja4, .. } = *hello;
        let known = self.flows.get_mut(&hello.key);
        match known.filter(|known| at_ns.saturating_sub(known.at_ns) <= PATIENCE_NS) {
            Some(known) if known.ja4 == ja4 => {}
            Some(known) => known.proof = None,
            None => {
                let proof = Some(Proof { refusal, service: hello.service });
                self.flows.remove(&hello.key);
                self.flows.get_or_insert(&hello.key, || Suspect { at_ns, ja4, proof });
            }
        }
    }

    /// A flow's client was proven: what that means, if it is known.
    pub(crate) fn proven(&mut self, key: &FlowKey, at_ns: u64) -> Option<Proof<T>> {
        let suspect = self.flows.remove(key)?;
        suspect.proof.filter(|_| at_ns.saturating_sub(suspect.at_ns) <= PATIENCE_NS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(port: u16) -> FlowKey {
        FlowKey { remote_port: port, ..FlowKey::default() }
    }

    fn hello(port: u16, at_ns: u64, n: u8) -> Hello {
        let ja4 = format!("q13i0302h3_55b375c5d22e_{n:012x}").parse().unwrap();
        Hello { key: key(port), at_ns, ja4, ..Hello::test() }
    }

    #[expect(clippy::unnecessary_wraps, reason = "as it is compared with")]
    fn proof(refusal: Option<&'static str>) -> Option<Proof<&'static str>> {
        Some(Proof { refusal, service: 1 })
    }

    #[test]
    fn a_client_is_refused_once_it_is_proven() {
        let mut suspects = Suspects::default();
        suspects.hello(&hello(1, SECOND_NS, 1), Some("a"));
        suspects.hello(&hello(2, SECOND_NS, 2), None);
        // Again, as after another version was agreed on.
        suspects.hello(&hello(1, SECOND_NS + 9, 1), Some("a"));
        assert_eq!(suspects.proven(&key(1), 2 * SECOND_NS), proof(Some("a")));
        assert_eq!(suspects.proven(&key(1), 2 * SECOND_NS), None, "once");
        assert_eq!(suspects.proven(&key(2), 2 * SECOND_NS), proof(None));
        suspects.hello(&hello(1, 3 * SECOND_NS, 1), Some("b"));
        assert_eq!(suspects.proven(&key(1), 60 * SECOND_NS), None, "another connection");
    }

    #[test]
    fn a_forged_hello_refuses_nobody() {
        let mut suspects = Suspects::default();
        suspects.hello(&hello(1, SECOND_NS, 1), Some("forged"));
        suspects.hello(&hello(1, SECOND_NS + 1, 2), None);
        assert_eq!(suspects.proven(&key(1), SECOND_NS + 2), None);
        suspects.hello(&hello(1, 2 * SECOND_NS, 2), None);
        suspects.hello(&hello(1, 2 * SECOND_NS + 1, 1), Some("forged"));
        assert_eq!(suspects.proven(&key(1), 2 * SECOND_NS + 2), None);
    }

    #[test]
    fn one_that_was_long_ago_does_not_count() {
        let mut suspects = Suspects::default();
        suspects.hello(&hello(1, SECOND_NS, 2), None);
        suspects.hello(&hello(1, 60 * SECOND_NS, 1), Some("a"));
        assert_eq!(suspects.proven(&key(1), 61 * SECOND_NS), proof(Some("a")));
        for port in 0..u16::MAX {
            suspects.hello(&hello(port, 62 * SECOND_NS, 1), Some("b"));
        }
        assert_eq!(suspects.flows.len(), FLOWS);
    }
}
