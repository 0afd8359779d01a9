//! What ends the program early, and how it ends.

use std::error::Error as StdError;
use std::fmt::{self, Display};
use std::io::{self, Write};
use std::process::ExitCode;

use crate::interrupt::Signal;
use crate::paint::Paint;

/// What a command that ran to its end tells the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything was done.
    AllDone,
    /// Some jobs were not done, or the program could not go on.
    SomeFailed,
    /// The command line asks for what cannot be.
    Usage,
    /// Whoever read the output has gone, as in `raincheck … | head`.
    OutputClosed,
    /// A signal asked it to stop.
    Interrupted(Signal),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::AllDone => 0,
            Exit::SomeFailed => 1,
            Exit::Usage => 2,
            // What the shell shows for a program that SIGPIPE ended.
            Exit::OutputClosed => 141,
            Exit::Interrupted(signal) => signal.exit_code(),
        })
    }
}

/// Why the program cannot go on, and what the user can do about it.
#[derive(Debug)]
pub(crate) struct Error {
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
    exit: Exit,
}

impl Error {
    /// Something went wrong on the way: exit code 1.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, source: None, exit: Exit::SomeFailed }
    }

    /// The command line asks for what cannot be: exit code 2, and nothing was done.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, ..Self::new(message) }
    }

    /// What to do next, on a line of its own.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// What lies beneath; it is shown after the message.
    pub(crate) fn because(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// Whether nothing is wrong but that nobody reads the output any more.
    pub(crate) fn is_output_closed(&self) -> bool {
        self.exit == Exit::OutputClosed
    }

    /// Shows it on stderr, and says how to exit.
    pub(crate) fn tell(&self) -> Exit {
        if self.is_output_closed() {
            return self.exit;
        }
        // If stderr is gone too, the exit code is all that is left to tell it by.
        let _ = io::stderr().write_all(self.text(Paint::for_stderr()).as_bytes());
        self.exit
    }

    fn text(&self, paint: Paint) -> String {
        let mut text = paint.error(&self.to_string()) + "\n";
        if let Some(hint) = &self.hint {
            text += &(paint.hint(hint) + "\n");
        }
        text
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut source = self.source();
        while let Some(error) = source {
            write!(f, ": {}", reason(error))?;
            source = error.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// What an error says, without the number that the system has for it.
pub(crate) fn reason(error: &(impl Display + ?Sized)) -> String {
    let mut text = error.to_string();
    let number = |text: &str| {
        let at = text.rfind(" (os error ")?;
        text[at + " (os error ".len()..].strip_suffix(')')?.parse::<i32>().ok().map(|_| at)
    };
    if let Some(at) = number(&text) {
        text.truncate(at);
    }
    text
}

/// Writes data to stdout, all of it, and not just most of it and the rest some time.
pub(crate) fn write_output(data: &[u8]) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    out.write_all(data).and_then(|()| out.flush()).map_err(cannot_write_output)
}

/// Writing data to stdout failed. A reader that has gone is no error of ours.
pub(crate) fn cannot_write_output(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Error { exit: Exit::OutputClosed, ..Error::new("output closed") },
        _ => Error::new("cannot write to stdout").because(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_what_why_and_what_next() {
        let error = Error::new("cannot create `a/b.csv`")
            .because(io::Error::new(io::ErrorKind::NotFound, "no such folder"))
            .hint("create `a` first");

        assert_eq!(
            error.text(Paint::Plain),
            "error: cannot create `a/b.csv`: no such folder\nhint: create `a` first\n"
        );
    }

    #[test]
    fn the_systems_number_for_it_is_no_reason() {
        assert_eq!(reason(&io::Error::from_raw_os_error(2)), "No such file or directory");
        assert_eq!(reason("No space left (os error 28) (really)"), "No space left (os error 28) (really)");
        assert_eq!(reason("(os error )"), "(os error )");
    }

    #[test]
    fn a_reader_that_has_gone_is_told_by_the_exit_code_alone() {
        assert_eq!(cannot_write_output(io::ErrorKind::BrokenPipe.into()).tell(), Exit::OutputClosed);
        assert_eq!(cannot_write_output(io::ErrorKind::StorageFull.into()).exit, Exit::SomeFailed);
    }
}
