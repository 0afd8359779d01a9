//! `raincheck`: a pile of jobs, done.

mod args;
mod batch;
mod by_number;
mod client;
mod commands;
mod descriptors;
mod error;
mod executors;
mod interrupt;
mod paint;
mod report;
mod server;

use std::process::ExitCode;

fn main() -> ExitCode {
    paint::heed_dumb_terminals();
    let exit = args::read().map_or_else(|told| told, commands::run);
    exit.unwrap_or_else(|error| error.tell()).into()
}
