//! Every command, and which one it is.

mod fetch;
mod flags;
mod hash;
mod logs;
mod run;
mod serve;
mod shell;

use clap::CommandFactory;

pub(crate) use self::fetch::FetchArgs;
pub(crate) use self::flags::FlagsArgs;
pub(crate) use self::hash::HashArgs;
pub(crate) use self::logs::LogsArgs;
pub(crate) use self::run::{KEEP_WATCH, RunArgs};
pub(crate) use self::serve::ServeArgs;
use crate::args::{Cli, Command};
use crate::error::{Error, Exit};

/// Does what was typed, and says how to exit.
pub(crate) fn run(cli: Cli) -> Result<Exit, Error> {
    match cli.command {
        Some(Command::Fetch(args)) => fetch::run(*args, cli.talk),
        Some(Command::Flags(args)) => flags::run(args, cli.talk),
        Some(Command::Hash(args)) => hash::run(args, cli.talk),
        Some(Command::Logs(args)) => logs::run(args, cli.talk),
        Some(Command::Run(args)) => run::run(*args, cli.talk),
        Some(Command::KeepWatch { watched, run }) => Ok(run::keep_watch(watched, run)),
        Some(Command::Serve(args)) => serve::run(args, cli.talk),
        Some(Command::Completions { shell }) => shell::completions(shell),
        Some(Command::Man) => shell::manual_page(),
        None => {
            // Nothing was asked for, so nothing goes to stdout.
            anstream::eprint!("{}", Cli::command().render_help().ansi());
            Ok(Exit::Usage)
        }
    }
}
