//! The answers, and how they are written: tables for people, lines, JSON and CSV for programs.

use std::cmp::Ordering;
use std::collections::HashMap;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::field::Field;
use super::question::{Ask, Kind, Question};
use super::tally::{Count, Counts, Tally};
use super::time::{self, Span};
use crate::report::figures;

/// Bars in tables are so long at most.
const BAR: usize = 20;

/// By what the rows of a top are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Order {
    Requests,
    Bytes,
}

/// What came of it all.
#[derive(Debug)]
pub(crate) struct Answers {
    /// How much of what was named it is of.
    pub(crate) read: Extent,
    pub(crate) lines: u64,
    pub(crate) bad: u64,
    /// If only lines with this in them were looked at.
    pub(crate) lines_with: Option<String>,
    pub(crate) total: Count,
    /// The first and the last second.
    pub(crate) between: Option<(i64, i64)>,
    pub(crate) tables: Vec<Table>,
}

/// How many logs there were, and how many of them were read to their ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) logs: u64,
    pub(crate) whole: u64,
}

/// The answer to one question.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) of: Of,
    pub(crate) rows: Vec<Row>,
    /// How many there are, of which some may not be shown; unknown if the answer is approximate.
    pub(crate) distinct: Option<u64>,
    /// If it is: by how much a count may be too low, and how often what is missing may have come.
    pub(crate) too_low_by: Option<u64>,
    /// Requests of all there are.
    pub(crate) requests: u64,
}

/// What its rows are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Field(Field),
    Span(Span),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) key: String,
    /// Its number, if it is a span of time.
    pub(crate) span: i64,
    pub(crate) count: Count,
    /// How many came then, if that was counted.
    pub(crate) visitors: Option<u64>,
}

impl Answers {
    /// Draws the answers from what was counted. Of each top, so many rows are shown.
    pub(crate) fn of(tally: &Tally, ask: &Ask, order: Order, most: usize) -> Self {
        let tables = ask.questions.iter().zip(&tally.counts);
        Self {
            read: Extent::default(),
            lines: tally.lines,
            bad: tally.bad,
            lines_with: None,
            total: Count {
                requests: tally.requests,
                bytes: tally.bytes,
                client_errors: tally.client_errors,
                server_errors: tally.server_errors,
            },
            between: tally.between,
            tables: tables.map(|(question, counts)| Table::of(question, counts, tally, order, most)).collect(),
        }
    }

    /// Whether everything that was named is in them.
    pub(crate) fn are_complete(&self) -> bool {
        self.read.whole == self.read.logs
    }

    /// Takes out what says nothing, as fits what is meant to be glanced at.
    pub(crate) fn for_a_glance(mut self) -> Self {
        let days = self.between.map_or(0, |(first, last)| Span::Day.of(last) - Span::Day.of(first) + 1);
        self.tables.retain(|table| match table.of {
            Of::Span(Span::Hour) => (1..=3).contains(&days),
            // A log whose format does not have it says `-` each time.
            Of::Field(_) => table.rows.iter().any(|row| row.key != "-"),
            Of::Span(_) => days > 0,
        });
        self
    }

    /// In words: what was found in all.
    pub(crate) fn headline(&self) -> Vec<String> {
        let mut lines = vec![format!("{} {}", thousands(self.total.requests), noun(self.total.requests, "request"))];
        if let Some((first, last)) = self.between {
            lines[0] += &format!(" from {} to {}", time::shown(first), time::shown(last));
        }
        let Count { bytes, client_errors, server_errors, .. } = self.total;
        lines.push(format!(
            "{} sent, {} client {}, {} server {}",
            figures::bytes(bytes),
            thousands(client_errors),
            noun(client_errors, "error"),
            thousands(server_errors),
            noun(server_errors, "error"),
        ));
        lines.extend(self.caveat());
        lines
    }

    /// What must be said with every answer, if there is anything.
    pub(crate) fn caveat(&self) -> Option<String> {
        let Extent { logs, whole } = self.read;
        (!self.are_complete())
            .then(|| format!("NOT ALL: only {whole} of {} read to the end", figures::count(logs, "log")))
    }

    /// As tables for people.
    pub(crate) fn table(&self, with_headline: bool) -> String {
        let mut text = String::new();
        let head = if with_headline { self.headline() } else { self.caveat().into_iter().collect() };
        for line in head {
            text += &(line + "\n");
        }
        for table in &self.tables {
            if !text.is_empty() {
                text.push('\n');
            }
            text += &table.text();
        }
        text
    }

    /// The keys alone, one a line.
    pub(crate) fn plain(&self) -> String {
        self.tables
            .iter()
            .flat_map(|table| &table.rows)
            .flat_map(|row| [figures::shown(&row.key), "\n".into()])
            .collect()
    }

