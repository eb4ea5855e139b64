//! What the tools say about one connection, as a row of a table that is kept beside a recording.

use anyhow::{Context, Result, bail, ensure};

use super::{
    Appearance, Connection, Fingerprint, Fingerprints, Transport, fingerprints::without_grease,
};

/// What stands above each column.
pub const HEADINGS: &str =
    "client\tversion\ttransport\tfrom\tsuricata_ja4\ttshark_ja4\ttshark_ja4_r";

/// One connection in the eyes of both tools.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Testimony {
    /// The client's name.
    pub client: String,
    /// What it says its version is.
    pub version: String,
    /// The connection.
    pub connection: Connection,
    /// Suricata's JA4; empty if it has none.
    pub suricata_ja4: String,
    /// tshark's JA4.
    pub tshark_ja4: String,
    /// tshark's JA4 with lists instead of hashes.
    pub tshark_ja4_r: String,
}

/// What both tools say about the connections of these clients, in the order of the clients.
#[must_use]
pub fn testimonies(
    clients: &[Appearance],
    tshark: &Fingerprints,
    suricata: &Fingerprints,
) -> Vec<Testimony> {
    let of = |client: &Appearance| {
        let client = client.clone();
        tshark
            .iter()
            .filter(move |(connection, _)| client.addresses.contains(&connection.client.ip()))
    };
    clients
        .iter()
        .flat_map(|client| of(client).map(move |found| (client, found)))
        .map(|(client, (connection, seen))| Testimony {
            client: client.name.to_owned(),
            version: client.version.clone(),
            connection: *connection,
            suricata_ja4: suricata.get(connection).map(|seen| seen.ja4.clone()).unwrap_or_default(),
            tshark_ja4: seen.ja4.clone(),
            tshark_ja4_r: seen.ja4_r.clone(),
        })
        .collect()
}

impl Testimony {
    /// The row, tab-separated.
    #[must_use]
    pub fn to_line(&self) -> String {
        let transport = match self.connection.transport {
            Transport::Tcp => "tcp",
            Transport::Quic => "quic",
        };
        [
            &*self.client,
            &self.version,
            transport,
            &self.connection.client.to_string(),
            &self.suricata_ja4,
            &self.tshark_ja4,
            &self.tshark_ja4_r,
        ]
        .join("\t")
    }

    /// The row that [`Self::to_line`] wrote.
    pub fn of_line(line: &str) -> Result<Self> {
        let columns: Vec<&str> = line.split('\t').collect();
        let [client, version, transport, from, suricata_ja4, tshark_ja4, tshark_ja4_r] = *columns
        else {
            bail!("a row of {} columns: {line}", columns.len());
        };
        let transport = match transport {
            "tcp" => Transport::Tcp,
            "quic" => Transport::Quic,
            _ => bail!("no transport is called {transport}"),
        };
        let from = from.parse().with_context(|| format!("{from} is no address and port"))?;
        Ok(Self {
            client: client.to_owned(),
            version: version.to_owned(),
            connection: Connection { transport, client: from },
            suricata_ja4: suricata_ja4.to_owned(),
            tshark_ja4: tshark_ja4.to_owned(),
            tshark_ja4_r: tshark_ja4_r.to_owned(),
        })
    }

    /// Whether a fingerprint is the one that the tools have. Where tshark kept GREASE, which it
    /// should not have, its hash of the signature algorithms is left out of the comparison; the
    /// list itself and Suricata's hash are not.
    pub fn agrees(&self, ours: &Fingerprint) -> Result<()> {
        let raw = without_grease(&self.tshark_ja4_r);
        ensure!(ours.ja4_r == raw, "tshark's JA4_r is {raw}");
        ensure!(ours.ja4 == self.suricata_ja4, "Suricata's JA4 is {}", self.suricata_ja4);
        let (mut ours, mut theirs) = (&*ours.ja4, &*self.tshark_ja4);
        if raw != self.tshark_ja4_r {
            ours = but_last(ours);
            theirs = but_last(theirs);
        }
        ensure!(ours == theirs, "tshark's JA4 is {theirs}");
        Ok(())
    }
}

/// A JA4 without its last section.
fn but_last(ja4: &str) -> &str {
    ja4.rsplit_once('_').map_or(ja4, |(rest, _)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "c\t1.0\ttcp\t[2001:db8::1]:9\tt13d0101h2_x_y\tt13d0101h2_x_z\tt13d0101h2_1301_000d_0a0a,0403";

    #[test]
    fn a_row_survives_the_file() {
        let row = Testimony::of_line(LINE).unwrap();
        assert_eq!(row.to_line(), LINE);
    }

    #[test]
    fn greased_signature_algorithms_excuse_tsharks_hash_of_them_and_nothing_else() {
        let row = Testimony::of_line(LINE).unwrap();
        let ours = |ja4: &str, ja4_r: &str| Fingerprint {
            ja4: ja4.to_owned(),
            ja4_r: ja4_r.to_owned(),
            ..Fingerprint::default()
        };
        let raw = "t13d0101h2_1301_000d_0403";
        assert!(row.agrees(&ours("t13d0101h2_x_y", raw)).is_ok());
        assert!(row.agrees(&ours("t13d0101h2_x_z", raw)).is_err(), "Suricata's hash counts");
        assert!(row.agrees(&ours("t13d0101h2_x_y", "t13d0101h2_1301_000d_0804")).is_err());
        let plain = Testimony { tshark_ja4_r: raw.to_owned(), ..row };
        assert!(plain.agrees(&ours("t13d0101h2_x_y", raw)).is_err(), "tshark's hash counts");
    }
}
