//! What someone who can send with any source address, and hears no answer, can do in a victim's
//! name. None of it may be held against the victim.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::Result;

use crate::{
    clock::sleep,
    net::Wire,
    packet::{Tcp, TcpOption, tcp},
};

/// The server must have answered the first packet before the second one counts.
const ANSWERED: Duration = Duration::from_millis(2);

/// Far outside of any receive window.
const OUT_OF_WINDOW: u32 = 0x4000_0000;

/// A way to act in a victim's name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Forgery {
    /// A SYN, and nothing more.
    Syn,
    /// A SYN that carries a request.
    SynWithData,
    /// A SYN with an invented Fast Open cookie and a request (RFC 7413).
    FastOpenSyn,
    /// A SYN, then another far out of window: Linux answers it with a bare ACK.
    SynThenSyn,
    /// A SYN, then a FIN far out of window: answered with a bare ACK, too.
    SynThenFin,
    /// A SYN, then data far out of window and without ACK: answered with a bare ACK, too.
    SynThenData,
    /// A SYN, then the handshake's third packet with a guessed acknowledgement number: answered
    /// with a reset.
    SynThenGuessedAck,
    /// A reset with a guessed sequence number.
    Reset,
    /// A FIN without a connection.
    Fin,
}

impl Forgery {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Syn,
        Self::SynWithData,
        Self::FastOpenSyn,
        Self::SynThenSyn,
        Self::SynThenFin,
        Self::SynThenData,
        Self::SynThenGuessedAck,
        Self::Reset,
        Self::Fin,
    ];

    /// Whether a Linux server without SYN cookies answers with a bare ACK, which a careless
    /// sensor would take for the end of a handshake.
    #[must_use]
    pub const fn provokes_bare_ack(self) -> bool {
        matches!(self, Self::SynThenSyn | Self::SynThenFin | Self::SynThenData)
    }

    /// Does it once. `round` chooses port and numbers, so that every round is another connection.
    pub fn commit(self, wire: &Wire, victim: IpAddr, target: SocketAddr, round: u16) -> Result<()> {
        let from = SocketAddr::new(victim, 20_000 + round % 40_000);
        let first = u32::from(round).wrapping_mul(0x9e37_79b9);
        let segment = || tcp(from, target).seq(first.wrapping_add(OUT_OF_WINDOW));
        let syn = || tcp(from, target).syn().seq(first).linux_options();
        let request = b"POST /login HTTP/1.1\r\n\r\n";
        match self {
            Self::Syn => send(wire, &syn()),
            Self::SynWithData => send(wire, &syn().payload(request)),
            Self::FastOpenSyn => {
                send(wire, &syn().option(TcpOption::FastOpen(vec![7; 8])).payload(request))
            }
            Self::SynThenSyn => both(wire, &syn(), &segment().syn()),
            Self::SynThenFin => both(wire, &syn(), &segment().fin()),
            Self::SynThenData => both(wire, &syn(), &segment().psh().payload(request)),
            Self::SynThenGuessedAck => {
                both(wire, &syn(), &tcp(from, target).seq(first.wrapping_add(1)).ack(first))
            }
            Self::Reset => send(wire, &segment().rst()),
            Self::Fin => send(wire, &segment().fin()),
        }
    }
}

fn send(wire: &Wire, segment: &Tcp) -> Result<()> {
    wire.send(&segment.build())
}

fn both(wire: &Wire, first: &Tcp, second: &Tcp) -> Result<()> {
    send(wire, first)?;
    sleep(ANSWERED);
    send(wire, second)
}
