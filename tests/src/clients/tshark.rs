//! Wireshark's opinion. JA4 came to it with version 4.2.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};

use super::{Connection, Fingerprint, Fingerprints, Folder, Transport, Workplace};
use crate::net::Namespace;

const PATIENCE: Duration = Duration::from_secs(60);

/// Fields that are printed, in this order. Each is empty where a packet has no such thing.
const FIELDS: [&str; 6] = [
    "ip.src",
    "ipv6.src",
    "tcp.srcport",
    "udp.srcport",
    "tls.handshake.ja4",
    "tls.handshake.ja4_r",
];

/// What tshark computes from a capture in the workplace.
pub fn of_tshark(
    folder: &Folder,
    namespace: &Namespace,
    workplace: &Workplace,
    capture: &str,
) -> Result<Fingerprints> {
    let file = workplace.inside(capture);
    let mut words = vec!["tshark", "-n", "-r", &file, "-Y", "tls.handshake.ja4", "-T", "fields"];
    // Lists inside a value are separated by commas, several hellos of a packet by blanks.
    words.extend(["-E", "separator=/t", "-E", "aggregator=/s"]);
    words.extend(FIELDS.iter().flat_map(|field| ["-e", field]));
    let text = folder.run(namespace, PATIENCE, &words, "")?;
    let mut found = Fingerprints::new();
    for line in text.lines() {
        let (connection, fingerprint) =
            hello(line).with_context(|| format!("tshark printed {line:?}"))?;
        found.entry(connection).or_insert(fingerprint);
    }
    Ok(found)
}

fn hello(line: &str) -> Option<(Connection, Fingerprint)> {
    let first = |value: &str| value.split(' ').next().unwrap_or_default().to_owned();
    let values: Vec<String> = line.split('\t').map(first).collect();
    let [v4, v6, tcp, udp, ja4, ja4_r] = values.try_into().ok()?;
    let address = if v4.is_empty() { v6 } else { v4 };
    let (transport, port) =
        if tcp.is_empty() { (Transport::Quic, udp) } else { (Transport::Tcp, tcp) };
    let client = SocketAddr::new(address.parse().ok()?, port.parse().ok()?);
    Some((Connection { transport, client }, Fingerprint { ja4, ja4_r, ..Fingerprint::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_with_two_hellos_counts_by_its_first() {
        let line = "\t2001:db8::7\t\t4433\tq13d_a_b c\tq13d_1,2_3 d";
        let (connection, fingerprint) = hello(line).expect("it is whole");
        assert_eq!(connection.to_string(), "quic [2001:db8::7]:4433");
        assert_eq!((&*fingerprint.ja4, &*fingerprint.ja4_r), ("q13d_a_b", "q13d_1,2_3"));
        assert_eq!(hello("203.0.113.1\t\t\t\tx\ty"), None);
    }
}
