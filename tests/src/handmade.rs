//! A TCP client whose every segment is made by hand: with a VLAN tag, in any order, and with segments
//! in between that no honest client sends. It lives at an address at which nobody else answers.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::{
    net::Wire,
    packet::{Ethernet, ReadTcp, Tcp, TcpFlags, TcpOption, tcp_over},
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

/// A segment that a server discards, and a sensor must not believe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decoy {
    /// The TCP checksum is wrong.
    BadChecksum,
    /// It acknowledges what the server has not sent.
    WrongAck,
    /// Its timestamp is older than one that the server has seen (RFC 7323, section 5).
    OldTimestamp,
    /// It acknowledges nothing at all: no ACK flag.
    NoAck,
}

impl Decoy {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::BadChecksum, Self::WrongAck, Self::OldTimestamp, Self::NoAck];
}

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
    /// Shakes hands with the server, in frames that begin with `link`.
    pub fn connect(wire: Wire, link: Ethernet, from: SocketAddr, to: SocketAddr) -> Result<Self> {
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
        let client = Self { wire, link, from, to, server_isn: answer.seq };
        client.send(&client.segment(0, TIME))?;
        Ok(client)
    }

    /// Sends the part of the stream that begins at `offset`, in segments as long as can be.
    pub fn say(&self, stream: &[u8]) -> Result<()> {
        for (number, part) in stream.chunks(SEGMENT).enumerate() {
            self.send(&self.segment((number * SEGMENT) as u32, TIME).psh().payload(part))?;
        }
        Ok(())
    }

    /// Sends the stream's beginning in a way that the server does not take.
    pub fn deceive(&self, decoy: Decoy, stream: &[u8]) -> Result<()> {
        let part = stream.get(..SEGMENT).unwrap_or(stream);
        let honest = self.segment(0, TIME).psh().payload(part);
        self.send(&match decoy {
            Decoy::BadChecksum => honest.bad_checksum(),
            Decoy::WrongAck => honest.ack(self.server_isn.wrapping_add(500_000)),
            Decoy::OldTimestamp => self.segment(0, SYN_TIME - 1_000).psh().payload(part),
            Decoy::NoAck => self.bare(0, TIME).psh().payload(part),
        })
    }

    /// The data that the server sends within `patience`: how many bytes, and whether it reset the
    /// connection.
    pub fn hear(&self, patience: Duration) -> Result<(usize, bool)> {
        let (mut bytes, mut is_reset) = (0, false);
        let is_for_us = |heard: &ReadTcp| heard.from == self.to && heard.to == self.from;
        self.wire.expect_tcp(patience, |heard| {
            if is_for_us(heard) {
                bytes += heard.payload.len();
                is_reset |= heard.flags.contains(TcpFlags::RST);
            }
            bytes > 0 || is_reset
        })?;
        Ok((bytes, is_reset))
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
