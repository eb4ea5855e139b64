//! The truth: who the sources of the labelled captures are.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

/// What a source is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Label {
    /// A person's browser.
    Human,
    /// A library or tool at an honest rate.
    Client,
    /// A bot.
    Bot,
    /// An attack.
    Attack,
}

/// A labelled source of a capture.
#[derive(Clone, Debug)]
pub(crate) struct Labelled {
    /// The capture, below the corpus.
    pub(crate) file: String,
    /// Its address; `*` = every address that no client of the lab has.
    pub(crate) source: String,
    /// What it is.
    pub(crate) label: Label,
    /// What it does.
    pub(crate) kind: String,
    /// With what.
    pub(crate) tool: String,
    /// Connections that it began.
    pub(crate) connections: u64,
}

impl Labelled {
    /// Whether a packet's end is this source: some came by IPv6 of their own choice, 203.0.113.N as
    /// 2001:db8:113::N.
    pub(crate) fn is(&self, address: IpAddr) -> bool {
        match self.source.parse::<Ipv4Addr>() {
            Ok(own) => {
                let twin = format!("2001:db8:113::{}", own.octets()[3]);
                let twin: Ipv6Addr = twin.parse().unwrap();
                address == IpAddr::V4(own) || address == IpAddr::V6(twin)
            }
            Err(_) => !is_of_the_lab(address),
        }
    }

    /// Whether it stands for spoofed addresses.
    pub(crate) fn is_spoofed(&self) -> bool {
        self.source == "*"
    }

    /// Whether it attacks, or automates.
    pub(crate) fn is_unwanted(&self) -> bool {
        matches!(self.label, Label::Bot | Label::Attack)
    }
}

/// Whether an address is a client or the server of the lab.
pub(crate) fn is_of_the_lab(address: IpAddr) -> bool {
    let nets = ["203.0.113.0/24", "2001:db8:113::/64", "198.51.100.10/32", "2001:db8:51::10/128"];
    nets.iter().any(|net| net.parse::<ipnet::IpNet>().unwrap().contains(&address))
}

/// Reads the table.
pub(crate) fn read(path: &Path) -> Vec<Labelled> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().skip(1).map(row).collect()
}

fn row(line: &str) -> Labelled {
    let columns: Vec<&str> = line.split('\t').collect();
    let [file, source, _, label, kind, tool, _, syn, _, _, hellos, ..] = columns.as_slice() else {
        panic!("too few columns: {line}");
    };
    let label = match *label {
        "human" => Label::Human,
        "client" => Label::Client,
        "bot" => Label::Bot,
        "attack" => Label::Attack,
        other => panic!("unknown label {other}"),
    };
    let [syn, hellos]: [u64; 2] = [syn, hellos].map(|count| count.parse().unwrap());
    Labelled {
        file: (*file).to_owned(),
        source: (*source).to_owned(),
        label,
        kind: (*kind).to_owned(),
        tool: (*tool).to_owned(),
        connections: syn.max(hellos),
    }
}
