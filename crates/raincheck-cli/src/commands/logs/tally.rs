//! What has been counted: of one part of a log, and of all parts together.

use hashbrown::{HashMap, HashSet};
use serde::{Deserialize, Serialize};

use super::field::Field;
use super::line::Entry;
use super::names::Names;
use super::question::{Ask, Asked, Kind};
use super::sketch::Sketch;
use super::time::{Moment, Stamp};

/// Of a bad line, so much is kept.
const SHOWN_OF_A_BAD_LINE: usize = 300;

/// Counts for every question, and of the lines themselves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Lines that were looked at; if one text must stand in all that count, those with it.
    pub(crate) lines: u64,
    pub(crate) bad: u64,
    pub(crate) bad_lines: Vec<BadLine>,
    /// Of those requests that count, and so are all that follow.
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
    pub(crate) client_errors: u64,
    pub(crate) server_errors: u64,
    /// The first and the last second, by the log's clock.
    pub(crate) between: Option<(i64, i64)>,
    names: [Names; Field::ALL.len()],
    /// The numbers of statuses, which are so few that they need no search.
    #[serde(skip)]
    statuses: Vec<Option<u32>>,
    pub(crate) counts: Vec<Counts>,
}

/// A line that is none of this log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BadLine {
    /// Counted from one, in this part of the log.
    pub(crate) number: u64,
    pub(crate) text: Vec<u8>,
}

/// What was counted for one question.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Counts {
    /// By the number of the name.
    Top(Vec<Count>),
    About(Sketch),
    Per(Spans),
}

/// What was counted in each span of time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Spans {
    pub(crate) counts: HashMap<i64, Count>,
    pub(crate) visits: HashSet<Visit>,
    /// The last visit of each host, by its number: most are made several times in a row.
    #[serde(skip)]
    last: Vec<(i64, u32)>,
}

impl Spans {
    #[inline]
    fn visit(&mut self, visit: Visit) {
        let host = visit.host as usize;
        if host >= self.last.len() {
            // No visit has this agent's number, since so many different texts fit into no memory.
            self.last.resize(host + 1, (0, u32::MAX));
        }
        let this = (visit.span, visit.agent);
        if self.last[host] != this {
            self.last[host] = this;
            self.visits.insert(visit);
        }
    }
}

/// Requests, and what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Count {
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
    pub(crate) client_errors: u64,
    pub(crate) server_errors: u64,
}

/// A visitor, which is a host and agent, in a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Visit {
    pub(crate) span: i64,
    host: u32,
    agent: u32,
}

/// The numbers of one request's texts, as far as they were asked for.
struct Numbers<'t, 'e> {
    names: &'t mut [Names; Field::ALL.len()],
    statuses: &'t mut Vec<Option<u32>>,
    entry: &'e Entry<'e>,
    known: [Option<u32>; Field::ALL.len()],
}

impl Numbers<'_, '_> {
    fn of(&mut self, field: Field) -> u32 {
        let Self { names, statuses, entry, known } = self;
        let number = || names[field as usize].number(&entry.plain(field));
        // 0 is that of a line that does not say.
        if field == Field::Status && entry.status > 0 {
            let status = usize::from(entry.status);
            if status >= statuses.len() {
                statuses.resize(status + 1, None);
            }
            return *statuses[status].get_or_insert_with(number);
        }
        *known[field as usize].get_or_insert_with(number)
    }
}

impl Tally {
    pub(crate) fn new(ask: &Ask) -> Self {
        let counts = ask.questions.iter().map(|question| match (question.kind, ask.most_keys) {
            (Kind::Top(_), None) => Counts::Top(Vec::new()),
            (Kind::Top(_), Some(most)) => Counts::About(Sketch::new(most)),
            (Kind::Per { .. }, _) => Counts::Per(Spans::default()),
        });
        Self {
            lines: 0,
            bad: 0,
            bad_lines: Vec::new(),
            requests: 0,
            bytes: 0,
            client_errors: 0,
            server_errors: 0,
            between: None,
            counts: counts.collect(),
            names: Default::default(),
            statuses: Vec::new(),
        }
    }

    /// A text that was counted for a question about this field.
    pub(crate) fn name(&self, field: Field, number: usize) -> &[u8] {
        self.names[field as usize].get(number as u32)
    }