    /// As one JSON object.
    pub(crate) fn json(&self) -> String {
        let time = |wall| time::shown(wall).replace(' ', "T");
        let Extent { logs, whole } = self.read;
        let answers = json!({
            "complete": self.are_complete(),
            "logs": logs,
            "logs_read_to_the_end": whole,
            "lines": self.lines,
            "lines_looked_at_only_with": self.lines_with,
            "bad_lines": self.bad,
            "first": self.between.map(|(first, _)| time(first)),
            "last": self.between.map(|(_, last)| time(last)),
            "requests": self.total.requests,
            "bytes": self.total.bytes,
            "client_errors": self.total.client_errors,
            "server_errors": self.total.server_errors,
            "answers": self.tables.iter().map(Table::json).collect::<Vec<_>>(),
        });
        serde_json::to_string_pretty(&answers).expect("its keys are text") + "\n"
    }

    /// As one CSV table, the question in the first column.
    pub(crate) fn csv(&self) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let head = ["question", "key", "requests", "bytes", "client_errors", "server_errors", "visitors"];
        writer.write_record(head).expect(INTO_MEMORY);
        for (table, row) in self.tables.iter().flat_map(|table| table.rows.iter().map(move |row| (table, row))) {
            let Count { requests, bytes, client_errors, server_errors } = row.count;
            let unless_approximate = |number: u64| match table.too_low_by {
                None => number.to_string(),
                Some(_) => String::new(),
            };
            writer
                .write_record([
                    &table.name,
                    &row.key,
                    &requests.to_string(),
                    &unless_approximate(bytes),
                    &unless_approximate(client_errors),
                    &unless_approximate(server_errors),
                    &row.visitors.map_or_else(String::new, |visitors| visitors.to_string()),
                ])
                .expect(INTO_MEMORY);
        }
        let bytes = writer.into_inner().expect(INTO_MEMORY);
        String::from_utf8(bytes).expect("every field is text")
    }
}

const INTO_MEMORY: &str = "writing into memory does not fail";

impl Table {
    fn of(question: &Question, counts: &Counts, tally: &Tally, order: Order, most: usize) -> Self {
        let most = if question.wants_all() { usize::MAX } else { most };
        let (of, mut rows, too_low_by) = match (question.kind, counts) {
            (Kind::Top(field), Counts::Top(counts)) => {
                let named = counts.iter().enumerate().filter(|(_, count)| count.requests > 0);
                let named = named.map(|(number, count)| (tally.name(field, number), *count)).collect();
                return Self::top(question, field, named, order, most, None);
            }
            (Kind::Top(field), Counts::About(sketch)) => {
                let named = sketch.counts().map(|(name, requests)| (name, Count { requests, ..Count::default() }));
                return Self::top(question, field, named.collect(), order, most, Some(sketch.too_low_by()));
            }
            (Kind::Per { span, visitors }, Counts::Per(spans)) => {
                let mut came: HashMap<i64, u64> = HashMap::new();
                for visit in &spans.visits {
                    *came.entry(visit.span).or_default() += 1;
                }
                let row = |(number, count): (&i64, &Count)| Row {
                    key: span.shown(*number),
                    span: *number,
                    count: *count,
                    visitors: visitors.then(|| came.get(number).copied().unwrap_or(0)),
                };
                (Of::Span(span), spans.counts.iter().map(row).collect::<Vec<_>>(), None)
            }
            _ => unreachable!("counts are made by the kind of the question"),
        };
        rows.sort_by_key(|row| row.span);
        let requests = rows.iter().map(|row| row.count.requests).sum();
        Self { name: question.name(), of, distinct: Some(rows.len() as u64), rows, too_low_by, requests }
    }

    fn top(
        question: &Question,
        field: Field,
        mut named: Vec<(&[u8], Count)>,
        order: Order,
        most: usize,
        too_low_by: Option<u64>,
    ) -> Self {
        let by = |(name, count): &(&[u8], Count), (other_name, other): &(&[u8], Count)| -> Ordering {
            let by_count = match order {
                Order::Requests => other.requests.cmp(&count.requests),
                Order::Bytes => other.bytes.cmp(&count.bytes),
            };
            by_count.then_with(|| name.cmp(other_name))
        };
        let distinct = named.len() as u64;
        let requests = named.iter().map(|(_, count)| count.requests).sum();
        if most < named.len() {
            named.select_nth_unstable_by(most, by);
            named.truncate(most);
        }
        named.sort_unstable_by(by);
        let rows = named.into_iter().map(|(name, count)| Row { key: readable(name), span: 0, count, visitors: None });
        Self {
            name: question.name(),
            of: Of::Field(field),
            rows: rows.collect(),
            distinct: too_low_by.is_none().then_some(distinct),
            too_low_by,
            requests,
        }
    }

