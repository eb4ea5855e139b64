//! Somebody asks to be forgotten: that there were verdicts goes; those in force stay.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rusqlite::{Connection, Result};

/// Deletes offences of sources within a network on which no verdict is kept; how many.
///
/// # Errors
/// What the database says.
pub fn forget(connection: &Connection, net: &IpNet) -> Result<usize> {
    let mut statement = connection.prepare(
        "SELECT DISTINCT net FROM offence WHERE NOT EXISTS \
         (SELECT 1 FROM verdict WHERE verdict.net = offence.net)",
    )?;
    let mut rows = statement.query([])?;
    let mut theirs: Vec<Vec<u8>> = Vec::new();
    while let Some(row) = rows.next()? {
        let bytes: Vec<u8> = row.get(0)?;
        if read(&bytes).is_some_and(|known| net.contains(&known)) {
            theirs.push(bytes);
        }
    }
    let mut delete = connection.prepare("DELETE FROM offence WHERE net = ?1")?;
    theirs.iter().map(|net| delete.execute([net])).sum()
}

/// A prefix as [`super::net_bytes`] writes it.
fn read(bytes: &[u8]) -> Option<IpNet> {
    let (kind, rest) = bytes.split_first()?;
    let (length, octets) = rest.split_last()?;
    match kind {
        4 => {
            let octets: [u8; 4] = octets.try_into().ok()?;
            Ipv4Net::new(Ipv4Addr::from(octets), *length).ok().map(IpNet::V4)
        }
        6 => {
            let octets: [u8; 16] = octets.try_into().ok()?;
            Ipv6Net::new(Ipv6Addr::from(octets), *length).ok().map(IpNet::V6)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enforce::ledger::durable::{SCHEMA, net_bytes};

    #[test]
    fn past_offences_go_and_those_of_a_verdict_in_force_stay() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        for text in ["192.0.2.7/32", "192.0.2.8/32", "198.51.100.1/32", "2001:db8:1:2::/64"] {
            let insert = "INSERT INTO offence VALUES (?1, 'login', 2, 'drop', 1, 5)";
            connection.execute(insert, [net_bytes(&net(text))]).unwrap();
        }
        let insert = "INSERT INTO verdict VALUES (?1, 'operator', 1, 1, 1, NULL)";
        connection.execute(insert, [net_bytes(&net("192.0.2.8/32"))]).unwrap();
        assert_eq!(forget(&connection, &net("192.0.2.0/24")).unwrap(), 1);
        assert_eq!(forget(&connection, &net("2001:db8::/32")).unwrap(), 1);
        assert_eq!(forget(&connection, &net("192.0.2.7/32")).unwrap(), 0);
        let left = "SELECT count(*) FROM offence";
        assert_eq!(connection.query_row(left, [], |row| row.get::<_, i64>(0)).unwrap(), 2);
    }
}