    /// Counts a line that says this.
    #[inline]
    pub(crate) fn count(&mut self, entry: &Entry<'_>, ask: &Ask, asked: &Asked) {
        if !asked.filters.iter().all(|filter| filter.holds(entry)) {
            return;
        }
        // A line that does not say when it was is neither since nor until any time.
        let is_since = |since: Moment| entry.time.is_some_and(|time| since.is_reached_by(time));
        let is_until = |until: Moment| entry.time.is_some_and(|time| !until.is_reached_by(time));
        if !ask.since.is_none_or(is_since) || !ask.until.is_none_or(is_until) {
            return;
        }
        if let Some(Stamp { wall, .. }) = entry.time {
            let (first, last) = self.between.get_or_insert((wall, wall));
            (*first, *last) = ((*first).min(wall), (*last).max(wall));
        }
        let this = Count::of(entry);
        self.requests += 1;
        self.bytes += this.bytes;
        self.client_errors += this.client_errors;
        self.server_errors += this.server_errors;
        let mut numbers =
            Numbers { names: &mut self.names, statuses: &mut self.statuses, entry, known: [None; Field::ALL.len()] };
        let questions = ask.questions.iter().zip(&asked.only).zip(&mut self.counts);
        for ((question, only), counts) in questions {
            if only.as_ref().is_some_and(|only| !only.holds(entry)) {
                continue;
            }
            match (question.kind, counts) {
                (Kind::Top(field), Counts::Top(counts)) => at(counts, numbers.of(field)).add(this),
                (Kind::Top(field), Counts::About(sketch)) => sketch.count(&entry.plain(field)),
                (Kind::Per { span, visitors }, Counts::Per(spans)) => {
                    let Some(time) = entry.time else { continue };
                    let span = span.of(time.wall);
                    spans.counts.entry(span).or_default().add(this);
                    if visitors {
                        let (host, agent) = (numbers.of(Field::Host), numbers.of(Field::Agent));
                        spans.visit(Visit { span, host, agent });
                    }
                }
                (Kind::Top(_), Counts::Per(_)) | (Kind::Per { .. }, Counts::Top(_) | Counts::About(_)) => {
                    unreachable!("counts are made by the kind of the question")
                }
            }
        }
    }

    /// Notes a line that is none.
    #[cold]
    pub(crate) fn count_bad(&mut self, line: &[u8], ask: &Ask) {
        self.bad += 1;
        if self.bad_lines.len() < ask.bad_lines {
            let text = line[..line.len().min(SHOWN_OF_A_BAD_LINE)].to_vec();
            self.bad_lines.push(BadLine { number: self.lines, text });
        }
    }

    /// Adds what was counted in another part, but for its bad lines, whose numbers are its own.
    pub(crate) fn absorb(&mut self, other: Self, ask: &Ask) {
        self.lines += other.lines;
        self.bad += other.bad;
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.client_errors += other.client_errors;
        self.server_errors += other.server_errors;
        self.between = match (self.between, other.between) {
            (Some((first, last)), Some((start, end))) => Some((first.min(start), last.max(end))),
            (one, other) => one.or(other),
        };
        let mut numbers: [Vec<u32>; Field::ALL.len()] = Default::default();
        for (field, numbers) in numbers.iter_mut().enumerate() {
            *numbers = self.names[field].absorb(&other.names[field]);
        }
        let number_of = |field: Field, number: u32| numbers[field as usize][number as usize];
        for ((question, counts), others) in ask.questions.iter().zip(&mut self.counts).zip(other.counts) {
            match (question.kind, counts, others) {
                (Kind::Top(field), Counts::Top(counts), Counts::Top(others)) => {
                    for (number, count) in others.into_iter().enumerate().filter(|(_, count)| count.requests > 0) {
                        at(counts, number_of(field, number as u32)).add(count);
                    }
                }
                (_, Counts::About(sketch), Counts::About(other)) => sketch.absorb(other),
                (_, Counts::Per(spans), Counts::Per(others)) => {
                    for (span, count) in others.counts {
                        spans.counts.entry(span).or_default().add(count);
                    }
                    spans.visits.extend(others.visits.into_iter().map(|visit| Visit {
                        span: visit.span,
                        host: number_of(Field::Host, visit.host),
                        agent: number_of(Field::Agent, visit.agent),
                    }));
                }
                _ => unreachable!("both were made for the same questions"),
            }
        }
    }
}

