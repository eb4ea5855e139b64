//! `weir rollback`

use clap::Args;

use super::{Outcome, client, promote};
use crate::{api::message::RollbackQuery, system::paths::Paths};

/// Take a policy back to watching, at once.
///
/// Its verdicts stay and are counted, and act no more. It is not moved forward by itself for as long
/// as its gates say (`retry_after`); `weir promote` moves it earlier.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    weir rollback login\n  \
    weir rollback login --why \"customers complain\"")]
pub(super) struct Rollback {
    /// Which policy.
    #[arg(value_name = "POLICY")]
    policy: String,
    /// Why; written down.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
}

impl Rollback {
    pub(super) fn execute(self, paths: &Paths) -> anyhow::Result<Outcome> {
        let query = RollbackQuery { policy: self.policy, why: self.why };
        let moved = client::ask(paths, async |client| client.roll_back(&query).await)?;
        promote::tell(&moved);
        Ok(Outcome::Done)
    }
}
