//! Makes jobs of inputs: one of each, several together, or a block of stdin; all but those that are done already.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::job::Input;
use super::results::Folder;
use super::source::{Row, Rows, cannot_read};
use super::split::Blocks;
use crate::batch::feed::Produce;
use crate::error::Error;

/// Where jobs come from.
pub(super) struct Maker {
    pub(super) from: From,
    pub(super) done: Done,
    /// The number of the last one, and how many were not done before.
    pub(super) number: u64,
    pub(super) turn: u64,
}

pub(super) enum From {
    Rows { rows: Rows, together: Together, held: VecDeque<Row>, ended: bool },
    Blocks(Blocks<File>),
}

/// How many inputs one command is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Together {
    Count(usize),
    /// As many as fit into a command line that has room for so many bytes; what is left at the end is spread over so many
    /// commands.
    Fit {
        room: usize,
        spread: usize,
    },
}

/// What need not be done again.
#[derive(Default)]
pub(super) struct Done {
    /// By their numbers, as the log of an earlier run has them.
    pub(super) numbers: HashSet<u64>,
    /// By their results in this folder, with these names of columns.
    pub(super) results: Option<(PathBuf, Vec<Vec<u8>>)>,
    /// How many of them have come so far.
    pub(super) skipped: Arc<AtomicU64>,
}

impl Maker {
    /// A maker that has made nothing yet.
    pub(super) fn new(from: From, done: Done) -> Self {
        Self { from, done, number: 0, turn: 0 }
    }

    /// How many jobs there will be, if that is known beforehand.
    pub(super) fn count(&self) -> Option<u64> {
        match &self.from {
            _ if !self.done.numbers.is_empty() || self.done.results.is_some() => None,
            From::Rows { rows, together: Together::Count(together), .. } => {
                rows.count().map(|count| count.div_ceil(*together as u64))
            }
            From::Rows { .. } | From::Blocks(_) => None,
        }
    }
}

impl Produce for Maker {
    type Input = Arc<Input>;

    fn next(&mut self) -> Result<Option<Arc<Input>>, Error> {
        loop {
            let (args, block) = match &mut self.from {
                From::Rows { rows, together, held, ended } => match together.take(rows, held, ended)? {
                    Some(args) => (args, None),
                    None => return Ok(None),
                },
                From::Blocks(blocks) => match blocks.next().map_err(|error| cannot_read("stdin", error))? {
                    Some(block) => (Vec::new(), Some(block)),
                    None => return Ok(None),
                },
            };
            self.number += 1;
            if self.done.has(self.number, &args) {
                self.done.skipped.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            self.turn += 1;
            return Ok(Some(Arc::new(Input { number: self.number, turn: self.turn - 1, args, block })));
        }
    }

    fn may_block(&self) -> bool {
        match &self.from {
            From::Rows { rows, .. } => rows.must_read(),
            From::Blocks(_) => true,
        }
    }
}

impl Together {
    /// The arguments of the next command.
    fn take(&mut self, rows: &mut Rows, held: &mut VecDeque<Row>, ended: &mut bool) -> Result<Option<Row>, Error> {
        let size = |row: &Row| row.iter().map(|arg| arg.len() + 1).sum::<usize>();
        let mut filled: usize = held.iter().map(size).sum();
        while !*ended {
            let full = match self {
                Self::Count(count) => held.len() >= *count,
                Self::Fit { room, .. } => filled > *room,
            };
            if full {
                break;
            }
            match rows.next()? {
                Some(row) => {
                    filled += size(&row);
                    held.push_back(row);
                }
                None => *ended = true,
            }
        }
        let most = match self {
            Self::Count(count) => *count,
            Self::Fit { room, .. } if filled > *room => {
                let mut filled = 0;
                let fits = held.iter().take_while(|row| {
                    filled += size(row);
                    filled <= *room
                });
                fits.count().max(1)
            }
            Self::Fit { spread, .. } => held.len().div_ceil((*spread).max(1)),
        };
        if let (true, Self::Fit { spread, .. }) = (*ended, self) {
            // The last ones are shared out: so many commands are left for what remains.
            *spread = spread.saturating_sub(1);
        }
        let taken: Vec<Row> = held.drain(..most.min(held.len())).collect();
        Ok((!taken.is_empty()).then(|| taken.concat()))
    }
}

impl Done {
    fn has(&self, number: u64, args: &[Vec<u8>]) -> bool {
        self.numbers.contains(&number)
            || self.results.as_ref().is_some_and(|(dir, names)| Folder::of(dir, names, args).is_done())
    }
}