impl Count {
    fn of(entry: &Entry<'_>) -> Self {
        Self {
            requests: 1,
            bytes: entry.bytes,
            client_errors: u64::from(entry.status / 100 == 4),
            server_errors: u64::from(entry.status / 100 == 5),
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.client_errors += other.client_errors;
        self.server_errors += other.server_errors;
    }
}

/// The count with this number, which may be new.
#[inline]
fn at(counts: &mut Vec<Count>, number: u32) -> &mut Count {
    let number = number as usize;
    if number >= counts.len() {
        counts.resize(number + 1, Count::default());
    }
    &mut counts[number]
}

#[cfg(test)]
mod tests {
    use super::super::answer::{Answers, Order};
    use super::super::format::Format;
    use super::super::line::Parser;
    use super::super::question::Question;
    use super::super::sample::{self, Amount, SampleFormat, Shape};
    use super::super::time::Span;
    use super::*;

    fn lines() -> Vec<Vec<u8>> {
        let shape = Shape { seed: 5, hosts: 40, paths: 30, bad_per_million: 20_000, format: SampleFormat::Combined };
        let mut log = Vec::new();
        sample::write(&mut log, &shape, Amount::Lines(3000), 0).unwrap();
        log.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    }

    fn tally(lines: &[Vec<u8>], ask: &Ask) -> Tally {
        let (mut tally, asked) = (Tally::new(ask), ask.read().unwrap());
        let mut parser = Parser::new(Format::parse("combined").unwrap());
        for line in lines {
            tally.lines += 1;
            match parser.parse(line) {
                Some(entry) => tally.count(&entry, ask, &asked),
                None => tally.count_bad(line, ask),
            }
        }
        tally
    }

    fn json(tally: &Tally, ask: &Ask) -> String {
        Answers::of(tally, ask, Order::Requests, usize::MAX).json()
    }

    fn ask() -> Ask {
        let mut questions = Question::overview(true);
        questions.push(Question::hosts_of("/robots.txt"));
        questions.push(Question::per(Span::Minute, true));
        Ask { questions, ..Ask::default() }
    }

    #[test]
    fn parts_of_a_log_add_up_to_the_whole_in_any_order() {
        let (lines, ask) = (lines(), ask());
        let whole = json(&tally(&lines, &ask), &ask);
        for size in [1, 7, 500, 2999] {
            let mut sum = Tally::new(&ask);
            for part in lines.chunks(size).rev() {
                sum.absorb(tally(part, &ask), &ask);
            }

            assert!(json(&sum, &ask) == whole, "in parts of {size}");
        }
    }

    #[test]
    fn a_bound_keeps_the_most_frequent_and_says_how_exact_it_is() {
        let (lines, exact) = (lines(), Ask { questions: vec![Question::top(Field::Host)], ..Ask::default() });
        let bounded = Ask { most_keys: Some(10), ..exact.clone() };
        let exact = Answers::of(&tally(&lines, &exact), &exact, Order::Requests, 3);
        let bounded = Answers::of(&tally(&lines, &bounded), &bounded, Order::Requests, 3);

        let keys = |answers: &Answers| answers.tables[0].rows.iter().map(|row| row.key.clone()).collect::<Vec<_>>();
        assert_eq!(keys(&bounded), keys(&exact));
        assert!(bounded.tables[0].title().contains(", approximate: each count may be up to "));
    }

    #[test]
    fn a_line_without_a_time_is_neither_since_nor_until_any() {
        let mut parser = Parser::new(Format::parse("%h %>s").unwrap());
        let entry = parser.parse(b"::1 200").unwrap();
        for (since, until) in [(Some(Moment::Wall(0)), None), (None, Some(Moment::Utc(0)))] {
            let ask = Ask { since, until, ..Ask::default() };
            let mut tally = Tally::new(&ask);
            tally.count(&entry, &ask, &ask.read().unwrap());
            assert_eq!(tally.requests, 0);
        }
    }
}
