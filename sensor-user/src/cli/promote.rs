//! `weir promote`

use clap::Args;

use super::{Outcome, client};
use crate::{
    api::message::{PromoteQuery, StageMoved},
    enforce::stage::Stage,
    system::paths::Paths,
};

/// Move a policy forward: from watching to a share of sources, from there to all.
///
/// Without --to it goes one stage further; where a changed version watches beside it, that version
/// acts in its place from now on. Gates that do not hold refuse, unless --force says otherwise; what
/// is forced is written down with the reason and what the gates said.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    weir promote login\n  \
    weir promote login --to enforce\n  \
    weir promote login --to enforce --force --why \"incident 4711\"")]
pub(super) struct Promote {
    /// Which policy.
    #[arg(value_name = "POLICY")]
    policy: String,
    /// To which stage.
    #[arg(long, value_enum, value_name = "STAGE")]
    to: Option<Stage>,
    /// Also where gates do not hold.
    #[arg(long, requires = "why")]
    force: bool,
    /// Why; written down.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
}

impl Promote {
    pub(super) fn execute(self, paths: &Paths) -> anyhow::Result<Outcome> {
        let Self { policy, to, force, why } = self;
        let query = PromoteQuery { policy, to, force, why };
        let moved = client::ask(paths, async |client| client.promote(&query).await)?;
        tell(&moved);
        Ok(Outcome::Done)
    }
}

/// Says what became of a policy.
pub(super) fn tell(moved: &StageMoved) {
    let StageMoved { policy, from, to, version, verdicts, notes } = moved;
    let how = if from == to { format!("{to}") } else { format!("{from} -> {to}") };
    println!("{policy}: {how}, version {version}; verdicts that changed: {verdicts}");
    for note in notes {
        println!("note: {note}");
    }
}
