//! `weir label`

use std::path::PathBuf;

use clap::Args;

use super::{Outcome, block::explain, client, format::FormatOption, input::Input};
use crate::{label::Verdict, system::paths::Paths};

/// Say what a source was: human or bot.
///
/// A label counts at once. `human` lifts all that policies decided about the source, keeps policies from
/// refusing it, and makes their decisions about it false positives; an operator's own block stays. `bot`
/// takes its trust away. The latest label of a source counts. What was known of the source is kept with
/// the label, for training.
///
/// Files and standard input have one label a line, `ADDR|DECISION human|bot [why]`; `#` begins a comment
/// line. If one line is bad, every bad line is reported and nothing is labelled.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    weir label 192.0.2.7 human --why \"ticket 4711\"\n  \
    weir label 0123456789abcdef human\n  \
    weir label --file labels.txt\n  \
    weir decisions --format json | jq -r '.decisions[] | select(.score == 100) | \"\\(.id) bot\"' | \
    weir label --file -")]
pub(super) struct Label {
    /// An address, an IPv6 /64, or the id of a decision.
    #[arg(value_name = "ADDR|DECISION", required_unless_present = "file", requires = "label")]
    whom: Option<String>,
    /// What it was.
    #[arg(value_name = "human|bot", value_enum)]
    label: Option<Verdict>,
    /// Why.
    #[arg(long, value_name = "TEXT", conflicts_with = "file")]
    why: Option<String>,
    /// Files with one label a line; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "whom")]
    file: Vec<PathBuf>,
    #[command(flatten)]
    format: FormatOption,
}

impl Label {
    pub(super) fn execute(self, paths: &Paths) -> anyhow::Result<Outcome> {
        let mut input = Input::gather(&[], &self.file)?;
        let list = match (&self.whom, self.label) {
            (Some(whom), Some(label)) => {
                // One line, whatever was typed.
                let why = self.why.as_deref().unwrap_or_default();
                let line = format!("{whom} {} {why}", label.name());
                line.replace(['\n', '\r'], " ").into_bytes()
            }
            _ => input.take_text(),
        };
        let labelled = client::ask(paths, async |client| client.label(list.into()).await)
            .map_err(|error| explain(error, &input))?;
        self.format.print(&labelled, |labelled, out| {
            let noun = if labelled.labels == 1 { "label" } else { "labels" };
            write!(out, "{} {noun} taken", labelled.labels)?;
            if labelled.changed < labelled.labels {
                write!(out, ", {} of them say something new", labelled.changed)?;
            }
            if labelled.lifted > 0 {
                let noun = if labelled.lifted == 1 { "verdict" } else { "verdicts" };
                write!(out, ", {} {noun} lifted", labelled.lifted)?;
            }
            writeln!(out)?;
            for note in &labelled.notes {
                writeln!(out, "note: {note}")?;
            }
            Ok(())
        })?;
        Ok(Outcome::Done)
    }
}
