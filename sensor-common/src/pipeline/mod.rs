//! The stages, in order, written once: XDP, TC and the host run this code.
//!
//! Ingress: kill → parse → verdict → limit → measure. Egress: handshakes, proof, server timing,
//! closes, flows that this host opened. The kernel's maps and the host's tables stand behind
//! [`Tables`]; packets behind [`crate::packet::Packet`].

mod egress;
mod establish;
mod hello;
mod ingress;
mod limit;
mod measure;
mod progress;
mod quic;
mod strangers;
mod syn;
mod synthetic;
mod tables;
mod verdict;

pub use egress::egress;
pub use hello::Attended;
pub use ingress::ingress;
pub use synthetic::{Answer, ask};
pub use tables::{SUM_LEN, Step, Tables};
pub use verdict::Ruling;

use crate::packet::{Headers, QuicHeader, Syn};

/// Memory that a packet's way through the stages takes. The BPF stack has 512 bytes, and what is
/// read back from a map's value has no history that the verifier would follow.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Work {
    /// The packet's headers.
    pub headers: Headers,
    /// What the verdicts say.
    pub ruling: Ruling,
    /// What a SYN or SYN-ACK looks like.
    pub syn: Syn,
    /// The first header of a QUIC datagram.
    pub quic: QuicHeader,
    /// The flow whose hello is awaited.
    pub attended: Attended,
}

/// What becomes of an ingress packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// On to the network stack, or the next program. It may have been rewritten.
    Pass,
    /// Dropped.
    Drop,
    /// Rewritten into an answer: back out of the interface it came in by.
    Reply,
}
