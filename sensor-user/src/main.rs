//! `weir`: reads the command line, does what it says, and exits 0, 1 or 2.

use std::process::ExitCode;

use clap::Parser;
use weir_sensor::{
    cli::{Cli, Outcome},
    kernel::Kernel,
};

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => Outcome::exit_code(cli.execute::<Kernel>()),
        Err(error) => Outcome::usage(&error),
    }
}
