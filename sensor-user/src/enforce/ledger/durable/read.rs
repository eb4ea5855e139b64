//! Reading what was kept, at the start: everything in the time of this boot, and what ended is left
//! out.

use std::{collections::HashMap, sync::Arc};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rusqlite::Connection;
use weir_common::abi::Action;

use super::{Kept, KeptFingerprint, KeptOffence, Moment};
use crate::enforce::{
    ledger::{ClassRecord, Entry, Meaning},
    names,
};

impl Kept {
    /// What the store has. Rows that this version cannot read are passed over and said.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn read(connection: &Connection, at: &Moment) -> rusqlite::Result<Self> {
        let boots = Boots::read(connection, at)?;
        let meanings = meanings(connection)?;
        let mut kept = Self { rules: rules(connection)?, ..Self::default() };
        each(connection, "SELECT number, meaning FROM class", |row| {
            if let Some(meaning) = meanings.get(&row.get(1)?) {
                kept.classes.push(ClassRecord { id: row.get(0)?, meaning: Arc::clone(meaning) });
            }
            Ok(())
        })?;
        kept.read_prefixes(connection, &boots, &meanings)?;
        kept.read_fingerprints(connection, &boots, &meanings)?;
        kept.read_offences(connection, &boots)?;
        each(connection, "SELECT place FROM lifted", |row| {
            kept.lifted.insert(row.get(0)?);
            Ok(())
        })?;
        Ok(kept)
    }

    fn read_prefixes(
        &mut self,
        connection: &Connection,
        boots: &Boots<'_>,
        meanings: &HashMap<i64, Arc<Meaning>>,
    ) -> rusqlite::Result<()> {
        let sql = "SELECT net, meaning, boot, made_ns, ends_ns FROM verdict";
        each(connection, sql, |row| {
            let net = row.get_ref(0)?.as_blob().ok().and_then(net);
            let Some((net, meaning)) = net.zip(meanings.get(&row.get(1)?)) else { return Ok(()) };
            match boots.entry(meaning, row.get(2)?, row.get(3)?, row.get(4)?) {
                Some(entry) => self.entries.push((net, entry)),
                None => self.ended.push(net),
            }
            Ok(())
        })
    }

    fn read_fingerprints(
        &mut self,
        connection: &Connection,
        boots: &Boots<'_>,
        meanings: &HashMap<i64, Arc<Meaning>>,
    ) -> rusqlite::Result<()> {
        let sql = "SELECT name, forms, meaning, boot, made_ns, ends_ns FROM fingerprint_verdict";
        each(connection, sql, |row| {
            let (name, forms): (String, String) = (row.get(0)?, row.get(1)?);
            let Some(meaning) = meanings.get(&row.get(2)?) else { return Ok(()) };
            let forms = forms.lines().map(ToOwned::to_owned).collect();
            match boots.entry(meaning, row.get(3)?, row.get(4)?, row.get(5)?) {
                Some(entry) => self.fingerprints.push(KeptFingerprint { name, forms, entry }),
                None => self.ended_names.push(name),
            }
            Ok(())
        })
    }

    fn read_offences(
        &mut self,
        connection: &Connection,
        boots: &Boots<'_>,
    ) -> rusqlite::Result<()> {
        let sql = "SELECT net, policy, times, action, boot, ends_ns FROM offence";
        each(connection, sql, |row| {
            let net = row.get_ref(0)?.as_blob().ok().and_then(net);
            let policy: String = row.get(1)?;
            let action = names::action_from_name(&row.get::<_, String>(3)?);
            let (until_ns, ago_ns) = boots.offence(row.get(4)?, row.get(5)?);
            if let Some(net) = net {
                self.offences.push(KeptOffence {
                    net,
                    policy: policy.into(),
                    times: row.get(2)?,
                    action: action.unwrap_or(Action::Mark),
                    until_ns,
                    ago_ns,
                });
            }
            Ok(())
        })
    }
}

/// What the store knows of boots, and what is now.
struct Boots<'a> {
    at: &'a Moment,
    // By number, ascending.
    known: Vec<Boot>,
}

struct Boot {
    number: i64,
    is_this: bool,
    began_ns: u64,
    seen_ns: u64,
    seen_unix_ns: u64,
}

impl<'a> Boots<'a> {
    fn read(connection: &Connection, at: &'a Moment) -> rusqlite::Result<Self> {
        let mut known = Vec::new();
        let sql = "SELECT number, id, began_ns, seen_ns, seen_unix_ns FROM boot ORDER BY number";
        each(connection, sql, |row| {
            known.push(Boot {
                number: row.get(0)?,
                is_this: row.get::<_, String>(1)? == *at.boot_id,
                began_ns: unsigned(row.get(2)?),
                seen_ns: unsigned(row.get(3)?),
                seen_unix_ns: unsigned(row.get(4)?),
            });
            Ok(())
        })?;
        Ok(Self { at, known })
    }