    /// Its name, how many rows there are of how many, and how exact it is.
    pub(crate) fn title(&self) -> String {
        let mut title = self.name.clone();
        if let Some(first) = title.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        match self.distinct {
            Some(distinct) if distinct > self.rows.len() as u64 => {
                title += &format!(" ({} of {})", thousands(self.rows.len() as u64), thousands(distinct));
            }
            Some(distinct) if matches!(self.of, Of::Field(_)) => title += &format!(" ({})", thousands(distinct)),
            _ => {}
        }
        if let Some(less) = self.too_low_by {
            title += &match less {
                0 => ", exact: they were fewer than the most keys".into(),
                _ => format!(", approximate: each count may be up to {} too low", thousands(less)),
            };
        }
        title
    }

    fn text(&self) -> String {
        let mut text = self.title() + "\n";
        if self.rows.is_empty() {
            return text + "  none\n";
        }
        let cells: Vec<Vec<String>> =
            [self.head()].into_iter().chain(self.rows.iter().map(|row| self.cells(row))).collect();
        let columns = cells[0].len();
        let widths: Vec<usize> =
            (0..columns).map(|column| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
        for row in cells {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                // Numbers stand to the right; the last column, and the name of a span, to the left.
                let is_text = column + 1 == columns || (column == 0 && matches!(self.of, Of::Span(_)));
                line += &match is_text {
                    true => format!("  {cell:<width$}", width = widths[column]),
                    false => format!("  {cell:>width$}", width = widths[column]),
                };
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }

    fn head(&self) -> Vec<String> {
        let words: &[&str] = match self.of {
            Of::Span(span) if self.has_visitors() => &[span.name(), "requests", "visitors", "4xx", "5xx", "sent", ""],
            Of::Span(span) => &[span.name(), "requests", "4xx", "5xx", "sent", ""],
            Of::Field(field) if self.too_low_by.is_some() => &["requests", field.one()],
            Of::Field(field) => &["requests", "share", "sent", field.one()],
        };
        words.iter().map(ToString::to_string).collect()
    }

    fn cells(&self, row: &Row) -> Vec<String> {
        let Count { requests, bytes, client_errors, server_errors } = row.count;
        let key = figures::shown(&row.key);
        match self.of {
            Of::Span(_) => {
                let mut cells = vec![key, thousands(requests)];
                cells.extend(row.visitors.map(thousands));
                cells.extend([
                    thousands(client_errors),
                    thousands(server_errors),
                    figures::bytes(bytes),
                    self.bar(requests),
                ]);
                cells
            }
            Of::Field(_) if self.too_low_by.is_some() => vec![thousands(requests), key],
            Of::Field(_) => vec![thousands(requests), share(requests, self.requests), figures::bytes(bytes), key],
        }
    }

    fn bar(&self, requests: u64) -> String {
        let most = self.rows.iter().map(|row| row.count.requests).max().unwrap_or(1).max(1);
        "▇".repeat((requests as f64 / most as f64 * BAR as f64).round() as usize)
    }

    pub(crate) fn has_visitors(&self) -> bool {
        self.rows.iter().any(|row| row.visitors.is_some())
    }

    fn json(&self) -> Value {
        let key = match self.of {
            Of::Field(field) => field.one(),
            Of::Span(span) => span.name(),
        };
        let rows = self.rows.iter().map(|row| {
            let mut object = serde_json::Map::new();
            object.insert(key.into(), row.key.clone().into());
            object.insert("requests".into(), row.count.requests.into());
            if self.too_low_by.is_none() {
                object.insert("bytes".into(), row.count.bytes.into());
                object.insert("client_errors".into(), row.count.client_errors.into());
                object.insert("server_errors".into(), row.count.server_errors.into());
            }
            if let Some(visitors) = row.visitors {
                object.insert("visitors".into(), visitors.into());
            }
            Value::Object(object)
        });
        json!({
            "question": self.name,
            "distinct": self.distinct,
            "counts_too_low_by_at_most": self.too_low_by.unwrap_or(0),
            "rows": rows.collect::<Vec<_>>(),
        })
    }
}

/// A text of a log as text: what is not UTF-8 shows as `\xhh`, as servers write it.
pub(crate) fn readable(text: &[u8]) -> String {
    let mut readable = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        readable += chunk.valid();
        for byte in chunk.invalid() {
            readable += &format!("\\x{byte:02x}");
        }
    }
    readable
}

/// `1,234,567`
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `12.3 %`
pub(crate) fn share(part: u64, whole: u64) -> String {
    format!("{:.1} %", part as f64 / whole.max(1) as f64 * 100.0)
}

fn noun(number: u64, noun: &str) -> String {
    if number == 1 { noun.into() } else { format!("{noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_text_is_shown_as_servers_write_it() {
        assert_eq!(readable(b"caf\xe9 \xc3\xa9"), "caf\\xe9 é");
    }

    #[test]
    fn numbers_have_their_thousands_apart() {
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}
