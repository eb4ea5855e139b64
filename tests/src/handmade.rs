//! A TCP client whose every segment is made by hand: with a VLAN tag, in any order, and with segments
//! in between that no honest client sends. It lives at an address at which nobody else answers.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::{
    clock::sleep,
    net::Wire,
    packet::{Ethernet, Tcp, TcpFlags, TcpOption, tcp_over},
};

/// The client's first sequence number: such that a hello wraps around.
const CLIENT_ISN: u32 = 0xffff_ff00;

/// What its clock says in the SYN, and afterwards.
const SYN_TIME: u32 = 5_000;
const TIME: u32 = 6_000;

/// How long the server may take to answer a SYN.
const ANSWERED: Duration = Duration::from_secs(2);

/// Data in a segment at most: Ethernet's 1,500 bytes without the headers of IPv6 and TCP.
pub const SEGMENT: usize = 1428;

/// Few enough bytes to look like a request that trickles in.
const LAST: usize = 100;

/// What comes before a hello to be taken for something that it is not. The server discards it, or
/// keeps it until the hello was there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decoy {
    /// Another hello, and its TCP checksum is wrong.
    BadChecksum,
    /// Another hello, which acknowledges what the server has not sent.
    WrongAck,
    /// Another hello, with a timestamp older than one that the server has seen (RFC 7323, section
    /// 5).
    OldTimestamp,
    /// Another hello, which acknowledges nothing at all.
    NoAck,
    /// Data from far behind the hello, in the server's window.
    Ahead,
    /// The same with a wrong checksum.
    AheadBadChecksum,
    /// More than a window of data, one segment after the other, with wrong checksums.
    Train,
    /// A reset with a wrong checksum.
    ResetBadChecksum,
    /// A FIN with a wrong checksum.
    FinBadChecksum,
}

impl Decoy {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::BadChecksum,
        Self::WrongAck,
        Self::OldTimestamp,
        Self::NoAck,
        Self::Ahead,
        Self::AheadBadChecksum,
        Self::Train,
        Self::ResetBadChecksum,
        Self::FinBadChecksum,
    ];
}

/// Further behind the hello than a hello is long.
const AHEAD: u32 = 20_000;

/// As many segments are more than a window.
const TRAIN: u32 = 64;

/// An open connection.
#[derive(Debug)]
pub struct Handmade {
    wire: Wire,
    link: Ethernet,
    from: SocketAddr,
    to: SocketAddr,
    server_isn: u32,
}

impl Handmade {
    /// Sends a SYN, in a frame that begins with `link`, and takes the server's answer.
    pub fn knock(wire: Wire, link: Ethernet, from: SocketAddr, to: SocketAddr) -> Result<Self> {
        let syn = tcp_over(link.clone(), from, to)
            .syn()
            .seq(CLIENT_ISN)
            .option(TcpOption::MaxSegment(SEGMENT as u16 + 12))
            .option(TcpOption::Nop)
            .option(TcpOption::Nop)
            .option(TcpOption::Timestamps(SYN_TIME, 0));
        wire.send(&syn.build())?;
        let answer = wire
            .expect_tcp(ANSWERED, |heard| heard.from == to && heard.to == from)?
            .with_context(|| format!("{to} did not answer {from}"))?;
        ensure!(answer.is(TcpFlags::SYN.union(TcpFlags::ACK)), "answered {answer:?}");
        Ok(Self { wire, link, from, to, server_isn: answer.seq })
    }

    /// Sends the handshake's third packet.
    pub fn greet(&self) -> Result<()> {
        self.send(&self.segment(0, TIME))
    }

    /// Sends a stream, in segments as long as can be.
    pub fn say(&self, stream: &[u8]) -> Result<()> {
        self.parts(stream).try_for_each(|part| self.send(&part))
    }

    /// The same, last segment first.
    pub fn say_reversed(&self, stream: &[u8]) -> Result<()> {
        self.parts(stream).rev().try_for_each(|part| self.send(&part))
    }

    /// The same with a pause before its last bytes.
    pub fn say_slowly(&self, stream: &[u8], pause: Duration) -> Result<()> {
        let (most, last) = stream.split_at(stream.len().saturating_sub(LAST));
        self.say(most)?;
        sleep(pause);
        self.send(&self.segment(most.len() as u32, TIME).psh().payload(last))
    }

    /// Sends a decoy. `other` is the hello that some of them are.
    pub fn deceive(&self, decoy: Decoy, other: &[u8]) -> Result<()> {
        let hello = self.segment(0, TIME).psh().payload(other);
        let ahead = self.segment(AHEAD, TIME).psh().payload(b"far behind");
        match decoy {
            Decoy::BadChecksum => self.send(&hello.bad_checksum()),
            Decoy::WrongAck => self.send(&hello.ack(self.server_isn.wrapping_add(500_000))),
            Decoy::OldTimestamp => {
                self.send(&self.segment(0, SYN_TIME - 1_000).psh().payload(other))
            }
            Decoy::NoAck => self.send(&self.bare(0, TIME).psh().payload(other)),
            Decoy::Ahead => self.send(&ahead),
            Decoy::AheadBadChecksum => self.send(&ahead.bad_checksum()),
            Decoy::Train => (0..TRAIN).try_for_each(|number| {
                let part = self.segment(number * SEGMENT as u32, TIME).payload(&[0; SEGMENT]);
                self.send(&part.bad_checksum())
            }),
            Decoy::ResetBadChecksum => self.send(&self.segment(0, TIME).rst().bad_checksum()),
            Decoy::FinBadChecksum => self.send(&self.segment(0, TIME).fin().bad_checksum()),
        }
    }

    /// How many bytes of data the server's next segment with any has; 0 if none comes within
    /// `patience`.
    pub fn hear(&self, patience: Duration) -> Result<usize> {
        let heard = self.wire.expect_tcp(patience, |heard| {
            heard.from == self.to && heard.to == self.from && !heard.payload.is_empty()
        })?;
        Ok(heard.map_or(0, |heard| heard.payload.len()))
    }

    fn parts(&self, stream: &[u8]) -> impl DoubleEndedIterator<Item = Tcp> {
        let parts: Vec<Tcp> = (0..)
            .step_by(SEGMENT)
            .zip(stream.chunks(SEGMENT))
            .map(|(offset, part)| self.segment(offset, TIME).psh().payload(part))
            .collect();
        parts.into_iter()
    }

    fn segment(&self, offset: u32, time: u32) -> Tcp {
        self.bare(offset, time).ack(self.server_isn.wrapping_add(1))
    }

    fn bare(&self, offset: u32, time: u32) -> Tcp {
        tcp_over(self.link.clone(), self.from, self.to)
            .seq(CLIENT_ISN.wrapping_add(1).wrapping_add(offset))
            .option(TcpOption::Nop)
            .option(TcpOption::Nop)
            .option(TcpOption::Timestamps(time, 0))
    }

    fn send(&self, segment: &Tcp) -> Result<()> {
        self.wire.send(&segment.build())
    }
}
