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

fn main() -> ExitCode {
    let cli = args::read();
    commands::run(cli).unwrap_or_else(|error| error.tell()).into()
}
