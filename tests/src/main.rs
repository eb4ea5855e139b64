//! `weir-lab`: the demo, benchmarks, and the lab's upkeep.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use weir_lab::{bench, demo, is_root, net};

/// Network namespaces with a real server, visitors and attackers, to show and test Weir in.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show people and attackers arriving at one server, through a kernel with Weir attached.
    ///
    /// Ends with 0 only if every attacker was stopped and nobody honest was.
    #[command(after_help = "Example: weir-lab demo")]
    Demo {
        /// Policy file.
        #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/demo.yaml"))]
        policy: PathBuf,
        /// How long everyone stays.
        #[arg(long, value_name = "SECONDS", default_value_t = 24)]
        seconds: u64,
    },
    /// Measure what a packet costs, next to xdp-filter and a program that only drops.
    ///
    /// Nanoseconds a packet by test run, best of nine rounds in which ours and the peer take turns.
    #[command(after_help = "\
Examples:
  weir-lab bench
  weir-lab bench drop-exact pass-established
  weir-lab bench --format json     one object a line: id, ours, peer, unit, ratio, goal, met")]
    Bench {
        /// Benchmarks; all if none is named.
        #[arg(value_name = "ID")]
        ids: Vec<String>,
        /// How results are printed.
        #[arg(long, value_enum, default_value_t = bench::Format::Table)]
        format: bench::Format,
    },
    /// Remove what a killed lab left behind: namespaces, processes in them, mounts and files.
    ///
    /// Labs whose process lives are left alone.
    #[command(after_help = "Example: weir-lab clean")]
    Clean,
}

fn main() -> ExitCode {
    match run(Cli::parse().verb) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("weir-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<bool> {
    ensure!(is_root(), "needs root to make network namespaces: run it with sudo");
    match verb {
        Verb::Demo { policy, seconds } => {
            demo::run(&demo::Options { policy, lasting: Duration::from_secs(seconds) })
        }
        Verb::Bench { ids, format } => bench::run(&ids, format).map(|()| true),
        Verb::Clean => {
            let cleaned = net::clean()?;
            for namespace in &cleaned.namespaces {
                println!("removed namespace {namespace}");
            }
            for process in &cleaned.processes {
                println!("killed process {process}");
            }
            for directory in &cleaned.directories {
                println!("removed {}", directory.display());
            }
            if cleaned.is_empty() {
                println!("nothing to clean");
            }
            Ok(true)
        }
    }
}
