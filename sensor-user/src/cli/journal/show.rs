//! `weir journal show`

use clap::Args;
use serde_json::Value;

use super::super::{Outcome, format::FormatOption, table::Table};
use super::which::{Database, Records};
use crate::{
    journal::{StoredRecord, export},
    system::paths::Paths,
};

/// List records, oldest first; the latest unless something else is asked for.
///
/// It reads the database, and neither asks nor stops the daemon. Where addresses are kept as
/// pseudonyms, ABOUT has those; `--about` finds an address under them.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    weir journal show\n  \
    weir journal show --kind decision --kind unblock --since 2h\n  \
    weir journal show --about 192.0.2.7 --limit 1000 --format json")]
pub(super) struct Show {
    #[command(flatten)]
    records: Records,
    /// At most this many, the latest.
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u64,
    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    format: FormatOption,
}

impl Show {
    pub(super) fn execute(self, paths: &Paths) -> anyhow::Result<Outcome> {
        let reader = self.database.open(paths)?;
        let filter = self.records.filter(paths, Some(self.limit))?;
        let mut records: Vec<Value> = Vec::new();
        let mut table = Table::new(["SEQ", "TIME", "KIND", "BY", "ABOUT", "WHAT"]);
        reader.each(&filter, |record| {
            records.push(export::object(record));
            table.row(row(record));
            true
        })?;
        self.format.print(&records, |records, out| {
            if records.is_empty() {
                return writeln!(out, "no records");
            }
            table.write(out)
        })?;
        Ok(Outcome::Done)
    }
}

fn row(record: &StoredRecord) -> [String; 6] {
    let about = record.about();
    let about = match about.as_slice() {
        [] if record.had_personal && record.personal.is_none() => "(deleted)".into(),
        [] => String::new(),
        [one] => one.clone(),
        [one, others @ ..] => format!("{one} +{}", others.len()),
    };
    [
        record.seq.to_string(),
        record.time(),
        record.kind.clone(),
        actor(&record.actor),
        about,
        record.body.clone(),
    ]
}

/// Who did it, in short.
fn actor(json: &str) -> String {
    let actor: Option<Value> = serde_json::from_str(json).ok();
    let uid = |name: &str| {
        let actor = actor.as_ref()?.get(name)?;
        actor.get("uid").unwrap_or(actor).as_u64().map(|uid| format!("uid {uid}"))
    };
    uid("peer").or_else(|| uid("user")).unwrap_or_else(|| json.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::actor;

    #[test]
    fn who_did_it_reads_well() {
        assert_eq!(actor("\"daemon\""), "daemon");
        assert_eq!(actor("{\"user\":0}"), "uid 0");
        assert_eq!(actor("{\"peer\":{\"uid\":7,\"gid\":8,\"pid\":9}}"), "uid 7");
        assert_eq!(actor("torn"), "torn");
    }
}
