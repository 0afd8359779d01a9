//! Colour for the eye, where the terminal takes it; every message is as clear without.

use std::{env, io};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

/// Sees to it that a terminal which says of itself that it is dumb gets no colour: in CI it would, by default.
pub(crate) fn heed_dumb_terminals() {
    let is_forced = env::var_os("CLICOLOR_FORCE").is_some_and(|value| value != "0");
    if console::is_dumb() && !is_forced {
        ColorChoice::Never.write_global();
    }
}

/// Whether text for stderr is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    Plain,
    Coloured,
}

impl Paint {
    /// As stderr takes it: not into a pipe, nor under `NO_COLOR`.
    pub(crate) fn for_stderr() -> Self {
        match AutoStream::choice(&io::stderr()) {
            ColorChoice::Never => Self::Plain,
            ColorChoice::Auto | ColorChoice::Always | ColorChoice::AlwaysAnsi => Self::Coloured,
        }
    }

    /// The text in this style, if there is to be any.
    pub(crate) fn apply(self, style: Style, text: &str) -> String {
        match self {
            Self::Plain => text.into(),
            Self::Coloured => format!("{style}{text}{style:#}"),
        }
    }

    /// `error: …`: nothing or not all of it was done.
    pub(crate) fn error(self, text: &str) -> String {
        self.headed(AnsiColor::Red, "error", text)
    }

    /// `warning: …`: something the user should know about what was done.
    pub(crate) fn warning(self, text: &str) -> String {
        self.headed(AnsiColor::Yellow, "warning", text)
    }

    /// `hint: …`: what to do next.
    pub(crate) fn hint(self, text: &str) -> String {
        self.headed(AnsiColor::Cyan, "hint", text)
    }

    fn headed(self, colour: AnsiColor, head: &str, text: &str) -> String {
        format!("{} {text}", self.apply(colour.on_default().bold(), &format!("{head}:")))
    }
}
