//! `weir forget`

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::Args;
use serde_json::Map;

use super::{Outcome, block::explain, client, format::FormatOption, input::Input};
use crate::{
    api::{
        block_list::ListReader,
        client::ClientError,
        message::{ForgetQuery, Forgot},
    },
    journal::{Actor, Places, PseudonymKeys, erasure, forget::Forgotten, offline::Offline},
    system::paths::Paths,
};

/// Delete what is kept about addresses: an answer to a request for erasure.
///
/// What names them is taken out of the journal, whose records stay and still verify, and out of
/// labels, the cohort and the latest decisions. That it was done is written down, without the
/// addresses. Verdicts in force stay until they end, unless --unblock takes them back. IPv6 addresses
/// are judged by /64, so their /64 is forgotten. Exports, recordings, logs and backups are not within reach.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    weir forget 192.0.2.7\n  \
    weir forget 2001:db8:1:2::/64 --unblock")]
pub(super) struct Forget {
    /// Addresses and prefixes; `-` reads standard input.
    #[arg(value_name = "ADDR|CIDR", required_unless_present = "file")]
    whom: Vec<String>,
    /// Files with one address or prefix a line.
    #[arg(long, value_name = "FILE")]
    file: Vec<PathBuf>,
    /// Take verdicts on them back too.
    #[arg(long)]
    unblock: bool,
    #[command(flatten)]
    format: FormatOption,
}

impl Forget {
    pub(super) fn execute(self, paths: &Paths) -> anyhow::Result<Outcome> {
        let mut input = Input::gather(&self.whom, &self.file)?;
        let query = ForgetQuery { unblock: self.unblock };
        let list = input.take_text();
        let body = list.clone().into();
        let asked = client::ask(paths, async |client| client.forget(&query, body).await);
        let forgot = match asked {
            Err(error) if matches!(error.downcast_ref(), Some(ClientError::NoDaemon { .. })) => {
                without_daemon(paths, &list, &input, self.unblock)?
            }
            asked => asked.map_err(|error| explain(error, &input))?,
        };
        self.format.print(&forgot, |forgot, out| {
            writeln!(out, "{} records of the journal name them no more", forgot.records)?;
            for (what, count) in forgot.deleted.iter().filter(|(_, count)| *count > 0) {
                writeln!(out, "{count} deleted: {}", what.replace('_', " "))?;
            }
            if forgot.unblocked > 0 {
                writeln!(out, "{} verdicts taken back", forgot.unblocked)?;
            }
            for verdict in &forgot.verdicts {
                writeln!(out, "still in force: a verdict on {verdict}")?;
            }
            forgot.notes.iter().try_for_each(|note| writeln!(out, "note: {note}"))
        })?;
        Ok(Outcome::Done)
    }
}

fn without_daemon(
    paths: &Paths,
    list: &[u8],
    input: &Input,
    unblock: bool,
) -> anyhow::Result<Forgot> {
    let mut reader = ListReader::default();
    reader.push(list);
    let list = reader.finish().map_err(|failure| anyhow!(input.explain(&failure)))?;
    let keys = PseudonymKeys::read(&Places::of(paths).pseudonym_keys)?;
    let whom = Forgotten::new(&list.prefixes, &keys)?;
    let offline = Offline::open(paths)?;
    let actor = Actor::User(nix::unistd::getuid().as_raw());
    let erased = erasure::carry_out(&offline.desk.writer(), &whom, &actor, &Map::new());
    let erased = erased.context("not everything was deleted")?;
    offline.finish()?;
    let mut notes = vec!["no daemon runs: verdicts in the kernel were not looked at".to_owned()];
    if unblock {
        notes
            .push("verdicts are taken back by the daemon: start it, and use `weir unblock`".into());
    }
    Ok(Forgot { records: erased.records, deleted: erased.tables, notes, ..Forgot::default() })
}
