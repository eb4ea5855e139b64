//! A capture's frames, and the ways in which an attacker would change them.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    net::IpAddr,
    path::Path,
};

use weir_common::packet::{Headers, Heading, Link, Transport, parse, slice::SlicePacket};
use weir_sensor::{
    capture::{Capture, Frame, LinkType},
    system::address,
};

use super::labels::Labelled;

/// What is done to the traffic before it is replayed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    /// Nothing.
    AsRecorded,
    /// It takes three times as long.
    Slow,
    /// Attackers make half of their connections.
    Half,
    /// Both.
    SlowHalf,
}

impl Turn {
    pub(crate) const ALL: [Self; 4] = [Self::AsRecorded, Self::Slow, Self::Half, Self::SlowHalf];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AsRecorded => "as recorded",
            Self::Slow => "slow",
            Self::Half => "half",
            Self::SlowHalf => "slow half",
        }
    }
}

/// A connection: a client's end, and the server's.
pub(crate) type Connection = (IpAddr, u16, IpAddr, u16, u32);

/// A captured frame.
#[derive(Clone, Debug)]
struct Packet {
    time_ns: u64,
    link: LinkType,
    bytes: Vec<u8>,
    original_len: u32,
    connection: Option<Connection>,
}

/// A capture.
#[derive(Clone, Debug)]
pub(crate) struct Traffic {
    packets: Vec<Packet>,
}

impl Traffic {
    pub(crate) fn read(path: &Path, labelled: &[Labelled]) -> Self {
        let mut capture = Capture::open(path).unwrap();
        let mut packets = Vec::new();
        while let Some(frame) = capture.next_frame().unwrap() {
            packets.push(Packet {
                time_ns: frame.time_ns,
                link: frame.link,
                bytes: frame.bytes.to_vec(),
                original_len: frame.original_len,
                connection: connection(&frame, labelled),
            });
        }
        Self { packets }
    }

    pub(crate) fn turned(mut self, turn: Turn, labelled: &[Labelled]) -> Self {
        if matches!(turn, Turn::Half | Turn::SlowHalf) {
            let gone = self.every_second_connection_of_attackers(labelled);
            self.packets.retain(|it| it.connection.is_none_or(|it| !gone.contains(&it)));
        }
        if matches!(turn, Turn::Slow | Turn::SlowHalf) {
            let first_ns = self.first_ns();
            for packet in &mut self.packets {
                packet.time_ns = first_ns + 3 * (packet.time_ns - first_ns);
            }
        }
        self
    }

    pub(crate) fn first_ns(&self) -> u64 {
        self.packets.iter().map(|packet| packet.time_ns).min().unwrap_or(0)
    }

    pub(crate) fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        self.packets.iter().map(|packet| Frame {
            time_ns: packet.time_ns,
            link: packet.link,
            bytes: &packet.bytes,
            original_len: packet.original_len,
        })
    }

    fn every_second_connection_of_attackers(&self, labelled: &[Labelled]) -> HashSet<Connection> {
        let mut connections: BTreeMap<&str, BTreeSet<(u16, u16, Connection)>> = BTreeMap::new();
        for connection in self.packets.iter().filter_map(|packet| packet.connection) {
            let (client, port, _, server_port, _) = connection;
            if let Some(row) = labelled.iter().find(|row| row.is(client) && row.is_unwanted()) {
                let of = connections.entry(&row.source).or_default();
                of.insert((port, server_port, connection));
            }
        }
        let seconds = connections.values().flat_map(|of| of.iter().skip(1).step_by(2));
        seconds.map(|(_, _, connection)| *connection).collect()
    }
}

/// The connection of a labelled source that a frame belongs to.
fn connection(frame: &Frame<'_>, labelled: &[Labelled]) -> Option<Connection> {
    let (source, destination, protocol) = ends(frame)?;
    let is_labelled = |address: IpAddr| labelled.iter().any(|row| row.is(address));
    if is_labelled(source.0) {
        Some((source.0, source.1, destination.0, destination.1, protocol))
    } else if is_labelled(destination.0) {
        Some((destination.0, destination.1, source.0, source.1, protocol))
    } else {
        None
    }
}

/// An address and a port.
pub(crate) type End = (IpAddr, u16);

/// Who sent a frame, to whom, and by which protocol.
pub(crate) fn ends(frame: &Frame<'_>) -> Option<(End, End, u32)> {
    let link = match frame.link {
        LinkType::Ethernet => Link::Ethernet,
        LinkType::Ip => Link::None,
        other => panic!("{other:?}"),
    };
    let mut headers = Headers::default();
    parse(&SlicePacket::new(frame.bytes), link, Heading::Ingress, &mut headers).ok()?;
    let has_ports = matches!(headers.transport, Transport::Tcp | Transport::Udp);
    let key = headers.key;
    has_ports.then(|| {
        (
            (address::ip(&key.remote), u16::from_be(key.remote_port)),
            (address::ip(&key.local), u16::from_be(key.local_port)),
            key.protocol,
        )
    })
}
