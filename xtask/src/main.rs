//! `cargo xtask`: the one entry point for building, testing, demonstrating and measuring Weir.
//! Anything that needs the BPF toolchain or root starts here.

mod bench;
mod build;
mod ci;
mod demo;
mod fuzz;
mod lab;
mod lint;
mod privilege;
mod process;
mod setup;
mod test;
mod toolchain;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Builds, tests, shows and measures Weir.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    after_help = "Example: cargo xtask demo\n\nEvery verb installs what it needs, or prints the commands that would."
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Find the BPF toolchain and the lab's programs; install what is missing
    Setup(setup::Options),
    /// Build the BPF object, and the `weir` binary with it inside
    Build(build::Options),
    /// Run every test, the privileged ones too
    Test(test::Options),
    /// Show people and attackers at one server, with Weir between
    Demo(demo::Options),
    /// Measure what a packet costs, next to a peer
    Bench(bench::Options),
    /// Put hostile inputs to everything that reads them
    Fuzz(fuzz::Options),
    /// Keep the lab tidy
    #[command(subcommand)]
    Lab(lab::Verb),
    /// Check formatting, clippy, documentation and dependencies
    Lint(lint::Options),
    /// Run what CI runs
    #[command(after_help = "Example: cargo xtask ci")]
    Ci,
    /// Start one test program on behalf of cargo
    #[command(hide = true)]
    RunTest(test::runner::Program),
}

fn main() -> ExitCode {
    match run(&Cli::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: &Verb) -> Result<()> {
    let workspace = Workspace::discover()?;
    match verb {
        Verb::Setup(options) => setup::main(&workspace, options),
        Verb::Build(options) => build::main(&workspace, options),
        Verb::Test(options) => test::main(&workspace, options),
        Verb::Demo(options) => demo::main(&workspace, options),
        Verb::Bench(options) => bench::main(&workspace, options),
        Verb::Fuzz(options) => fuzz::main(&workspace, options),
        Verb::Lab(verb) => lab::main(&workspace, verb),
        Verb::Lint(options) => lint::main(&workspace, options),
        Verb::Ci => ci::main(&workspace),
        Verb::RunTest(program) => test::runner::main(program),
    }
}