    /// An entry in the time of this boot; `None` if it has ended.
    fn entry(
        &self,
        meaning: &Arc<Meaning>,
        boot: i64,
        made: i64,
        ends: Option<i64>,
    ) -> Option<Entry> {
        let is_this = self.known.iter().any(|known| known.number == boot && known.is_this);
        let created_ns = if is_this { unsigned(made) } else { self.at.now_ns };
        let expires_ns = match ends {
            None => None,
            Some(ends) => Some(self.end(boot, unsigned(ends)).filter(|end| *end > self.at.now_ns)?),
        };
        Some(Entry { meaning: Arc::clone(meaning), created_ns, expires_ns })
    }

    /// An end of a boot in the time of this one; `None` if that boot is not known.
    fn end(&self, boot: i64, ends_ns: u64) -> Option<u64> {
        let of = self.known.iter().find(|known| known.number == boot)?;
        if of.is_this {
            return Some(ends_ns);
        }
        let left_ns = ends_ns.saturating_sub(of.seen_ns).saturating_sub(self.passed_since(of));
        Some(self.at.now_ns.saturating_add(left_ns))
    }

    /// How much time passed since a boot was last seen: what later boots ran, by their own clocks, and
    /// what the wall clock says was between them. A clock that went back in between says nothing.
    fn passed_since(&self, of: &Boot) -> u64 {
        let later = self.known.iter().filter(|known| known.number > of.number);
        let mut passed_ns = 0_u64;
        let mut before_unix_ns = of.seen_unix_ns;
        let mut is_this_known = false;
        for boot in later {
            let (seen_ns, seen_unix_ns) = if boot.is_this {
                (self.at.now_ns, self.at.unix_ns)
            } else {
                (boot.seen_ns, boot.seen_unix_ns)
            };
            is_this_known |= boot.is_this;
            let ran_ns = seen_ns.saturating_sub(boot.began_ns);
            // By the clock as it was last: it may have been set right while the host ran.
            let began_unix_ns = seen_unix_ns.saturating_sub(ran_ns);
            let down_ns = began_unix_ns.saturating_sub(before_unix_ns);
            passed_ns = passed_ns.saturating_add(ran_ns).saturating_add(down_ns);
            before_unix_ns = seen_unix_ns;
        }
        if !is_this_known {
            passed_ns = passed_ns.saturating_add(self.at.unix_ns.saturating_sub(before_unix_ns));
        }
        passed_ns
    }

    /// When an offence's verdict ends or ended, and how long ago that is.
    fn offence(&self, boot: i64, ends: i64) -> (u64, u64) {
        let ends_ns = unsigned(ends);
        if let Some(end) = self.end(boot, ends_ns).filter(|end| *end > self.at.now_ns) {
            return (end, 0);
        }
        let ago_ns = match self.known.iter().find(|known| known.number == boot) {
            Some(of) if of.is_this => self.at.now_ns.saturating_sub(ends_ns),
            Some(of) => self.passed_since(of).saturating_add(of.seen_ns).saturating_sub(ends_ns),
            None => u64::MAX,
        };
        (self.at.now_ns.saturating_sub(ago_ns), ago_ns)
    }
}

fn meanings(connection: &Connection) -> rusqlite::Result<HashMap<i64, Arc<Meaning>>> {
    let mut meanings = HashMap::new();
    each(connection, "SELECT number, text FROM meaning", |row| {
        let text: String = row.get(1)?;
        match serde_json::from_str::<Meaning>(&text) {
            Ok(meaning) => drop(meanings.insert(row.get(0)?, Arc::new(meaning))),
            Err(error) => tracing::warn!(
                "what this means cannot be read by this version, and what it was wanted for is passed \
                 over: {text} ({error})"
            ),
        }
        Ok(())
    })?;
    Ok(meanings)
}

/// Rules by number, from 1.
fn rules(connection: &Connection) -> rusqlite::Result<Vec<Arc<str>>> {
    let mut rules: Vec<Arc<str>> = Vec::new();
    each(connection, "SELECT number, name FROM rule ORDER BY number", |row| {
        let number: u32 = row.get(0)?;
        let name: String = row.get(1)?;
        // A number whose name was never written stays taken.
        while rules.len() + 1 < number as usize {
            rules.push(format!("unknown/{}", rules.len() + 1).into());
        }
        rules.push(name.into());
        Ok(())
    })?;
    Ok(rules)
}

fn net(bytes: &[u8]) -> Option<IpNet> {
    match bytes {
        [4, a, b, c, d, length] => {
            Ipv4Net::new([*a, *b, *c, *d].into(), *length).ok().map(IpNet::from)
        }
        [6, address @ .., length] => {
            let address: [u8; 16] = address.try_into().ok()?;
            Ipv6Net::new(address.into(), *length).ok().map(IpNet::from)
        }
        _ => None,
    }
}

fn each(
    connection: &Connection,
    sql: &str,
    mut take: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        take(row)?;
    }
    Ok(())
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
