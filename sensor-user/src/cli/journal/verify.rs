//! `weir journal verify`

use std::io::{self, Write};

use anyhow::{Context, anyhow};
use clap::Args;

use super::super::{Outcome, format::FormatOption};
use super::which::Database;
use crate::{
    journal::{
        Places, PublicKey, SigningKey, from_hex,
        verify::{Finding, Head, Knowledge, Known, Report, verify},
    },
    system::paths::Paths,
};

/// Find whatever was edited, removed, moved or cut off, and say where.
///
/// It needs no daemon, changes nothing, and works on a copy of the database. A copy is compared with the
/// file `journal.head` beside it, if that is there too. Who can read the host's key can sign
/// whatever they like: what was written down elsewhere in time (a public key from `weir journal key`, a
/// checkpoint from the log) is what such a journal cannot agree with.
#[derive(Args, Debug)]
#[command(after_help = "Exit codes: 0 nothing is wrong; 1 something is, or it cannot be read.\n\n\
    Examples:\n  \
    weir journal verify\n  \
    weir journal verify --database copy/weir.db --public-key 9f3c…\n  \
    weir journal verify --checkpoint 4711:5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9")]
pub(super) struct Verify {
    #[command(flatten)]
    database: Database,
    /// A record that somebody remembers, as the log has it; repeat it for several.
    #[arg(long, value_name = "SEQ:HASH", value_parser = checkpoint)]
    checkpoint: Vec<Known>,
    /// The host's public key, and no other; without it, that of the host where the database is its own.
    #[arg(long, value_name = "HEX", value_parser = public_key)]
    public_key: Vec<PublicKey>,
    #[command(flatten)]
    format: FormatOption,
}

impl Verify {
    pub(super) fn execute(self, paths: &Paths) -> anyhow::Result<Outcome> {
        let path = self.database.path(paths);
        // Before the database: then it cannot know more than that.
        let head = Head::read(&path.with_file_name("journal.head"));
        let mut keys = self.public_key;
        if keys.is_empty() && self.database.is_own() {
            // Who may not read the key can verify all the same; the report says that it was not compared.
            let own = SigningKey::read(&Places::of(paths).signature_key).ok().flatten();
            keys.extend(own.map(|key| key.public()));
        }
        let reader = self.database.open(paths)?;
        let knowledge = Knowledge { keys, known: self.checkpoint, head: Some(head) };
        let report = verify(&reader, &knowledge)?;
        self.format.print(&report, print)?;
        Ok(if report.holds { Outcome::Done } else { Outcome::Unfit })
    }
}

fn print(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    for finding in &report.findings {
        writeln!(out, "{}", line(finding))?;
    }
    if report.more > 0 {
        writeln!(out, "and {} more", report.more)?;
    }
    for note in &report.notes {
        writeln!(out, "note: {note}")?;
    }
    let verdict = if report.holds { "holds" } else { "DOES NOT HOLD" };
    writeln!(
        out,
        "the journal {verdict}: {} records ({} to {}), {} checkpoints, signed up to record {}; personal \
         parts: {} kept, {} deleted",
        report.records,
        report.first,
        report.last,
        report.checkpoints,
        report.signed_through,
        report.personal,
        report.personal_deleted
    )?;
    if report.records > 0 {
        writeln!(out, "it ends at {}:{}", report.last, report.last_hash)?;
    }
    Ok(())
}

fn line(finding: &Finding) -> String {
    let what = format!("{:?}", finding.what).to_lowercase();
    match (finding.from, finding.to) {
        (0, 0) => format!("{what}: {}", finding.text),
        (from, to) if from == to => format!("record {from}: {what}: {}", finding.text),
        (from, to) => format!("records {from} to {to}: {what}: {}", finding.text),
    }
}

fn checkpoint(text: &str) -> anyhow::Result<Known> {
    let help =
        || anyhow!("a checkpoint is written SEQ:HASH, with 64 hexadecimal digits, as in the log");
    let (seq, hash) = text.split_once(':').ok_or_else(help)?;
    let seq: i64 = seq.parse().ok().filter(|seq| *seq > 0).ok_or_else(help)?;
    let hash = from_hex(hash).ok_or_else(help)?;
    Ok(Known { seq, hash, from: "--checkpoint".into() })
}

fn public_key(text: &str) -> anyhow::Result<PublicKey> {
    from_hex(text)
        .context("a public key has 64 hexadecimal digits, as `weir journal key` prints them")
}
