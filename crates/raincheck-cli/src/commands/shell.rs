//! `completions` and `man`: what a shell can be taught about this program, from the same definitions that parse it.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;
use crate::error::{Error, Exit, write_output};

/// Prints the completion script of this shell.
pub(crate) fn completions(shell: Shell) -> Result<Exit, Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "raincheck", &mut script);
    print(&script)
}

/// Prints the manual page: the program, and then each command.
pub(crate) fn manual_page() -> Result<Exit, Error> {
    print(&page().map_err(|error| Error::new("cannot make the manual page").because(error))?)
}

fn page() -> io::Result<Vec<u8>> {
    let mut command = Cli::command();
    command.build();
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    // It refers to a page for each command, and there is only this one.
    let mut page = String::from_utf8(page).map_err(io::Error::other)?;
    for subcommand in command.get_subcommands() {
        let name = as_it_stands(subcommand.get_name()).replace("\\&", "");
        page = page.replace(&format!("raincheck\\-{name}(1)"), &format!("raincheck {name}"));
    }
    let mut page = page.into_bytes();
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        let man = clap_mangen::Man::new(subcommand.clone());
        writeln!(page, ".SH \"RAINCHECK {}\"", subcommand.get_name().to_uppercase())?;
        man.render_synopsis_section(&mut page)?;
        man.render_description_section(&mut page)?;
        man.render_options_section(&mut page)?;
        if let Some(more) = subcommand.get_after_long_help().or(subcommand.get_after_help()) {
            writeln!(page, ".PP\n.nf\n{}\n.fi", as_it_stands(&more.to_string()))?;
        }
    }
    Ok(page)
}

/// Text of which roff is to make nothing else.
fn as_it_stands(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    // A dot or a quote at its beginning would make a request of a line.
    text.lines().map(|line| format!("\\&{line}")).collect::<Vec<_>>().join("\n")
}

fn print(text: &[u8]) -> Result<Exit, Error> {
    write_output(text)?;
    Ok(Exit::AllDone)
}
