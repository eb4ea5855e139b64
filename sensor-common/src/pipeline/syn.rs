//! Reading a SYN, as the stages need it: the walk over its options as a loop of [`Tables`].

use super::{Step, Tables};
use crate::packet::{Headers, Packet, Syn, syn::MAX_STEPS};

/// Reads a SYN or SYN-ACK into `syn`.
#[inline(never)]
pub(super) fn read<P: Packet, T: Tables>(packet: &P, tables: &T, headers: &Headers, syn: &mut Syn) {
    if syn.begin(packet, headers) {
        tables.repeat(MAX_STEPS, &mut Options { packet, syn });
        syn.finish();
    }
}

/// The walk over the options.
struct Options<'a, P> {
    packet: &'a P,
    syn: &'a mut Syn,
}

impl<P: Packet> Step for Options<'_, P> {
    #[inline(always)]
    fn step(&mut self) -> bool {
        self.syn.step(self.packet)
    }
}
