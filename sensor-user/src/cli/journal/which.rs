//! Which database, and which records of it.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use ipnet::IpNet;

use crate::{
    journal::{Filter, Kind, Places, PseudonymKeys, Reader, names_of},
    policy::netset,
    system::paths::Paths,
};

/// The database.
#[derive(Args, Debug)]
pub(super) struct Database {
    /// The database; without it, the one in the state directory.
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,
}

impl Database {
    pub(super) fn path(&self, paths: &Paths) -> PathBuf {
        self.database.clone().unwrap_or_else(|| paths.store_file())
    }

    /// Whether it is the daemon's.
    pub(super) const fn is_own(&self) -> bool {
        self.database.is_none()
    }

    pub(super) fn open(&self, paths: &Paths) -> anyhow::Result<Reader> {
        let path = self.path(paths);
        let reader = Reader::open(&path)?;
        if !reader.has_journal()? {
            bail!(
                "there is no journal in {}: name the right database with --database",
                path.display()
            );
        }
        Ok(reader)
    }
}

/// The records.
#[derive(Args, Debug)]
pub(super) struct Records {
    /// From this time on: a time, a day (UTC), or how long ago ("2h").
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<i64>,
    /// Before this time.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<i64>,
    /// Of this kind; repeat it for several.
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Vec<Kind>,
    /// About this address or prefix, by whatever name records have for it.
    #[arg(long, value_name = "ADDR|CIDR", value_parser = prefix)]
    about: Option<IpNet>,
}

impl Records {
    pub(super) fn filter(&self, paths: &Paths, latest: Option<u64>) -> anyhow::Result<Filter> {
        let mut about = Vec::new();
        if let Some(net) = &self.about {
            let keys = PseudonymKeys::read(&Places::of(paths).pseudonym_keys)
                .context("cannot look for pseudonyms")?;
            about = names_of(net, &keys);
        }
        Ok(Filter {
            since_ns: self.since,
            until_ns: self.until,
            kinds: self.kind.clone(),
            about,
            latest,
        })
    }
}

fn prefix(text: &str) -> anyhow::Result<IpNet> {
    netset::prefix(text)
        .map_err(|_| anyhow!("an address or prefix, like 192.0.2.7 or 2001:db8::/32"))
}

fn kind(text: &str) -> anyhow::Result<Kind> {
    Kind::named(text).ok_or_else(|| {
        let names = Kind::ALL.map(Kind::name);
        anyhow!("there is no such kind; there are: {}", names.join(", "))
    })
}

/// A time, in nanoseconds since 1970.
fn moment(text: &str) -> anyhow::Result<i64> {
    let at = if let Ok(ago) = humantime::parse_duration(text) {
        SystemTime::now().checked_sub(ago)
    } else if text.len() == "2027-06-30".len() {
        humantime::parse_rfc3339_weak(&format!("{text} 00:00:00")).ok()
    } else {
        humantime::parse_rfc3339_weak(text).ok()
    };
    let since = at.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let unix_ns = since.map(|since: Duration| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX));
    unix_ns.ok_or_else(|| {
        anyhow!("a time is written like 2027-06-30T12:00:00Z, 2027-06-30 or 2h (ago)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_given_as_times_days_or_how_long_ago() {
        assert_eq!(moment("1970-01-02").unwrap(), 86_400_000_000_000);
        assert_eq!(moment("1970-01-01T00:00:01Z").unwrap(), 1_000_000_000);
        let hour_ago = moment("1h").unwrap();
        let now = moment("1s").unwrap();
        assert!((3_595..=3_605).contains(&((now - hour_ago) / 1_000_000_000)));
        for wrong in ["", "yesterday", "12:00", "2027-13-01", "1969-01-01"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }
}
