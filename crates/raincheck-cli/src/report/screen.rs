//! Where progress is drawn: a bar that is redrawn in place, or a line now and then.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::progress::Progress;
use crate::paint::Paint;

/// How to show progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    /// A bar if stderr is a terminal and no dumb one, plain lines if not
    #[default]
    Auto,
    /// A bar, redrawn in place
    Bar,
    /// A line every few seconds
    Plain,
    /// Every event as one JSON object per line, and at the end how many jobs ended in which way, or were not begun
    Json,
    /// Nothing, and no summary: what fails is told still
    None,
}

/// So long passes at least between two plain lines.
const BETWEEN_LINES: Duration = Duration::from_secs(5);
const WIDTH_IF_UNKNOWN: usize = 80;

/// Draws on stderr.
pub(crate) enum Screen {
    Bar(ProgressBar),
    Plain(Plain),
    /// Notes still appear.
    Silent,
}

/// The plain lines: when the last one was due, and what it said.
#[derive(Default)]
pub(crate) struct Plain {
    last: Duration,
    said: String,
}

impl Screen {
    /// Picks what suits stderr.
    pub(crate) fn new(mode: ProgressMode) -> Self {
        // One that says of itself that it is dumb cannot take a line back either.
        let terminal = io::stderr().is_terminal() && !console::is_dumb();
        match mode {
            // There is no place to redraw in a pipe, whatever was asked for.
            ProgressMode::Auto | ProgressMode::Bar if terminal => Self::Bar(bar()),
            ProgressMode::Auto | ProgressMode::Bar | ProgressMode::Plain => Self::Plain(Plain::default()),
            ProgressMode::Json | ProgressMode::None => Self::Silent,
        }
    }

    /// Whether how far the work is can be seen at all.
    pub(crate) fn draws(&self) -> bool {
        match self {
            Self::Bar(_) | Self::Plain(_) => true,
            Self::Silent => false,
        }
    }

    /// What there is to draw now of how far the work is. Plain lines come now and then, and only with news; a bar is not
    /// drawn from the background, across what someone types in front.
    pub(crate) fn lines(&mut self, progress: &Progress, at: Duration, paint: Paint) -> Vec<String> {
        match self {
            Self::Bar(_) if !is_in_foreground() => Vec::new(),
            Self::Bar(_) => progress.lines(at, terminal_width(), paint),
            Self::Plain(plain) => plain.due(at, || progress.figures(at)).into_iter().collect(),
            Self::Silent => Vec::new(),
        }
    }

    /// Shows the notes, and below them the lines of progress.
    pub(crate) fn show(&mut self, notes: &[String], lines: &[String]) {
        match self {
            Self::Bar(bar) => {
                if !notes.is_empty() {
                    bar.println(notes.join("\n"));
                }
                if !lines.is_empty() {
                    bar.set_message(lines.join("\n"));
                }
            }
            Self::Plain(_) | Self::Silent => {
                write_lines(notes);
                write_lines(lines);
            }
        }
    }

    /// Takes the bar away and writes these lines where it was.
    pub(crate) fn end(&mut self, lines: &[String]) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
        write_lines(lines);
    }

    /// The bar, for whoever must draw around it.
    pub(crate) fn bar(&self) -> Option<ProgressBar> {
        match self {
            Self::Bar(bar) => Some(bar.clone()),
            Self::Plain(_) | Self::Silent => None,
        }
    }
}

impl Plain {
    /// The line to write now, if it is time for one and there is news.
    fn due(&mut self, at: Duration, line: impl FnOnce() -> String) -> Option<String> {
        if at.saturating_sub(self.last) < BETWEEN_LINES {
            return None;
        }
        self.last = at;
        let line = line();
        if line == self.said {
            return None;
        }
        self.said.clone_from(&line);
        Some(line)
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template("{msg}").expect("the template has one field"));
    bar
}

/// Whether the terminal that stderr is belongs to this program now. One that knows of no background is always its own.
fn is_in_foreground() -> bool {
    rustix::termios::tcgetpgrp(io::stderr()).map_or(true, |group| group == rustix::process::getpgrp())
}

fn terminal_width() -> usize {
    console::Term::stderr().size_checked().map_or(WIDTH_IF_UNKNOWN, |(_, columns)| columns.into())
}

fn write_lines(lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    // Nobody is left to tell if stderr is gone, and the work is not the poorer for it.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_come_now_and_then_and_only_with_news() {
        let mut plain = Plain::default();
        let mut at = |seconds, line: &str| plain.due(Duration::from_secs(seconds), || line.into());

        assert_eq!(at(1, "1 done"), None);
        assert_eq!(at(5, "2 done"), Some("2 done".into()));
        assert_eq!(at(7, "3 done"), None);
        assert_eq!(at(10, "2 done"), None, "nothing new");
        assert_eq!(at(15, "4 done"), Some("4 done".into()));
    }
}
