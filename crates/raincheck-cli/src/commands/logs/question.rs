//! What is asked of a log.

use serde::{Deserialize, Serialize};

use super::field::Field;
use super::filter::Filter;
use super::format::Format;
use super::time::{Moment, Span};

/// Everything that is asked in one go, as it was typed, so that it can be sent to wherever the log is read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Ask {
    pub(crate) questions: Vec<Question>,
    /// What must hold of every request that counts.
    pub(crate) filters: Vec<String>,
    pub(crate) since: Option<Moment>,
    pub(crate) until: Option<Moment>,
    /// How lines are written; if not said, it is found out for each file.
    pub(crate) format: Option<String>,
    /// So many keys are kept of each question, and its answers are approximate.
    pub(crate) most_keys: Option<usize>,
    /// So many bad lines of each file are kept.
    pub(crate) bad_lines: usize,
}

/// One thing that is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Question {
    pub(crate) kind: Kind,
    /// What else must hold of a request to count here.
    pub(crate) only: Option<Only>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// How often each value comes, the most frequent first.
    Top(Field),
    /// What happened in each span of time; who came is counted only if asked for, since that takes the most memory.
    Per { span: Span, visitors: bool },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Only {
    /// Requests for this path.
    For(String),
    /// Requests for what is not there.
    NotFound,
}

impl Question {
    pub(crate) fn top(field: Field) -> Self {
        Self { kind: Kind::Top(field), only: None }
    }

    pub(crate) fn per(span: Span, visitors: bool) -> Self {
        Self { kind: Kind::Per { span, visitors }, only: None }
    }

    /// Who asked for this path. Paths in logs begin with a slash: one that was left out is meant.
    pub(crate) fn hosts_of(path: &str) -> Self {
        let path = if path.starts_with(['/', '*']) || path.contains("://") { path.into() } else { format!("/{path}") };
        Self { kind: Kind::Top(Field::Host), only: Some(Only::For(path)) }
    }

    /// What people ask first.
    pub(crate) fn overview(visitors: bool) -> Vec<Self> {
        let not_found = Self { only: Some(Only::NotFound), ..Self::top(Field::Path) };
        vec![
            Self::per(Span::Day, visitors),
            Self::per(Span::Hour, false),
            Self::top(Field::Status),
            Self::top(Field::Path),
            not_found,
            Self::top(Field::Host),
            Self::top(Field::Referrer),
            Self::top(Field::Agent),
        ]
    }

    /// `top paths`, `hosts of /robots.txt`, `per day`.
    pub(crate) fn name(&self) -> String {
        match (&self.kind, &self.only) {
            (Kind::Per { span, .. }, _) => format!("per {}", span.name()),
            (Kind::Top(Field::Path), Some(Only::NotFound)) => "paths not found".into(),
            (Kind::Top(field), Some(Only::For(path))) => format!("{} of {path}", field.many()),
            (Kind::Top(field), _) => format!("top {}", field.many()),
        }
    }

    /// Whether all of the answer is wanted, and not the head of it.
    pub(crate) fn wants_all(&self) -> bool {
        matches!(self.kind, Kind::Per { .. }) || matches!(self.only, Some(Only::For(_)))
    }
}

/// What is asked, ready to be held against lines.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) filters: Vec<Filter>,
    /// For each question, what else must hold.
    pub(crate) only: Vec<Option<Filter>>,
    pub(crate) format: Option<Format>,
}

impl Ask {
    /// Reads what was typed.
    ///
    /// # Errors
    ///
    /// What is wrong with it; the parts were validated when they were typed.
    pub(crate) fn read(&self) -> Result<Asked, String> {
        let only = |question: &Question| match &question.only {
            Some(Only::For(path)) => Some(Filter::asks_for(path)),
            Some(Only::NotFound) => Some(Filter::parse("status=404").expect("it is a filter")),
            None => None,
        };
        Ok(Asked {
            filters: self.filters.iter().map(|filter| Filter::parse(filter)).collect::<Result<_, _>>()?,
            only: self.questions.iter().map(only).collect(),
            format: self.format.as_deref().map(Format::parse).transpose()?,
        })
    }

    /// A text that stands in every line that counts, so that others need not be read. None if bad lines are wanted:
    /// to see those, all must be read.
    pub(crate) fn needle<'a>(&self, asked: &'a Asked) -> Option<&'a [u8]> {
        if self.bad_lines > 0 {
            return None;
        }
        // What must hold for one question only says nothing of the lines that the others want.
        let only = if asked.only.len() == 1 { &asked.only[0] } else { &None };
        asked.filters.iter().chain(only).filter_map(Filter::needle).max_by_key(|needle| needle.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_begins_with_a_slash_said_or_not() {
        assert_eq!(Question::hosts_of("robots.txt"), Question::hosts_of("/robots.txt"));
    }
}
