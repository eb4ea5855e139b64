//! `weir journal export`

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use super::super::Outcome;
use super::which::{Database, Records};
use crate::{
    journal::export::{self, ExportError, Form},
    system::paths::Paths,
};

/// How to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ExportFormat {
    /// One JSON object a line.
    #[default]
    Jsonl,
    /// For spreadsheets; cells that would be formulas begin with an apostrophe.
    Csv,
    /// Apache Parquet.
    Parquet,
}

/// Write records to a file, for other tools.
///
/// It reads the database as it is at this moment, and neither asks nor stops the daemon. What names
/// somebody goes along as it is kept (`privacy` in the Site); the file is its user's alone (0600).
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    weir journal export --since 24h | jq 'select(.kind == \"decision\").body.policy'\n  \
    weir journal export --format csv --kind block --kind unblock -o operators.csv\n  \
    weir journal export --format parquet --since 2027-01-01 --until 2027-02-01 -o january.parquet")]
pub(super) struct Export {
    #[command(flatten)]
    records: Records,
    /// How to write.
    #[arg(long, value_enum, default_value_t)]
    format: ExportFormat,
    /// Where to; `-` is standard output.
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    #[command(flatten)]
    database: Database,
}

impl Export {
    pub(super) fn execute(self, paths: &Paths) -> anyhow::Result<Outcome> {
        let form = match self.format {
            ExportFormat::Jsonl => Form::JsonLines,
            ExportFormat::Csv => Form::Csv,
            ExportFormat::Parquet => Form::Parquet,
        };
        let is_standard = self.output == Path::new("-");
        if is_standard && form == Form::Parquet && io::IsTerminal::is_terminal(&io::stdout()) {
            bail!("Parquet is nothing to look at: name a file with -o");
        }
        let reader = self.database.open(paths)?;
        let filter = self.records.filter(paths, None)?;
        if is_standard {
            return match export::export(&reader, &filter, form, io::stdout()) {
                // `weir journal export | head`
                Err(ExportError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                    Ok(Outcome::Done)
                }
                exported => Ok(exported.map(|_| Outcome::Done)?),
            };
        }
        // Wholly there or not at all.
        let mut part = self.output.clone().into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        let exported = create(&part).and_then(|file| {
            let count = export::export(&reader, &filter, form, file)?;
            fs::rename(&part, &self.output)
                .with_context(|| format!("cannot write {}", self.output.display()))?;
            Ok(count)
        });
        if exported.is_err() {
            let _ = fs::remove_file(&part);
        }
        let count = exported?;
        eprintln!("{count} records in {}", self.output.display());
        Ok(Outcome::Done)
    }
}

fn create(path: &Path) -> anyhow::Result<File> {
    // One that is left of an attempt that failed may have another mode.
    let _ = fs::remove_file(path);
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    created.with_context(|| format!("cannot create {}", path.display()))
}
