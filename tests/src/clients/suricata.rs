//! Suricata's opinion. JA4 came to it with version 7, as a choice.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{Connection, Fingerprint, Fingerprints, Folder, Transport, Workplace};
use crate::net::Namespace;

const PATIENCE: Duration = Duration::from_secs(60);

/// The configuration: no rules, and of the log what is about hellos.
const CONFIGURATION: &str = include_str!("suricata.yaml");

/// A record of the log, as far as it is compared.
#[derive(Deserialize)]
struct Record {
    src_ip: IpAddr,
    src_port: u16,
    tls: Option<Hello>,
    quic: Option<Hello>,
}

#[derive(Deserialize)]
struct Hello {
    ja4: Option<String>,
}

/// What Suricata computes from a capture in the workplace.
pub fn of_suricata(
    folder: &Folder,
    namespace: &Namespace,
    workplace: &Workplace,
    capture: &str,
) -> Result<Fingerprints> {
    workplace.write("suricata.yaml", CONFIGURATION)?;
    let words = [
        "suricata",
        "-c",
        &workplace.inside("suricata.yaml"),
        "-r",
        &workplace.inside(capture),
        "-l",
        &workplace.inside(""),
        "-S",
        "/dev/null",
        "-k",
        "none",
    ];
    folder.run(namespace, PATIENCE, &words, "")?;
    let log = workplace.outside("eve.json");
    let text =
        fs::read_to_string(&log).with_context(|| format!("cannot read {}", log.display()))?;
    let mut found = Fingerprints::new();
    for line in text.lines() {
        let Record { src_ip, src_port, tls, quic } = serde_json::from_str(line)
            .with_context(|| format!("Suricata logged no such record: {line}"))?;
        let client = SocketAddr::new(src_ip, src_port);
        for (transport, hello) in [(Transport::Tcp, tls), (Transport::Quic, quic)] {
            if let Some(ja4) = hello.and_then(|hello| hello.ja4) {
                let fingerprint = Fingerprint { ja4, ..Fingerprint::default() };
                found.entry(Connection { transport, client }).or_insert(fingerprint);
            }
        }
    }
    Ok(found)
}
