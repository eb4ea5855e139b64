//! The command line: what was typed, one file per verb, and the exit code.

mod audit;
mod block;
mod brake;
mod check;
mod client;
mod decisions;
mod detach;
mod doctor;
mod exit;
mod explain;
mod features;
mod fingerprint;
mod forget;
mod format;
mod gates;
mod input;
mod journal;
mod kill;
mod label;
mod labels;
mod mode;
mod promote;
mod ready;
mod replay;
mod rollback;
mod run;
mod schema;
mod signal;
mod status;
mod table;
mod test;
mod unblock;
mod verdicts;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use exit::Outcome;

use crate::{daemon::sensor::Sensor, system::paths::Paths};

/// Measures and holds back: an eBPF/XDP network sensor and enforcer.
#[derive(Debug, Parser)]
#[command(
    name = "weir",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 done; 1 failed, or `doctor`, `check` or `ready` found something; 2 not understood.\n\n\
                  Examples:\n  \
                  weir doctor eth0\n  \
                  weir run --interface eth0 --policy /etc/weir/policies\n  \
                  weir block 192.0.2.7 --for 10m --reason \"ticket 4711\"\n  \
                  weir kill on"
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Where things live; the same for every verb.
#[derive(Args, Debug)]
struct Global {
    /// BPF file system that pins live in.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "WEIR_BPFFS",
        default_value = "/sys/fs/bpf",
        help_heading = "Places"
    )]
    bpffs: PathBuf,
    /// What must survive a restart or a reboot: kill switch, ledger.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "WEIR_STATE_DIR",
        default_value = "/var/lib/weir",
        help_heading = "Places"
    )]
    state_dir: PathBuf,
    /// Control socket and lock.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "WEIR_RUN_DIR",
        default_value = "/run/weir",
        help_heading = "Places"
    )]
    run_dir: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Attach to interfaces, measure, decide and enforce.
    Run(run::Run),
    /// Show what the daemon and the kernel are doing.
    Status(status::Status),
    /// Say whether all is as it should be, and if not, why.
    Ready(ready::Ready),
    /// Show whether the kernel does what is wanted.
    Audit(audit::Audit),
    /// Show where policies stand, and what keeps them from going further.
    Gates(gates::GatesVerb),
    /// Move a policy forward: from watching to a share of sources, from there to all.
    Promote(promote::Promote),
    /// Take a policy back to watching, at once.
    Rollback(rollback::Rollback),
    /// Set a verdict on addresses and prefixes.
    Block(block::Block),
    /// Take verdicts back.
    Unblock(unblock::Unblock),
    /// Say what sources were: human or bot.
    Label(label::Label),
    /// List what was said that sources were.
    Labels(labels::Labels),
    /// Show the circuit breaker, or close it.
    Brake(brake::Brake),
    /// List the verdicts in force.
    Verdicts(verdicts::Verdicts),
    /// List the latest decisions and what added up to them.
    Decisions(decisions::Decisions),
    /// Say something of a client, as an application does.
    Signal(signal::Signal),
    /// Show why a client is treated as it is, and what would change it.
    Explain(explain::Explain),
    /// Show, verify and export what was decided, switched and asked for.
    Journal(journal::Journal),
    /// Delete what is kept about addresses: an answer to a request for erasure.
    Forget(forget::Forget),
    /// Let everything pass, or enforce again; needs no daemon and survives a reboot.
    Kill(kill::Kill),
    /// Switch to a set of overrides that the policy declares, or back.
    Mode(mode::Mode),
    /// Remove Weir from every interface and from the BPF file system.
    Detach(detach::Detach),
    /// Check whether this host and its interfaces are fit for Weir.
    Doctor(doctor::Doctor),
    /// Find every mistake in policy files.
    Check(check::Check),
    /// List what the conditions of policies can compare.
    Features(features::Features),
    /// Print the JSON Schema of policy files, for editors.
    Schema(schema::Schema),
    /// Show the fingerprints of clients in captures, or on an interface.
    Fingerprint(fingerprint::Fingerprint),
    /// Judge captures by a policy, as the daemon would have.
    Replay(replay::Replay),
    /// Run the tests of policies.
    Test(test::Test),
}

impl Cli {
    /// Does what was asked, with `S` as the kernel's side.
    pub fn execute<S: Sensor>(self) -> anyhow::Result<Outcome> {
        let paths = Paths {
            bpffs: self.global.bpffs,
            state_dir: self.global.state_dir,
            run_dir: self.global.run_dir,
        };
        match self.command {
            Command::Run(run) => run.execute::<S>(paths),
            Command::Status(status) => status.execute(&paths),
            Command::Ready(ready) => ready.execute(&paths),
            Command::Audit(audit) => audit.execute(&paths),
            Command::Gates(gates) => gates.execute(&paths),
            Command::Promote(promote) => promote.execute(&paths),
            Command::Rollback(rollback) => rollback.execute(&paths),
            Command::Block(block) => block.execute(&paths),
            Command::Unblock(unblock) => unblock.execute(&paths),
            Command::Label(label) => label.execute(&paths),
            Command::Labels(labels) => labels.execute(&paths),
            Command::Brake(brake) => brake.execute(&paths),
            Command::Verdicts(verdicts) => verdicts.execute(&paths),
            Command::Decisions(decisions) => decisions.execute(&paths),
            Command::Signal(signal) => signal.execute(&paths),
            Command::Explain(explain) => explain.execute(&paths),
            Command::Journal(journal) => journal.execute(&paths),
            Command::Forget(forget) => forget.execute(&paths),
            Command::Kill(kill) => kill.execute(&paths),
            Command::Mode(mode) => mode.execute(&paths),
            Command::Detach(detach) => detach.execute::<S>(&paths),
            Command::Doctor(doctor) => doctor.execute(&paths),
            Command::Check(check) => check.execute(),
            Command::Features(features) => features.execute(),
            Command::Schema(schema) => schema.execute(),
            Command::Fingerprint(fingerprint) => fingerprint.execute(),
            Command::Replay(replay) => replay.execute(),
            Command::Test(test) => test.execute(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_shows_an_example() {
        for verb in Cli::command().get_subcommands_mut() {
            let help = verb.render_long_help().to_string();
            assert!(help.contains("Example"), "`weir {} --help` has none", verb.get_name());
        }
    }
}
