//! `raincheck serve`: the test server on its own.

use std::io::{self, Write};
use std::path::PathBuf;

use crate::args::Talk;
use crate::descriptors;
use crate::error::{Error, Exit, cannot_write_output};
use crate::interrupt::Interrupt;
use crate::report::{Verbosity, figures};
use crate::server::{Content, Server, ServerOptions, StartError, Stats};

/// So many are open without the system having to make room for them.
const CONNECTIONS: u64 = 4096;

/// What `raincheck serve` is asked for.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ServeArgs {
    /// The folder to serve [default: a flag for each country, as in `/flags/de/de.png`]
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,

    #[command(flatten)]
    server: ServerOptions,
}

/// Serves until the user asks to stop. With `--verbose`, writes an access log to stderr.
pub(crate) fn run(args: ServeArgs, talk: Talk) -> Result<Exit, Error> {
    descriptors::make_room(CONNECTIONS);
    let content = args.folder.map_or(Content::BuiltInFlags, Content::Folder);
    // Each line goes out at once: a log is read while the server runs.
    let log = (talk.verbosity() > Verbosity::Normal).then(|| Box::new(io::stderr()) as Box<dyn Write + Send>);
    let server = Server::start_logging(content, args.server, log).map_err(cannot_start)?;
    let interrupt = Interrupt::install()?;
    let stop = server.stop_handle();
    interrupt.on_asked(move || stop.stop());

    announce(&server, io::stdout().lock()).map_err(cannot_write_output)?;
    let stats = server.wait();
    if talk.verbosity() > Verbosity::Quiet {
        anstream::eprintln!("{}", summary(&stats));
    }
    Ok(interrupt.asked().map_or(Exit::AllDone, Exit::Interrupted))
}

/// Says why, and what to do about it.
pub(super) fn cannot_start(error: StartError) -> Error {
    let told = match error {
        StartError::Shares(_) => Error::usage(error.to_string()),
        _ => Error::new(error.to_string()),
    };
    match error.hint() {
        Some(hint) => told.hint(hint),
        None => told,
    }
}

/// Writes the address of the server, which is the data of this command.
fn announce(server: &Server, mut out: impl Write) -> io::Result<()> {
    writeln!(out, "http://{}", server.address())?;
    out.flush()
}

/// Says what has happened on the server, in one line for the eye.
fn summary(stats: &Stats) -> String {
    let mut line = format!("{} answered", figures::count(stats.requests, "request"));
    let on_purpose = [
        (stats.errors, "with an error"),
        (stats.cut, "cut off"),
        (stats.stalled, "left hanging"),
        (stats.limited, "turned away"),
        (stats.early, "back too early"),
    ];
    for (count, how) in on_purpose.into_iter().filter(|(count, _)| *count > 0) {
        line.push_str(&format!(", {count} {how}"));
    }
    let (opened, peak) = (figures::count(stats.opened, "connection"), stats.peak_connections);
    line.push_str(&format!("; {opened}, at most {peak} at once"));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_one_line_that_a_script_can_use() {
        let server = Server::start(Content::BuiltInFlags, ServerOptions::default()).expect("loopback is free");
        let mut out = Vec::new();
        announce(&server, &mut out).expect("a vector takes everything");

        assert_eq!(String::from_utf8(out), Ok(format!("http://127.0.0.1:{}\n", server.address().port())));
    }

    #[test]
    fn the_summary_names_only_the_trouble_there_was() {
        let quiet = Stats { requests: 1, opened: 1, peak_connections: 1, ..Stats::default() };
        let rough = Stats {
            requests: 676,
            errors: 165,
            limited: 9,
            early: 2,
            opened: 41,
            peak_connections: 30,
            ..Stats::default()
        };

        assert_eq!(summary(&quiet), "1 request answered; 1 connection, at most 1 at once");
        assert_eq!(
            summary(&rough),
            "676 requests answered, 165 with an error, 9 turned away, 2 back too early; 41 connections, at most 30 at once"
        );
    }
}
