//! `weir labels`

use std::io::{self, Write};

use clap::Args;

use super::{Outcome, client, format::FormatOption, table::Table};
use crate::{
    api::message::{self, LabelsQuery},
    system::paths::Paths,
};

/// Labels asked for at a time.
const PAGE: u32 = 500;

/// List what was said that sources were, newest first.
///
/// With --export, every label that is kept is printed as a line of JSON, with the features of its time:
/// for training.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    weir labels --limit 20\n  \
    weir labels --export > labels.jsonl")]
pub(super) struct Labels {
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
    /// All of them, as lines of JSON.
    #[arg(long, conflicts_with_all = ["limit", "format"])]
    export: bool,
    #[command(flatten)]
    format: FormatOption,
}

impl Labels {
    pub(super) fn execute(self, paths: &Paths) -> anyhow::Result<Outcome> {
        if self.export {
            return export(paths);
        }
        let query = LabelsQuery { limit: Some(self.limit), before: None };
        let labels = client::ask(paths, async |client| client.labels(&query).await)?;
        self.format.print(&labels, write)?;
        Ok(Outcome::Done)
    }
}

fn write(labels: &message::Labels, out: &mut dyn Write) -> io::Result<()> {
    if labels.labels.is_empty() {
        return writeln!(out, "no labels yet");
    }
    let mut table = Table::new(["TIME", "SOURCE", "LABEL", "COUNTS", "DECISION", "WHY"]);
    for label in &labels.labels {
        table.row([
            label.time.clone(),
            label.source.clone(),
            label.label.name().into(),
            if label.counts { "yes" } else { "no" }.into(),
            label.decision.clone().unwrap_or_else(|| "-".into()),
            label.why.clone().unwrap_or_default(),
        ]);
    }
    table.write(out)
}

fn export(paths: &Paths) -> anyhow::Result<Outcome> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut before = None;
    loop {
        let query = LabelsQuery { limit: Some(PAGE), before };
        let page = client::ask(paths, async |client| client.labels(&query).await)?;
        let Some(last) = page.labels.last() else { break };
        before = Some(last.id);
        for label in &page.labels {
            serde_json::to_writer(&mut out, label)?;
            if let Err(error) = writeln!(out) {
                return closed(error);
            }
        }
    }
    match out.flush() {
        Ok(()) => Ok(Outcome::Done),
        Err(error) => closed(error),
    }
}

/// `weir labels --export | head`
fn closed(error: io::Error) -> anyhow::Result<Outcome> {
    if error.kind() == io::ErrorKind::BrokenPipe { Ok(Outcome::Done) } else { Err(error.into()) }
}
