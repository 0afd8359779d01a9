//! `raincheck`: a pile of jobs, done.

mod args;
mod batch;
mod client;
mod commands;
mod error;
mod executors;
mod interrupt;
mod paint;
mod report;
mod server;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    commands::run(cli).unwrap_or_else(|error| error.tell()).into()
}
