//! What the host engine keeps for ClientHellos and SYN signatures: verdicts, names, proxies, and
//! captures, which are made when they are first asked for.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use crate::abi::{
    Capture, FlowKey, HelloHeader, Verdict,
    hello::{COVERAGE_WORDS, HELLO_ROOM},
    key::Address,
};
use crate::tls::Seed;

/// A record of `HELLO_BYTES`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HelloRecord {
    /// Its header.
    pub header: HelloHeader,
    /// The bytes behind it.
    pub bytes: Vec<u8>,
    /// The coverage bitmap, where the kind has one.
    pub coverage: Option<[u64; COVERAGE_WORDS]>,
}

/// Tables of fingerprints.
#[derive(Debug, Default)]
pub struct Fingerprints {
    /// The secret of match keys.
    pub seed: Seed,
    /// Verdicts by match key or stable key.
    pub hellos: RefCell<HashMap<u64, Verdict>>,
    /// Verdicts by SYN signature.
    pub syns: RefCell<HashMap<u64, Verdict>>,
    /// Verdicts by flow.
    pub flows: RefCell<HashMap<FlowKey, Verdict>>,
    /// Services by name.
    pub names: RefCell<HashMap<u64, u8>>,
    /// Declared proxies: prefix and its length, of IPv4-mapped or IPv6 addresses.
    pub proxies: RefCell<Vec<(Address, u32)>>,
    /// `INTERFACE_*` bits by interface.
    pub interfaces: RefCell<HashMap<u32, u32>>,
    pub(super) slots: RefCell<HashMap<u32, Rc<RefCell<Box<Capture>>>>>,
    pub(super) records: RefCell<Vec<HelloRecord>>,
}

impl Fingerprints {
    pub(super) fn is_proxy(&self, address: &Address) -> bool {
        let bits = |address: &Address| {
            address.iter().fold(0u128, |bits, word| bits << 32 | u128::from(u32::from_be(*word)))
        };
        let address = bits(address);
        self.proxies
            .borrow()
            .iter()
            .any(|(prefix, length)| *length == 0 || (address ^ bits(prefix)) >> (128 - length) == 0)
    }

    pub(super) fn with_slot<R>(&self, slot: u32, f: impl FnOnce(&mut Capture) -> R) -> R {
        // Segments are staged in one slot while another one is open.
        let slot = Rc::clone(self.slots.borrow_mut().entry(slot).or_default());
        let mut capture = slot.borrow_mut();
        f(&mut capture)
    }

    pub(super) fn record(&self, capture: &Capture, whole: bool) {
        let length = if whole { HELLO_ROOM } else { capture.header.length as usize };
        self.records.borrow_mut().push(HelloRecord {
            header: capture.header,
            bytes: capture.bytes.iter().take(length).copied().collect(),
            coverage: whole.then_some(capture.coverage),
        });
    }

    /// Takes the records emitted since the last call.
    #[must_use]
    pub fn take_records(&self) -> Vec<HelloRecord> {
        self.records.take()
    }
}
