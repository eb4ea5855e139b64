//! `weir schema`

use std::io::{self, Write};

use clap::Args;

use super::Outcome;
use crate::policy::schema::schema;

/// Print the JSON Schema of policy files, for editors.
///
/// It knows fields, words and forms. Names that are referred to and conditions are for `weir check`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    weir schema > weir-policy.schema.json\n  \
    # and at the beginning of a policy file, for editors with a YAML language server:\n  \
    # yaml-language-server: $schema=weir-policy.schema.json")]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn execute(&self) -> anyhow::Result<Outcome> {
        match writeln!(io::stdout().lock(), "{:#}", schema()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(Outcome::Done),
        }
    }
}
